/** Operators that move elements or leave them where they are: reshapes, transposes, padding, parts, joins. */

import { elements, type Triple } from '../../graph/index.ts';
import { axisAt, checkPermutation, list, reshapedDims, sliceRange } from '../arithmetic.ts';
import { type Constant, checkRank, isFloatType } from '../constant.ts';
import { BATCH, isInOrder, regroup } from '../layout.ts';
import type { Operation, Traced } from '../operation.ts';

/** The same value under other axes. */
function reshapeTo(op: Operation, dims: readonly number[]): Traced {
  const x = op.reshapable(0);
  return { ...x, layout: regroup(x.layout, dims, op.extents(x)) };
}

export function reshape(op: Operation): Traced {
  const target = op.list(1, 'shape') ?? [];
  return reshapeTo(op, reshapedDims(op.dims(0), target, op.integer('allowzero', 0) !== 0));
}

export function flatten(op: Operation): Traced {
  const dims = op.dims(0);
  const axis = op.integer('axis', 1);
  const at = axis === dims.length ? axis : axisAt(axis, dims.length);
  return reshapeTo(op, [elements(dims.slice(0, at)), elements(dims.slice(at))]);
}

export function squeezed(dims: readonly number[], axes: readonly number[] | undefined): number[] {
  const gone = axes?.map((axis) => axisAt(axis, dims.length));
  if (gone?.some((axis) => dims[axis] !== 1)) {
    throw new RangeError(`it removes axes [${axes}] of [${dims}], which are not all 1`);
  }
  return dims.filter((n, axis) => (gone === undefined ? n !== 1 : !gone.includes(axis)));
}

export function unsqueezed(dims: readonly number[], axes: readonly number[]): number[] {
  const rank = dims.length + axes.length;
  checkRank(rank);
  const added = new Set(axes.map((axis) => axisAt(axis, rank)));
  if (added.size !== axes.length) throw new RangeError(`it adds axes [${axes}], one of them twice`);
  const rest = [...dims];
  return Array.from({ length: rank }, (_, axis) => (added.has(axis) ? 1 : rest.shift()!));
}

export function squeeze(op: Operation): Traced {
  return reshapeTo(op, squeezed(op.dims(0), op.list(1, 'axes')));
}

export function unsqueeze(op: Operation): Traced {
  return reshapeTo(op, unsqueezed(op.dims(0), op.list(1, 'axes') ?? []));
}

export function permutation(op: Operation): readonly number[] {
  const rank = op.dims(0).length;
  const perm = op.integers('perm') ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  checkPermutation(perm, rank);
  return perm;
}

export function transpose(op: Operation): Traced {
  const perm = permutation(op);
  const x = op.traced(0);
  return { ...x, layout: perm.map((axis) => x.layout[axis]!) };
}

export function same(op: Operation): Traced {
  return op.reshapable(0);
}

export function dropout(op: Operation): Traced {
  if (op.has(2) && op.numbers(2, 'training mode').data[0] !== 0) {
    throw new RangeError('it is in training mode: export the model for inference');
  }
  return op.reshapable(0);
}

export function cast(op: Operation): Traced {
  const x = op.reshapable(0);
  if (x.readout === undefined && !isFloatType(op.integer('to', 0))) {
    throw new RangeError('it rounds values that depend on the image to integers');
  }
  return x;
}

export function shape(op: Operation): Constant {
  const dims = op.dims(0);
  return list(dims.slice(op.integer('start', 0), op.integer('end', dims.length)));
}

/** A list of numbers per ONNX axis as one per axis of [C, H, W]; the batch's is left out. */
function triple(axes: readonly number[], values: readonly number[], otherwise: number): Triple {
  const result: [number, number, number] = [otherwise, otherwise, otherwise];
  axes.forEach((atom, axis) => {
    if (atom !== BATCH) result[atom] = values[axis]!;
  });
  return result;
}

export function pad(op: Operation): Traced {
  const mode = op.text('mode', 'constant');
  if (mode !== 'constant') {
    throw new RangeError(`its mode is '${mode}': only padding with zeros is supported`);
  }
  const value = op.has(2) ? op.numbers(2, 'value').data[0] : op.float('value', 0);
  if (value !== 0) throw new RangeError(`it pads with ${value}: only zeros are supported`);
  const { id, axes } = op.planes(0);
  const pads = op.list(1, 'pads') ?? [];
  const named = op.has(3) ? op.list(3, 'axes')! : axes.map((_, axis) => axis);
  if (pads.length !== 2 * named.length) {
    throw new RangeError(`its ${pads.length} pads should be two for each of ${named.length} axes`);
  }
  const sides = [0, 1].map(() => new Array<number>(axes.length).fill(0));
  named.forEach((axis, i) => {
    const at = axisAt(axis, axes.length);
    sides[0]![at] = pads[i]!;
    sides[1]![at] = pads[named.length + i]!;
  });
  const batch = axes.indexOf(BATCH);
  if (sides.some((side) => side.some((n) => n < 0) || (side[batch] ?? 0) > 0)) {
    throw new RangeError(`its pads [${pads}] should be zero or more, and zero for the batch`);
  }
  const [before, after] = sides.map((side) => triple(axes, side, 0)) as [Triple, Triple];
  return op.result(op.writer.add(op.name, { op: 'pad', inputs: [id], before, after }), axes);
}

