// Parts that kernels on 16-byte blocks share.

/** sigma(low || high) = (low ^ high) || low on 64-bit halves: the linear orthomorphism of the block hash. */
export function sigmaOf(x: v128): v128 {
  // (high, low) ^ (low, 0)
  return v128.xor(v128.shuffle<i64>(x, x, 1, 0), v128.shuffle<i64>(x, i64x2.splat(0), 0, 2));
}

/** All ones where the lowest bit of the block is 1, else all zeros: a select by a secret bit without a branch. */
export function colourMask(x: v128): v128 {
  return i32x4.shr_s(i32x4.shl(v128.shuffle<i32>(x, x, 0, 0, 0, 0), 31), 31);
}
