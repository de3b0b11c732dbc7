// Maps and sums over channels-last values: batch norm, activations, pooling, padding.
//
// A value is `pixels` rows of `channels` floats. Work goes four channels at a time and the last four may reach into the
// next row. Vectors given per channel or per element are zero-padded to a multiple of four, which makes those lanes
// harmless: additive kernels add zero there, and kernels that assign go upwards, so the next row is written after.
// Every buffer has room for one overhanging vector at its end.

/** out[c] = sum over pixels of x[p][c] */
export function channelSum(x: usize, pixels: usize, channels: usize, out: usize): void {
  const row = channels * 4;
  const end = x + pixels * row;
  let c: usize = 0;
  // Sixteen channels at a time: a whole cache line of each pixel, and four sums that do not wait for each other.
  for (; c + 64 <= row; c += 64) {
    let s0 = f32x4.splat(0);
    let s1 = f32x4.splat(0);
    let s2 = f32x4.splat(0);
    let s3 = f32x4.splat(0);
    for (let p = x + c; p < end; p += row) {
      s0 = f32x4.add(s0, v128.load(p));
      s1 = f32x4.add(s1, v128.load(p, 16));
      s2 = f32x4.add(s2, v128.load(p, 32));
      s3 = f32x4.add(s3, v128.load(p, 48));
    }
    const o = out + c;
    v128.store(o, s0);
    v128.store(o, s1, 16);
    v128.store(o, s2, 32);
    v128.store(o, s3, 48);
  }
  for (; c < row; c += 16) {
    let sum = f32x4.splat(0);
    for (let p = x + c; p < end; p += row) sum = f32x4.add(sum, v128.load(p));
    v128.store(out + c, sum);
  }
}

/** out[c] = sum over pixels of (x[p][c] - mean[c]) * dy[p][c]; with dy and x shifted alike, the variance's sum */
export function channelDot(
  x: usize,
  mean: usize,
  dy: usize,
  dyMean: usize,
  pixels: usize,
  channels: usize,
  out: usize,
): void {
  const row = channels * 4;
  let c: usize = 0;
  for (; c + 32 <= row; c += 32) {
    const mx0 = v128.load(mean + c);
    const mx1 = v128.load(mean + c, 16);
    const my0 = v128.load(dyMean + c);
    const my1 = v128.load(dyMean + c, 16);
    let s0 = f32x4.splat(0);
    let s1 = f32x4.splat(0);
    for (let p: usize = 0, o = c; p < pixels; p++, o += row) {
      const a0 = f32x4.sub(v128.load(x + o), mx0);
      const a1 = f32x4.sub(v128.load(x + o, 16), mx1);
      s0 = f32x4.add(s0, f32x4.mul(a0, f32x4.sub(v128.load(dy + o), my0)));
      s1 = f32x4.add(s1, f32x4.mul(a1, f32x4.sub(v128.load(dy + o, 16), my1)));
    }
    v128.store(out + c, s0);
    v128.store(out + c, s1, 16);
  }
  for (; c < row; c += 16) {
    const mx = v128.load(mean + c);
    const my = v128.load(dyMean + c);
    let sum = f32x4.splat(0);
    for (let p: usize = 0, o = c; p < pixels; p++, o += row) {
      const a = f32x4.sub(v128.load(x + o), mx);
      sum = f32x4.add(sum, f32x4.mul(a, f32x4.sub(v128.load(dy + o), my)));
    }
    v128.store(out + c, sum);
  }
}

/** y[p][c] = a[c] * x[p][c] + b[c] */
export function channelAffine(
  x: usize,
  a: usize,
  b: usize,
  y: usize,
  pixels: usize,
  channels: usize,
): void {
  const row = channels * 4;
  for (let p: usize = 0; p < pixels; p++, x += row, y += row) {
    for (let c: usize = 0; c < row; c += 16) {
      const scaled = f32x4.mul(v128.load(a + c), v128.load(x + c));
      v128.store(y + c, f32x4.add(scaled, v128.load(b + c)));
    }
  }
}

/** dx[p][c] += a[c] * dy[p][c] + b[c] * x[p][c] + d[c] */
export function channelCombine(
  dy: usize,
  x: usize,
  a: usize,
  b: usize,
  d: usize,
  dx: usize,
  pixels: usize,
  channels: usize,
): void {
  const row = channels * 4;
  for (let p: usize = 0; p < pixels; p++, dy += row, x += row, dx += row) {
    for (let c: usize = 0; c < row; c += 16) {
      const left = f32x4.mul(v128.load(a + c), v128.load(dy + c));
      const right = f32x4.mul(v128.load(b + c), v128.load(x + c));
      const sum = f32x4.add(f32x4.add(left, right), v128.load(d + c));
      v128.store(dx + c, f32x4.add(v128.load(dx + c), sum));
    }
  }
}

