/** Operators on constants: exporters leave shapes and prepared weights to be computed from others. */

import { ModelError } from '../../errors.ts';
import { elements } from '../../graph/index.ts';
import {
  axisAt,
  broadcast,
  broadcastSteps,
  combine,
  list,
  stepsOfShape,
  strided,
  transposeConstant,
  zerosLike,
} from '../arithmetic.ts';
import { type Constant, checkRank, decodeTensor, isFloatType } from '../constant.ts';
import type { Operand, Operation } from '../operation.ts';
import * as moves from './moves.ts';

type Fold = (op: Operation) => Constant | Constant[];

function input(op: Operation, i = 0): Constant {
  return op.numbers(i, 'input');
}

/** Tells the budget of what a folded constant takes. */
function reserve(op: Operation, shape: readonly number[]): void {
  checkRank(shape.length);
  op.writer.allocate(4 * 8 * elements(shape));
}

/** Numbers that are no floating-point ones: integers and truth values. */
function integers(shape: readonly number[], data: Float64Array): Constant {
  return { shape, data };
}

function binary(f: (x: number, y: number) => number, isInteger = false): Fold {
  return (op) => {
    let b = input(op, 1);
    const a = input(op);
    const axis = op.integer('axis', -1);
    if (op.model.opset < 7 && op.integer('broadcast', 0) !== 0 && axis >= 0) {
      const behind = Math.max(a.shape.length - axis - b.shape.length, 0);
      b = { ...b, shape: [...b.shape, ...Array<number>(behind).fill(1)] };
    }
    reserve(op, broadcast(a.shape, b.shape));
    const made = combine(a, b, f);
    return isInteger ? integers(made.shape, new Float64Array(made.data)) : made;
  };
}

const test = (f: (x: number, y: number) => boolean) => binary((x, y) => (f(x, y) ? 1 : 0), true);

function unary(f: (x: number) => number): Fold {
  return (op) => {
    const { shape, data } = input(op);
    reserve(op, shape);
    return { shape, data: data.map(f) as Constant['data'] };
  };
}

function variadic(f: (x: number, y: number) => number): Fold {
  return (op) => {
    const all = op.node.inputs.map((_, i) => input(op, i));
    return all.reduce((a, b) => {
      reserve(op, broadcast(a.shape, b.shape));
      return combine(a, b, f);
    });
  };
}

/** Moves that work on constants as they do on values. */
function moved(move: (op: Operation) => Operand | Operand[]): Fold {
  return move as Fold;
}

function constantNode(op: Operation): Constant {
  const { attributes } = op.node;
  const tensor = attributes.get('value')?.tensor;
  if (tensor !== undefined) return decodeTensor(tensor);
  const float = attributes.get('value_float')?.float;
  if (float !== undefined) return { shape: [], data: Float32Array.of(float) };
  const integer = attributes.get('value_int')?.integer;
  if (integer !== undefined) return { shape: [], data: Float64Array.of(integer) };
  const floats = attributes.get('value_floats')?.floats;
  if (floats !== undefined && floats.length > 0) {
    return { shape: [floats.length], data: Float32Array.from(floats) };
  }
  const values = op.integers('value_ints');
  if (values !== undefined) return list(values);
  throw new ModelError('network', 'it holds no numbers');
}

function constantOfShape(op: Operation): Constant {
  const shape = op.list(0, 'shape') ?? [];
  if (shape.some((n) => !Number.isSafeInteger(n) || n < 0)) {
    throw new ModelError('network', `it makes a constant of shape [${shape}]`);
  }
  reserve(op, shape);
  const tensor = op.node.attributes.get('value')?.tensor;
  const value = tensor === undefined ? { data: Float32Array.of(0) } : decodeTensor(tensor);
  if (value.data.length !== 1) throw new ModelError('network', 'its value should be one number');
  return strided(
    { shape: [], data: value.data },
    shape,
    shape.map(() => 0),
  );
}

function cast(op: Operation): Constant {
  const { shape, data } = input(op);
  reserve(op, shape);
  const to = op.integer('to', 0);
  if (isFloatType(to)) return { shape, data: Float32Array.from(data) };
  // Truth values are type 9.
  return { shape, data: Float64Array.from(data, to === 9 ? (v) => (v === 0 ? 0 : 1) : Math.trunc) };
}

