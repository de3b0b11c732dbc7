// Winograd's convolution of 3x3 kernels, F(4x4, 3x3) (Lavin and Gray, CVPR 2016): 36 products for 16 results, where there
// are 144 otherwise.
//
//   y = A^T [ (G g G^T) * (B^T d B) ] A        d: 6x6 of the padded input, y: 4x4 of the output, * by element
//
// The sums over channels stand between the transforms: they are 36 products of matrices, [tile][channel] with
// [channel][result], which gather.ts does. The gradient by the weights is the same sum the other way round:
//
//   dg = G^T [ (A dy A^T) * (B^T d B) ] G
//
// A tile's 36 numbers lie in 36 matrices, `matrix` bytes apart, rows of `row` bytes. Channels are multiples of four.

/** Six to six: B^T d. */
function sixOfInput(from: usize, step: usize, to: usize, toStep: usize): void {
  const d0 = v128.load(from);
  const d1 = v128.load(from + step);
  const d2 = v128.load(from + 2 * step);
  const d3 = v128.load(from + 3 * step);
  const d4 = v128.load(from + 4 * step);
  const d5 = v128.load(from + 5 * step);
  const four = f32x4.splat(4);
  const five = f32x4.splat(5);
  v128.store(to, f32x4.add(f32x4.sub(f32x4.mul(four, d0), f32x4.mul(five, d2)), d4));
  const even = f32x4.sub(d4, f32x4.mul(four, d2));
  const odd = f32x4.sub(d3, f32x4.mul(four, d1));
  v128.store(to + toStep, f32x4.add(even, odd));
  v128.store(to + 2 * toStep, f32x4.sub(even, odd));
  const near = f32x4.sub(d4, d2);
  const half = f32x4.sub(d3, d1);
  const far = f32x4.add(half, half);
  v128.store(to + 3 * toStep, f32x4.add(near, far));
  v128.store(to + 4 * toStep, f32x4.sub(near, far));
  v128.store(to + 5 * toStep, f32x4.add(f32x4.sub(f32x4.mul(four, d1), f32x4.mul(five, d3)), d5));
}

/** Six to four: A^T m. */
function fourOfOutput(from: usize, step: usize, to: usize, toStep: usize): void {
  const m1 = v128.load(from + step);
  const m2 = v128.load(from + 2 * step);
  const m3 = v128.load(from + 3 * step);
  const m4 = v128.load(from + 4 * step);
  const s1 = f32x4.add(m1, m2);
  const d1 = f32x4.sub(m1, m2);
  const s2 = f32x4.add(m3, m4);
  const d2 = f32x4.sub(m3, m4);
  v128.store(to, f32x4.add(f32x4.add(v128.load(from), s1), s2));
  v128.store(to + toStep, f32x4.add(d1, f32x4.add(d2, d2)));
  v128.store(to + 2 * toStep, f32x4.add(s1, f32x4.mul(s2, f32x4.splat(4))));
  const last = f32x4.add(d1, f32x4.mul(d2, f32x4.splat(8)));
  v128.store(to + 3 * toStep, f32x4.add(last, v128.load(from + 5 * step)));
}

/** Four to six: A y. */
function sixOfGradient(from: usize, step: usize, to: usize, toStep: usize): void {
  const y0 = v128.load(from);
  const y1 = v128.load(from + step);
  const y2 = v128.load(from + 2 * step);
  const y3 = v128.load(from + 3 * step);
  v128.store(to, y0);
  const even = f32x4.add(y0, y2);
  const odd = f32x4.add(y1, y3);
  v128.store(to + toStep, f32x4.add(even, odd));
  v128.store(to + 2 * toStep, f32x4.sub(even, odd));
  const far = f32x4.add(y0, f32x4.mul(y2, f32x4.splat(4)));
  const wide = f32x4.add(f32x4.add(y1, y1), f32x4.mul(y3, f32x4.splat(8)));
  v128.store(to + 3 * toStep, f32x4.add(far, wide));
  v128.store(to + 4 * toStep, f32x4.sub(far, wide));
  v128.store(to + 5 * toStep, y3);
}

/** Three to six: G g. */
function sixOfKernel(from: usize, step: usize, to: usize, toStep: usize): void {
  const g0 = v128.load(from);
  const g1 = v128.load(from + step);
  const g2 = v128.load(from + 2 * step);
  v128.store(to, f32x4.mul(g0, f32x4.splat(0.25)));
  const sixth = f32x4.splat(-1.0 / 6.0);
  const ends = f32x4.add(g0, g2);
  v128.store(to + toStep, f32x4.mul(sixth, f32x4.add(ends, g1)));
  v128.store(to + 2 * toStep, f32x4.mul(sixth, f32x4.sub(ends, g1)));
  const far = f32x4.add(
    f32x4.mul(g0, f32x4.splat(1.0 / 24.0)),
    f32x4.mul(g2, f32x4.splat(1.0 / 6.0)),
  );
  const middle = f32x4.mul(g1, f32x4.splat(1.0 / 12.0));
  v128.store(to + 3 * toStep, f32x4.add(far, middle));
  v128.store(to + 4 * toStep, f32x4.sub(far, middle));
  v128.store(to + 5 * toStep, g2);
}