/** y[p][c] = v[c] */
export function channelFill(v: usize, y: usize, pixels: usize, channels: usize): void {
  const row = channels * 4;
  for (let p: usize = 0; p < pixels; p++, y += row) {
    for (let c: usize = 0; c < row; c += 16) v128.store(y + c, v128.load(v + c));
  }
}

/** dst[i] += src[i] */
export function addTo(dst: usize, src: usize, length: usize): void {
  const end = dst + length * 4;
  for (; dst < end; dst += 16, src += 16) {
    v128.store(dst, f32x4.add(v128.load(dst), v128.load(src)));
  }
}

/** y = m * max(x, 0) + c0 + x * (c1 + x * c2), each image of n elements, one m, c0, c1, c2 per element */
export function activate(
  x: usize,
  m: usize,
  c0: usize,
  c1: usize,
  c2: usize,
  y: usize,
  n: usize,
  images: usize,
): void {
  const row = n * 4;
  const zero = f32x4.splat(0);
  for (let image: usize = 0; image < images; image++, x += row, y += row) {
    for (let e: usize = 0; e < row; e += 16) {
      const v = v128.load(x + e);
      const relu = f32x4.mul(v128.load(m + e), f32x4.max(v, zero));
      const slope = f32x4.add(v128.load(c1 + e), f32x4.mul(v, v128.load(c2 + e)));
      const sum = f32x4.add(relu, f32x4.add(v128.load(c0 + e), f32x4.mul(v, slope)));
      v128.store(y + e, sum);
    }
  }
}

/** dx += dy * (m * [x > 0] + c1 + 2 * c2 * x) */
export function activateInputGradient(
  x: usize,
  m: usize,
  c1: usize,
  c2: usize,
  dy: usize,
  dx: usize,
  n: usize,
  images: usize,
): void {
  const row = n * 4;
  const zero = f32x4.splat(0);
  for (let image: usize = 0; image < images; image++, x += row, dy += row, dx += row) {
    for (let e: usize = 0; e < row; e += 16) {
      const v = v128.load(x + e);
      const step = v128.and(v128.load(m + e), f32x4.gt(v, zero));
      const twice = f32x4.mul(f32x4.add(v, v), v128.load(c2 + e));
      const slope = f32x4.add(f32x4.add(step, v128.load(c1 + e)), twice);
      const d = f32x4.mul(v128.load(dy + e), slope);
      v128.store(dx + e, f32x4.add(v128.load(dx + e), d));
    }
  }
}

/**
 * g0[e] = sum over images of dy, g1[e] of dy * x, g2[e] of dy * x^2, gm[e] of dy * max(x, 0): the gradients by c0, c1, c2 and m
 * of {@link activate}, each for one of the n elements of an image; what was in them is overwritten
 */
export function activateMoments(
  x: usize,
  dy: usize,
  g0: usize,
  g1: usize,
  g2: usize,
  gm: usize,
  n: usize,
  images: usize,
): void {
  const row = n * 4;
  const zero = f32x4.splat(0);
  for (let e: usize = 0; e < row; e += 16) {
    let s0 = f32x4.splat(0);
    let s1 = f32x4.splat(0);
    let s2 = f32x4.splat(0);
    let sm = f32x4.splat(0);
    for (let image: usize = 0, o = e; image < images; image++, o += row) {
      const v = v128.load(x + o);
      const d = v128.load(dy + o);
      const dv = f32x4.mul(d, v);
      s0 = f32x4.add(s0, d);
      s1 = f32x4.add(s1, dv);
      s2 = f32x4.add(s2, f32x4.mul(dv, v));
      sm = f32x4.add(sm, f32x4.mul(d, f32x4.max(v, zero)));
    }
    v128.store(g0 + e, s0);
    v128.store(g1 + e, s1);
    v128.store(g2 + e, s2);
    v128.store(gm + e, sm);
  }
}

/**
 * The gradient of factor * sum of max(0, |x| - limit)^2, one limit per element of n, infinite in a row's overhang, added to
 * dx: dx += 2 * factor * (x - clamp(x, -limit, limit)). Returns the sum, without the factor.
 */