function castLike(op: Operation): Constant {
  const { shape, data } = input(op);
  const isFloat = input(op, 1).data instanceof Float32Array;
  reserve(op, shape);
  return isFloat
    ? { shape, data: Float32Array.from(data) }
    : { shape, data: Float64Array.from(data, Math.trunc) };
}

function concat(op: Operation): Constant {
  const parts = op.node.inputs.map((_, i) => input(op, i));
  const [first] = parts as [Constant, ...Constant[]];
  const axis = axisAt(op.integer('axis', op.model.opset < 4 ? 1 : 0), first.shape.length);
  const outside = ({ shape }: Constant) => `${shape.with(axis, 0)}`;
  if (parts.some((p) => p.shape.length <= axis || outside(p) !== outside(first))) {
    throw new ModelError(
      'network',
      `it joins ${parts.map(({ shape }) => `[${shape}]`).join(' and ')}`,
    );
  }
  const shape = first.shape.with(
    axis,
    parts.reduce((sum, p) => sum + p.shape[axis]!, 0),
  );
  reserve(op, shape);
  const isFloat = parts.every(({ data }) => data instanceof Float32Array);
  const data = isFloat ? new Float32Array(elements(shape)) : new Float64Array(elements(shape));
  const inner = elements(shape.slice(axis + 1));
  let at = 0;
  for (let outer = 0; outer < elements(shape.slice(0, axis)); outer++) {
    for (const part of parts) {
      const size = part.shape[axis]! * inner;
      data.set(part.data.subarray(outer * size, (outer + 1) * size), at);
      at += size;
    }
  }
  return { shape, data };
}

function range(op: Operation): Constant {
  const [start, limit, delta] = [0, 1, 2].map((i) => input(op, i).data[0]!) as [
    number,
    number,
    number,
  ];
  const count = Math.max(Math.ceil((limit - start) / delta), 0);
  if (!Number.isSafeInteger(count))
    throw new ModelError('network', `it counts from ${start} by ${delta} to ${limit}`);
  reserve(op, [count]);
  const data = Float64Array.from({ length: count }, (_, i) => start + i * delta);
  const isFloat = input(op).data instanceof Float32Array;
  return { shape: [count], data: isFloat ? Float32Array.from(data) : data };
}

function where(op: Operation): Constant {
  const [mask, x, y] = [0, 1, 2].map((i) => input(op, i)) as [Constant, Constant, Constant];
  const shape = broadcast(broadcast(mask.shape, x.shape), y.shape);
  reserve(op, shape);
  const [m, a, b] = [mask, x, y].map((c) =>
    strided(c, shape, broadcastSteps(c.shape, shape.length)),
  );
  const out = zerosLike(x, elements(shape));
  for (let i = 0; i < out.length; i++) out[i] = m!.data[i] === 0 ? b!.data[i]! : a!.data[i]!;
  return { shape, data: out };
}

/** Sums and the like over axes, and what to make of each. */
function reduction(
  start: number,
  f: (sum: number, x: number) => number,
  end: (sum: number, count: number) => number = (sum) => sum,
): Fold {
  return (op) => {
    const x = input(op);
    const rank = x.shape.length;
    const given = op.list(1, 'axes') ?? [];
    const isNone = given.length === 0 && op.integer('noop_with_empty_axes', 0) !== 0;
    const axes = given.length > 0 ? given.map((a) => axisAt(a, rank)) : [...Array(rank).keys()];
    if (isNone) return x;
    const shape = x.shape.map((n, axis) => (axes.includes(axis) ? 1 : n));
    reserve(op, shape);
    const steps = stepsOfShape(shape).map((step, axis) => (axes.includes(axis) ? 0 : step));
    const out = zerosLike(x, elements(shape)).fill(start);
    const own = stepsOfShape(x.shape);
    for (let i = 0; i < x.data.length; i++) {
      const at = own.reduce((sum, step, axis) => {
        return sum + (Math.floor(i / step) % x.shape[axis]!) * steps[axis]!;
      }, 0);
      out[at] = f(out[at]!, x.data[i]!);
    }
    const count = x.data.length / out.length;
    for (let i = 0; i < out.length; i++) out[i] = end(out[i]!, count);
    const keep = op.integer('keepdims', 1) !== 0;
    return { shape: keep ? shape : shape.filter((_, axis) => !axes.includes(axis)), data: out };
  };
}

