// Whole-block operations on bits: XOR of long buffers.

/** dst[i] = a[i] ^ b[i] over `bytes` bytes; a multiple of 16, all pointers 16-byte aligned. */
export function xor(dst: usize, a: usize, b: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store(dst + i, v128.xor(v128.load(a + i), v128.load(b + i)));
  }
}