/** Six to three: G^T m. */
function threeOfKernel(from: usize, step: usize, to: usize, toStep: usize): void {
  const m1 = v128.load(from + step);
  const m2 = v128.load(from + 2 * step);
  const m3 = v128.load(from + 3 * step);
  const m4 = v128.load(from + 4 * step);
  const sixth = f32x4.splat(1.0 / 6.0);
  const s1 = f32x4.mul(f32x4.add(m1, m2), sixth);
  const s2 = f32x4.add(m3, m4);
  const first = f32x4.sub(f32x4.mul(v128.load(from), f32x4.splat(0.25)), s1);
  v128.store(to, f32x4.add(first, f32x4.mul(s2, f32x4.splat(1.0 / 24.0))));
  const d1 = f32x4.mul(f32x4.sub(m2, m1), sixth);
  v128.store(to + toStep, f32x4.add(d1, f32x4.mul(f32x4.sub(m3, m4), f32x4.splat(1.0 / 12.0))));
  const last = f32x4.sub(f32x4.mul(s2, sixth), s1);
  v128.store(to + 2 * toStep, f32x4.add(last, v128.load(from + 5 * step)));
}

/**
 * B^T d B of the tiles of some images, row by row, which overlap by two; `room`: for 36 vectors. xRow, xImage: bytes from one
 * row and image of the padded input to the next.
 */
export function inputTiles(
  x: usize,
  xRow: usize,
  xImage: usize,
  tilesDown: usize,
  tilesAcross: usize,
  channels: usize,
  images: usize,
  v: usize,
  matrix: usize,
  row: usize,
  room: usize,
): void {
  const pixel = channels * 4;
  for (let image: usize = 0; image < images; image++, x += xImage) {
    for (let down: usize = 0; down < tilesDown; down++) {
      for (let across: usize = 0; across < tilesAcross; across++, v += row) {
        const corner = x + 4 * (down * xRow + across * pixel);
        for (let c: usize = 0; c < pixel; c += 16) {
          for (let j: usize = 0; j < 6; j++) {
            sixOfInput(corner + j * pixel + c, xRow, room + j * 16, 96);
          }
          for (let i: usize = 0; i < 6; i++) {
            sixOfInput(room + i * 96, 16, v + 6 * i * matrix + c, matrix);
          }
        }
      }
    }
  }
}

/** Adds A^T m A to the outputs of some images, as far as tiles lie inside them. */
export function outputTiles(
  m: usize,
  matrix: usize,
  row: usize,
  height: usize,
  width: usize,
  channels: usize,
  images: usize,
  y: usize,
  room: usize,
): void {
  const pixel = channels * 4;
  const yRow = width * pixel;
  for (let image: usize = 0; image < images; image++, y += height * yRow) {
    for (let down: usize = 0; down < height; down += 4) {
      const rows = min(height - down, 4);
      for (let across: usize = 0; across < width; across += 4, m += row) {
        const columns = min(width - across, 4);
        const corner = y + down * yRow + across * pixel;
        for (let c: usize = 0; c < pixel; c += 16) {
          for (let j: usize = 0; j < 6; j++) {
            fourOfOutput(m + j * matrix + c, 6 * matrix, room + j * 16, 96);
          }
          for (let i: usize = 0; i < rows; i++) {
            fourOfOutput(room + i * 96, 16, room + 384, 16);
            for (let j: usize = 0; j < columns; j++) {
              const to = corner + i * yRow + j * pixel + c;
              v128.store(to, f32x4.add(v128.load(to), v128.load(room + 384 + j * 16)));
            }
          }
        }
      }
    }
  }
}

/** A dy A^T of the tiles of some images; outside of them dy is zero. */
export function gradientTiles(
  dy: usize,
  height: usize,
  width: usize,
  channels: usize,
  images: usize,
  m: usize,
  matrix: usize,
  row: usize,
  room: usize,
): void {
  const pixel = channels * 4;
  const yRow = width * pixel;
  const zero = f32x4.splat(0);
  const middle = room + 256;
  for (let image: usize = 0; image < images; image++, dy += height * yRow) {
    for (let down: usize = 0; down < height; down += 4) {
      const rows = min(height - down, 4);
      for (let across: usize = 0; across < width; across += 4, m += row) {
        const columns = min(width - across, 4);
        const corner = dy + down * yRow + across * pixel;
        for (let c: usize = 0; c < pixel; c += 16) {
          for (let i: usize = 0; i < 4; i++) {
            for (let j: usize = 0; j < 4; j++) {
              const inside = i < rows && j < columns;
              const from = corner + i * yRow + j * pixel + c;
              v128.store(room + i * 64 + j * 16, inside ? v128.load(from) : zero);
            }
          }
          for (let j: usize = 0; j < 4; j++) sixOfGradient(room + j * 16, 64, middle + j * 16, 64);
          for (let i: usize = 0; i < 6; i++) {
            sixOfGradient(middle + i * 64, 16, m + 6 * i * matrix + c, matrix);
          }
        }
      }
    }
  }
}

/** G g G^T of many kernels: number k of cell i lies at g + i * cells + 4 * k, of the result at u + i * matrix + 4 * k. */
export function kernels(
  g: usize,
  cells: usize,
  count: usize,
  u: usize,
  matrix: usize,
  room: usize,
): void {
  for (let k: usize = 0; k < count * 4; k += 16) {
    for (let j: usize = 0; j < 3; j++) sixOfKernel(g + j * cells + k, 3 * cells, room + j * 16, 48);
    for (let i: usize = 0; i < 6; i++) {
      sixOfKernel(room + i * 48, 16, u + 6 * i * matrix + k, matrix);
    }
  }
}

/** G^T m G of many kernels, laid out as in `kernels`. */
export function kernelGradients(
  u: usize,
  matrix: usize,
  count: usize,
  g: usize,
  cells: usize,
  room: usize,
): void {
  for (let k: usize = 0; k < count * 4; k += 16) {
    for (let j: usize = 0; j < 6; j++) {
      threeOfKernel(u + j * matrix + k, 6 * matrix, room + j * 16, 96);
    }
    for (let i: usize = 0; i < 3; i++) {
      threeOfKernel(room + i * 96, 16, g + 3 * i * cells + k, cells);
    }
  }
}
