// What a network that only computes needs beside the training kernels: depthwise convolutions, ReLUs, and how far values
// reach. Layouts and overhanging vectors are those of maps.ts.

/**
 * y[p][c] = bias[c] + sum over i of x[table[p] + window[i]][c] * w[i][c]; in the loops c counts bytes
 * @param x - images with their padding, so that every cell of a window is there
 * @param table - byte offset of the window of each result's pixel, in its image
 * @param window - byte offset of each of the `windowSize` cells, in the window
 * @param w - rows as long as the channels rounded up to a multiple of four, the rest zeros; likewise `bias`
 * @param pixels - of the result, per image
 * @param xImage - bytes from one image of x to the next
 */
export function depthwise(
  x: usize,
  table: usize,
  window: usize,
  windowSize: usize,
  w: usize,
  bias: usize,
  y: usize,
  pixels: usize,
  channels: usize,
  images: usize,
  xImage: usize,
): void {
  const row = channels * 4;
  const apart = (row + 15) & ~15;
  for (let image: usize = 0; image < images; image++, x += xImage) {
    for (let p: usize = 0; p < pixels; p++, y += row) {
      const xp = x + load<u32>(table + p * 4);
      let c: usize = 0;
      for (; c + 64 <= row; c += 64) {
        const b = bias + c;
        let s0 = v128.load(b);
        let s1 = v128.load(b, 16);
        let s2 = v128.load(b, 32);
        let s3 = v128.load(b, 48);
        for (let i: usize = 0, wi = w + c; i < windowSize; i++, wi += apart) {
          const xi = xp + load<u32>(window + i * 4) + c;
          s0 = f32x4.add(s0, f32x4.mul(v128.load(xi), v128.load(wi)));
          s1 = f32x4.add(s1, f32x4.mul(v128.load(xi, 16), v128.load(wi, 16)));
          s2 = f32x4.add(s2, f32x4.mul(v128.load(xi, 32), v128.load(wi, 32)));
          s3 = f32x4.add(s3, f32x4.mul(v128.load(xi, 48), v128.load(wi, 48)));
        }
        const o = y + c;
        v128.store(o, s0);
        v128.store(o, s1, 16);
        v128.store(o, s2, 32);
        v128.store(o, s3, 48);
      }
      for (; c < row; c += 16) {
        let sum = v128.load(bias + c);
        for (let i: usize = 0, wi = w + c; i < windowSize; i++, wi += apart) {
          const xi = xp + load<u32>(window + i * 4) + c;
          sum = f32x4.add(sum, f32x4.mul(v128.load(xi), v128.load(wi)));
        }
        v128.store(y + c, sum);
      }
    }
  }
}

/** y[i] = max(x[i], 0) */
export function rectify(x: usize, y: usize, length: usize): void {
  const zero = f32x4.splat(0);
  for (const end = x + length * 4; x < end; x += 16, y += 16) {
    v128.store(y, f32x4.max(v128.load(x), zero));
  }
}

/** low[c] and high[c]: the smallest and largest of x[p][c] over all pixels, at least one; not a number where one is none */
export function channelExtents(
  x: usize,
  pixels: usize,
  channels: usize,
  low: usize,
  high: usize,
): void {
  const row = channels * 4;
  const end = x + pixels * row;
  let c: usize = 0;
  for (; c + 64 <= row; c += 64) {
    let p = x + c;
    let l0 = v128.load(p);
    let l1 = v128.load(p, 16);
    let l2 = v128.load(p, 32);
    let l3 = v128.load(p, 48);
    let h0 = l0;
    let h1 = l1;
    let h2 = l2;
    let h3 = l3;
    for (p += row; p < end; p += row) {
      const v0 = v128.load(p);
      const v1 = v128.load(p, 16);
      const v2 = v128.load(p, 32);
      const v3 = v128.load(p, 48);
      l0 = f32x4.min(l0, v0);
      l1 = f32x4.min(l1, v1);
      l2 = f32x4.min(l2, v2);
      l3 = f32x4.min(l3, v3);
      h0 = f32x4.max(h0, v0);
      h1 = f32x4.max(h1, v1);
      h2 = f32x4.max(h2, v2);
      h3 = f32x4.max(h3, v3);
    }
    v128.store(low + c, l0);
    v128.store(low + c, l1, 16);
    v128.store(low + c, l2, 32);
    v128.store(low + c, l3, 48);
    v128.store(high + c, h0);
    v128.store(high + c, h1, 16);
    v128.store(high + c, h2, 32);
    v128.store(high + c, h3, 48);
  }
  for (; c < row; c += 16) {
    let p = x + c;
    let l = v128.load(p);
    let h = l;
    for (p += row; p < end; p += row) {
      const v = v128.load(p);
      l = f32x4.min(l, v);
      h = f32x4.max(h, v);
    }
    v128.store(low + c, l);
    v128.store(high + c, h);
  }
}
