// Products of gathered rows with a matrix: convolution, its input gradient and dense layers are all this one sum,
//
//   y[yTable[p] + c] += sum over s, j of x[xTable[p] + segments[s] + j] * w[s][j][c]
//
// A "pixel" p is one row of the product: its numbers lie in `segmentCount` runs of `segmentLength` floats at fixed
// distances. In a channels-last image a kernel row of a convolution is one run, so nothing is ever copied into patches.
// Tables hold byte offsets. w comes in panels of 8 channels, [panel][s][j][8], zero where the last panel has no channel.
//
// Lanes without a channel reach into the next pixel's numbers. They have zero weights and sums start from y, so they
// write back what was there: y is read and written in the order of p, and nothing runs beside this.

/** Adds the products of `images` images of `pixels` rows each; xImage, yImage: bytes from one image to the next. */
export function products(
  x: usize,
  xTable: usize,
  segments: usize,
  segmentCount: usize,
  segmentLength: usize,
  w: usize,
  y: usize,
  yTable: usize,
  pixels: usize,
  channels: usize,
  images: usize,
  xImage: usize,
  yImage: usize,
): void {
  const panel = segmentCount * segmentLength * 32;
  for (let image: usize = 0; image < images; image++, x += xImage, y += yImage) {
    for (let c: usize = 0, wp = w; c < channels; c += 8, wp += panel) {
      const yc = y + c * 4;
      let p: usize = 0;
      for (; p + 4 <= pixels; p += 4) {
        const xt = xTable + p * 4;
        const yt = yTable + p * 4;
        tile4(
          x + load<u32>(xt),
          x + load<u32>(xt, 4),
          x + load<u32>(xt, 8),
          x + load<u32>(xt, 12),
          segments,
          segmentCount,
          segmentLength,
          wp,
          yc + load<u32>(yt),
          yc + load<u32>(yt, 4),
          yc + load<u32>(yt, 8),
          yc + load<u32>(yt, 12),
        );
      }
      for (; p < pixels; p++) {
        tile1(
          x + load<u32>(xTable + p * 4),
          segments,
          segmentCount,
          segmentLength,
          wp,
          yc + load<u32>(yTable + p * 4),
        );
      }
    }
  }
}

/** Four pixels times eight channels: eight accumulators, two loads of w for 32 products. */
function tile4(
  x0: usize,
  x1: usize,
  x2: usize,
  x3: usize,
  segments: usize,
  segmentCount: usize,
  segmentLength: usize,
  w: usize,
  y0: usize,
  y1: usize,
  y2: usize,
  y3: usize,
): void {
  let a0 = v128.load(y0);
  let b0 = v128.load(y0, 16);
  let a1 = v128.load(y1);
  let b1 = v128.load(y1, 16);
  let a2 = v128.load(y2);
  let b2 = v128.load(y2, 16);
  let a3 = v128.load(y3);
  let b3 = v128.load(y3, 16);
  for (let s: usize = 0; s < segmentCount; s++) {
    const first = <usize>load<u32>(segments + s * 4);
    const end = first + segmentLength * 4;
    for (let o = first; o < end; o += 4, w += 32) {
      const wa = v128.load(w);
      const wb = v128.load(w, 16);
      let v = v128.load32_splat(x0 + o);
      a0 = madd(v, wa, a0);
      b0 = madd(v, wb, b0);
      v = v128.load32_splat(x1 + o);
      a1 = madd(v, wa, a1);
      b1 = madd(v, wb, b1);
      v = v128.load32_splat(x2 + o);
      a2 = madd(v, wa, a2);
      b2 = madd(v, wb, b2);
      v = v128.load32_splat(x3 + o);
      a3 = madd(v, wa, a3);
      b3 = madd(v, wb, b3);
    }
  }
  // In the order of the pixels: a tail lane of one holds the old value of the next.
  v128.store(y0, a0);
  v128.store(y0, b0, 16);
  v128.store(y1, a1);
  v128.store(y1, b1, 16);
  v128.store(y2, a2);
  v128.store(y2, b2, 16);
  v128.store(y3, a3);
  v128.store(y3, b3, 16);
}

