/** Operators that move elements or leave them where they are: reshapes, transposes, parts, repetitions. */

import { OUTSIDE } from '../../../protocol/ring/gather.ts';
import { ModelError } from '../../errors.ts';
import { elements } from '../../graph/index.ts';
import {
  axisAt,
  broadcast,
  checkPermutation,
  list,
  reshapedDims,
  sliceRange,
} from '../arithmetic.ts';
import { type Constant, checkRank, isFloatType } from '../constant.ts';
import { Moving, moving } from '../moving.ts';
import { isTraced, type Operand, type Operation } from '../operation.ts';
import { addConstant } from './linear.ts';

/** The same elements under other extents, labels behind an ArgMax included. */
function reshapeTo(op: Operation, dims: readonly number[]): Operand {
  const x = op.constant(0) ?? op.movable(0);
  if (isTraced(x) && x.labels !== undefined) return { ...x, labels: dims };
  return new Moving(op, x).reshape(dims).done();
}

export function reshape(op: Operation): Operand {
  const target = op.list(1, 'shape') ?? [];
  return reshapeTo(op, reshapedDims(op.dims(0), target, op.integer('allowzero', 0) !== 0));
}

export function flatten(op: Operation): Operand {
  const dims = op.dims(0);
  const axis = op.integer('axis', 1);
  const at = axis === dims.length ? axis : axisAt(axis, dims.length);
  return reshapeTo(op, [elements(dims.slice(0, at)), elements(dims.slice(at))]);
}

function squeezed(dims: readonly number[], axes: readonly number[] | undefined): number[] {
  const gone = axes?.map((axis) => axisAt(axis, dims.length));
  if (gone?.some((axis) => dims[axis] !== 1)) {
    throw new ModelError('network', `it removes axes [${axes}] of [${dims}], which are not all 1`);
  }
  return dims.filter((n, axis) => (gone === undefined ? n !== 1 : !gone.includes(axis)));
}

export function unsqueezed(dims: readonly number[], axes: readonly number[]): number[] {
  const rank = dims.length + axes.length;
  checkRank(rank);
  const added = new Set(axes.map((axis) => axisAt(axis, rank)));
  if (added.size !== axes.length)
    throw new ModelError('network', `it adds axes [${axes}], one of them twice`);
  const rest = [...dims];
  return Array.from({ length: rank }, (_, axis) => (added.has(axis) ? 1 : rest.shift()!));
}

export function squeeze(op: Operation): Operand {
  return reshapeTo(op, squeezed(op.dims(0), op.list(1, 'axes')));
}

export function unsqueeze(op: Operation): Operand {
  return reshapeTo(op, unsqueezed(op.dims(0), op.list(1, 'axes') ?? []));
}

export function transpose(op: Operation): Operand {
  const rank = op.dims(0).length;
  const perm = op.integers('perm') ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  checkPermutation(perm, rank);
  return moving(op).transpose(perm).done();
}

export function same(op: Operation): Operand {
  return op.constant(0) ?? op.movable(0);
}

export function dropout(op: Operation): Operand {
  const isTraining = op.has(2) && op.numbers(2, 'training mode').data[0] !== 0;
  if (isTraining || (op.model.opset < 7 && op.integer('is_test', 0) === 0)) {
    throw new ModelError('network', 'it is in training mode: export the model for inference');
  }
  return same(op);
}

export function cast(op: Operation): Operand {
  const x = op.movable(0);
  if (x.labels === undefined && !isFloatType(op.integer('to', 0))) {
    throw new ModelError(
      'network',
      'it rounds values that depend on the image to integers: leave the rounding out, or read up to its input with --output-name',
    );
  }
  return x;
}

export function castLike(op: Operation): Operand {
  const x = op.movable(0);
  const like = op.constant(1);
  if (x.labels === undefined && like !== undefined && !(like.data instanceof Float32Array)) {
    throw new ModelError(
      'network',
      'it rounds values that depend on the image to integers: leave the rounding out, or read up to its input with --output-name',
    );
  }
  return x;
}

export function shape(op: Operation): Constant {
  const dims = op.dims(0);
  return list(dims.slice(op.integer('start', 0), op.integer('end', dims.length)));
}

export function size(op: Operation): Constant {
  return { shape: [], data: Float64Array.of(elements(op.dims(0))) };
}

/** Index of an element of an axis of `n` at place i, which may lie outside. */
const OUTSIDE_OF: Readonly<Record<string, (i: number, n: number) => number>> = {
  constant: (i, n) => (i >= 0 && i < n ? i : OUTSIDE),
  edge: (i, n) => Math.min(Math.max(i, 0), n - 1),
  wrap: (i, n) => ((i % n) + n) % n,
  reflect(i, n) {
    const period = Math.max(2 * (n - 1), 1);
    const at = ((i % period) + period) % period;
    return Math.min(at, period - at, n - 1);
  },
};

