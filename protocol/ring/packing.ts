/**
 * Integers of few bits on the wire.
 *
 * Value i takes the bits i * width .. (i + 1) * width - 1 of the string, its lowest first; bit b of a string is bit b & 7 of
 * byte b >> 3. The last byte is filled up with zeros.
 */

/** Bytes of `n` values of `width` bits. */
export function packedBytes(n: number, width: number): number {
  return Math.ceil((n * width) / 8);
}

/** Packs the low `width` bits of each value; `width` in 1 .. 32. */
export function pack(values: Int32Array, width: number): Uint8Array {
  checkWidth(width);
  const words = new Int32Array(Math.ceil((values.length * width) / 32));
  const mask = lowBits(width);
  let word = 0;
  let filled = 0;
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]! & mask;
    word |= value << filled;
    filled += width;
    if (filled >= 32) {
      words[at++] = word;
      filled -= 32;
      // A shift by 32 would be a shift by 0.
      word = filled === 0 ? 0 : value >>> (width - filled);
    }
  }
  if (filled > 0) words[at] = word;
  return new Uint8Array(words.buffer, 0, packedBytes(values.length, width));
}

/**
 * Unpacks `n` values of `width` bits, not sign-extended.
 * @throws RangeError when `bytes` is not just long enough: check a peer's message first
 */
export function unpack(bytes: Uint8Array, n: number, width: number): Int32Array {
  checkWidth(width);
  if (bytes.length !== packedBytes(n, width)) {
    throw new RangeError(`packed: expected ${packedBytes(n, width)} bytes, got ${bytes.length}`);
  }
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  const words = new Int32Array(padded.buffer);
  const mask = lowBits(width);
  const out = new Int32Array(n);
  for (let i = 0, bit = 0; i < n; i++, bit += width) {
    const at = Math.floor(bit / 32);
    const shift = bit % 32;
    let value = words[at]! >>> shift;
    if (shift + width > 32) value |= words[at + 1]! << (32 - shift);
    out[i] = value & mask;
  }
  return out;
}

/** The mask of the low `width` bits, 1 .. 32. */
export function lowBits(width: number): number {
  return width === 32 ? -1 : (1 << width) - 1;
}

/** The low `width` bits of a value, 1 .. 32, as a signed number. */
export function signed(value: number, width: number): number {
  return (value << (32 - width)) >> (32 - width);
}

function checkWidth(width: number): void {
  if (!Number.isInteger(width) || width < 1 || width > 32) {
    throw new RangeError(`width: expected 1 to 32 bits, got ${width}`);
  }
}
