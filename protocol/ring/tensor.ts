/** Operations on tensors of Z_2^32 that a party does on its share alone; the oracle does them on the value. */

import type { Shape } from './shape.ts';
import { sizeOf } from './shape.ts';

/** a + b mod 2^32. */
export function add(a: Int32Array, b: Int32Array): Int32Array {
  sameLength(a, b);
  const sum = a.slice();
  addInto(sum, b);
  return sum;
}

/** a - b mod 2^32. */
export function subtract(a: Int32Array, b: Int32Array): Int32Array {
  sameLength(a, b);
  return a.map((x, i) => x - b[i]!);
}

/** Adds b to a in place. */
export function addInto(a: Int32Array, b: Int32Array): void {
  sameLength(a, b);
  for (let i = 0; i < a.length; i++) a[i]! += b[i]!;
}

/** a * 2^bits mod 2^32, `bits` in 0 .. 31: more fractional bits for the same value. */
export function shiftLeft(a: Int32Array, bits: number): Int32Array {
  if (!Number.isInteger(bits) || bits < 0 || bits > 31) {
    throw new RangeError(`shift: expected 0 to 31 bits, got ${bits}`);
  }
  // A loop, not map(): that calls a function for each of up to a million elements.
  const shifted = new Int32Array(a.length);
  for (let i = 0; i < shifted.length; i++) shifted[i] = a[i]! << bits;
  return shifted;
}

/** Windows of a pooling. */
export interface Pooling {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  /** Top, left, bottom and right: cells around the input that windows reach over, each fewer than the kernel has there. */
  readonly pads: readonly [number, number, number, number];
}

/** Shape of {@link sumPool}'s result: as many windows as lie inside the padded input. */
export function sumPoolOutput(
  [channels, height, width]: Shape,
  { kernel, stride, pads: [top, left, bottom, right] }: Pooling,
): Shape {
  return [
    channels,
    Math.floor((height + top + bottom - kernel[0]) / stride[0]) + 1,
    Math.floor((width + left + right - kernel[1]) / stride[1]) + 1,
  ];
}

/** What the sums of a pooling's windows are multiplied by, so that windows of fewer cells weigh as much as whole ones. */
export interface PoolWeights {
  /** L: every result is the mean of its window's cells times this. Infinity when it is no number below 2^31. */
  readonly level: number;
  /** By the row and the column of the window: a sum is multiplied by the product of both. */
  row(y: number): number;
  column(x: number): number;
}

/**
 * L = Lr Lc, where Lr is the least common multiple of the numbers of rows that windows have in the input, and Lc of columns.
 * A window of r x c cells is multiplied by (Lr / r) (Lc / c). Without pads L is the kernel's area and nothing is multiplied.
 */
export function poolWeights(shape: Shape, pooling: Pooling): PoolWeights {
  const [, height, width] = sumPoolOutput(shape, pooling);
  const axes = ([0, 1] as const).map((axis) => {
    const cells = (window: number): number => {
      const [from, to] = cellsOf(shape, pooling, axis, window);
      return to - from;
    };
    const windows = axis === 0 ? height : width;
    const whole = (window: number): boolean => cells(window) === pooling.kernel[axis];
    // Those that reach over an end come first and last.
    const counts = new Set<number>();
    let from = 0;
    while (from < windows && !whole(from)) counts.add(cells(from++));
    let to = windows;
    while (to > from && !whole(to - 1)) counts.add(cells(--to));
    if (to > from) counts.add(pooling.kernel[axis]);
    return { cells, level: [...counts].reduce(commonMultiple, 1) };
  });
  const [rows, columns] = axes as [(typeof axes)[0], (typeof axes)[0]];
  const level = rows.level * columns.level;
  return {
    level: level < 2 ** 31 ? level : Number.POSITIVE_INFINITY,
    row: (y) => rows.level / rows.cells(y),
    column: (x) => columns.level / columns.cells(x),
  };
}

/** The rows, or columns, of the input in which a window's cells lie: from one on, up to another. */
function cellsOf(
  shape: Shape,
  { kernel, stride, pads }: Pooling,
  axis: 0 | 1,
  window: number,
): [from: number, to: number] {
  const start = window * stride[axis] - pads[axis];
  return [Math.max(0, start), Math.min(start + kernel[axis], shape[axis + 1]!)];
}

/** The least common multiple, Infinity from 2^31 on. */
function commonMultiple(x: number, y: number): number {
  if (x === Number.POSITIVE_INFINITY) return x;
  let [divisor, rest] = [x, y];
  while (rest > 0) [divisor, rest] = [rest, divisor % rest];
  const multiple = (x / divisor) * y;
  return multiple < 2 ** 31 ? multiple : Number.POSITIVE_INFINITY;
}

/**
 * The mean of each window's cells inside the input times L, mod 2^32: see {@link poolWeights}.
 * @throws RangeError when the input has another size, no window fits, or L is too large
 */
export function sumPool(input: Int32Array, shape: Shape, pooling: Pooling): Int32Array {
  if (input.length !== sizeOf(shape)) {
    throw new RangeError(`pooling: expected ${sizeOf(shape)} elements, got ${input.length}`);
  }
  const [channels, height, width] = shape;
  const [, outHeight, outWidth] = sumPoolOutput(shape, pooling);
  if (outHeight < 1 || outWidth < 1) throw new RangeError('pooling: window larger than its input');
  const { level, row, column } = poolWeights(shape, pooling);
  const windows = (axis: 0 | 1, count: number, weight: (window: number) => number) =>
    Array.from({ length: count }, (_, i) => ({
      cells: cellsOf(shape, pooling, axis, i),
      weight: weight(i),
    }));
  const rows = windows(0, outHeight, row);
  const columns = windows(1, outWidth, column);
  if (level === Number.POSITIVE_INFINITY) {
    throw new RangeError('pooling: the cells of windows have no common multiple below 2^31');
  }
  const out = new Int32Array(channels * outHeight * outWidth);
  let to = 0;
  for (let c = 0; c < channels; c++) {
    for (const { cells: vertical, weight: rowWeight } of rows) {
      const [top, bottom] = vertical;
      for (const { cells: horizontal, weight } of columns) {
        const [left, right] = horizontal;
        let sum = 0;
        for (let i = top; i < bottom; i++) {
          const from = (c * height + i) * width;
          for (let j = left; j < right; j++) sum = (sum + input[from + j]!) | 0;
        }
        out[to++] = Math.imul(sum, rowWeight * weight);
      }
    }
  }
  return out;
}

/** Index of the largest element, the first of equals. */
export function indexOfLargest(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

function sameLength(a: Int32Array, b: Int32Array): void {
  if (a.length !== b.length) {
    throw new RangeError(`tensors: ${a.length} and ${b.length} elements do not match`);
  }
}
