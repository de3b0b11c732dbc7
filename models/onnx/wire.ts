/**
 * The wire format of protocol buffers, as far as ONNX needs it: fields of a message, one after the other, from bytes that
 * may be hostile. Every length is checked against what is left before anything is taken or allocated.
 *
 * Source: protobuf.dev/programming-guides/encoding.
 */

import { ModelError } from '../errors.ts';

/**
 * Fields that one file may have, counted where somebody reads them. LOCAL: a network of a thousand layers has some
 * ten thousand; the limit keeps a file of two-byte fields from becoming gigabytes of objects.
 */
const MAX_FIELDS = 1 << 18;

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

function fail(what: string): never {
  throw new ModelError('file', `not a readable ONNX file: ${what}`);
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Walks over bytes. */
class Cursor {
  #at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  take(length: number): Uint8Array {
    const left = this.#bytes.length - this.#at;
    if (!(length >= 0 && length <= left)) {
      fail(`a field of ${length} bytes stands where ${left} are left`);
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** A 64-bit integer in two's complement, as the nearest double. */
  varint(): number {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.isAtEnd) fail('it is cut short inside a number');
      const byte = this.#bytes[this.#at++]!;
      const bits = byte & 0x7f;
      if (shift < 32) low |= bits << shift;
      if (shift === 28) high |= bits >>> 4;
      if (shift > 28) high |= bits << (shift - 32);
      if (byte < 0x80) return high * 2 ** 32 + (low >>> 0);
    }
    return fail('a number has more than ten bytes');
  }
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** One field's value, to be read as what the schema says it is. */
export class FieldValue {
  readonly #wire: number;
  readonly #number: number;
  readonly #bytes: Uint8Array;

  constructor(wire: number, number: number, bytes: Uint8Array) {
    this.#wire = wire;
    this.#number = number;
    this.#bytes = bytes;
  }

  #expect(wire: number, what: string): void {
    if (this.#wire !== wire) fail(`there is no ${what} where one should be`);
  }

  /** An int64, int32, uint64, bool or enum, as the nearest double. */
  integer(): number {
    this.#expect(VARINT, 'integer');
    return this.#number;
  }

  /** A view, no copy: bytes, or a message. */
  bytes(): Uint8Array {
    this.#expect(BYTES, 'message');
    return this.#bytes;
  }

  text(): string {
    this.#expect(BYTES, 'text');
    try {
      return utf8.decode(this.#bytes);
    } catch {
      return fail('a text in it is not UTF-8');
    }
  }

  float(): number {
    this.#expect(FIXED32, 'float');
    return view(this.#bytes).getFloat32(0, true);
  }

  /** Repeated integers: one, or many packed. */
  integers(): Float64Array {
    if (this.#wire === VARINT) return Float64Array.of(this.#number);
    this.#expect(BYTES, 'list of integers');
    // The last byte of every number, and no other, has its top bit clear.
    const count = this.#bytes.reduce((n, byte) => n + (byte < 0x80 ? 1 : 0), 0);
    const cursor = new Cursor(this.#bytes);
    const out = new Float64Array(count);
    for (let i = 0; i < count; i++) out[i] = cursor.varint();
    if (!cursor.isAtEnd) fail('it is cut short inside a list of integers');
    return out;
  }

  /** Repeated floats: one, or many packed. */
  floats(): Float32Array {
    if (this.#wire === FIXED32) return Float32Array.of(this.float());
    this.#expect(BYTES, 'list of floats');
    if (this.#bytes.length % 4 !== 0) fail('a list of floats has a part of one at its end');
    const from = view(this.#bytes);
    return Float32Array.from({ length: this.#bytes.length / 4 }, (_, i) =>
      from.getFloat32(4 * i, true),
    );
  }

  /** Repeated doubles: one, or many packed. */
  doubles(): Float64Array {
    if (this.#wire !== FIXED64) this.#expect(BYTES, 'list of doubles');
    if (this.#bytes.length % 8 !== 0) fail('a list of doubles has a part of one at its end');
    const from = view(this.#bytes);
    return Float64Array.from({ length: this.#bytes.length / 8 }, (_, i) =>
      from.getFloat64(8 * i, true),
    );
  }
}

/** What to do with the fields of a message, by their number; others are skipped. */
export type Fields = Readonly<Record<number, (value: FieldValue) => void>>;

/** Reads messages of one file. */
export class WireReader {
  #fields = 0;

  /**
   * Visits the fields of one message in their order.
   * @throws ModelError `file` when the bytes are no message, a field is not what its visitor reads it as, or the file has
   *   more fields than any network.
   */
  read(message: Uint8Array, fields: Fields): void {
    const cursor = new Cursor(message);
    while (!cursor.isAtEnd) {
      const tag = cursor.varint();
      const field = Math.floor(tag / 8);
      if (!(field >= 1 && field < 2 ** 29)) fail(`there is no field ${field}`);
      const value = take(cursor, tag % 8);
      const visit = fields[field];
      if (visit === undefined) continue;
      if (++this.#fields > MAX_FIELDS) fail(`it has more than ${MAX_FIELDS} fields`);
      visit(value);
    }
  }
}

const NOTHING = new Uint8Array(0);

function take(cursor: Cursor, wire: number): FieldValue {
  switch (wire) {
    case VARINT:
      return new FieldValue(wire, cursor.varint(), NOTHING);
    case FIXED64:
      return new FieldValue(wire, 0, cursor.take(8));
    case BYTES:
      return new FieldValue(wire, 0, cursor.take(cursor.varint()));
    case FIXED32:
      return new FieldValue(wire, 0, cursor.take(4));
    default:
      return fail(`a field has wire type ${wire}`);
  }
}
