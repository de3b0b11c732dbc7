/**
 * The control codec: the few messages that are structured values (handshake, program, errors of a request) and not
 * fixed-layout bytes. The only user of msgpackr.
 *
 * Why it is wrapped
 * - msgpackr copies a typed array other than Uint8Array element by element into a gap sized in bytes, which sends
 *   uninitialised memory of this process. {@link encodeControl} accepts plain data only and refuses every other view.
 * - A hostile message may announce 2^32 elements or nest 10^5 deep. {@link decodeControl} walks the bytes first, without
 *   recursion or allocation, and unpacks only what is whole, shallow and of plain types.
 * - One value has one encoding: what does not re-encode to the very same bytes is refused. This disposes of repeated and
 *   `__proto__` keys, overlong integers, broken UTF-8 and NaN at once, and lets transcripts be hashed.
 */

import { Packr } from 'msgpackr/pack';
import { ProtocolError } from '../errors.ts';
import { printable } from './frames.ts';

/** Plain data: what a control message can hold. Numbers are finite; a bigint fits 64 bits. */
export type ControlValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly ControlValue[]
  | { readonly [key: string]: ControlValue };

/** What says whether a value has the wanted form: a schema of zod is one. */
export interface Schema<T> {
  safeParse(value: unknown):
    | { readonly success: true; readonly data: T }
    | {
        readonly success: false;
        readonly error: {
          readonly issues: readonly {
            readonly path: readonly PropertyKey[];
            readonly message: string;
          }[];
        };
      };
}

/** Deepest nesting of arrays and objects. AGREEMENT. */
export const MAX_CONTROL_DEPTH = 16;

/** Largest control message unless the caller says otherwise, in bytes. AGREEMENT. */
export const MAX_CONTROL_BYTES: number = 256 * 1024;

/** Values in one message, each element and each field counting: bounds the memory that 1-byte values grow to. AGREEMENT. */
export const MAX_CONTROL_VALUES = 65536;

/**
 * Plain MessagePack: no records, extensions or references, the shortest header of a map, integers of 64 bits as bigint and back.
 * These decide the bytes, which are hashed and must re-encode to the same. AGREEMENT. `copyBuffers`: what is decoded outlives the message.
 */
const packr = new Packr({
  useRecords: false,
  moreTypes: false,
  structuredClone: false,
  mapsAsObjects: true,
  variableMapSize: true,
  int64AsType: 'bigint',
  copyBuffers: true,
});

/**
 * The bytes of a control message.
 * @throws TypeError for anything but plain data: other views, class instances, undefined, functions, non-finite numbers
 * @throws RangeError for nesting beyond {@link MAX_CONTROL_DEPTH}
 */
export function encodeControl(value: ControlValue): Uint8Array {
  requirePlain(value, 0);
  // msgpackr hands out a piece of a buffer that it goes on using.
  return new Uint8Array(packr.pack(value));
}

/**
 * The value of a control message, checked by `schema`. Its Uint8Arrays are copies.
 * @param limit - most bytes to accept
 * @throws ProtocolError `bad-message` for anything else, whatever the bytes are
 */
export function decodeControl<T>(
  bytes: Uint8Array,
  schema: Schema<T>,
  limit: number = MAX_CONTROL_BYTES,
): T {
  if (bytes.length > limit) {
    throw refused(`expected at most ${limit} bytes, got ${bytes.length}`);
  }
  requireWhole(bytes);
  const result = schema.safeParse(unpackCanonical(bytes));
  if (!result.success) {
    const issue = result.error.issues[0];
    throw refused(printable(`at ${issue?.path.join('.') || 'its top'}: ${issue?.message}`));
  }
  return result.data;
}

