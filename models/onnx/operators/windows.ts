/** Operators that move a window over the planes of an image. */

import { OUTSIDE } from '../../../protocol/ring/gather.ts';
import { ModelError } from '../../errors.ts';
import { elements } from '../../graph/index.ts';
import { Moving } from '../moving.ts';
import type { Operation, Planes, Traced } from '../operation.ts';
import { dimsOf } from '../view.ts';
import { multiplyConstant } from './linear.ts';

export type Pair = [number, number];
export type Pads = [number, number, number, number];

/** A window's geometry, with padding worked out and room for what `ceil_mode` adds at the end. */
export interface Windows {
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  /** Extents from the first element of a window to the last. */
  readonly span: Pair;
  /** [top, left, bottom, right], negative ones cut off. */
  readonly pads: Pads;
  /** Rows and columns beyond the padding that the last windows of `ceil_mode` reach. */
  readonly overhang: Pair;
  /** Windows in each direction. */
  readonly count: Pair;
}

/** A pair of an attribute, for planes or for lines, which have one row. */
function pair(op: Operation, name: string, isLine: boolean, fallback?: number): Pair {
  const list = op.counts(name, isLine ? 1 : 2, fallback);
  return isLine ? [1, list[0]!] : (list as Pair);
}

export function padsAttribute(op: Operation, isLine: boolean): Pads {
  const list = op.integers('pads') ?? (isLine ? [0, 0] : [0, 0, 0, 0]);
  if (list.length !== (isLine ? 2 : 4) || !list.every(Number.isSafeInteger)) {
    throw new ModelError(
      'network',
      `its pads [${list}] should be two whole numbers for each axis of the planes`,
    );
  }
  return isLine ? [0, list[0]!, 0, list[1]!] : ([...list] as Pads);
}

export function windowsOf(
  op: Operation,
  dims: readonly number[],
  isLine: boolean,
  kernel: Pair,
): Windows {
  const size = dims.slice(2) as Pair;
  const stride = pair(op, 'strides', isLine, 1);
  const dilation = pair(op, 'dilations', isLine, 1);
  const span = kernel.map((k, axis) => (k - 1) * dilation[axis]! + 1) as Pair;
  const mode = op.text('auto_pad', 'NOTSET');
  let pads: Pads = [0, 0, 0, 0];
  if (mode === 'SAME_UPPER' || mode === 'SAME_LOWER') {
    const sides = [0, 1].map((axis) => {
      const reach = (Math.ceil(size[axis]! / stride[axis]!) - 1) * stride[axis]! + span[axis]!;
      const total = Math.max(reach - size[axis]!, 0);
      const less = Math.floor(total / 2);
      return mode === 'SAME_UPPER' ? [less, total - less] : [total - less, less];
    });
    pads = [sides[0]![0]!, sides[1]![0]!, sides[0]![1]!, sides[1]![1]!];
  } else if (mode === 'NOTSET' || mode === '') pads = padsAttribute(op, isLine);
  else if (mode !== 'VALID')
    throw new ModelError('network', `it has the unknown auto_pad '${mode}'`);
  const overhang: Pair = [0, 0];
  const count = [0, 1].map((axis) => {
    const inside = size[axis]! + pads[axis]!;
    const room = inside + pads[axis + 2]! - span[axis]!;
    if (room < 0) {
      throw new ModelError(
        'network',
        `its window of ${span[axis]} does not fit into ${inside + pads[axis + 2]!} rows or columns`,
      );
    }
    let last = Math.floor(room / stride[axis]!) * stride[axis]!;
    if (op.integer('ceil_mode', 0) !== 0 && last < room) {
      // A window that would start behind the input is left out.
      const next = last + stride[axis]!;
      if (next < inside) {
        last = next;
        overhang[axis] = last - room;
      }
    }
    return last / stride[axis]! + 1;
  }) as Pair;
  return { kernel, stride, dilation, span, pads, overhang, count };
}

/** The value without what negative pads cut off, and the pads that are left. */
export function cropped(
  op: Operation,
  x: Traced,
  isLine: boolean,
  pads: Pads,
): { x: Traced; pads: Pads } {
  if (pads.every((n) => n >= 0)) return { x, pads };
  const moved = new Moving(op, x);
  for (const axis of isLine ? [1] : [0, 1]) {
    const at = axis + (isLine ? 1 : 2);
    const [before, after] = [Math.max(-pads[axis]!, 0), Math.max(-pads[axis + 2]!, 0)];
    const count = moved.dims[at]! - before - after;
    if (before + after > 0) moved.pick(at, { start: before, step: 1, count });
  }
  return { x: moved.done() as Traced, pads: pads.map((n) => Math.max(n, 0)) as Pads };
}

/** Whether the window is over lines; throws when it is over volumes. */
export function isLineOf(dims: readonly number[]): boolean {
  if (dims.length === 3) return true;
  if (dims.length === 4) return false;
  throw new ModelError(
    'network',
    `its input of shape [${dims}] should be [N, C, H, W] or [N, C, L]: windows over ${dims.length - 2} axes are not read`,
  );
}

/** [N, C, H, W] of a tensor that may be [N, C, L]. */
export function planeDims(dims: readonly number[]): number[] {
  return dims.length === 3 ? [dims[0]!, dims[1]!, 1, dims[2]!] : [...dims];
}

/** Rows or columns that all windows look at, one window after the other. */
function unrolled({ kernel, stride, dilation, pads, count }: Windows, axis: 0 | 1): Int32Array {
  return Int32Array.from({ length: count[axis] * kernel[axis] }, (_, i) => {
    const [window, k] = [Math.floor(i / kernel[axis]), i % kernel[axis]];
    return window * stride[axis] + k * dilation[axis] - pads[axis];
  });
}