/** (x - zero point) * scale, for all or along an axis. */
function dequantized(op: Operation): Constant {
  const [x, scale] = [input(op), input(op, 1)];
  const zero = op.has(2) ? input(op, 2) : { shape: [], data: Float64Array.of(0) };
  if (op.integer('block_size', 0) !== 0) {
    throw new ModelError('network', 'its weights are quantised in blocks: export the float model');
  }
  reserve(op, x.shape);
  const isOne = scale.data.length === 1;
  const axis = isOne ? 0 : axisAt(op.integer('axis', 1), x.shape.length);
  if (!isOne && scale.data.length !== x.shape[axis]) {
    throw new ModelError(
      'network',
      `its ${scale.data.length} scales are not one for each of ${x.shape[axis]}`,
    );
  }
  const inner = isOne ? 1 : elements(x.shape.slice(axis + 1));
  const data = Float32Array.from(x.data, (v, i) => {
    const at = isOne ? 0 : Math.floor(i / inner) % scale.data.length;
    return (v - (zero.data[zero.data.length === 1 ? 0 : at] ?? 0)) * scale.data[at]!;
  });
  return { shape: x.shape, data };
}

function nonZero(op: Operation): Constant {
  const x = input(op);
  reserve(op, x.shape);
  const found = [...x.data.keys()].filter((i) => x.data[i] !== 0);
  const rows = stepsOfShape(x.shape).map((step, axis) =>
    found.map((i) => Math.floor(i / step) % x.shape[axis]!),
  );
  return { shape: [x.shape.length, found.length], data: Float64Array.from(rows.flat()) };
}

/** A product of two matrices. */
function product(op: Operation, a: Constant, b: Constant): Constant {
  const [m, k] = a.shape as [number, number];
  const [inner, n] = b.shape as [number, number];
  if (a.shape.length !== 2 || b.shape.length !== 2 || k !== inner) {
    throw new ModelError(
      'network',
      `it multiplies constants of shapes [${a.shape}] and [${b.shape}]`,
    );
  }
  // As many steps as numbers that may be allocated, so that no small file takes long.
  op.writer.allocate(8 * m * n * k);
  const data = zerosLike(a, m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += a.data[i * k + l]! * b.data[l * n + j]!;
      data[i * n + j] = sum;
    }
  }
  return { shape: [m, n], data };
}

function matMul(op: Operation): Constant {
  return product(op, input(op), input(op, 1));
}

function gemm(op: Operation): Constant {
  const [a, b] = ['transA', 'transB'].map((name, i) => {
    const given = input(op, i);
    return op.integer(name, 0) === 0 ? given : transposeConstant(given, [1, 0]);
  }) as [Constant, Constant];
  const [alpha, beta] = [op.float('alpha', 1), op.float('beta', 1)];
  const made = product(op, a, b);
  const scaled = { ...made, data: made.data.map((v) => alpha * v) as Constant['data'] };
  return op.has(2) ? combine(scaled, input(op, 2), (x, c) => x + beta * c) : scaled;
}

/** The upper or lower triangle of matrices. */
function trilu(op: Operation): Constant {
  const { shape, data } = input(op);
  const offset = op.has(1) ? input(op, 1).data[0]! : 0;
  const isUpper = op.integer('upper', 1) !== 0;
  const [rows, columns] = shape.slice(-2) as [number, number];
  reserve(op, shape);
  const kept = data.map((v, i) => {
    const distance = (i % columns) - (Math.floor(i / columns) % rows);
    return (isUpper ? distance >= offset : distance <= offset) ? v : 0;
  });
  return { shape, data: kept as Constant['data'] };
}

