/**
 * The control codec: the few messages that are structured values (handshake, program, errors of a request) and not
 * fixed-layout bytes. MessagePack, without its extensions: the types of {@link ControlValue} and no more.
 *
 * - {@link encodeControl} accepts plain data only. A view other than Uint8Array is refused: whether its bytes or its
 *   numbers are meant is the caller's to say.
 * - A hostile message may announce 2^32 elements or nest 10^5 deep. {@link decodeControl} bounds depth and count as it
 *   reads, and makes room for nothing that is only announced.
 * - One value has one encoding: what does not re-encode to the very same bytes is refused. This disposes of repeated
 *   keys, overlong integers and NaN at once, and lets transcripts be hashed.
 */

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
export const MAX_CONTROL_BYTES = 256 * 1024;

/** Values in one message, each element and each field counting: bounds the memory that 1-byte values grow to. AGREEMENT. */
export const MAX_CONTROL_VALUES = 65536;

/**
 * The bytes of a control message.
 * @throws TypeError for anything but plain data: other views, class instances, undefined, functions, non-finite numbers
 * @throws RangeError for nesting beyond {@link MAX_CONTROL_DEPTH}
 */
export function encodeControl(value: ControlValue): Uint8Array {
  const writer = new Writer();
  writer.value(value, 0);
  return writer.bytes();
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
  const result = schema.safeParse(decodeCanonical(bytes));
  if (!result.success) {
    const issue = result.error.issues[0];
    throw refused(printable(`at ${issue?.path.join('.') || 'its top'}: ${issue?.message}`));
  }
  return result.data;
}

function decodeCanonical(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  reader.end();
  let again: Uint8Array;
  try {
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

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Writes values, each in its shortest form. */
class Writer {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** What was written, in memory of its own. */
  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** @param depth - arrays and objects around `value` */
  value(value: unknown, depth: number): void {
    if (typeof value === 'boolean') this.#tag(value ? 0xc3 : 0xc2);
    else if (typeof value === 'string') this.#string(value);
    else if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'bigint') this.#bigint(value);
    else if (value === null) this.#tag(0xc0);
    else if (value instanceof Uint8Array) {
      this.#header(value.length, 0, 0, [0xc4, 0xc5, 0xc6]);
      this.#raw(value);
    } else if (typeof value === 'object') this.#object(value, depth);
    else throw notPlain(`a value of type ${typeof value}`);
  }

  /** Makes room for `bytes` more; where they begin. */
  #take(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#length);
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }

  #tag(tag: number): void {
    const at = this.#take(1);
    this.#bytes[at] = tag;
  }

  /** A tag, and an unsigned number of 1, 2 or 4 bytes behind it. */
  #sized(tag: number, width: number, value: number): void {
    this.#tag(tag);
    const at = this.#take(width);
    for (let i = 0; i < width; i++) this.#bytes[at + i] = value >>> (8 * (width - 1 - i));
  }

  /** A length: within the tag if it is below `short`, else behind that of 1, 2 or 4 bytes, of which some types lack the first. */
  #header(length: number, small: number, short: number, tags: readonly (number | undefined)[]) {
    const [one, two, four] = tags;
    if (length < short) this.#tag(small + length);
    else if (length < 0x100 && one !== undefined) this.#sized(one, 1, length);
    else if (length < 0x10000) this.#sized(two!, 2, length);
    else this.#sized(four!, 4, length);
  }

  #string(value: string): void {
    if (/\p{Surrogate}/u.test(value)) throw notPlain('a string with half a surrogate pair');
    const bytes = utf8.encode(value);
    this.#header(bytes.length, 0xa0, 32, [0xd9, 0xda, 0xdb]);
    this.#raw(bytes);
  }

  #raw(bytes: Uint8Array): void {
    const at = this.#take(bytes.length);
    this.#bytes.set(bytes, at);
  }

  #number(value: number): void {
    if (!Number.isFinite(value)) throw notPlain('a number that is not finite');
    if (!Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 32) {
      this.#tag(0xcb);
      const at = this.#take(8);
      this.#view.setFloat64(at, value);
    } else if (value >= 0) this.#header(value, 0, 0x80, [0xcc, 0xcd, 0xce]);
    else if (value >= -0x20) this.#tag(0x100 + value);
    else if (value >= -0x80) this.#sized(0xd0, 1, value);
    else if (value >= -0x8000) this.#sized(0xd1, 2, value);
    else this.#sized(0xd2, 4, value);
  }

  #bigint(value: bigint): void {
    if (value < -(2n ** 63n) || value >= 2n ** 64n) throw notPlain('a bigint beyond 64 bits');
    this.#tag(value < 2n ** 63n ? 0xd3 : 0xcf);
    const at = this.#take(8);
    this.#view.setBigUint64(at, BigInt.asUintN(64, value));
  }

  #object(value: object, depth: number): void {
    if (ArrayBuffer.isView(value)) {
      throw notPlain('a view other than Uint8Array; wrap its bytes in one');
    }
    if (depth === MAX_CONTROL_DEPTH) {
      throw new RangeError(`control message: expected at most ${MAX_CONTROL_DEPTH} levels`);
    }
    if (Array.isArray(value)) {
      this.#header(value.length, 0x90, 16, [undefined, 0xdc, 0xdd]);
      // Indexed, so that a hole counts as the undefined it would be sent as.
      for (let i = 0; i < value.length; i++) this.value(value[i], depth + 1);
      return;
    }
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) throw notPlain('a class instance');
    const entries = Object.entries(value);
    this.#header(entries.length, 0x80, 16, [undefined, 0xde, 0xdf]);
    for (const [key, field] of entries) {
      if (key === '__proto__') throw notPlain('a field named __proto__');
      this.#string(key);
      this.value(field, depth + 1);
    }
  }
}

