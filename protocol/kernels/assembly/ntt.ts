// Negacyclic number-theoretic transform modulo a prime below 2^26, and the pointwise products in its domain.
//
// Harvey, "Faster arithmetic for number-theoretic transforms", JSC 2014, with Longa-Naehrig's merged powers of psi. A
// transformed polynomial is in an unusual order: whatever the last two layers' lane shuffles leave. Only pointwise
// operations look at it, so the order needs no name.
//
// Tables, one per direction, made by protocol/linear/lattice/transform.ts (10 n bytes):
//   n / 4 pairs (w, floor(w 2^32 / p)) of the layers with at least four lanes to a half, pair 0 unused;
//   then, per eight elements, four vectors: w and quotient of the layer of stride 2, w and quotient of stride 1.

import {
  multiplyConstant,
  multiplyLazily,
  multiplyMontgomery,
  reduce,
  reduceOnce,
  reduceProducts,
} from './_modular';

/**
 * dst = transform of src, n signed integers > -p and < 37 p - 2^26; dst in [0, p). In place is fine.
 *
 * Lazy: a layer adds less than 2 p to every value, so 12 layers stay below 64 p and only the last one reduces.
 */
export function forward(dst: usize, src: usize, n: usize, table: usize, prime: u32): void {
  const p = i32x4.splat(prime);
  const p2 = i32x4.splat(2 * prime);
  let groups: usize = 1;
  let quarter = n; // bytes: a quarter of a group
  // An odd number of layers starts with a single one, the rest go in pairs.
  if ((31 - clz<u32>(<u32>n)) & 1) {
    const w = v128.load32_splat(table + 8);
    const quotient = v128.load32_splat(table + 12);
    const half: usize = 2 * n;
    for (let i: usize = 0; i < half; i += 16) {
      const x = i32x4.add(v128.load(src + i), p);
      const y = multiplyConstant(i32x4.add(v128.load(src + half + i), p), w, quotient, p);
      v128.store(dst + i, i32x4.add(x, y));
      v128.store(dst + half + i, i32x4.add(i32x4.sub(x, y), p2));
    }
    groups = 2;
    quarter = n >> 1;
  } else {
    forwardPair(dst, src, 1, n, table, p, p2, p);
    groups = 4;
    quarter = n >> 2;
  }
  for (; quarter >= 16; groups <<= 2, quarter >>= 2) {
    forwardPair(dst, dst, groups, quarter, table, p, p2, i32x4.splat(0));
  }
  forwardTail(dst, n, table + 2 * n, p, p2);
}

/** Two layers: `groups` groups of 4 * quarter bytes; `bias` is added to what is read. */
function forwardPair(
  dst: usize,
  src: usize,
  groups: usize,
  quarter: usize,
  table: usize,
  p: v128,
  p2: v128,
  bias: v128,
): void {
  let first = table + 8 * groups;
  let second = table + 16 * groups;
  for (let g: usize = 0; g < groups; g++) {
    const w1 = v128.load32_splat(first);
    const q1 = v128.load32_splat(first + 4);
    const w2 = v128.load32_splat(second);
    const q2 = v128.load32_splat(second + 4);
    const w3 = v128.load32_splat(second + 8);
    const q3 = v128.load32_splat(second + 12);
    first += 8;
    second += 16;
    const end = src + quarter;
    for (; src < end; src += 16, dst += 16) {
      const x0 = i32x4.add(v128.load(src), bias);
      const x1 = i32x4.add(v128.load(src + quarter), bias);
      const a = multiplyConstant(i32x4.add(v128.load(src + 2 * quarter), bias), w1, q1, p);
      const b = multiplyConstant(i32x4.add(v128.load(src + 3 * quarter), bias), w1, q1, p);
      const y0 = i32x4.add(x0, a);
      const y2 = i32x4.add(i32x4.sub(x0, a), p2);
      const c = multiplyConstant(i32x4.add(x1, b), w2, q2, p);
      const d = multiplyConstant(i32x4.add(i32x4.sub(x1, b), p2), w3, q3, p);
      v128.store(dst, i32x4.add(y0, c));
      v128.store(dst + quarter, i32x4.add(i32x4.sub(y0, c), p2));
      v128.store(dst + 2 * quarter, i32x4.add(y2, d));
      v128.store(dst + 3 * quarter, i32x4.add(i32x4.sub(y2, d), p2));
    }
    src += 3 * quarter;
    dst += 3 * quarter;
  }
}