/** Starts, ends, axes and steps of a Slice, for all axes of `dims`. */
export function ranges(op: Operation, dims: readonly number[]): ReturnType<typeof sliceRange>[] {
  const starts = op.list(1, 'starts') ?? [];
  const ends = op.list(2, 'ends') ?? [];
  const axes = op.list(3, 'axes') ?? starts.map((_, i) => i);
  const steps = op.list(4, 'steps') ?? starts.map(() => 1);
  if ([ends, axes, steps].some(({ length }) => length !== starts.length)) {
    throw new RangeError('its starts, ends, axes and steps should be equally many');
  }
  const result = dims.map((size) => ({ start: 0, step: 1, size }));
  axes.forEach((axis, i) => {
    const at = axisAt(axis, dims.length);
    result[at] = sliceRange(dims[at]!, starts[i]!, ends[i]!, steps[i]!);
  });
  return result;
}

export function slice(op: Operation): Traced {
  const { id, axes } = op.planes(0);
  const dims = op.dims(0);
  const parts = ranges(op, dims);
  const batch = parts[axes.indexOf(BATCH)];
  if (batch !== undefined && (batch.size !== op.model.batch || batch.step < 0)) {
    throw new RangeError('it takes part of the batch: only whole images can be');
  }
  if (parts.some(({ step }) => step < 0)) {
    throw new RangeError('it turns an axis around: only positive steps are supported');
  }
  const of = (key: 'start' | 'step' | 'size', otherwise: number) =>
    triple(
      axes,
      parts.map((part) => part[key]),
      otherwise,
    );
  const made = op.writer.add(op.name, {
    op: 'slice',
    inputs: [id],
    start: of('start', 0),
    step: of('step', 1),
    size: of('size', 1),
  });
  return op.result(made, axes);
}

export function concat(op: Operation): Traced {
  const parts = op.node.inputs.map((_, i) => op.traced(i));
  const [first] = parts;
  const at = axisAt(op.integer('axis', 1), first!.layout.length);
  if (parts.length === 1) return first!;
  const isFlat = parts.every(({ layout }) =>
    layout.every((atoms, axis) => axis === at || atoms.every((atom) => atom === BATCH)),
  );
  let ids: string[];
  let axes: readonly number[];
  if (isFlat) {
    if (parts.some(({ layout }) => !isInOrder(layout))) {
      throw new RangeError('it joins images that are flattened in another order than [C, H, W]');
    }
    ids = parts.map((part) => op.writer.flatten(op.id(part)));
    axes = first!.layout.map((_, axis) => (axis === at ? 0 : BATCH));
  } else {
    const planes = parts.map((_, i) => op.planes(i));
    ids = planes.map(({ id }) => id);
    axes = planes[0]!.axes;
    if (axes[at] !== 0 || planes.some((p) => `${p.axes}` !== `${axes}`)) {
      throw new RangeError(`it joins along axis ${at}: only channels can be joined`);
    }
  }
  const inputs = ids as [string, string, ...string[]];
  return op.result(op.writer.add(op.name, { op: 'concat', inputs }), axes);
}

export function reduceMean(op: Operation): Traced {
  const { id, axes } = op.planes(0);
  const all = axes.map((_, axis) => axis);
  const given = op.list(1, 'axes') ?? [];
  const means = given.length > 0 ? given.map((axis) => axisAt(axis, axes.length)) : all;
  const atoms = new Set(means.map((axis) => axes[axis]!));
  const [, h, w] = op.writer.shapeOf(id) as Triple;
  if (
    atoms.has(0) ||
    atoms.has(BATCH) ||
    !(atoms.has(1) || h === 1) ||
    !(atoms.has(2) || w === 1)
  ) {
    throw new RangeError(`it takes means over axes [${means}]: only over both axes of the planes`);
  }
  const made = op.writer.add(op.name, { op: 'globalAveragePool', inputs: [id] });
  const result = op.result(made, axes);
  if (op.integer('keepdims', 1) !== 0) return result;
  return { ...result, layout: result.layout.filter((_, axis) => !means.includes(axis)) };
}
