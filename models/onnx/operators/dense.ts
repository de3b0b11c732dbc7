/** Products with constant matrices, along any axis. */

import { OUTSIDE } from '../../../protocol/ring/gather.ts';
import { ModelError } from '../../errors.ts';
import { elements } from '../../graph/index.ts';
import { broadcast, broadcastSteps, strided, transposeConstant } from '../arithmetic.ts';
import type { Constant } from '../constant.ts';
import { identityForm, constant as number } from '../form.ts';
import { Moving } from '../moving.ts';
import { isTraced, type Operand, type Operation, type Traced } from '../operation.ts';
import {
  dimsOf,
  forEachElement,
  inOrder,
  isInOrder,
  transposed,
  type View,
  viewSize,
} from '../view.ts';
import { addAny, affine } from './linear.ts';

/** A matrix [out, in] and what to call it and its bias. */
export interface Matrix {
  readonly weight: Constant;
  readonly name: string;
  readonly bias?: Float32Array;
}

/** The numbers of a matrix for the elements of a value where a view takes them from. */
function columnsFor({ weight }: Matrix, view: View): Constant {
  const [rows, columns] = weight.shape as [number, number];
  const data = new Float32Array(rows * view.size);
  forEachElement(view, (from, i) => {
    if (from === OUTSIDE) return;
    for (let r = 0; r < rows; r++) data[r * view.size + from]! += weight.data[r * columns + i]!;
  });
  return { shape: [rows, view.size], data };
}

/**
 * Contracts some axes of a value with a matrix [out, in].
 * @returns the value with an axis `out` in front of the axes that are left, behind that of the batch
 */
export function contract(
  op: Operation,
  x: Traced,
  axes: readonly number[],
  matrix: Matrix,
): Traced {
  const dims = dimsOf(x.view);
  const batch = op.batchOf(x);
  if (batch !== undefined && axes.includes(0)) {
    throw new ModelError(
      'network',
      'it multiplies along the images of the batch: export the model with a batch of 1',
    );
  }
  const [rows, columns] = matrix.weight.shape as [number, number];
  const extent = elements(axes.map((axis) => dims[axis]!));
  if (extent !== columns) {
    throw new ModelError(
      'network',
      `it multiplies axes of ${extent} numbers of [${dims}] with a matrix of ${columns} rows`,
    );
  }
  const first = batch === undefined ? 0 : 1;
  const rest = [...dims.keys()].filter((axis) => axis >= first && !axes.includes(axis));
  const view = transposed(x.view, [...(first === 0 ? [] : [0]), ...axes, ...rest]);
  const left = rest.map((axis) => dims[axis]!);
  const { writer } = op;
  const bias = matrix.bias && { bias: writer.tensor(`${op.name}.bias`, [rows], matrix.bias) };
  let id: string;
  if (elements(left) === 1) {
    let input: string;
    let { weight, name } = matrix;
    if (!isInOrder(view) && view.size <= viewSize(view)) {
      // The model has the elements in another order than the graph: the matrix follows the graph's.
      writer.allocate(4 * rows * view.size);
      weight = columnsFor(matrix, view);
      name = `${op.name}.weight`;
      input = writer.flatten(op.id(x));
    } else input = op.arranged(x, [columns], view);
    const shape = [rows, weight.shape[1]!];
    const tensor = writer.tensor(name, shape, op.floats(weight));
    id = writer.add(op.name, { op: 'dense', inputs: [input], weight: tensor, ...bias });
  } else {
    const own = left[0] === 1 && left.length > 1 ? left.slice(1) : left;
    const shape = [columns, elements(own.slice(0, -1)), own.at(-1)!];
    id = writer.add(op.name, {
      op: 'conv',
      inputs: [op.arranged(x, shape, view)],
      weight: writer.tensor(matrix.name, [rows, columns, 1, 1], op.floats(matrix.weight)),
      ...bias,
      kernel: [1, 1],
      stride: [1, 1],
      pads: [0, 0, 0, 0],
      groups: 1,
    });
  }
  return { form: identityForm(id), name: op.name, view: inOrder([rows, ...left], batch) };
}

