// Linear algebra in Z_2^32: 32-bit lanes wrap by themselves.
//
// Two ways to multiply. The plain kernels multiply 32-bit lanes. Those on halves need weights of 16 bits with a sign and
// take x = xh * 2^16 + xl mod 2^32 apart, xl and xh in [-2^15, 2^15): w x = (w xh mod 2^16) * 2^16 + w xl mod 2^32. Both
// products come from the dot product of pairs of 16-bit numbers, which sums those of two channels in one lane; the sum is
// right mod 2^32 also where both products are 2^30 and it wraps.

/**
 * Four output channels of a convolution of stride 1, eight pixels at a time.
 *
 * out[m][y][x] = bias[m] + sum over taps k of weights[m][k] * input[y * inPitch + x + offsets[k]], for m = 0 .. 3,
 * y < rows, x < width; offsets and pitches in bytes. A tile at the end of a row computes up to seven pixels too many: it
 * reads that far past the input and writes that far past the row, which the next row then overwrites; the caller leaves
 * 32 bytes of slack behind both.
 */
export function convolve4(
  out: usize,
  outPlane: usize,
  outPitch: usize,
  input: usize,
  inPitch: usize,
  rows: usize,
  width: usize,
  offsets: usize,
  taps: usize,
  weights: usize,
  bias: usize,
): void {
  const bytes = taps << 2;
  const last = offsets + bytes;
  for (let y: usize = 0; y < rows; y++) {
    const rowEnd = input + (width << 2);
    let to = out;
    for (let from = input; from < rowEnd; from += 32, to += 32) {
      let a0 = v128.load32_splat(bias);
      let a1 = a0;
      let b0 = v128.load32_splat(bias, 4);
      let b1 = b0;
      let c0 = v128.load32_splat(bias, 8);
      let c1 = c0;
      let d0 = v128.load32_splat(bias, 12);
      let d1 = d0;
      let w0 = weights;
      let w2 = weights + (bytes << 1);
      for (let k = offsets; k < last; k += 4, w0 += 4, w2 += 4) {
        const pixel = from + <usize>load<u32>(k);
        const x0 = v128.load(pixel);
        const x1 = v128.load(pixel, 16);
        let w = v128.load32_splat(w0);
        a0 = i32x4.add(a0, i32x4.mul(x0, w));
        a1 = i32x4.add(a1, i32x4.mul(x1, w));
        w = v128.load32_splat(w0 + bytes);
        b0 = i32x4.add(b0, i32x4.mul(x0, w));
        b1 = i32x4.add(b1, i32x4.mul(x1, w));
        w = v128.load32_splat(w2);
        c0 = i32x4.add(c0, i32x4.mul(x0, w));
        c1 = i32x4.add(c1, i32x4.mul(x1, w));
        w = v128.load32_splat(w2 + bytes);
        d0 = i32x4.add(d0, i32x4.mul(x0, w));
        d1 = i32x4.add(d1, i32x4.mul(x1, w));
      }
      v128.store(to, a0);
      v128.store(to, a1, 16);
      v128.store(to + outPlane, b0);
      v128.store(to + outPlane, b1, 16);
      v128.store(to + 2 * outPlane, c0);
      v128.store(to + 2 * outPlane, c1, 16);
      v128.store(to + 3 * outPlane, d0);
      v128.store(to + 3 * outPlane, d1, 16);
    }
    out += outPitch;
    input += inPitch;
  }
}

/** One output channel of a convolution: see `convolve4`. */
export function convolve1(
  out: usize,
  outPitch: usize,
  input: usize,
  inPitch: usize,
  rows: usize,
  width: usize,
  offsets: usize,
  taps: usize,
  weights: usize,
  bias: usize,
): void {
  const last = offsets + (taps << 2);
  for (let y: usize = 0; y < rows; y++) {
    const rowEnd = input + (width << 2);
    let to = out;
    for (let from = input; from < rowEnd; from += 32, to += 32) {
      let a0 = v128.load32_splat(bias);
      let a1 = a0;
      let w = weights;
      for (let k = offsets; k < last; k += 4, w += 4) {
        const pixel = from + <usize>load<u32>(k);
        const factor = v128.load32_splat(w);
        a0 = i32x4.add(a0, i32x4.mul(v128.load(pixel), factor));
        a1 = i32x4.add(a1, i32x4.mul(v128.load(pixel, 16), factor));
      }
      v128.store(to, a0);
      v128.store(to, a1, 16);
    }
    out += outPitch;
    input += inPitch;
  }
}

/** out[m] = sum over i of weights[m][i] * x[i] for `rows` rows of n elements. */
export function dense(out: usize, weights: usize, rows: usize, x: usize, n: usize): void {
  const whole = (n & ~7) << 2;
  const bytes = n << 2;
  for (let m: usize = 0; m < rows; m++, weights += bytes) {
    let s0 = i32x4.splat(0);
    let s1 = i32x4.splat(0);
    for (let i: usize = 0; i < whole; i += 32) {
      s0 = i32x4.add(s0, i32x4.mul(v128.load(weights + i), v128.load(x + i)));
      s1 = i32x4.add(s1, i32x4.mul(v128.load(weights + i, 16), v128.load(x + i, 16)));
    }
    s0 = i32x4.add(s0, s1);
    let sum =
      i32x4.extract_lane(s0, 0) +
      i32x4.extract_lane(s0, 1) +
      i32x4.extract_lane(s0, 2) +
      i32x4.extract_lane(s0, 3);
    for (let i = whole; i < bytes; i += 4) sum += load<i32>(weights + i) * load<i32>(x + i);
    store<i32>(out + (m << 2), sum);
  }
}

