/** Operators on constants: exporters leave shapes and prepared weights to be computed from others. */

import { elements } from '../../graph/index.ts';
import {
  axisAt,
  broadcast,
  combine,
  list,
  reshapedDims,
  stepsOfShape,
  strided,
  transpose,
  zerosLike,
} from '../arithmetic.ts';
import { type Constant, checkRank, decodeTensor, isFloatType } from '../constant.ts';
import type { Operation } from '../operation.ts';
import { permutation, ranges, squeezed, unsqueezed } from './layout.ts';

function input(op: Operation, i = 0): Constant {
  return op.numbers(i, 'input');
}

/** Tells the budget of what a folded constant takes. */
function reserve(op: Operation, shape: readonly number[]): void {
  checkRank(shape.length);
  op.writer.allocate(4 * 8 * elements(shape));
}

function withShape({ data }: Constant, shape: readonly number[]): Constant {
  return { shape, data };
}

function arithmetic(f: (x: number, y: number) => number): (op: Operation) => Constant {
  return (op) => {
    const [a, b] = [input(op), input(op, 1)];
    reserve(op, broadcast(a.shape, b.shape));
    return combine(a, b, f);
  };
}

function constantNode(op: Operation): Constant {
  const tensor = op.node.attributes.get('value')?.tensor;
  if (tensor !== undefined) return decodeTensor(tensor);
  const { node } = op;
  const float = node.attributes.get('value_float')?.float;
  if (float !== undefined) return { shape: [], data: Float32Array.of(float) };
  const integer = node.attributes.get('value_int')?.integer;
  if (integer !== undefined) return { shape: [], data: Float64Array.of(integer) };
  const floats = node.attributes.get('value_floats')?.floats;
  if (floats !== undefined) return { shape: [floats.length], data: Float32Array.from(floats) };
  const integers = op.integers('value_ints');
  if (integers !== undefined) return list(integers);
  throw new RangeError('it holds no numbers');
}

function constantOfShape(op: Operation): Constant {
  const shape = op.list(0, 'shape') ?? [];
  if (shape.some((n) => !Number.isSafeInteger(n) || n < 0)) {
    throw new RangeError(`it makes a constant of shape [${shape}]`);
  }
  reserve(op, shape);
  const tensor = op.node.attributes.get('value')?.tensor;
  const value = tensor === undefined ? { data: Float32Array.of(0) } : decodeTensor(tensor);
  if (value.data.length !== 1) throw new RangeError('its value should be one number');
  return strided(
    { shape: [], data: value.data },
    shape,
    shape.map(() => 0),
  );
}

function cast(op: Operation): Constant {
  const { shape, data } = input(op);
  reserve(op, shape);
  if (isFloatType(op.integer('to', 0))) return { shape, data: Float32Array.from(data) };
  return { shape, data: Float64Array.from(data, Math.trunc) };
}

/** Picks rows: the use that exporters make of it, on lists of extents. */
function gather(op: Operation): Constant {
  const [from, indices] = [input(op), input(op, 1)];
  const axis = axisAt(op.integer('axis', 0), from.shape.length);
  if (axis !== 0) throw new RangeError('it gathers along an inner axis of a constant');
  const row = elements(from.shape.slice(1));
  const shape = [...indices.shape, ...from.shape.slice(1)];
  reserve(op, shape);
  const data = zerosLike(from, elements(shape));
  indices.data.forEach((index, i) => {
    const at = axisAt(index, from.shape[0]!);
    data.set(from.data.subarray(at * row, (at + 1) * row), i * row);
  });
  return { shape, data };
}

/** Joins along the first axis. */
function concat(op: Operation): Constant {
  const parts = op.node.inputs.map((_, i) => input(op, i));
  const [first] = parts as [Constant, ...Constant[]];
  const axis = axisAt(op.integer('axis', 0), first.shape.length);
  if (axis !== 0 || parts.some((p) => `${p.shape.slice(1)}` !== `${first.shape.slice(1)}`)) {
    throw new RangeError('it joins constants along an inner axis');
  }
  const shape = [parts.reduce((sum, p) => sum + p.shape[0]!, 0), ...first.shape.slice(1)];
  reserve(op, shape);
  const isFloat = parts.every(({ data }) => data instanceof Float32Array);
  const data = isFloat ? new Float32Array(elements(shape)) : new Float64Array(elements(shape));
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  return { shape, data };
}

function slice(op: Operation): Constant {
  const x = input(op);
  const parts = ranges(op, x.shape);
  const shape = parts.map(({ size }) => size);
  const steps = stepsOfShape(x.shape);
  const from = parts.reduce((sum, { start }, axis) => sum + start * steps[axis]!, 0);
  reserve(op, shape);
  return strided(
    x,
    shape,
    parts.map(({ step }, axis) => step * steps[axis]!),
    from,
  );
}

export const folded: Readonly<Record<string, (op: Operation) => Constant>> = {
  Constant: constantNode,
  ConstantOfShape: constantOfShape,
  Identity: (op) => input(op),
  Cast: cast,
  Gather: gather,
  Concat: concat,
  Slice: slice,
  Reshape: (op) => {
    const x = input(op);
    const target = op.list(1, 'shape') ?? [];
    return withShape(x, reshapedDims(x.shape, target, op.integer('allowzero', 0) !== 0));
  },
  Squeeze: (op) => withShape(input(op), squeezed(op.dims(0), op.list(1, 'axes'))),
  Unsqueeze: (op) => withShape(input(op), unsqueezed(op.dims(0), op.list(1, 'axes') ?? [])),
  Transpose: (op) => {
    reserve(op, op.dims(0));
    return transpose(input(op), permutation(op));
  },
  Sqrt: (op) => {
    const { shape, data } = input(op);
    reserve(op, shape);
    return { shape, data: data.map(Math.sqrt) as Constant['data'] };
  },
  Add: arithmetic((x, y) => x + y),
  Sub: arithmetic((x, y) => x - y),
  Mul: arithmetic((x, y) => x * y),
  Div: (op) => {
    const isFloat = [0, 1].some((i) => input(op, i).data instanceof Float32Array);
    return arithmetic(isFloat ? (x, y) => x / y : (x, y) => Math.trunc(x / y))(op);
  },
};
