/**
 * A digit as the digit network knows digits: light on dark, in a box of 20 pixels, its centre of mass in the middle of 28.
 * That is how MNIST was made (LeCun, Bottou, Bengio, Haffner 1998); a drawing in a corner would be another problem.
 */

/** A gray image, 0..1, row by row. */
export interface GrayImage {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** Side of the result, and of the box the digit fills in it. */
export const DIGIT_SIDE = 28;
const BOX_SIDE = 20;

/** Share of the brightest value from which a pixel belongs to the digit. */
const INK = 0.2;

/**
 * Centres and scales a digit. Dark ink on light paper is turned round.
 * @returns 28 x 28 pixels 0..1; undefined when nothing is drawn
 */
export function centredDigit(image: GrayImage): Float32Array | undefined {
  const { width, height } = image;
  const data = onDark(image);
  const peak = data.reduce((most, value) => Math.max(most, value), 0);
  if (peak < 0.1) return undefined;
  let [left, right, top, bottom] = [width, -1, height, -1];
  let [mass, massX, massY] = [0, 0, 0];
  data.forEach((value, i) => {
    if (value < INK * peak) return;
    const x = i % width;
    const y = Math.floor(i / width);
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
    mass += value;
    massX += value * (x + 0.5);
    massY += value * (y + 0.5);
  });
  /** Image pixels for one pixel of the result, and where the result begins. */
  const step = Math.max(right - left + 1, bottom - top + 1) / BOX_SIDE;
  const x0 = massX / mass - (DIGIT_SIDE / 2) * step;
  const y0 = massY / mass - (DIGIT_SIDE / 2) * step;
  return Float32Array.from({ length: DIGIT_SIDE * DIGIT_SIDE }, (_, i) => {
    const x = x0 + (i % DIGIT_SIDE) * step;
    const y = y0 + Math.floor(i / DIGIT_SIDE) * step;
    return Math.min(1, mean({ width, height, data }, x, y, step) / peak);
  });
}

/** The image with its border dark: the paper is what the border shows. */
function onDark({ width, height, data }: GrayImage): Float32Array {
  let [sum, count] = [0, 0];
  data.forEach((value, i) => {
    const x = i % width;
    const y = Math.floor(i / width);
    if (x === 0 || y === 0 || x === width - 1 || y === height - 1) {
      sum += value;
      count++;
    }
  });
  const paper = sum / count;
  if (paper <= 0.5) return data;
  return data.map((value) => Math.max(0, paper - value) / paper);
}

/** The mean over the square of side `side` at (x, y); black is all around the image. */
function mean({ width, height, data }: GrayImage, x: number, y: number, side: number): number {
  let sum = 0;
  for (let row = Math.max(0, Math.floor(y)); row < Math.min(height, y + side); row++) {
    const down = Math.min(row + 1, y + side) - Math.max(row, y);
    for (let column = Math.max(0, Math.floor(x)); column < Math.min(width, x + side); column++) {
      const across = Math.min(column + 1, x + side) - Math.max(column, x);
      sum += data[row * width + column]! * down * across;
    }
  }
  return sum / (side * side);
}