function notPlain(what: string): TypeError {
  return new TypeError(`control message: expected plain data, got ${what}`);
}

/** Reads values within the depth and count limits; in any form, for the caller compares with the shortest one. */
class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #values = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** @throws ProtocolError when bytes follow */
  end(): void {
    if (this.#at !== this.#bytes.length) throw refused('bytes follow its end');
  }

  /** @param depth - arrays and objects around it */
  value(depth: number): ControlValue {
    if (++this.#values > MAX_CONTROL_VALUES) {
      throw refused(`expected at most ${MAX_CONTROL_VALUES} values`);
    }
    const tag = this.#uint(1);
    if (tag < 0x80) return tag;
    if (tag >= 0xe0) return tag - 0x100;
    if (tag < 0x90) return this.#map(tag - 0x80, depth);
    if (tag < 0xa0) return this.#array(tag - 0x90, depth);
    if (tag < 0xc0) return this.#string(tag - 0xa0);
    switch (tag) {
      case 0xc0:
        return null;
      case 0xc2:
      case 0xc3:
        return tag === 0xc3;
      case 0xc4:
      case 0xc5:
      case 0xc6: {
        const length = this.#uint(1 << (tag - 0xc4));
        return new Uint8Array(this.#raw(length));
      }
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#string(this.#uint(1 << (tag - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#uint(2 << (tag - 0xdc)), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#uint(2 << (tag - 0xde)), depth);
      default:
        return this.#number(tag);
    }
  }

  #number(tag: number): number | bigint {
    switch (tag) {
      case 0xca:
        return this.#view.getFloat32(this.#take(4));
      case 0xcb:
        return this.#view.getFloat64(this.#take(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#uint(1 << (tag - 0xcc));
      case 0xcf:
        return this.#view.getBigUint64(this.#take(8));
      case 0xd0:
        return this.#view.getInt8(this.#take(1));
      case 0xd1:
        return this.#view.getInt16(this.#take(2));
      case 0xd2:
        return this.#view.getInt32(this.#take(4));
      case 0xd3:
        return this.#view.getBigInt64(this.#take(8));
      default:
        throw refused(`it holds a value of unknown type ${tag}`);
    }
  }

  /** Passes over `bytes`; where they begin. */
  #take(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#bytes.length - at) throw refused('it ends too early');
    this.#at += bytes;
    return at;
  }

  #raw(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  #uint(width: number): number {
    return this.#raw(width).reduce((value, byte) => value * 256 + byte, 0);
  }

  #string(length: number): string {
    const bytes = this.#raw(length);
    try {
      return fromUtf8.decode(bytes);
    } catch (error) {
      throw refused('it is not plain data', { cause: error });
    }
  }

  /** Opens a level of so many values, none of which takes less than a byte. */
  #open(values: number, depth: number): void {
    if (values > this.#bytes.length - this.#at) throw refused('it ends too early');
    if (depth === MAX_CONTROL_DEPTH) {
      throw refused(`expected at most ${MAX_CONTROL_DEPTH} levels`);
    }
  }

  #array(length: number, depth: number): ControlValue[] {
    this.#open(length, depth);
    const values: ControlValue[] = [];
    for (let i = 0; i < length; i++) values.push(this.value(depth + 1));
    return values;
  }

  #map(fields: number, depth: number): ControlValue {
    this.#open(2 * fields, depth);
    const map: Record<string, ControlValue> = {};
    for (let i = 0; i < fields; i++) {
      const key = this.value(depth + 1);
      if (typeof key !== 'string' || key === '__proto__') throw refused('it is not plain data');
      map[key] = this.value(depth + 1);
    }
    return map;
  }
}

function refused(what: string, options?: ErrorOptions): ProtocolError {
  return new ProtocolError('bad-message', `control message: ${what}`, options);
}