function unpackCanonical(bytes: Uint8Array): unknown {
  let value: ControlValue;
  let again: Uint8Array;
  try {
    // A copy, for msgpackr leaves a property behind on what it reads.
    value = packr.unpack(bytes.slice());
    again = encodeControl(value);
  } catch (error) {
    throw refused('it is not plain data', { cause: error });
  }
  if (!sameBytes(again, bytes)) throw refused('it is not in canonical form');
  return value;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** @param depth - arrays and objects around `value` */
function requirePlain(value: unknown, depth: number): void {
  switch (typeof value) {
    case 'boolean':
      return;
    case 'string':
      if (/\p{Surrogate}/u.test(value)) throw notPlain('a string with half a surrogate pair');
      return;
    case 'number':
      if (!Number.isFinite(value)) throw notPlain('a number that is not finite');
      return;
    case 'bigint':
      if (value < -(2n ** 63n) || value >= 2n ** 64n) throw notPlain('a bigint beyond 64 bits');
      return;
    case 'object':
      break;
    default:
      throw notPlain(`a value of type ${typeof value}`);
  }
  if (value === null || value instanceof Uint8Array) return;
  if (ArrayBuffer.isView(value)) {
    throw notPlain('a view other than Uint8Array; wrap its bytes in one');
  }
  if (depth === MAX_CONTROL_DEPTH) {
    throw new RangeError(`control message: expected at most ${MAX_CONTROL_DEPTH} levels`);
  }
  if (Array.isArray(value)) {
    // Indexed, so that a hole counts as the undefined it would be sent as.
    for (let i = 0; i < value.length; i++) requirePlain(value[i], depth + 1);
    return;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw notPlain('a class instance');
  for (const [key, field] of Object.entries(value)) {
    if (key === '__proto__') throw notPlain('a field named __proto__');
    requirePlain(key, depth + 1);
    requirePlain(field, depth + 1);
  }
}

function notPlain(what: string): TypeError {
  return new TypeError(`control message: expected plain data, got ${what}`);
}

/**
 * Walks MessagePack bytes: exactly one value, whole, of the types we send, within the depth and count limits.
 * It keeps one counter per level, so its own memory does not depend on what the peer announces.
 */
function requireWhole(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** Values still to come, per open level. */
  const pending = [1];
  let position = 0;
  let values = 0;
  const uint = (width: number): number => {
    if (position + width > bytes.length) throw refused('it ends too early');
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + view.getUint8(position++);
    return value;
  };
  const skip = (length: number): void => {
    position += length;
    if (position > bytes.length) throw refused('it ends too early');
  };
  const open = (elements: number): void => {
    if (elements > bytes.length - position) throw refused('it ends too early');
    if (pending.length > MAX_CONTROL_DEPTH) {
      throw refused(`expected at most ${MAX_CONTROL_DEPTH} levels`);
    }
    pending.push(elements);
  };
  while (pending.length > 0) {
    const level = pending.length - 1;
    if (pending[level] === 0) {
      pending.pop();
      continue;
    }
    pending[level]!--;
    if (++values > MAX_CONTROL_VALUES) {
      throw refused(`expected at most ${MAX_CONTROL_VALUES} values`);
    }
    const tag = uint(1);
    if (tag < 0x80 || tag >= 0xe0) continue;
    if (tag < 0x90) open(2 * (tag - 0x80));
    else if (tag < 0xa0) open(tag - 0x90);
    else if (tag < 0xc0) skip(tag - 0xa0);
    else if (tag === 0xc0 || tag === 0xc2 || tag === 0xc3) continue;
    else if (tag >= 0xc4 && tag <= 0xc6) skip(uint(1 << (tag - 0xc4)));
    else if (tag === 0xca) skip(4);
    else if (tag === 0xcb) skip(8);
    else if (tag >= 0xcc && tag <= 0xcf) skip(1 << (tag - 0xcc));
    else if (tag >= 0xd0 && tag <= 0xd3) skip(1 << (tag - 0xd0));
    else if (tag >= 0xd9 && tag <= 0xdb) skip(uint(1 << (tag - 0xd9)));
    else if (tag === 0xdc) open(uint(2));
    else if (tag === 0xdd) open(uint(4));
    else if (tag === 0xde) open(2 * uint(2));
    else if (tag === 0xdf) open(2 * uint(4));
    else throw refused(`it holds a value of unknown type ${tag}`);
  }
  if (position !== bytes.length) throw refused('bytes follow its end');
}

function refused(what: string, options?: ErrorOptions): ProtocolError {
  return new ProtocolError('bad-message', `control message: ${what}`, options);
}