/** Moves axis `from` of a value to place `to`. */
function axisMoved(x: Traced, from: number, to: number): Traced {
  const order = [...x.view.axes.keys()].filter((axis) => axis !== from);
  order.splice(to, 0, from);
  return { ...x, view: transposed(x.view, order) };
}

/** A constant as a matrix, its leading axes of 1 left out. */
function matrixOf(op: Operation, constant: Constant): Constant {
  const { shape } = constant;
  const extra = shape.slice(0, -2);
  if (extra.some((n) => n !== 1)) {
    throw new ModelError(
      'network',
      `its constant of shape [${shape}] is another matrix for every part of the batch: only one matrix for all can be read, so split it into one MatMul each`,
    );
  }
  // For it may be transposed, scaled and sorted.
  op.writer.allocate(constant.data.byteLength);
  return { ...constant, shape: shape.slice(-2) };
}

const TWO_VALUES =
  'it multiplies two values that depend on the image, as attention does, which takes a private product that is not supported: only products with constants are';

/** The first operand's rows with the second's columns, as numpy's matmul has it. */
export function matMul(op: Operation): Traced {
  const [a, b] = [op.operand(0), op.operand(1)];
  if (isTraced(a) && isTraced(b)) throw new ModelError('network', TWO_VALUES);
  if (isTraced(a)) return timesConstant(op, a, b as Constant);
  return constantTimes(op, a, b as Traced);
}

function timesConstant(op: Operation, x: Traced, right: Constant): Traced {
  const isVector = right.shape.length === 1;
  const matrix = matrixOf(op, isVector ? { ...right, shape: [...right.shape, 1] } : right);
  const weight = transposeConstant(matrix, [1, 0]);
  const rank = x.view.axes.length;
  const made = contract(op, x, [rank - 1], { weight, name: `${op.name}.weight` });
  const at = op.batchOf(x) === undefined ? 0 : 1;
  const result = axisMoved(made, at, rank - 1);
  const added = right.shape.length - rank;
  const dims = dimsOf(result.view);
  if (isVector) return new Moving(op, result).reshape(dims.slice(0, -1)).done() as Traced;
  if (added <= 0) return result;
  return new Moving(op, result)
    .reshape([...Array<number>(added).fill(1), ...dims])
    .done() as Traced;
}

function constantTimes(op: Operation, left: Constant, x: Traced): Traced {
  const isVector = left.shape.length === 1;
  const weight = matrixOf(op, isVector ? { ...left, shape: [1, ...left.shape] } : left);
  const rank = x.view.axes.length;
  const made = contract(op, x, [Math.max(rank - 2, 0)], { weight, name: `${op.name}.weight` });
  const at = op.batchOf(x) === undefined ? 0 : 1;
  const result = axisMoved(made, at, Math.max(rank - 2, 0));
  if (!isVector) return result;
  const dims = dimsOf(result.view).filter((_, axis) => axis !== Math.max(rank - 2, 0));
  return new Moving(op, result).reshape(dims).done() as Traced;
}

