/** Small views and conversions the gadgets share. */

/** Bit `position` of each element, one byte a bit: wire by wire, each wire its n instances. */
export function wireBits(x: Int32Array, positions: readonly number[]): Uint8Array {
  const n = x.length;
  const bits = new Uint8Array(positions.length * n);
  positions.forEach((position, wire) => {
    for (let i = 0; i < n; i++) bits[wire * n + i] = (x[i]! >>> position) & 1;
  });
  return bits;
}

/** The same bits packed eight to a byte, chunk by chunk of `chunk` elements, each chunk wire by wire. */
export function packWires(x: Int32Array, positions: readonly number[], chunk: number): Uint8Array {
  const packed = new Uint8Array((positions.length * x.length + 7) >> 3);
  let at = 0;
  for (let from = 0; from < x.length; from += chunk) {
    const to = Math.min(from + chunk, x.length);
    for (const position of positions) {
      for (let i = from; i < to; i++, at++) {
        packed[at >> 3]! |= ((x[i]! >>> position) & 1) << (at & 7);
      }
    }
  }
  return packed;
}

/** Packed bits one behind the other: of each part its first `count` bits, the rest of whose last byte are zeros. */
export function joinBits(...parts: readonly (readonly [Uint8Array, number])[]): Uint8Array {
  const out = new Uint8Array((parts.reduce((sum, [, count]) => sum + count, 0) + 7) >> 3);
  let at = 0;
  for (const [bits, count] of parts) {
    const shift = at & 7;
    const first = at >> 3;
    if (shift === 0) out.set(bits, first);
    else {
      bits.forEach((byte, i) => {
        out[first + i]! |= byte << shift;
        // Beyond the last byte nothing is left over.
        if (first + i + 1 < out.length) out[first + i + 1] = byte >> (8 - shift);
      });
    }
    at += count;
  }
  return out;
}

/** Bit i of packed bits. */
export function getBit(packed: Uint8Array, i: number): number {
  return (packed[i >> 3]! >> (i & 7)) & 1;
}

/** Sets bit i of packed bits that was 0. */
export function setBit(packed: Uint8Array, i: number, bit: number): void {
  packed[i >> 3]! |= bit << (i & 7);
}

/** One array after the other. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