/** dst[i] = src[stride * i], i < count; the stride in elements. */
export function gather(dst: usize, src: usize, count: usize, stride: usize): void {
  if (stride === 1) {
    memory.copy(dst, src, count << 2);
    return;
  }
  const end = dst + (count << 2);
  for (; dst < end; dst += 4, src += stride << 2) store<u32>(dst, load<u32>(src));
}

/**
 * Takes apart pairs of numbers a[stride * i] and b[stride * i], i < count; the stride in elements: low[i] has their lower
 * halves, high[i] their upper ones, each a's in the lower 16 bits and b's in the upper.
 */
export function halve(
  low: usize,
  high: usize,
  a: usize,
  b: usize,
  count: usize,
  stride: usize,
): void {
  const end = low + (count << 2);
  if (stride === 1) {
    const mask = i32x4.splat(0xffff);
    const half = i32x4.splat(0x8000);
    for (const whole = low + ((count & ~3) << 2); low < whole; low += 16) {
      const x = v128.load(a);
      const y = v128.load(b);
      v128.store(low, v128.bitselect(x, i32x4.shl(y, 16), mask));
      const carried = i32x4.shr_u(i32x4.add(x, half), 16);
      v128.store(high, v128.bitselect(carried, i32x4.add(y, half), mask));
      high += 16;
      a += 16;
      b += 16;
    }
  }
  for (; low < end; low += 4) {
    const x = load<u32>(a);
    const y = load<u32>(b);
    store<u32>(low, (x & 0xffff) | (y << 16));
    store<u32>(high, ((x + 0x8000) >> 16) | ((y + 0x8000) & 0xffff0000));
    high += 4;
    a += stride << 2;
    b += stride << 2;
  }
}

/**
 * Four output channels of a convolution of stride 1 on halves, four pixels at a time.
 *
 * out[m][y][x] = bias[m] + sum over pairs k of weights[m][k] * the pair at input[y * inPitch + x + offsets[k]], whose upper
 * halves lie `high` bytes behind the lower ones; weights are pairs of 16-bit numbers. Pitches and slack as for `convolve4`;
 * a tile at the end of a row computes up to three pixels too many.
 */
export function convolveHalves4(
  out: usize,
  outPlane: usize,
  outPitch: usize,
  input: usize,
  high: usize,
  inPitch: usize,
  rows: usize,
  width: usize,
  offsets: usize,
  pairs: usize,
  weights: usize,
  bias: usize,
): void {
  const bytes = pairs << 2;
  const last = offsets + bytes;
  for (let y: usize = 0; y < rows; y++) {
    const rowEnd = input + (width << 2);
    let to = out;
    for (let from = input; from < rowEnd; from += 16, to += 16) {
      let a0 = v128.load32_splat(bias);
      let a1 = i32x4.splat(0);
      let b0 = v128.load32_splat(bias, 4);
      let b1 = i32x4.splat(0);
      let c0 = v128.load32_splat(bias, 8);
      let c1 = i32x4.splat(0);
      let d0 = v128.load32_splat(bias, 12);
      let d1 = i32x4.splat(0);
      const fromHigh = from + high;
      let w0 = weights;
      let w2 = weights + (bytes << 1);
      for (let k = offsets; k < last; k += 4, w0 += 4, w2 += 4) {
        const offset = <usize>load<u32>(k);
        const x0 = v128.load(from + offset);
        const x1 = v128.load(fromHigh + offset);
        let w = v128.load32_splat(w0);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x0, w));
        a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x1, w));
        w = v128.load32_splat(w0 + bytes);
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(x0, w));
        b1 = i32x4.add(b1, i32x4.dot_i16x8_s(x1, w));
        w = v128.load32_splat(w2);
        c0 = i32x4.add(c0, i32x4.dot_i16x8_s(x0, w));
        c1 = i32x4.add(c1, i32x4.dot_i16x8_s(x1, w));
        w = v128.load32_splat(w2 + bytes);
        d0 = i32x4.add(d0, i32x4.dot_i16x8_s(x0, w));
        d1 = i32x4.add(d1, i32x4.dot_i16x8_s(x1, w));
      }
      v128.store(to, i32x4.add(a0, i32x4.shl(a1, 16)));
      v128.store(to + outPlane, i32x4.add(b0, i32x4.shl(b1, 16)));
      v128.store(to + 2 * outPlane, i32x4.add(c0, i32x4.shl(c1, 16)));
      v128.store(to + 3 * outPlane, i32x4.add(d0, i32x4.shl(d1, 16)));
    }
    out += outPitch;
    input += inPitch;
  }
}

/** `dense` on halves: rows of n 16-bit weights, n a multiple of 16; the vector's halves apart, n 16-bit numbers each. */
export function denseHalves(
  out: usize,
  weights: usize,
  rows: usize,
  low: usize,
  high: usize,
  n: usize,
): void {
  const bytes = n << 1;
  for (let m: usize = 0; m < rows; m++, weights += bytes) {
    let s0 = i32x4.splat(0);
    let s1 = i32x4.splat(0);
    for (let i: usize = 0; i < bytes; i += 32) {
      let w = v128.load(weights + i);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(w, v128.load(low + i)));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(w, v128.load(high + i)));
      w = v128.load(weights + i, 16);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(w, v128.load(low + i, 16)));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(w, v128.load(high + i, 16)));
    }
    s0 = i32x4.add(s0, i32x4.shl(s1, 16));
    const sum =
      i32x4.extract_lane(s0, 0) +
      i32x4.extract_lane(s0, 1) +
      i32x4.extract_lane(s0, 2) +
      i32x4.extract_lane(s0, 3);
    store<i32>(out + (m << 2), sum);
  }
}
