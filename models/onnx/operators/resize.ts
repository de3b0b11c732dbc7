/** Resizing images: nearest neighbours are a choice of elements, straight and cubic interpolation products with matrices. */

import { ModelError } from '../../errors.ts';
import { axisAt } from '../arithmetic.ts';
import { Moving } from '../moving.ts';
import type { Operation, Traced } from '../operation.ts';
import { dimsOf, transposed } from '../view.ts';
import { contract } from './dense.ts';

interface Axis {
  readonly size: number;
  readonly target: number;
  readonly scale: number;
}

const COORDINATES: Readonly<Record<string, (x: number, axis: Axis) => number>> = {
  half_pixel: (x, { scale }) => (x + 0.5) / scale - 0.5,
  half_pixel_symmetric(x, { scale, size, target }) {
    const adjustment = target / (size * scale);
    return (size / 2) * (1 - adjustment) + (x + 0.5) / scale - 0.5;
  },
  pytorch_half_pixel: (x, { scale, target }) => (target > 1 ? (x + 0.5) / scale - 0.5 : 0),
  align_corners: (x, { size, target }) => (target > 1 ? (x * (size - 1)) / (target - 1) : 0),
  asymmetric: (x, { scale }) => x / scale,
  tf_half_pixel_for_nn: (x, { scale }) => (x + 0.5) / scale,
};

const ROUNDINGS: Readonly<Record<string, (x: number) => number>> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

function choice<T>(
  op: Operation,
  table: Readonly<Record<string, T>>,
  name: string,
  fallback: string,
): T {
  const text = op.text(name, fallback);
  const found = Object.hasOwn(table, text) ? table[text] : undefined;
  if (found !== undefined) return found;
  throw new ModelError(
    'network',
    `its ${name} '${text}' cannot be read: export it with one of ${Object.keys(table).join(', ')}`,
  );
}

/** What the operator makes of each axis. */
function axesOf(op: Operation, dims: readonly number[]): Axis[] {
  const isUpsample = op.node.op === 'Upsample';
  const isOld = op.model.opset < 11;
  const scalesAt = isUpsample || isOld ? 1 : 2;
  const given = op.has(scalesAt)
    ? op.numbers(scalesAt, 'scales').data
    : Float64Array.from(op.node.attributes.get('scales')?.floats ?? []);
  const sizes = op.has(3) && !isOld ? op.numbers(3, 'sizes').data : undefined;
  const named = op.integers('axes')?.map((axis) => axisAt(axis, dims.length)) ?? [...dims.keys()];
  const list = sizes !== undefined && sizes.length > 0 ? sizes : given;
  if (list.length !== named.length) {
    throw new ModelError(
      'network',
      `its ${list.length} scales or sizes should be one for each of ${named.length} axes`,
    );
  }
  if (op.text('keep_aspect_ratio_policy', 'stretch') !== 'stretch') {
    throw new ModelError(
      'network',
      'it keeps the aspect ratio: export it with the sizes that this comes to',
    );
  }
  const result = dims.map((size): Axis => ({ size, target: size, scale: 1 }));
  named.forEach((axis, i) => {
    const size = dims[axis]!;
    const isSize = list === sizes;
    const target = isSize ? list[i]! : Math.floor(size * list[i]!);
    if (!(Number.isSafeInteger(target) && target > 0)) {
      throw new ModelError('network', `it resizes an axis of ${size} to ${target}`);
    }
    result[axis] = { size, target, scale: isSize ? target / size : list[i]! };
  });
  return result;
}

function linear(t: number): [number, number][] {
  return [
    [0, 1 - t],
    [1, t],
  ];
}

/** Weights of the neighbours of a coordinate, from its floor on. */
const KERNELS: Readonly<Record<string, (ratio: number, op: Operation) => [number, number][]>> = {
  linear,
  bilinear: linear,
  cubic(t, op) {
    const a = op.float('cubic_coeff_a', -0.75);
    const near = (x: number) => ((a + 2) * x - (a + 3)) * x * x + 1;
    const far = (x: number) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    return [
      [-1, far(1 + t)],
      [0, near(t)],
      [1, near(1 - t)],
      [2, far(2 - t)],
    ];
  },
};

export function resize(op: Operation): Traced {
  const mode = op.text('mode', 'nearest');
  const x = op.traced(0);
  const dims = dimsOf(x.view);
  const axes = axesOf(op, dims);
  const isOld = op.model.opset < 11;
  const place = choice(
    op,
    COORDINATES,
    'coordinate_transformation_mode',
    isOld ? 'asymmetric' : 'half_pixel',
  );
  if (op.integer('antialias', 0) !== 0 && axes.some(({ scale }) => scale < 1)) {
    throw new ModelError(
      'network',
      'it smooths while it shrinks: export it with antialias=0, or pool before',
    );
  }
  if (mode === 'nearest') {
    const round = choice(op, ROUNDINGS, 'nearest_mode', isOld ? 'floor' : 'round_prefer_floor');
    const moved = new Moving(op, x);
    axes.forEach((axis, at) => {
      const { size, target, scale } = axis;
      if (size === target && scale === 1) return;
      // ONNX Runtime rounds up where version 10 makes an image smaller, on which the standard is silent.
      const nearest = isOld && scale < 1 ? Math.ceil : round;
      moved.pickEach(at, target, (i) =>
        Math.min(Math.max(nearest(settledAt(place(i, axis))), 0), size - 1),
      );
    });
    return moved.done() as Traced;
  }
  const kernel = choice(op, KERNELS, 'mode', mode);
  return axes.reduce((value, axis, at) => {
    const { size, target, scale } = axis;
    return size === target && scale === 1
      ? value
      : interpolated(op, value, at, axis, { place, kernel });
  }, x);
}

/** A coordinate without the rounding of its computation, which would tip it over an edge between two elements. */
function settledAt(x: number): number {
  const near = Math.round(2 * x) / 2;
  return Math.abs(x - near) < 1e-6 ? near : x;
}

interface Interpolation {
  /** The coordinate in the old image of one in the new. */
  readonly place: (x: number, axis: Axis) => number;
  /** Neighbours, counted from the one below, and their weights. */
  readonly kernel: (ratio: number, op: Operation) => [number, number][];
}

function interpolated(
  op: Operation,
  x: Traced,
  at: number,
  axis: Axis,
  { place, kernel }: Interpolation,
): Traced {
  const { size, target } = axis;
  op.writer.allocate(4 * size * target);
  const data = new Float32Array(size * target);
  const isExcluding = op.integer('exclude_outside', 0) !== 0;
  for (let i = 0; i < target; i++) {
    const from = settledAt(place(i, axis));
    const first = Math.floor(from);
    const taps = kernel(from - first, op).filter(([d]) => {
      return !isExcluding || (first + d >= 0 && first + d < size);
    });
    const total = isExcluding ? taps.reduce((sum, [, w]) => sum + w, 0) : 1;
    for (const [d, weight] of taps) {
      data[i * size + Math.min(Math.max(first + d, 0), size - 1)]! += weight / total;
    }
  }
  const name = `${op.name}.axis${at}`;
  const made = contract(op, x, [at], { weight: { shape: [target, size], data }, name });
  const front = op.batchOf(x) === undefined ? 0 : 1;
  const order = [...made.view.axes.keys()].filter((a) => a !== front);
  order.splice(at, 0, front);
  return { ...made, view: transposed(made.view, order) };
}
