/** Windows that move over planes: their shapes, and what pooling makes of them. */

import { ModelError } from '../errors.ts';
import type { AveragePoolNode, MaxPoolNode, Shape } from './graph.ts';

/** Shapes of what a pooling reads and makes. */
interface PoolSite {
  readonly shapes: readonly Shape[];
  readonly shape: Shape;
}

export type Windowed = Pick<MaxPoolNode, 'kernel' | 'stride' | 'pads'>;

export function planes(shape: Shape): readonly [number, number, number] {
  if (shape.length !== 3)
    throw new ModelError('network', `needs a [C, H, W] input, not [${shape}]`);
  return shape as readonly [number, number, number];
}

export function isCount(n: number): boolean {
  return Number.isSafeInteger(n) && n > 0;
}

/** Output extent of a window of `kernel` moved by `stride` over `size`. */
export function windows(size: number, kernel: number, stride: number): number {
  if (!isCount(kernel) || !isCount(stride)) {
    throw new ModelError('network', 'kernel and stride should be positive whole numbers');
  }
  if (kernel > size)
    throw new ModelError('network', `a window of ${kernel} does not fit into ${size}`);
  return Math.floor((size - kernel) / stride) + 1;
}

export function checkPads(pads: readonly number[]): void {
  if (pads.some((n) => !Number.isSafeInteger(n) || n < 0)) {
    throw new ModelError('network', 'pads should be whole numbers, zero or more');
  }
}

export const NO_PADS = [0, 0, 0, 0] as const;

export function withPads(node: AveragePoolNode): Windowed {
  return { ...node, pads: node.pads ?? NO_PADS };
}

/** A window of nothing but padding would have no maximum, and no mean. */
export function pooledShape({ kernel, stride, pads }: Windowed, shape: Shape): Shape {
  checkPads(pads);
  if (pads.some((n, side) => n >= kernel[side % 2]!)) {
    throw new ModelError('network', `pads [${pads}] should be smaller than the kernel [${kernel}]`);
  }
  const [c, h, w] = planes(shape);
  return [
    c,
    windows(h + pads[0] + pads[2], kernel[0], stride[0]),
    windows(w + pads[1] + pads[3], kernel[1], stride[1]),
  ];
}

/** Ranges of `size` that windows of `kernel` cover, when `before` pads stand in front of it. */
export function covered(
  size: number,
  kernel: number,
  stride: number,
  before: number,
  count: number,
): readonly [from: number, to: number][] {
  return Array.from({ length: count }, (_, i) => {
    const from = i * stride - before;
    return [Math.max(from, 0), Math.min(from + kernel, size)];
  });
}

/** Rows and columns of the input that each row and column of a pooling's result looks at. */
export function poolWindows(
  { kernel, stride, pads }: Windowed,
  site: PoolSite,
): Record<'rows' | 'columns', readonly (readonly [from: number, to: number])[]> {
  const [, h, w] = planes(site.shapes[0]!);
  const [, oh, ow] = planes(site.shape);
  return {
    rows: covered(h, kernel[0], stride[0], pads[0], oh),
    columns: covered(w, kernel[1], stride[1], pads[1], ow),
  };
}

export function maximum(
  node: MaxPoolNode,
  x: Float32Array,
  out: Float32Array,
  site: PoolSite,
): void {
  const [c, h, w] = planes(site.shapes[0]!);
  const { rows, columns } = poolWindows(node, site);
  let o = 0;
  for (let ch = 0; ch < c; ch++) {
    for (const [top, bottom] of rows) {
      for (const [left, right] of columns) {
        let most = -Infinity;
        for (let y = top; y < bottom; y++) {
          const row = (ch * h + y) * w;
          for (let col = left; col < right; col++) most = Math.max(most, x[row + col]!);
        }
        out[o++] = most;
      }
    }
  }
}

export function pool(node: Windowed, x: Float32Array, out: Float32Array, site: PoolSite): void {
  const [c, h, w] = planes(site.shapes[0]!);
  const { rows, columns } = poolWindows(node, site);
  let o = 0;
  for (let ch = 0; ch < c; ch++) {
    for (const [top, bottom] of rows) {
      for (const [left, right] of columns) {
        let sum = 0;
        for (let y = top; y < bottom; y++) {
          const row = (ch * h + y) * w;
          for (let col = left; col < right; col++) sum += x[row + col]!;
        }
        out[o++] = sum / ((bottom - top) * (right - left));
      }
    }
  }
}