/** As numpy rounds: halves to even numbers. */
function round(x: number): number {
  const near = Math.round(x);
  return near - x === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

/** As C does, or as Python does where fmod is 0. */
function mod(op: Operation): Constant | Constant[] {
  const isC = op.integer('fmod', 0) !== 0;
  return binary((x, y) => (isC ? x % y : ((x % y) + y) % y))(op);
}

function div(op: Operation): Constant | Constant[] {
  const isFloat = [0, 1].some((i) => input(op, i).data instanceof Float32Array);
  return binary(isFloat ? (x, y) => x / y : (x, y) => Math.trunc(x / y))(op);
}

function clip(op: Operation): Constant {
  const bound = (i: number, name: string, other: number) =>
    op.has(i) ? input(op, i).data[0]! : op.float(name, other);
  const [min, max] = [bound(1, 'min', -Infinity), bound(2, 'max', Infinity)];
  return unary((x) => Math.min(Math.max(x, min), max))(op) as Constant;
}

export const folded: Readonly<Record<string, Fold>> = {
  Abs: unary(Math.abs),
  Add: binary((x, y) => x + y),
  And: test((x, y) => x !== 0 && y !== 0),
  Cast: cast,
  CastLike: castLike,
  Ceil: unary(Math.ceil),
  Clip: clip,
  Concat: concat,
  Constant: constantNode,
  ConstantOfShape: constantOfShape,
  Cos: unary(Math.cos),
  DepthToSpace: moved(moves.depthToSpace),
  DequantizeLinear: dequantized,
  Div: div,
  Dropout: moved(moves.same),
  Equal: test((x, y) => x === y),
  Exp: unary(Math.exp),
  Expand: moved(moves.expand),
  Flatten: moved(moves.flatten),
  Floor: unary(Math.floor),
  Gather: moved(moves.gather),
  GatherElements: moved(moves.gatherElements),
  Greater: test((x, y) => x > y),
  GreaterOrEqual: test((x, y) => x >= y),
  Identity: moved(moves.same),
  GatherND: moved(moves.gatherND),
  Gemm: gemm,
  Less: test((x, y) => x < y),
  LessOrEqual: test((x, y) => x <= y),
  Log: unary(Math.log),
  MatMul: matMul,
  Max: variadic(Math.max),
  Min: variadic(Math.min),
  Mod: mod,
  Mul: binary((x, y) => x * y),
  Neg: unary((x) => -x),
  NonZero: nonZero,
  Not: unary((x) => (x === 0 ? 1 : 0)),
  Or: test((x, y) => x !== 0 || y !== 0),
  Pad: moved(moves.pad),
  Pow: binary((x, y) => x ** y),
  Range: range,
  Reciprocal: unary((x) => 1 / x),
  ReduceMax: reduction(-Infinity, Math.max),
  ReduceL1: reduction(0, (sum, x) => sum + Math.abs(x)),
  ReduceL2: reduction(0, (sum, x) => sum + x * x, Math.sqrt),
  ReduceMean: reduction(
    0,
    (sum, x) => sum + x,
    (sum, count) => sum / count,
  ),
  ReduceMin: reduction(Infinity, Math.min),
  ReduceProd: reduction(1, (product, x) => product * x),
  ReduceSum: reduction(0, (sum, x) => sum + x),
  ReduceSumSquare: reduction(0, (sum, x) => sum + x * x),
  Relu: unary((x) => Math.max(x, 0)),
  Reshape: moved(moves.reshape),
  Round: unary(round),
  Shape: moves.shape,
  Sigmoid: unary((x) => 1 / (1 + Math.exp(-x))),
  Sign: unary(Math.sign),
  Sin: unary(Math.sin),
  Size: moves.size,
  Slice: moved(moves.slice),
  SpaceToDepth: moved(moves.spaceToDepth),
  Split: moved(moves.split),
  Sqrt: unary(Math.sqrt),
  Squeeze: moved(moves.squeeze),
  Sub: binary((x, y) => x - y),
  Sum: variadic((x, y) => x + y),
  Tanh: unary(Math.tanh),
  Tile: moved(moves.tile),
  Transpose: moved(moves.transpose),
  Trilu: trilu,
  Unsqueeze: moved(moves.unsqueeze),
  Where: where,
  Xor: test((x, y) => (x !== 0) !== (y !== 0)),
};