/** The layers of strides 2 and 1 and the reduction to [0, p). */
function forwardTail(x: usize, n: usize, table: usize, p: v128, p2: v128): void {
  const end = x + 4 * n;
  for (; x < end; x += 32, table += 64) {
    const v0 = v128.load(x);
    const v1 = v128.load(x, 16);
    const a = v128.shuffle<i32>(v0, v1, 0, 1, 4, 5);
    const b = multiplyConstant(
      v128.shuffle<i32>(v0, v1, 2, 3, 6, 7),
      v128.load(table),
      v128.load(table, 16),
      p,
    );
    const y0 = i32x4.add(a, b);
    const y1 = i32x4.add(i32x4.sub(a, b), p2);
    const c = v128.shuffle<i32>(y0, y1, 0, 2, 4, 6);
    const d = multiplyConstant(
      v128.shuffle<i32>(y0, y1, 1, 3, 5, 7),
      v128.load(table, 32),
      v128.load(table, 48),
      p,
    );
    v128.store(x, reduce(i32x4.add(c, d), p));
    v128.store(x, reduce(i32x4.add(i32x4.sub(c, d), p2), p), 16);
  }
}

/**
 * x = scale * n * inverse transform of x, or of the pointwise product x y / 2^32 if y is not 0, in place: scale = 1/n mod p
 * for the plain inverse, quotient = floor(scale 2^32 / p). x and y are below p, x alone may be below 2 p; leaves values in
 * [0, p).
 *
 * An odd number of layers ends with a single one: turned = scale times its root mod p, and its quotient.
 */
export function inverse(
  x: usize,
  y: usize,
  n: usize,
  table: usize,
  prime: u32,
  negativeInverse: u32,
  scale: u32,
  quotient: u32,
  turned: u32,
  turnedQuotient: u32,
): void {
  const p = i32x4.splat(prime);
  const p2 = i32x4.splat(2 * prime);
  const negative = i32x4.splat(negativeInverse);
  const end = x + 4 * n;
  let constants = table + 2 * n;
  for (let at = x; at < end; at += 32, constants += 64) {
    let v0 = v128.load(at);
    let v1 = v128.load(at, 16);
    if (y !== 0) {
      v0 = multiplyLazily(v0, v128.load(y), p, negative);
      v1 = multiplyLazily(v1, v128.load(y, 16), p, negative);
      y += 32;
    }
    inverseTail(at, v0, v1, constants, p, p2);
  }
  let quarter: usize = 16; // bytes
  let groups = n >> 4;
  for (; groups > 0; groups >>= 2, quarter <<= 2) inversePair(x, groups, quarter, table, p, p2);
  const w = i32x4.splat(scale);
  const q = i32x4.splat(quotient);
  if (quarter === 2 * n) {
    // The last layer and the scale in one step.
    const wTurned = i32x4.splat(turned);
    const qTurned = i32x4.splat(turnedQuotient);
    for (let i: usize = 0; i < quarter; i += 16) {
      const a = v128.load(x + i);
      const b = v128.load(x + quarter + i);
      const sum = multiplyConstant(i32x4.add(a, b), w, q, p);
      const difference = i32x4.add(i32x4.sub(a, b), p2);
      v128.store(x + i, reduceOnce(sum, p));
      const product = multiplyConstant(difference, wTurned, qTurned, p);
      v128.store(x + quarter + i, reduceOnce(product, p));
    }
    return;
  }
  for (let i: usize = 0; i < 4 * n; i += 16) {
    v128.store(x + i, reduceOnce(multiplyConstant(v128.load(x + i), w, q, p), p));
  }
}

/** The layers of strides 1 and 2 on eight values below 2 p; stores them, below 2 p, at x. */
function inverseTail(x: usize, v0: v128, v1: v128, table: usize, p: v128, p2: v128): void {
  const c = reduceOnce(i32x4.add(v0, v1), p2);
  const d = multiplyConstant(
    i32x4.add(i32x4.sub(v0, v1), p2),
    v128.load(table, 32),
    v128.load(table, 48),
    p,
  );
  const y0 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const y1 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  const a = reduceOnce(i32x4.add(y0, y1), p2);
  const b = multiplyConstant(
    i32x4.add(i32x4.sub(y0, y1), p2),
    v128.load(table),
    v128.load(table, 16),
    p,
  );
  v128.store(x, v128.shuffle<i32>(a, b, 0, 1, 4, 5));
  v128.store(x, v128.shuffle<i32>(a, b, 2, 3, 6, 7), 16);
}

