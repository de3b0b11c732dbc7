// Linear algebra in Z_2^32: 32-bit lanes wrap by themselves.

/**
 * Four output channels of a convolution of stride 1, eight pixels at a time.
 *
 * out[m][y][x] = sum over taps k of weights[m][k] * input[y * inPitch + x + offsets[k]], for m = 0 .. 3, y < rows,
 * x < width; offsets and pitches in bytes. A tile at the end of a row computes up to seven pixels too many: it reads that
 * far past the input and writes that far past the row, which the next row then overwrites; the caller leaves 32 bytes of
 * slack behind both.
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
): void {
  const bytes = taps << 2;
  const last = offsets + bytes;
  for (let y: usize = 0; y < rows; y++) {
    const rowEnd = input + (width << 2);
    let to = out;
    for (let from = input; from < rowEnd; from += 32, to += 32) {
      let a0 = i32x4.splat(0);
      let a1 = i32x4.splat(0);
      let b0 = i32x4.splat(0);
      let b1 = i32x4.splat(0);
      let c0 = i32x4.splat(0);
      let c1 = i32x4.splat(0);
      let d0 = i32x4.splat(0);
      let d1 = i32x4.splat(0);
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
): void {
  const last = offsets + (taps << 2);
  for (let y: usize = 0; y < rows; y++) {
    const rowEnd = input + (width << 2);
    let to = out;
    for (let from = input; from < rowEnd; from += 32, to += 32) {
      let a0 = i32x4.splat(0);
      let a1 = i32x4.splat(0);
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
