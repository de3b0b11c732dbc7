// Around the transform: sampling, encoding, Chinese remaindering, rounding and bit packing of RLWE polynomials.
//
// Residues are unsigned 32-bit lanes below a prime of 26 bits; a value modulo q = p1 p2 < 2^52 is a 64-bit lane, and
// crosses the boundary as f64, which holds it exactly. Samplers never branch on, or index by, a value they keep.

import { multiplyConstant, multiplyHigh, reduceOnce } from './_modular';

/** Keeps the words of 26 bits below `prime`, up to `wanted`; returns how many. */
export function sampleResidues(
  dst: usize,
  wanted: usize,
  src: usize,
  words: usize,
  prime: u32,
): usize {
  let kept: usize = 0;
  for (let i: usize = 0; i < words && kept < wanted; i++) {
    const x = load<u32>(src + 4 * i) & 0x3ffffff;
    store<u32>(dst + 4 * kept, x);
    kept += <usize>(x < prime);
  }
  return kept;
}

/** Keeps the 64-bit words whose low 52 bits are below `bound`, up to `wanted`; returns how many. */
export function sampleBelow(
  dst: usize,
  wanted: usize,
  src: usize,
  words: usize,
  bound: f64,
): usize {
  const limit = <u64>bound;
  let kept: usize = 0;
  for (let i: usize = 0; i < words && kept < wanted; i++) {
    const x = load<u64>(src + 8 * i) & 0xfffffffffffff;
    store<u64>(dst + 8 * kept, x);
    kept += <usize>(x < limit);
  }
  return kept;
}

/** Uniform elements of {-1, 0, 1} as signed 32-bit lanes from the bytes below 255, up to `wanted`; returns how many. */
export function sampleTernary(dst: usize, wanted: usize, src: usize, bytes: usize): usize {
  let kept: usize = 0;
  for (let i: usize = 0; i < bytes && kept < wanted; i++) {
    const x = <i32>load<u8>(src + i);
    store<i32>(dst + 4 * kept, x - 3 * ((x * 171) >> 9) - 1);
    kept += <usize>(x < 255);
  }
  return kept;
}

/** dst[i] = ones of 21 bits minus ones of 21 others, as signed 32-bit lanes, from n words of 64 bits. */
export function sampleBinomial(dst: usize, src: usize, n: usize): void {
  for (let i: usize = 0; i < n; i++) {
    const x = load<u64>(src + 8 * i);
    store<i32>(dst + 4 * i, <i32>(popcnt(x & 0x1fffff) - popcnt((x >> 21) & 0x1fffff)));
  }
}

/**
 * dst[i] = round(q m[i] / 2^32) + error[i] modulo p up to one p, as signed lanes in [-p / 2, 2 p).
 *
 * q m = z mod 2^32 with z signed makes round(q m / 2^32) = (q m - z) / 2^32, and p divides q: modulo p that is
 * -z / 2^32, one Montgomery reduction whatever the size of q. `scale` = -q mod 2^32, so -z is the low half of m scale.
 */
export function encode(
  dst: usize,
  message: usize,
  error: usize,
  n: usize,
  scale: u32,
  prime: u32,
  negativeInverse: u32,
): void {
  const p = i32x4.splat(prime);
  const factor = i32x4.splat(scale);
  const inverse = i32x4.splat(negativeInverse);
  const zero = i32x4.splat(0);
  for (let i: usize = 0; i < 4 * n; i += 16) {
    const x = i32x4.mul(v128.load(message + i), factor);
    // (x + k p) / 2^32 with k = -x / p mod 2^32: the low halves cancel, with a carry unless both are 0.
    const k = multiplyHigh(i32x4.mul(x, inverse), p);
    const quotient = i32x4.add(i32x4.sub(k, i32x4.ne(x, zero)), i32x4.shr_s(x, 31));
    v128.store(dst + i, i32x4.add(quotient, v128.load(error + i)));
  }
}

/** x[i] = x[i] + small[i] mod p in [0, p), for |small| < p. */
export function addSmall(x: usize, small: usize, n: usize, prime: u32): void {
  const p = i32x4.splat(prime);
  for (let i: usize = 0; i < 4 * n; i += 16) {
    const sum = i32x4.add(v128.load(x + i), v128.load(small + i));
    // A negative sum is huge as an unsigned lane: adding p wraps it back.
    v128.store(x + i, reduceOnce(i32x4.min_u(sum, i32x4.add(sum, p)), p));
  }
}