/** Undoes forwardPair up to a factor of 4; values stay below 2 p. */
function inversePair(
  x: usize,
  groups: usize,
  quarter: usize,
  table: usize,
  p: v128,
  p2: v128,
): void {
  let first = table + 8 * groups;
  let second = table + 16 * groups;
  for (let g: usize = 0; g < groups; g++) {
    const w1 = v128.load32_splat(first);
    const q1 = v128.load32_splat(first + 4);
    const w2 = v128.load32_splat(second);
    const q2 = v128.load32_splat(second + 4);
    const w3 = v128.load32_splat(second + 8);
    const q3 = v128.load32_splat(second + 12);
    first += 8;
    second += 16;
    const end = x + quarter;
    for (; x < end; x += 16) {
      const z0 = v128.load(x);
      const z1 = v128.load(x + quarter);
      const z2 = v128.load(x + 2 * quarter);
      const z3 = v128.load(x + 3 * quarter);
      const y0 = reduceOnce(i32x4.add(z0, z1), p2);
      const y1 = multiplyConstant(i32x4.add(i32x4.sub(z0, z1), p2), w2, q2, p);
      const y2 = reduceOnce(i32x4.add(z2, z3), p2);
      const y3 = multiplyConstant(i32x4.add(i32x4.sub(z2, z3), p2), w3, q3, p);
      v128.store(x, reduceOnce(i32x4.add(y0, y2), p2));
      v128.store(x + quarter, reduceOnce(i32x4.add(y1, y3), p2));
      v128.store(x + 2 * quarter, multiplyConstant(i32x4.add(i32x4.sub(y0, y2), p2), w1, q1, p));
      v128.store(x + 3 * quarter, multiplyConstant(i32x4.add(i32x4.sub(y1, y3), p2), w1, q1, p));
    }
    x += 3 * quarter;
  }
}

/**
 * sums[i] += x[i] w[i] for n residues each, sums of 64 bits. A product is below 2^52: the caller folds the sums before
 * 2^11 - 2^6 of them pile up.
 */
export function accumulateProduct(sums: usize, x: usize, w: usize, n: usize): void {
  const end = w + 4 * n;
  for (; w < end; w += 16, x += 16, sums += 32) {
    const a = v128.load(x);
    const b = v128.load(w);
    v128.store(sums, i64x2.add(v128.load(sums), i64x2.extmul_low_i32x4_u(a, b)));
    v128.store(sums, i64x2.add(v128.load(sums, 16), i64x2.extmul_high_i32x4_u(a, b)), 16);
  }
}

/** sums[i] = something below 2^59 with the same residue, for n 64-bit lanes; radix = 2^32 mod p. */
export function foldSums(sums: usize, n: usize, radix: u32): void {
  const end = sums + 8 * n;
  for (; sums < end; sums += 8) {
    const x = load<u64>(sums);
    store<u64>(sums, (x & 0xffffffff) + (x >> 32) * <u64>radix);
  }
}

/** dst[i] = sums[i] / 2^32 mod p in [0, p) for n 64-bit sums below 2^63. */
export function reduceSums(
  dst: usize,
  sums: usize,
  n: usize,
  prime: u32,
  negativeInverse: u32,
): void {
  const p = i32x4.splat(prime);
  const inverse = i32x4.splat(negativeInverse);
  const end = dst + 4 * n;
  for (; dst < end; dst += 16, sums += 32) {
    v128.store(dst, reduceProducts(v128.load(sums), v128.load(sums, 16), p, inverse));
  }
}

/** dst[i] = x[i] y[i] / 2^32 mod p in [0, p). In place is fine. */
export function multiply(
  dst: usize,
  x: usize,
  y: usize,
  n: usize,
  prime: u32,
  negativeInverse: u32,
): void {
  const p = i32x4.splat(prime);
  const inverse = i32x4.splat(negativeInverse);
  const end = dst + 4 * n;
  for (; dst < end; dst += 16, x += 16, y += 16) {
    v128.store(dst, multiplyMontgomery(v128.load(x), v128.load(y), p, inverse));
  }
}

/** dst[i] = dst[i] - x[i] y[i] / 2^32 mod p in [0, p), dst given in [0, p). */
export function subtractProduct(
  dst: usize,
  x: usize,
  y: usize,
  n: usize,
  prime: u32,
  negativeInverse: u32,
): void {
  const p = i32x4.splat(prime);
  const inverse = i32x4.splat(negativeInverse);
  const end = dst + 4 * n;
  for (; dst < end; dst += 16, x += 16, y += 16) {
    const product = multiplyMontgomery(v128.load(x), v128.load(y), p, inverse);
    v128.store(dst, reduceOnce(i32x4.add(i32x4.sub(v128.load(dst), product), p), p));
  }
}