export function pad(op: Operation): Operand {
  const mode = op.text('mode', 'constant');
  const index = Object.hasOwn(OUTSIDE_OF, mode) ? OUTSIDE_OF[mode] : undefined;
  if (index === undefined) throw new ModelError('network', `its mode '${mode}' is not one of ONNX`);
  const value = op.has(2) ? op.numbers(2, 'value').data[0]! : op.float('value', 0);
  const dims = op.dims(0);
  const pads = op.list(1, 'pads') ?? op.integers('paddings') ?? [];
  const named = op.has(3) ? op.list(3, 'axes')! : dims.map((_, axis) => axis);
  if (pads.length !== 2 * named.length || !pads.every(Number.isSafeInteger)) {
    throw new ModelError(
      'network',
      `its pads [${pads}] should be two whole numbers for each of ${named.length} axes`,
    );
  }
  const moved = moving(op);
  const inside = dims.map((n) => [0, n] as [number, number]);
  named.forEach((axis, i) => {
    const at = axisAt(axis, dims.length);
    const [before, after] = [pads[i]!, pads[named.length + i]!];
    if (before === 0 && after === 0) return;
    const [n, length] = [dims[at]!, before + dims[at]! + after];
    inside[at] = [before, before + n];
    moved.pickEach(at, length, (j) => index(j - before, n));
  });
  const result = moved.done();
  if (mode !== 'constant' || value === 0 || !isTraced(result)) return result;
  return addConstant(op, result, filled(op, moved.dims, inside, value));
}

/** A constant that is `value` outside of a box and 0 inside. */
function filled(
  op: Operation,
  dims: readonly number[],
  box: readonly (readonly [number, number])[],
  value: number,
): Constant {
  // Axes that stay whole, the batch among them, are broadcast.
  const own = dims.map((n, axis) => (box[axis]![0] === 0 && box[axis]![1] === n ? 1 : n));
  const size = elements(own);
  op.writer.allocate(4 * size);
  const data = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    let rest = i;
    for (let axis = own.length - 1; axis >= 0; axis--) {
      const at = rest % own[axis]!;
      rest = (rest - at) / own[axis]!;
      if (own[axis]! > 1 && (at < box[axis]![0] || at >= box[axis]![1])) data[i] = value;
    }
  }
  return { shape: own, data };
}

export function slice(op: Operation): Operand {
  const starts = op.list(1, 'starts') ?? [];
  const ends = op.list(2, 'ends') ?? [];
  const axes = op.list(3, 'axes') ?? starts.map((_, i) => i);
  const steps = op.list(4, 'steps') ?? starts.map(() => 1);
  if ([ends, axes, steps].some(({ length }) => length !== starts.length)) {
    throw new ModelError('network', 'its starts, ends, axes and steps should be equally many');
  }
  const moved = moving(op);
  axes.forEach((axis, i) => {
    const { dims } = moved;
    const at = axisAt(axis, dims.length);
    const { start, step, size } = sliceRange(dims[at]!, starts[i]!, ends[i]!, steps[i]!);
    if (size === 0 && op.constant(0) === undefined) {
      throw new ModelError('network', `it takes nothing from axis ${at} of [${dims}]`);
    }
    moved.pick(at, { start, step, count: size });
  });
  return moved.done();
}

export function split(op: Operation): Operand[] {
  const dims = op.dims(0);
  const axis = axisAt(op.integer('axis', 0), dims.length);
  const count = op.integer('num_outputs', op.node.outputs.length);
  const part = Math.ceil(dims[axis]! / count);
  const equal = Array.from({ length: count }, (_, i) => Math.min(part, dims[axis]! - i * part));
  const sizes = op.list(1, 'split') ?? equal;
  const total = sizes.reduce((sum, n) => sum + n, 0);
  if (
    total !== dims[axis] ||
    sizes.some((n) => !(n > 0)) ||
    sizes.length < op.node.outputs.length
  ) {
    throw new ModelError('network', `it splits an axis of ${dims[axis]} into parts of ${sizes}`);
  }
  let start = 0;
  return op.node.outputs.map((_, i) => {
    const moved = moving(op).pick(axis, { start, step: 1, count: sizes[i]! });
    start += sizes[i]!;
    return moved.done();
  });
}

/** A constant operand that says which elements to take. */
function indicesOf(op: Operation, input: number): Constant {
  const indices = op.constant(input);
  if (indices !== undefined) return indices;
  throw new ModelError(
    'network',
    'it looks up elements by numbers that depend on the image, which would show them: only constant indices can be read',
  );
}

export function gather(op: Operation): Operand {
  const indices = indicesOf(op, 1);
  const dims = op.dims(0);
  const axis = axisAt(op.integer('axis', 0), dims.length);
  const moved = moving(op).pickEach(axis, indices.data.length, (i) =>
    axisAt(indices.data[i]!, dims[axis]!),
  );
  return moved.reshape([...dims.slice(0, axis), ...indices.shape, ...dims.slice(axis + 1)]).done();
}