/** The value with its windows side by side, as dilated ones have to be laid for a pool. */
function spread(
  op: Operation,
  x: Traced,
  windows: Windows,
  index: (i: number, size: number, axis: 0 | 1) => number,
): Traced {
  const moved = new Moving(op, x);
  const rank = moved.dims.length;
  for (const axis of rank === 3 ? ([1] as const) : ([0, 1] as const)) {
    const at = rank - 2 + axis;
    const size = moved.dims[at]!;
    const rows = unrolled(windows, axis);
    moved.pickEach(at, rows.length, (i) => index(rows[i]!, size, axis));
  }
  return moved.done() as Traced;
}

function isDilated({ dilation, kernel }: Windows): boolean {
  return dilation.some((d, axis) => d !== 1 && kernel[axis] !== 1);
}

export function maxPool(op: Operation): Traced {
  if (op.node.outputs.slice(1).some((name) => name !== '' && op.model.isRead(name))) {
    throw new ModelError(
      'network',
      'the places of its maxima are read, and nothing here computes them: use the maxima alone',
    );
  }
  let x = op.traced(0);
  const dims = dimsOf(x.view);
  const isLine = isLineOf(dims);
  const windows = windowsOf(op, planeDims(dims), isLine, pair(op, 'kernel_shape', isLine));
  const { kernel, overhang } = windows;
  let { stride, pads } = windows;
  if (isDilated(windows)) {
    // What is outside of the input never wins: some other element of the window stands in for it.
    const inside = (i: number, size: number, axis: 0 | 1) => {
      const step = windows.dilation[axis];
      return i < 0
        ? ((i % step) + step) % step
        : i >= size
          ? i - Math.ceil((i - size + 1) / step) * step
          : i;
    };
    x = spread(op, x, windows, inside);
    stride = kernel;
    pads = [0, 0, 0, 0];
  } else {
    ({ x, pads } = cropped(op, x, isLine, pads));
    pads = [pads[0], pads[1], pads[2] + overhang[0], pads[3] + overhang[1]];
  }
  const planes = op.planes(x);
  const node = { op: 'maxPool', inputs: [planes.id], kernel, stride, pads } as const;
  return op.fromPlanes(op.writer.add(op.name, node), planes);
}

export function averagePool(op: Operation): Traced {
  let x = op.traced(0);
  const dims = dimsOf(x.view);
  const isLine = isLineOf(dims);
  const windows = windowsOf(op, planeDims(dims), isLine, pair(op, 'kernel_shape', isLine));
  const { kernel, overhang } = windows;
  const isCounted = op.integer('count_include_pad', 0) !== 0;
  if (isDilated(windows)) return dilatedAverage(op, x, windows, isCounted);
  const { stride } = windows;
  let { pads } = windows;
  ({ x, pads } = cropped(op, x, isLine, pads));
  const planes = op.planes(x);
  let input = planes.id;
  if (isCounted && pads.some((n) => n > 0)) {
    const [top, left, bottom, right] = pads;
    input = op.writer.add(`${op.name}.padded`, {
      op: 'pad',
      inputs: [input],
      before: [0, top, left],
      after: [0, bottom, right],
    });
    pads = [0, 0, 0, 0];
  }
  // What sticks out beyond the padding is never counted.
  const [top, left, bottom, right] = pads;
  const own: Pads = [top, left, bottom + overhang[0], right + overhang[1]];
  const uncounted = own.some((n) => n > 0) ? { pads: own } : {};
  const node = { op: 'averagePool', inputs: [input], kernel, stride, ...uncounted } as const;
  return op.fromPlanes(op.writer.add(op.name, node), planes);
}

/** Dilated windows laid side by side with zeros outside, and the sums divided by what was inside. */
function dilatedAverage(op: Operation, x: Traced, windows: Windows, isCounted: boolean): Traced {
  const dims = planeDims(dimsOf(x.view));
  const { kernel, count, pads } = windows;
  const laid = spread(op, x, windows, (i, size) => (i >= 0 && i < size ? i : OUTSIDE));
  const planes = op.planes(laid);
  const node = { op: 'averagePool', inputs: [planes.id], kernel, stride: kernel } as const;
  const made = op.fromPlanes(op.writer.add(op.name, node), planes);
  const weights = ([0, 1] as const).map((axis) => {
    const rows = unrolled(windows, axis);
    const size = dims[axis + 2]!;
    const [from, to] = isCounted ? [-pads[axis], size + pads[axis + 2]!] : [0, size];
    return Float64Array.from({ length: count[axis] }, (_, i) => {
      const own = rows.subarray(i * kernel[axis], (i + 1) * kernel[axis]);
      return kernel[axis] / Math.max(own.filter((row) => row >= from && row < to).length, 1);
    });
  }) as [Float64Array, Float64Array];
  const size = elements(count);
  op.writer.allocate(8 * size);
  const data = Float64Array.from({ length: size }, (_, i) => {
    return weights[0][Math.floor(i / count[1])]! * weights[1][i % count[1]]!;
  });
  const shape = planes.isLine ? [count[1]] : count;
  return multiplyConstant(op, made, { shape, data });
}

/** Weights for planes that hold several images, one group for each. */
export function repeated(op: Operation, data: Float32Array, { count }: Planes): Float32Array {
  if (count === 1) return data;
  op.writer.allocate(4 * count * data.length);
  const all = new Float32Array(count * data.length);
  for (let i = 0; i < count; i++) all.set(data, i * data.length);
  return all;
}