/**
 * x[i] = round(value / last) mod p, where x and `dropped` hold the value modulo p and modulo `last`; constants:
 * inverse = 1 / last mod p and quotient = floor(inverse 2^32 / p).
 */
export function rescale(
  x: usize,
  dropped: usize,
  n: usize,
  prime: u32,
  last: u32,
  inverse: u32,
  quotient: u32,
): void {
  const p = i32x4.splat(prime);
  const l = i32x4.splat(last);
  const half = i32x4.splat(last >> 1);
  const lift = i32x4.splat((last >> 1) + 2 * prime);
  const w = i32x4.splat(inverse);
  const q = i32x4.splat(quotient);
  for (let i: usize = 0; i < 4 * n; i += 16) {
    // round(v / l) = (v + half - ((v + half) mod l)) / l
    const rest = reduceOnce(i32x4.add(v128.load(dropped + i), half), l);
    const numerator = i32x4.sub(i32x4.add(v128.load(x + i), lift), rest);
    v128.store(x + i, reduceOnce(multiplyConstant(numerator, w, q, p), p));
  }
}

/** dst[i] = src[positions[i]], 32-bit lanes. Positions are public. */
export function gather(dst: usize, src: usize, positions: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    store<u32>(dst + 4 * i, load<u32>(src + 4 * load<u32>(positions + 4 * i)));
  }
}

/**
 * dst[i] = the value modulo p1 p2 with residues x[i] and y[i]; constants: inverse = 1 / p1 mod p2 and quotient =
 * floor(inverse 2^32 / p2). Rounds n up to a multiple of 4.
 */
export function compose(
  dst: usize,
  x: usize,
  y: usize,
  n: usize,
  p1: u32,
  p2: u32,
  inverse: u32,
  quotient: u32,
): void {
  const first = i32x4.splat(p1);
  const second = i32x4.splat(p2);
  const lift = i32x4.splat(2 * p2);
  const w = i32x4.splat(inverse);
  const q = i32x4.splat(quotient);
  const end = x + 4 * n;
  for (; x < end; x += 16, y += 16, dst += 32) {
    // x + p1 ((y - x) / p1 mod p2)
    const a = v128.load(x);
    const difference = i32x4.sub(i32x4.add(v128.load(y), lift), a);
    const k = reduceOnce(multiplyConstant(difference, w, q, second), second);
    v128.store(dst, i64x2.add(i64x2.extmul_low_i32x4_u(k, first), i64x2.extend_low_i32x4_u(a)));
    v128.store(
      dst,
      i64x2.add(i64x2.extmul_high_i32x4_u(k, first), i64x2.extend_high_i32x4_u(a)),
      16,
    );
  }
}

/** dst[i] = src[i] mod p for n 64-bit lanes below 2^52. */
export function split(dst: usize, src: usize, n: usize, prime: u32): void {
  const p = <i64>prime;
  const reciprocal = 1.0 / <f64>prime;
  for (let i: usize = 0; i < n; i++) {
    const x = load<i64>(src + 8 * i);
    // The rounded quotient is off by at most one.
    let r = x - <i64>(<f64>x * reciprocal) * p;
    r += p & (r >> 63);
    r -= p;
    r += p & (r >> 63);
    store<u32>(dst + 4 * i, <u32>r);
  }
}

/** x[i] = x[i] + y[i] mod q, 64-bit lanes below q. */
export function addWide(x: usize, y: usize, n: usize, modulus: f64): void {
  const q = <i64>modulus;
  for (let i: usize = 0; i < 8 * n; i += 8) {
    const r = load<i64>(x + i) + load<i64>(y + i) - q;
    store<i64>(x + i, r + (q & (r >> 63)));
  }
}

/** x[i] = x[i] - y[i] mod q, 64-bit lanes below q. */
export function subtractWide(x: usize, y: usize, n: usize, modulus: f64): void {
  const q = <i64>modulus;
  for (let i: usize = 0; i < 8 * n; i += 8) {
    const r = load<i64>(x + i) - load<i64>(y + i);
    store<i64>(x + i, r + (q & (r >> 63)));
  }
}

/** dst[i] = round(src[i] ratio) mod 2^32, 64-bit lanes to 32-bit lanes; ratio = 2^32 / q. */
export function toRing(dst: usize, src: usize, n: usize, ratio: f64): void {
  for (let i: usize = 0; i < n; i++) {
    store<u32>(dst + 4 * i, <u32>(<i64>nearest(<f64>load<i64>(src + 8 * i) * ratio)));
  }
}