export function gatherElements(op: Operation): Operand {
  const indices = indicesOf(op, 1);
  const dims = op.dims(0);
  const axis = axisAt(op.integer('axis', 0), dims.length);
  if (indices.shape.length !== dims.length || indices.shape.some((n, i) => n > dims[i]!)) {
    throw new ModelError('network', `its indices of shape [${indices.shape}] do not fit [${dims}]`);
  }
  return moving(op)
    .reshape([elements(dims)])
    .pickEach(0, indices.data.length, (i) => {
      let [rest, step, at] = [i, 1, 0];
      for (let a = dims.length - 1; a >= 0; a--) {
        const own = rest % indices.shape[a]!;
        rest = (rest - own) / indices.shape[a]!;
        at += step * (a === axis ? axisAt(indices.data[i]!, dims[a]!) : own);
        step *= dims[a]!;
      }
      return at;
    })
    .reshape(indices.shape)
    .done();
}

/** Elements, rows or planes that lists of indices name. */
export function gatherND(op: Operation): Operand {
  const indices = indicesOf(op, 1);
  const dims = op.dims(0);
  const depth = indices.shape.at(-1) ?? 0;
  if (op.integer('batch_dims', 0) !== 0 || depth < 1 || depth > dims.length) {
    throw new ModelError('network', `its indices of shape [${indices.shape}] do not fit [${dims}]`);
  }
  const outer = dims.slice(0, depth);
  const rest = dims.slice(depth);
  return moving(op)
    .reshape([elements(outer), ...rest])
    .pickEach(0, indices.data.length / depth, (i) =>
      outer.reduce((at, n, axis) => at * n + axisAt(indices.data[i * depth + axis]!, n), 0),
    )
    .reshape([...indices.shape.slice(0, -1), ...rest])
    .done();
}

export function expand(op: Operation): Operand {
  const dims = op.dims(0);
  return repeatTo(op, broadcast(dims, op.list(1, 'shape') ?? []));
}

function repeatTo(op: Operation, target: readonly number[]): Operand {
  const dims = op.dims(0);
  const added = target.length - dims.length;
  const moved = moving(op).reshape([...Array<number>(added).fill(1), ...dims]);
  target.forEach((n, axis) => {
    if (n !== moved.dims[axis]) moved.pick(axis, { start: 0, step: 0, count: n });
  });
  return moved.done();
}

export function tile(op: Operation): Operand {
  const dims = op.dims(0);
  const repeats = op.list(1, 'repeats') ?? [];
  if (repeats.length !== dims.length) {
    throw new ModelError(
      'network',
      `its repeats [${repeats}] are not one for each axis of [${dims}]`,
    );
  }
  const moved = moving(op);
  repeats.forEach((times, axis) => {
    if (times === 1) return;
    const n = dims[axis]!;
    if (n === 1) moved.pick(axis, { start: 0, step: 0, count: times });
    else moved.pickEach(axis, n * times, (i) => i % n);
  });
  return moved.done();
}

/** The extents of an operator's images, and its block. */
function blocks(op: Operation): { n: number; c: number; h: number; w: number; b: number } {
  const dims = op.dims(0);
  if (dims.length !== 4)
    throw new ModelError('network', `its input of shape [${dims}] is not [N, C, H, W]`);
  const [n, c, h, w] = dims as [number, number, number, number];
  return { n, c, h, w, b: op.integer('blocksize', 0) };
}

export function depthToSpace(op: Operation): Operand {
  const { n, c, h, w, b } = blocks(op);
  const depth = c / (b * b);
  if (!Number.isSafeInteger(depth))
    throw new ModelError('network', `blocks of ${b} do not divide ${c} channels`);
  const moved = moving(op);
  if (op.text('mode', 'DCR') === 'CRD') {
    moved.reshape([n, depth, b, b, h, w]).transpose([0, 1, 4, 2, 5, 3]);
  } else moved.reshape([n, b, b, depth, h, w]).transpose([0, 3, 4, 1, 5, 2]);
  return moved.reshape([n, depth, h * b, w * b]).done();
}

export function spaceToDepth(op: Operation): Operand {
  const { n, c, h, w, b } = blocks(op);
  const [rows, columns] = [h / b, w / b];
  if (!Number.isSafeInteger(rows) || !Number.isSafeInteger(columns)) {
    throw new ModelError('network', `blocks of ${b} do not divide ${h} x ${w}`);
  }
  return moving(op)
    .reshape([n, c, rows, b, columns, b])
    .transpose([0, 3, 5, 1, 2, 4])
    .reshape([n, c * b * b, rows, columns])
    .done();
}
