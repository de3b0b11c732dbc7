// Whole-block operations on bits: XOR of long buffers, the linear orthomorphism of the block hash.

/** dst[i] = a[i] ^ b[i] over `bytes` bytes; a multiple of 16, all pointers 16-byte aligned. */
export function xor(dst: usize, a: usize, b: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store(dst + i, v128.xor(v128.load(a + i), v128.load(b + i)));
  }
}

/** dst = sigma(src) on `blocks` blocks: bytes 0-7 become low ^ high, bytes 8-15 become low. In place is fine. */
export function sigma(dst: usize, src: usize, blocks: usize): void {
  const end = src + (blocks << 4);
  for (; src < end; src += 16, dst += 16) {
    const x = v128.load(src);
    // (high, low) ^ (low, 0) = (low ^ high, low)
    v128.store(
      dst,
      v128.xor(v128.shuffle<i64>(x, x, 1, 0), v128.shuffle<i64>(x, i64x2.splat(0), 0, 2)),
    );
  }
}