export function rangePenalty(
  x: usize,
  dx: usize,
  limits: usize,
  factor: f32,
  n: usize,
  images: usize,
): f32 {
  const row = n * 4;
  const twice = f32x4.splat(2 * factor);
  let sum = f32x4.splat(0);
  for (let image: usize = 0; image < images; image++, x += row, dx += row) {
    for (let e: usize = 0; e < row; e += 16) {
      const v = v128.load(x + e);
      const limit = v128.load(limits + e);
      const excess = f32x4.sub(v, f32x4.min(f32x4.max(v, f32x4.neg(limit)), limit));
      sum = f32x4.add(sum, f32x4.mul(excess, excess));
      v128.store(dx + e, f32x4.add(v128.load(dx + e), f32x4.mul(twice, excess)));
    }
  }
  return (
    f32x4.extract_lane(sum, 0) +
    f32x4.extract_lane(sum, 1) +
    f32x4.extract_lane(sum, 2) +
    f32x4.extract_lane(sum, 3)
  );
}

/** x = clamp(x, -factor * limit, factor * limit) in place, limits as in rangePenalty. */
export function cut(x: usize, limits: usize, factor: f32, n: usize, images: usize): void {
  const row = n * 4;
  const times = f32x4.splat(factor);
  for (let image: usize = 0; image < images; image++, x += row) {
    for (let e: usize = 0; e < row; e += 16) {
      const bound = f32x4.mul(v128.load(limits + e), times);
      v128.store(x + e, f32x4.min(f32x4.max(v128.load(x + e), f32x4.neg(bound)), bound));
    }
  }
}

/** All ones in the lanes below `left`: for sums into rows whose overhang must not be touched. */
function lanes(left: i32): v128 {
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(left));
}

/** y[p] = scale * sum over the window of x[table[p] + window[i]]; tables hold byte offsets */
export function pool(
  x: usize,
  table: usize,
  window: usize,
  windowSize: usize,
  scale: f32,
  y: usize,
  pixels: usize,
  channels: usize,
  images: usize,
  xImage: usize,
): void {
  const row = channels * 4;
  const factor = f32x4.splat(scale);
  for (let image: usize = 0; image < images; image++, x += xImage) {
    for (let p: usize = 0; p < pixels; p++, y += row) {
      const xp = x + load<u32>(table + p * 4);
      for (let c: usize = 0; c < row; c += 16) {
        let sum = f32x4.splat(0);
        for (let i: usize = 0; i < windowSize; i++) {
          sum = f32x4.add(sum, v128.load(xp + load<u32>(window + i * 4) + c));
        }
        v128.store(y + c, f32x4.mul(sum, factor));
      }
    }
  }
}

/** dx[table[p] + window[i]] += scale * dy[p] */
export function poolGradient(
  dx: usize,
  table: usize,
  window: usize,
  windowSize: usize,
  scale: f32,
  dy: usize,
  pixels: usize,
  channels: usize,
  images: usize,
  xImage: usize,
): void {
  const row = channels * 4;
  const factor = f32x4.splat(scale);
  for (let image: usize = 0; image < images; image++, dx += xImage) {
    for (let p: usize = 0; p < pixels; p++, dy += row) {
      const xp = dx + load<u32>(table + p * 4);
      for (let c: usize = 0; c < row; c += 16) {
        const scaled = f32x4.mul(v128.load(dy + c), factor);
        const share = v128.and(scaled, lanes(<i32>((row - c) >> 2)));
        for (let i: usize = 0; i < windowSize; i++) {
          const o = xp + load<u32>(window + i * 4) + c;
          v128.store(o, f32x4.add(v128.load(o), share));
        }
      }
    }
  }
}

/** Copies images row by row: into the middle of a padded image, or out of it. Strides in bytes. */
export function copyRows(
  dst: usize,
  dstRow: usize,
  dstImage: usize,
  src: usize,
  srcRow: usize,
  srcImage: usize,
  bytes: usize,
  rows: usize,
  images: usize,
): void {
  for (let image: usize = 0; image < images; image++, dst += dstImage, src += srcImage) {
    for (let r: usize = 0; r < rows; r++) {
      memory.copy(dst + r * dstRow, src + r * srcRow, bytes);
    }
  }
}

/** Adds the rows of a part of each image to images without anything else. Strides in bytes. */
export function addRows(
  dst: usize,
  dstImage: usize,
  src: usize,
  srcRow: usize,
  srcImage: usize,
  bytes: usize,
  rows: usize,
  images: usize,
): void {
  for (let image: usize = 0; image < images; image++, dst += dstImage, src += srcImage) {
    for (let r: usize = 0; r < rows; r++) {
      const to = dst + r * bytes;
      const from = src + r * srcRow;
      for (let o: usize = 0; o < bytes; o += 16) {
        const own = v128.and(v128.load(from + o), lanes(<i32>((bytes - o) >> 2)));
        v128.store(to + o, f32x4.add(v128.load(to + o), own));
      }
    }
  }
}

