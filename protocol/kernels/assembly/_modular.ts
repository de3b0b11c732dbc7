// Four-lane arithmetic modulo a prime p with 2^26 - 2^20 < p < 2^26, on unsigned 32-bit lanes.
//
// The six spare bits are what makes it fast: sums need no reduction until they reach 64 p. Nothing here branches.

/** High halves of the four 64-bit products. */
export function multiplyHigh(x: v128, y: v128): v128 {
  return high(i64x2.extmul_low_i32x4_u(x, y), i64x2.extmul_high_i32x4_u(x, y));
}

/** High halves of four 64-bit lanes. */
export function high(low2: v128, high2: v128): v128 {
  return v128.shuffle<i32>(low2, high2, 1, 3, 5, 7);
}

/** x w mod p in [0, 2 p) for any x, with quotient = floor(w 2^32 / p) (Shoup, as in Harvey, JSC 2014, algorithm 2). */
export function multiplyConstant(x: v128, w: v128, quotient: v128, p: v128): v128 {
  return i32x4.sub(i32x4.mul(x, w), i32x4.mul(multiplyHigh(x, quotient), p));
}

/** x mod p in [0, p) for x < 2 p. */
export function reduceOnce(x: v128, p: v128): v128 {
  return i32x4.min_u(x, i32x4.sub(x, p));
}

/**
 * x mod p in [0, p) for any x.
 *
 * With p = 2^26 - d, x - floor(x / 2^26) p = (x mod 2^26) + floor(x / 2^26) d < 2^26 + 2^6 * 2^20 < 2 p.
 */
export function reduce(x: v128, p: v128): v128 {
  return reduceOnce(i32x4.sub(x, i32x4.mul(i32x4.shr_u(x, 26), p)), p);
}

/** x / 2^32 mod p in [0, p) for four 64-bit x < 2^63, with negativeInverse = -1/p mod 2^32 (Montgomery). */
export function reduceProducts(low2: v128, high2: v128, p: v128, negativeInverse: v128): v128 {
  return reduce(reduceLazily(low2, high2, p, negativeInverse), p);
}

/** x / 2^32 mod p, below x / 2^32 + p. */
function reduceLazily(low2: v128, high2: v128, p: v128, negativeInverse: v128): v128 {
  const m = i32x4.mul(v128.shuffle<i32>(low2, high2, 0, 2, 4, 6), negativeInverse);
  return high(
    i64x2.add(low2, i64x2.extmul_low_i32x4_u(m, p)),
    i64x2.add(high2, i64x2.extmul_high_i32x4_u(m, p)),
  );
}

/** x y / 2^32 mod p in [0, p) for x, y < 2^31. */
export function multiplyMontgomery(x: v128, y: v128, p: v128, negativeInverse: v128): v128 {
  return reduceProducts(
    i64x2.extmul_low_i32x4_u(x, y),
    i64x2.extmul_high_i32x4_u(x, y),
    p,
    negativeInverse,
  );
}

/** x y / 2^32 mod p in [0, 2 p) for x, y in [0, p). */
export function multiplyLazily(x: v128, y: v128, p: v128, negativeInverse: v128): v128 {
  return reduceLazily(
    i64x2.extmul_low_i32x4_u(x, y),
    i64x2.extmul_high_i32x4_u(x, y),
    p,
    negativeInverse,
  );
}