function tile1(
  x: usize,
  segments: usize,
  segmentCount: usize,
  segmentLength: usize,
  w: usize,
  y: usize,
): void {
  let a = v128.load(y);
  let b = v128.load(y, 16);
  for (let s: usize = 0; s < segmentCount; s++) {
    const first = <usize>load<u32>(segments + s * 4);
    const end = first + segmentLength * 4;
    for (let o = first; o < end; o += 4, w += 32) {
      const v = v128.load32_splat(x + o);
      a = madd(v, v128.load(w), a);
      b = madd(v, v128.load(w, 16), b);
    }
  }
  v128.store(y, a);
  v128.store(y, b, 16);
}

/** Pixels whose gradients go through all weights together: few enough to stay in the first cache. LOCAL */
const BLOCK: usize = 64;

/**
 * The gradient of the same sum by w: dw[s][j][c] += sum over p of x[xTable[p] + segments[s] + j] * dy[yTable[p] + c],
 * in w's panels; lanes without a channel receive sums of no meaning.
 */
export function weightGradient(
  x: usize,
  xTable: usize,
  segments: usize,
  segmentCount: usize,
  segmentLength: usize,
  dw: usize,
  dy: usize,
  yTable: usize,
  pixels: usize,
  channels: usize,
  images: usize,
  xImage: usize,
  yImage: usize,
): void {
  for (let image: usize = 0; image < images; image++, x += xImage, dy += yImage) {
    for (let from: usize = 0; from < pixels; from += BLOCK) {
      const count = min(pixels - from, BLOCK);
      const xt = xTable + from * 4;
      const yt = yTable + from * 4;
      let out = dw;
      for (let c: usize = 0; c < channels; c += 8) {
        for (let s: usize = 0; s < segmentCount; s++) {
          const xs = x + load<u32>(segments + s * 4);
          let j: usize = 0;
          for (; j + 4 <= segmentLength; j += 4, out += 128) {
            gradient4(xs + j * 4, xt, dy + c * 4, yt, count, out);
          }
          for (; j < segmentLength; j++, out += 32) {
            gradient1(xs + j * 4, xt, dy + c * 4, yt, count, out);
          }
        }
      }
    }
  }
}

/** Four neighbouring weights times eight channels, over all pixels of an image. */
function gradient4(
  x: usize,
  xTable: usize,
  dy: usize,
  yTable: usize,
  pixels: usize,
  dw: usize,
): void {
  let a0 = v128.load(dw);
  let b0 = v128.load(dw, 16);
  let a1 = v128.load(dw, 32);
  let b1 = v128.load(dw, 48);
  let a2 = v128.load(dw, 64);
  let b2 = v128.load(dw, 80);
  let a3 = v128.load(dw, 96);
  let b3 = v128.load(dw, 112);
  const end = xTable + pixels * 4;
  for (; xTable < end; xTable += 4, yTable += 4) {
    const xp = x + load<u32>(xTable);
    const yp = dy + load<u32>(yTable);
    const da = v128.load(yp);
    const db = v128.load(yp, 16);
    let v = v128.load32_splat(xp);
    a0 = madd(v, da, a0);
    b0 = madd(v, db, b0);
    v = v128.load32_splat(xp, 4);
    a1 = madd(v, da, a1);
    b1 = madd(v, db, b1);
    v = v128.load32_splat(xp, 8);
    a2 = madd(v, da, a2);
    b2 = madd(v, db, b2);
    v = v128.load32_splat(xp, 12);
    a3 = madd(v, da, a3);
    b3 = madd(v, db, b3);
  }
  v128.store(dw, a0);
  v128.store(dw, b0, 16);
  v128.store(dw, a1, 32);
  v128.store(dw, b1, 48);
  v128.store(dw, a2, 64);
  v128.store(dw, b2, 80);
  v128.store(dw, a3, 96);
  v128.store(dw, b3, 112);
}

function gradient1(
  x: usize,
  xTable: usize,
  dy: usize,
  yTable: usize,
  pixels: usize,
  dw: usize,
): void {
  let a = v128.load(dw);
  let b = v128.load(dw, 16);
  const end = xTable + pixels * 4;
  for (; xTable < end; xTable += 4, yTable += 4) {
    const v = v128.load32_splat(x + load<u32>(xTable));
    const yp = dy + load<u32>(yTable);
    a = madd(v, v128.load(yp), a);
    b = madd(v, v128.load(yp, 16), b);
  }
  v128.store(dw, a);
  v128.store(dw, b, 16);
}

/**
 * a * b + sum. Fused, with one rounding, where the build leaves that to the engine; results then differ between machines.
 */
function madd(a: v128, b: v128, sum: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, sum);
  return f32x4.add(sum, f32x4.mul(a, b));
}
