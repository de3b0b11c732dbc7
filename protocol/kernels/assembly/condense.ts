// What a running digest does to long messages before it hashes them: protocol/random/running.ts.

/** Bytes of a block. */
const BLOCK: usize = 4096;

/**
 * Each 4,096 bytes of `src`, and what is left, become 32 of `dst`: NH of RFC 4418, twice, each time with two 64-bit sums, one
 * of even and one of odd words.
 * @param bytes - a multiple of 32
 * @param key - 4,112 bytes: the second time begins 16 bytes later
 */
export function condense(dst: usize, src: usize, bytes: usize, key: usize): void {
  for (const last = src + bytes; src < last; dst += 32) {
    let first = i64x2.splat(0);
    let second = i64x2.splat(0);
    let k = key;
    let low = v128.load(k);
    for (const end = min(src + BLOCK, last); src < end; src += 32, k += 32) {
      const x = v128.load(src);
      const y = v128.load(src, 16);
      const middle = v128.load(k, 16);
      const high = v128.load(k, 32);
      first = i64x2.add(first, products(i32x4.add(x, low), i32x4.add(y, middle)));
      second = i64x2.add(second, products(i32x4.add(x, middle), i32x4.add(y, high)));
      low = high;
    }
    v128.store(dst, first);
    v128.store(dst, second, 16);
  }
}

/** Sums of products of 32-bit words, as 64-bit numbers: words 0 and 2, words 1 and 3. */
function products(a: v128, b: v128): v128 {
  return i64x2.add(i64x2.extmul_low_i32x4_u(a, b), i64x2.extmul_high_i32x4_u(a, b));
}