/**
 * dst[i] = floor((2^bits src[i] + noise[i] + (q - 1) / 2) / q) mod 2^bits, 64-bit lanes below an odd q < 2^52 to 32-bit
 * lanes; noise[i] < 2^bits <= 2^32. Uniform noise makes it exactly uniform when src is.
 */
export function roundUniform(
  dst: usize,
  src: usize,
  noise: usize,
  n: usize,
  bits: i32,
  modulus: f64,
): void {
  const q = <i64>modulus;
  const ratio = <f64>((<u64>1) << (<u64>bits)) / modulus;
  const half = (q - 1) >> 1;
  const mask = <u32>(((<u64>1) << (<u64>bits)) - 1);
  for (let i: usize = 0; i < n; i++) {
    const x = load<i64>(src + 8 * i);
    // The estimate is off by at most one, so the rest lies in (-q, 5 q / 2 + 2^32): exact although products wrap.
    let quotient = <i64>(<f64>x * ratio);
    let rest = (x << (<i64>bits)) - quotient * q + half + <i64>load<u32>(noise + 4 * i);
    const negative = rest >> 63;
    quotient += negative;
    rest += q & negative;
    for (let step = 0; step < 3; step++) {
      const above = ~((rest - q) >> 63);
      quotient -= above;
      rest -= q & above;
    }
    store<u32>(dst + 4 * i, <u32>quotient & mask);
  }
}

/** Writes n 32-bit lanes of `width` <= 32 bits, lowest bits first; may clear 8 bytes past the end. */
export function packResidues(dst: usize, src: usize, n: usize, width: usize): void {
  let carry: u64 = 0;
  for (let i: usize = 0, bit: usize = 0; i < n; i++, bit += width) {
    carry = putBits(dst, bit, width, <u64>load<u32>(src + 4 * i), carry);
  }
}

/** Reads n values of `width` <= 32 bits into 32-bit lanes; returns how many are not below `bound`. */
export function unpackResidues(dst: usize, src: usize, n: usize, width: usize, bound: u32): usize {
  let bad: usize = 0;
  for (let i: usize = 0, bit: usize = 0; i < n; i++, bit += width) {
    const x = <u32>getBits(src, bit, width);
    bad += <usize>(x >= bound);
    store<u32>(dst + 4 * i, x);
  }
  return bad;
}

/** Writes round(x / 2^drop) of n 64-bit lanes in `width` bits each; may clear 8 bytes past the end. */
export function packRounded(dst: usize, src: usize, n: usize, drop: usize, width: usize): void {
  const half = ((<u64>1) << (<u64>drop)) >> 1;
  let carry: u64 = 0;
  for (let i: usize = 0, bit: usize = 0; i < n; i++, bit += width) {
    carry = putBits(dst, bit, width, (load<u64>(src + 8 * i) + half) >> <u64>drop, carry);
  }
}

/**
 * Reads n values of `width` bits, times 2^drop and modulo q, into 64-bit lanes; returns how many are above what
 * packRounded makes of a value below q.
 */
export function unpackRounded(
  dst: usize,
  src: usize,
  n: usize,
  drop: usize,
  width: usize,
  modulus: f64,
): usize {
  const q = <i64>modulus;
  const largest = (<u64>(q - 1) + (((<u64>1) << (<u64>drop)) >> 1)) >> <u64>drop;
  let bad: usize = 0;
  for (let i: usize = 0, bit: usize = 0; i < n; i++, bit += width) {
    const x = getBits(src, bit, width);
    bad += <usize>(x > largest);
    const r = <i64>(x << (<u64>drop)) - q;
    store<i64>(dst + 8 * i, r + (q & (r >> 63)));
  }
  return bad;
}

/**
 * Writes `width` <= 57 bits at position `bit`, with `carry` in the bits of the first byte that are taken; returns what
 * the next value shares its first byte with. Only stores: reading back what was just written would stall.
 */
function putBits(dst: usize, bit: usize, width: usize, value: u64, carry: u64): u64 {
  const bits = carry | (value << (<u64>(bit & 7)));
  store<u64>(dst + (bit >> 3), bits);
  return bits >> <u64>((((bit + width) >> 3) - (bit >> 3)) << 3);
}

function getBits(src: usize, bit: usize, width: usize): u64 {
  return (load<u64>(src + (bit >> 3)) >> <u64>(bit & 7)) & (((<u64>1) << (<u64>width)) - 1);
}
