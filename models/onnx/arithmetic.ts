/** Arithmetic on constants: what exporters leave in a model to be computed when it is read. */

import { ModelError } from '../errors.ts';
import { elements } from '../graph/index.ts';
import { type Constant, checkRank } from './constant.ts';

/** Zeros, of the type of some constant's numbers. */
export function zerosLike({ data }: Constant, count: number): Constant['data'] {
  return data instanceof Float32Array ? new Float32Array(count) : new Float64Array(count);
}

/** Row-major steps of a shape. */
export function stepsOfShape(shape: readonly number[]): number[] {
  return shape.map((_, axis) => elements(shape.slice(axis + 1)));
}

/**
 * A view of a constant, copied: element i of the result is data[first + sum of i[axis] * steps[axis]].
 * Transposing, slicing and broadcasting are such views.
 */
export function strided(
  from: Constant,
  shape: readonly number[],
  steps: readonly number[],
  first = 0,
): Constant {
  const count = elements(shape);
  const out = zerosLike(from, count);
  const index = shape.map(() => 0);
  for (let i = 0, at = first; i < count; i++) {
    out[i] = from.data[at]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += steps[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      at -= shape[axis]! * steps[axis]!;
      index[axis] = 0;
    }
  }
  return { shape, data: out };
}

/** @throws ModelError `network` when `perm` is no permutation of the axes. */
export function transposeConstant(x: Constant, perm: readonly number[]): Constant {
  checkPermutation(perm, x.shape.length);
  const steps = stepsOfShape(x.shape);
  return strided(
    x,
    perm.map((axis) => x.shape[axis]!),
    perm.map((axis) => steps[axis]!),
  );
}

export function checkPermutation(perm: readonly number[], rank: number): void {
  const sorted = perm.toSorted((a, b) => a - b);
  if (perm.length !== rank || sorted.some((axis, i) => axis !== i)) {
    throw new ModelError('network', `[${perm}] is no order of ${rank} axes`);
  }
}

/**
 * The shape that two broadcast to, as numpy has it.
 * @throws ModelError `network` when they do not fit.
 */
export function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const [m, n] = [a[axis - rank + a.length] ?? 1, b[axis - rank + b.length] ?? 1];
    if (m !== n && m !== 1 && n !== 1) {
      throw new ModelError('network', `shapes [${a}] and [${b}] do not go together`);
    }
    return m === 1 ? n : m;
  });
}

/** Steps through an array of `shape` that is broadcast to more axes or longer ones: 0 where it repeats. */
export function broadcastSteps(shape: readonly number[], rank: number): number[] {
  const steps = stepsOfShape(shape).map((step, axis) => (shape[axis] === 1 ? 0 : step));
  return [...new Array<number>(rank - shape.length).fill(0), ...steps];
}

/** Element by element, with broadcasting. */
export function combine(a: Constant, b: Constant, f: (x: number, y: number) => number): Constant {
  const shape = broadcast(a.shape, b.shape);
  const [x, y] = [a, b].map((c) => strided(c, shape, broadcastSteps(c.shape, shape.length)));
  return { shape, data: x!.data.map((value, i) => f(value, y!.data[i]!)) as Constant['data'] };
}

/** A list of integers. */
export function list(values: readonly number[]): Constant {
  return { shape: [values.length], data: Float64Array.from(values) };
}

/**
 * The extents that Reshape asks for: 0 keeps an axis (unless `allowZero`), -1 takes what is left.
 * @throws ModelError `network` when they do not hold as many elements.
 */
export function reshapedDims(
  dims: readonly number[],
  target: readonly number[],
  allowZero = false,
): number[] {
  checkRank(target.length);
  const wanted = target.map((n, axis) => (n === 0 && !allowZero ? (dims[axis] ?? 0) : n));
  const total = elements(dims);
  const rest = elements(wanted.filter((n) => n !== -1));
  const result = wanted.map((n) => (n === -1 ? total / rest : n));
  const isPossible =
    wanted.filter((n) => n === -1).length <= 1 &&
    result.every((n) => Number.isSafeInteger(n) && n >= 0) &&
    elements(result) === total;
  if (!isPossible) throw new ModelError('network', `[${dims}] cannot be reshaped to [${target}]`);
  return result;
}

/** An axis counted from the front. */
export function axisAt(axis: number, rank: number): number {
  const at = axis < 0 ? axis + rank : axis;
  if (!Number.isSafeInteger(at) || at < 0 || at >= rank) {
    throw new ModelError('network', `there is no axis ${axis} among ${rank}`);
  }
  return at;
}

/** One axis of a slice. */
export interface SliceRange {
  readonly start: number;
  readonly step: number;
  readonly size: number;
}

/** The elements that ONNX's Slice takes from an axis of `extent`: ends are clamped, negative ones count from behind. */
export function sliceRange(extent: number, start: number, end: number, step: number): SliceRange {
  if (!Number.isSafeInteger(step) || step === 0)
    throw new ModelError('network', `it has a step of ${step}`);
  const clamp = (n: number, least: number, most: number) =>
    Math.min(Math.max(n < 0 ? n + extent : n, least), most);
  const last = step > 0 ? extent : extent - 1;
  const from = clamp(start, 0, last);
  const to = clamp(end, step > 0 ? 0 : -1, last);
  return { start: from, step, size: Math.max(0, Math.ceil((to - from) / step)) };
}