export function gemm(op: Operation): Traced {
  const [a, b] = [op.operand(0), op.operand(1)];
  if (isTraced(a) && isTraced(b)) throw new ModelError('network', TWO_VALUES);
  const turns = ['transA', 'transB'].map((name) => op.integer(name, 0) !== 0);
  const x = (isTraced(a) ? a : b) as Traced;
  const given = matrixOf(op, (isTraced(a) ? b : a) as Constant);
  if (x.view.axes.length !== 2) {
    throw new ModelError('network', `its input of shape [${dimsOf(x.view)}] should be a matrix`);
  }
  // y = x' w' or y = w' x', where the matrix [out, in] is w' turned or not.
  const isRight = isTraced(a);
  const along = isRight ? (turns[0] ? 0 : 1) : turns[1] ? 1 : 0;
  const isAsGiven = isRight ? turns[1] : !turns[0];
  const matrix = isAsGiven ? given : transposeConstant(given, [1, 0]);
  const alpha = op.float('alpha', 1);
  const beta = op.float('beta', 1);
  const weight = (
    alpha === 1 ? matrix : { ...matrix, data: matrix.data.map((w) => alpha * w) }
  ) as Constant;
  const name = weight === given ? op.node.inputs[isRight ? 1 : 0]! : `${op.name}.weight`;
  const addend = op.has(2) ? op.operand(2) : undefined;
  const rows = matrix.shape[0]!;
  let bias: Float32Array | undefined;
  if (addend !== undefined && !isTraced(addend) && isRight) {
    if (elements(broadcast(addend.shape, [rows])) === rows) {
      const steps = broadcastSteps(addend.shape, Math.max(1, addend.shape.length)).slice(-1);
      bias = Float32Array.from(strided(addend, [rows], steps).data, (c) => beta * c);
    }
  }
  const made = contract(op, x, [along], { weight, name, ...(bias && { bias }) });
  const at = op.batchOf(x) === undefined ? 0 : 1;
  const result = axisMoved(made, at, isRight ? 1 : 0);
  if (addend === undefined || bias !== undefined) return result;
  return addAny(op, result, scaled(op, addend, beta));
}

function scaled(op: Operation, x: Operand, by: number): Operand {
  if (by === 1) return x;
  if (isTraced(x)) return affine(op, x, number(by));
  return { ...x, data: x.data.map((v) => by * v) as Constant['data'] };
}

/** Sums of products of a value and a constant over axes that their letters name. */
export function einsum(op: Operation): Traced {
  const equation = op.text('equation', '').replaceAll(' ', '');
  const [sides, out] = equation.split('->') as [string, string | undefined];
  const letters = sides.split(',');
  const operands = op.operands();
  const at = operands.findIndex(isTraced);
  const isPlain = [...letters, out ?? '.'].every(
    (text) => new Set(text).size === text.length && /^[a-zA-Z]*$/.test(text),
  );
  if (
    !isPlain ||
    letters.length !== 2 ||
    operands.length !== 2 ||
    operands.filter(isTraced).length !== 1
  ) {
    throw new ModelError(
      'network',
      `its equation '${equation}' is not a product of one value with one constant: write it with MatMul`,
    );
  }
  const [own, other] = [letters[at]!, letters[1 - at]!];
  const x = operands[at] as Traced;
  const constant = operands[1 - at] as Constant;
  const gone = [...own].filter((l) => !out!.includes(l));
  const made = [...other].filter((l) => !own.includes(l));
  const isContraction =
    gone.length > 0 &&
    [...other].every((l) => gone.includes(l) || made.includes(l)) &&
    gone.every((l) => other.includes(l)) &&
    [...out!].every((l) => own.includes(l) || made.includes(l)) &&
    own.length === x.view.axes.length &&
    other.length === constant.shape.length;
  if (!isContraction) {
    throw new ModelError(
      'network',
      `its equation '${equation}' keeps a letter of both factors: only products with one matrix for all can be read, write it with MatMul`,
    );
  }
  op.writer.allocate(2 * constant.data.byteLength);
  const sorted = transposeConstant(
    constant,
    [...made, ...gone].map((l) => other.indexOf(l)),
  );
  const extents = made.map((l) => constant.shape[other.indexOf(l)]!);
  const weight = {
    ...sorted,
    shape: [elements(extents), constant.data.length / elements(extents)],
  };
  const axes = gone.map((l) => own.indexOf(l));
  const product = contract(op, x, axes, { weight, name: `${op.name}.weight` });
  const kept = [...own].filter((l) => !gone.includes(l));
  const isBatched = op.batchOf(x) !== undefined;
  const dims = kept.map((l) => dimsOf(x.view)[own.indexOf(l)]!);
  const order = isBatched ? [kept[0]!, ...made, ...kept.slice(1)] : [...made, ...kept];
  const full = isBatched ? [dims[0]!, ...extents, ...dims.slice(1)] : [...extents, ...dims];
  return new Moving(op, product)
    .reshape(full)
    .transpose([...out!].map((l) => order.indexOf(l)))
    .done() as Traced;
}