/** y[p] = the largest of x[table[p] + window[i]]; tables hold byte offsets */
export function maxPool(
  x: usize,
  table: usize,
  window: usize,
  windowSize: usize,
  y: usize,
  pixels: usize,
  channels: usize,
  images: usize,
  xImage: usize,
): void {
  const row = channels * 4;
  for (let image: usize = 0; image < images; image++, x += xImage) {
    for (let p: usize = 0; p < pixels; p++, y += row) {
      const xp = x + load<u32>(table + p * 4);
      for (let c: usize = 0; c < row; c += 16) {
        let most = v128.load(xp + load<u32>(window) + c);
        for (let i: usize = 1; i < windowSize; i++) {
          most = f32x4.max(most, v128.load(xp + load<u32>(window + i * 4) + c));
        }
        v128.store(y + c, most);
      }
    }
  }
}

/** dx[table[p] + window[i]] += dy[p] for the first i whose x is y[p] */
export function maxPoolGradient(
  dx: usize,
  x: usize,
  table: usize,
  window: usize,
  windowSize: usize,
  y: usize,
  dy: usize,
  pixels: usize,
  channels: usize,
  images: usize,
  xImage: usize,
): void {
  const row = channels * 4;
  for (let image: usize = 0; image < images; image++, dx += xImage, x += xImage) {
    for (let p: usize = 0; p < pixels; p++, y += row, dy += row) {
      const at = <usize>load<u32>(table + p * 4);
      for (let c: usize = 0; c < row; c += 16) {
        let left = v128.and(v128.load(dy + c), lanes(<i32>((row - c) >> 2)));
        const most = v128.load(y + c);
        for (let i: usize = 0; i < windowSize; i++) {
          const o = at + load<u32>(window + i * 4) + c;
          const found = f32x4.eq(v128.load(x + o), most);
          v128.store(dx + o, f32x4.add(v128.load(dx + o), v128.and(left, found)));
          left = v128.andnot(left, found);
        }
      }
    }
  }
}

/** dst[i] -= src[i] */
export function takeFrom(dst: usize, src: usize, length: usize): void {
  const end = dst + length * 4;
  for (; dst < end; dst += 16, src += 16) {
    v128.store(dst, f32x4.sub(v128.load(dst), v128.load(src)));
  }
}

/** y = offset + slope * x + sum over j of bends[j] * max(x - knots[j], 0); all per channel, rows of knots `apart` bytes apart */
export function piecewise(
  x: usize,
  offset: usize,
  slope: usize,
  knots: usize,
  bends: usize,
  count: usize,
  apart: usize,
  y: usize,
  pixels: usize,
  channels: usize,
): void {
  const row = channels * 4;
  const zero = f32x4.splat(0);
  for (let p: usize = 0; p < pixels; p++, x += row, y += row) {
    for (let c: usize = 0; c < row; c += 16) {
      const v = v128.load(x + c);
      let sum = f32x4.add(v128.load(offset + c), f32x4.mul(v128.load(slope + c), v));
      for (let j: usize = 0, o = c; j < count; j++, o += apart) {
        const above = f32x4.max(f32x4.sub(v, v128.load(knots + o)), zero);
        sum = f32x4.add(sum, f32x4.mul(v128.load(bends + o), above));
      }
      v128.store(y + c, sum);
    }
  }
}

/** dx += dy * (slope + sum over j of bends[j] * [x > knots[j]]), as piecewise */
export function piecewiseGradient(
  x: usize,
  slope: usize,
  knots: usize,
  bends: usize,
  count: usize,
  apart: usize,
  dy: usize,
  dx: usize,
  pixels: usize,
  channels: usize,
): void {
  const row = channels * 4;
  for (let p: usize = 0; p < pixels; p++, x += row, dy += row, dx += row) {
    for (let c: usize = 0; c < row; c += 16) {
      const v = v128.load(x + c);
      let sum = v128.load(slope + c);
      for (let j: usize = 0, o = c; j < count; j++, o += apart) {
        const above = f32x4.gt(v, v128.load(knots + o));
        sum = f32x4.add(sum, v128.and(v128.load(bends + o), above));
      }
      v128.store(dx + c, f32x4.add(v128.load(dx + c), f32x4.mul(v128.load(dy + c), sum)));
    }
  }
}
