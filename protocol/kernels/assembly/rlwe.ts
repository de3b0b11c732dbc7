// Around the transform: sampling, encoding, Chinese remaindering, rounding and bit packing of RLWE polynomials.
//
// Residues are unsigned 32-bit lanes below a prime of 26 bits; a value modulo q = p1 p2 < 2^52 is a 64-bit lane, and
// crosses the boundary as f64, which holds it exactly. Samplers never branch on, or index by, a value they keep.

import { multiplyConstant, multiplyHigh, reduceOnce } from './_modular';

/**
 * Keeps the low 26 bits of 32-bit words where they are below `prime`, up to `wanted`; returns how many. Both parties expand the
 * public polynomials with it: which words are kept, and their order, is AGREEMENT.
 */
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

/**
 * dst[i] = ones of 21 bits minus ones of 21 others, as signed 32-bit lanes, for n a multiple of 16, from 6 n bytes: for each
 * 16 lanes, byte i of six vectors is lane i's, all bits of the first two and five of the third, then the same with a minus.
 */
export function sampleBinomial(dst: usize, src: usize, n: usize): void {
  const five = i8x16.splat(0x1f);
  const end = dst + 4 * n;
  for (; dst < end; dst += 64, src += 96) {
    const plus = i8x16.add(
      i8x16.add(i8x16.popcnt(v128.load(src)), i8x16.popcnt(v128.load(src, 16))),
      i8x16.popcnt(v128.and(v128.load(src, 32), five)),
    );
    const minus = i8x16.add(
      i8x16.add(i8x16.popcnt(v128.load(src, 48)), i8x16.popcnt(v128.load(src, 64))),
      i8x16.popcnt(v128.and(v128.load(src, 80), five)),
    );
    const x = i8x16.sub(plus, minus);
    const low = i16x8.extend_low_i8x16_s(x);
    const high = i16x8.extend_high_i8x16_s(x);
    v128.store(dst, i32x4.extend_low_i16x8_s(low));
    v128.store(dst, i32x4.extend_high_i16x8_s(low), 16);
    v128.store(dst, i32x4.extend_low_i16x8_s(high), 32);
    v128.store(dst, i32x4.extend_high_i16x8_s(high), 48);
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
  const w = i32x4.splat(inverse);
  const q = i32x4.splat(quotient);
  const end = x + 4 * n;
  for (; x < end; x += 16, y += 16, dst += 32) {
    const a = v128.load(x);
    const k = composeHigh(a, v128.load(y), second, w, q);
    v128.store(dst, composeLow2(a, k, first));
    v128.store(dst, composeHigh2(a, k, first), 16);
  }
}

/** The k with a + p1 k = b modulo p2, in [0, p2): (b - a) / p1. */
function composeHigh(a: v128, b: v128, p2: v128, inverse: v128, quotient: v128): v128 {
  const difference = i32x4.add(i32x4.sub(b, a), i32x4.shl(p2, 1));
  return reduceOnce(multiplyConstant(difference, inverse, quotient, p2), p2);
}

/** a + p1 k of lanes 0 and 1. */
function composeLow2(a: v128, k: v128, p1: v128): v128 {
  return i64x2.add(i64x2.extmul_low_i32x4_u(k, p1), i64x2.extend_low_i32x4_u(a));
}

/** a + p1 k of lanes 2 and 3. */
function composeHigh2(a: v128, k: v128, p1: v128): v128 {
  return i64x2.add(i64x2.extmul_high_i32x4_u(k, p1), i64x2.extend_high_i32x4_u(a));
}

/**
 * dst[i] = round(v ratio) mod 2^bits as 32-bit lanes, where v is the value modulo p1 p2 with residues x[positions[i]] and
 * y[positions[i]]; ratio = 2^bits / (p1 p2), constants as for `compose`. Positions are public, there are a multiple of 4.
 */
export function roundAt(
  dst: usize,
  x: usize,
  y: usize,
  positions: usize,
  count: usize,
  p1: u32,
  p2: u32,
  inverse: u32,
  quotient: u32,
  bits: i32,
  ratio: f64,
): void {
  const first = i32x4.splat(p1);
  const second = i32x4.splat(p2);
  const w = i32x4.splat(inverse);
  const q = i32x4.splat(quotient);
  const factor = f64x2.splat(ratio);
  const mask = i32x4.splat(<i32>(((<u64>1) << (<u64>bits)) - 1));
  const end = dst + 4 * count;
  for (; dst < end; dst += 16, positions += 16) {
    const a = gather4(x, positions);
    const k = composeHigh(a, gather4(y, positions), second, w, q);
    const low2 = nearestBits(f64x2.mul(exactDoubles(composeLow2(a, k, first)), factor));
    const high2 = nearestBits(f64x2.mul(exactDoubles(composeHigh2(a, k, first)), factor));
    v128.store(dst, v128.and(v128.shuffle<i32>(low2, high2, 0, 2, 4, 6), mask));
  }
}

/** The lanes of x at four positions. */
function gather4(x: usize, positions: usize): v128 {
  let v = v128.load_zero<u32>(x + 4 * <usize>load<u32>(positions));
  v = v128.load_lane<u32>(x + 4 * <usize>load<u32>(positions, 4), v, 1);
  v = v128.load_lane<u32>(x + 4 * <usize>load<u32>(positions, 8), v, 2);
  return v128.load_lane<u32>(x + 4 * <usize>load<u32>(positions, 12), v, 3);
}

/** Integers in [0, 2^52) as doubles: the mantissas of 2^52 + x. */
function exactDoubles(x: v128): v128 {
  const bits = i64x2.splat(0x4330000000000000);
  return f64x2.sub(v128.or(x, bits), f64x2.splat(4503599627370496.0));
}

/** The nearest integer (ties to even) of |x| < 2^50, in the low 51 bits: those of 3 2^51 + x, whose unit is 1. */
function nearestBits(x: v128): v128 {
  return f64x2.add(x, f64x2.splat(6755399441055744.0));
}

/** dst[i] = src[i] mod p for n 64-bit lanes below 2^52, n a multiple of 4. */
export function split(dst: usize, src: usize, n: usize, prime: u32): void {
  const p = i32x4.splat(prime);
  const reciprocal = f64x2.splat(1.0 / <f64>prime);
  const end = dst + 4 * n;
  for (; dst < end; dst += 16, src += 32) {
    const low2 = v128.load(src);
    const high2 = v128.load(src, 16);
    const quotient = v128.shuffle<i32>(
      nearestBits(f64x2.mul(exactDoubles(low2), reciprocal)),
      nearestBits(f64x2.mul(exactDoubles(high2), reciprocal)),
      0,
      2,
      4,
      6,
    );
    // The nearest quotient leaves a rest of at most p / 2 and a little to either side: its low halves say it all.
    const low = v128.shuffle<i32>(low2, high2, 0, 2, 4, 6);
    const rest = i32x4.sub(low, i32x4.mul(quotient, p));
    v128.store(dst, i32x4.min_u(rest, i32x4.add(rest, p)));
  }
}

/**
 * Rounds phases to elements of Z_2^bits and says how far each is from its own, exactly uniform together.
 *
 * R = floor((2^(bits + 8) src[i] + noise) / q) is the phase in 256ths of a unit, for 64-bit lanes below q < 2^52, 2^(bits + 8)
 * <= q and uniform noise below 2^(bits + 8): the pairs (phase, noise) are the integers below q 2^(bits + 8), and each R
 * has q of them. Then masks[i] = floor((R + 128) / 256) mod 2^bits, as 32-bit lanes, and fractions[i] = R - 256 masks[i], a
 * byte in [-128, 127]. Five bytes of `noise` are read for a lane, and three past the last; n is a multiple of 4.
 */
export function roundUniform(
  masks: usize,
  fractions: usize,
  src: usize,
  noise: usize,
  n: usize,
  bits: i32,
  modulus: f64,
): void {
  const shift = bits + 8;
  const ratio = f64x2.splat(<f64>((<u64>1) << (<u64>shift)) / modulus);
  const q = i64x2.splat(<i64>modulus);
  const noiseMask = i64x2.splat(<i64>(((<u64>1) << (<u64>shift)) - 1));
  const mask = i32x4.splat(<i32>(((<u64>1) << (<u64>bits)) - 1));
  const half = i64x2.splat(129);
  const end = masks + 4 * n;
  for (; masks < end; masks += 16, fractions += 4, src += 32, noise += 20) {
    const low2 = inUnits(v128.load(src), noise, noiseMask, shift, ratio, q);
    const high2 = inUnits(v128.load(src, 16), noise + 10, noiseMask, shift, ratio, q);
    const a = i64x2.add(low2, half);
    const b = i64x2.add(high2, half);
    const whole = v128.shuffle<i32>(i64x2.shr_u(a, 8), i64x2.shr_u(b, 8), 0, 2, 4, 6);
    v128.store(masks, v128.and(whole, mask));
    const low = v128.shuffle<i8>(a, b, 0, 8, 16, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    v128.store_lane<u32>(fractions, v128.xor(low, i8x16.splat(-128)), 0);
  }
}

/** floor((2^shift x + noise) / q) - 1 of two lanes. */
function inUnits(x: v128, noise: usize, noiseMask: v128, shift: i32, ratio: v128, q: v128): v128 {
  // The three roundings before that to an integer are off by less than 2^-11 together: the estimate is at most the quotient,
  // and more than the quotient less 1 + 2^-10.
  const least = f64x2.sub(f64x2.mul(exactDoubles(x), ratio), f64x2.splat(0.50048828125));
  const estimate = i64x2.sub(nearestBits(least), i64x2.splat(0x4338000000000000));
  const v = v128.load_lane<u64>(noise + 5, v128.load_zero<u64>(noise), 1);
  // In [0, 2 q), exact although products wrap.
  const rest = i64x2.add(
    i64x2.sub(i64x2.shl(x, shift), i64x2.mul(estimate, q)),
    v128.and(v, noiseMask),
  );
  return i64x2.add(estimate, i64x2.gt_s(q, rest));
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
