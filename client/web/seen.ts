/** Pictures of numbers, and how far two are alike. */

import type { Shape } from '../../protocol/ring/shape.ts';

/** Paints values 0..255, [channels, height, width], gray or in colours. */
export function paint(
  canvas: HTMLCanvasElement,
  [channels, height, width]: Shape,
  value: (index: number) => number,
): void {
  const plane = width * height;
  const image = new ImageData(width, height);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = value(channels === 1 ? i : c * plane + i);
    image.data[4 * i + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d')!.putImageData(image, 0, 0);
}

/** Paints bytes as gray pixels, row by row; what they do not reach stays empty. */
export function paintBytes(
  canvas: HTMLCanvasElement,
  [, height, width]: Shape,
  bytes: Uint8Array,
): void {
  const image = new ImageData(width, height);
  bytes.subarray(0, width * height).forEach((byte, i) => {
    image.data.set([byte, byte, byte, 255], 4 * i);
  });
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d')!.putImageData(image, 0, 0);
}

/** Pearson's correlation of two vectors, -1..1; 0 when one is constant. */
export function correlation(x: ArrayLike<number>, y: ArrayLike<number>): number {
  const n = x.length;
  const mean = (values: ArrayLike<number>) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += values[i]!;
    return sum / n;
  };
  const [mx, my] = [mean(x), mean(y)];
  let [xx, yy, xy] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [dx, dy] = [x[i]! - mx, y[i]! - my];
    xx += dx * dx;
    yy += dy * dy;
    xy += dx * dy;
  }
  return xx === 0 || yy === 0 ? 0 : xy / Math.sqrt(xx * yy);
}
