/** Matrix products with constant right operands, and batch normalisation. */

import { elements } from '../../graph/index.ts';
import { broadcast, broadcastSteps, strided, transpose } from '../arithmetic.ts';
import type { Constant } from '../constant.ts';
import { BATCH, isInOrder, stepsOf } from '../layout.ts';
import type { Operation, Traced } from '../operation.ts';

/** Adds a matrix product with a weight [out, in] of `in` numbers in the ONNX tensor's order. */
function addProduct(op: Operation, matrix: Constant, wanted: string, bias?: Float32Array): Traced {
  const x = op.traced(0);
  const extents = op.extents(x);
  const dims = op.dims(0);
  const flat = op.writer.flatten(op.id(x));
  const [rows, columns] = matrix.shape as readonly [number, number];
  const last = x.layout.at(-1) ?? [];
  const isVector = x.layout.slice(0, -1).every((atoms) => atoms.every((atom) => atom === BATCH));
  if (!isVector || last.includes(BATCH) || dims.at(-1) !== columns) {
    throw new RangeError(
      `it multiplies [${dims}] with a matrix of ${columns} rows: only whole images, flattened, can be`,
    );
  }
  let data = matrix.data;
  if (!isInOrder([last])) {
    // The model flattens in another order than the graph does: the weight's columns follow the graph's.
    const { steps } = stepsOf([last], [1], extents);
    data = strided(matrix, [rows, ...extents.shape], [columns, ...steps]).data;
  }
  const floats = data instanceof Float32Array ? data : new Float32Array(data);
  const weight = op.writer.tensor(wanted, [rows, columns], floats);
  const named = bias && { bias: op.writer.tensor(`${op.name}.bias`, [rows], bias) };
  const id = op.writer.add(op.name, { op: 'dense', inputs: [flat], weight, ...named });
  const atoms = x.layout.map((_, axis) => (axis === x.layout.length - 1 ? 0 : BATCH));
  return op.result(id, atoms);
}

function matrixOf(op: Operation): Constant {
  const matrix = op.numbers(1, 'right operand');
  if (matrix.shape.length !== 2) {
    throw new RangeError(`its right operand of shape [${matrix.shape}] is not a matrix`);
  }
  // For it may be transposed, scaled and sorted.
  op.writer.allocate(matrix.data.byteLength);
  return matrix;
}

export function gemm(op: Operation): Traced {
  if (op.integer('transA', 0) !== 0) {
    throw new RangeError('its transA turns images into channels: export it with transA = 0');
  }
  const given = matrixOf(op);
  const isTransposed = op.integer('transB', 0) !== 0;
  const matrix = isTransposed ? given : transpose(given, [1, 0]);
  const alpha = op.float('alpha', 1);
  const beta = op.float('beta', 1);
  const scaled = alpha === 1 ? matrix : { ...matrix, data: matrix.data.map((w) => alpha * w) };
  const name = scaled === given ? op.node.inputs[1]! : `${op.name}.weight`;
  if (!op.has(2)) return addProduct(op, scaled as Constant, name);
  const addend = op.numbers(2, 'bias');
  const rows = matrix.shape[0]!;
  if (elements(broadcast(addend.shape, [rows])) !== rows) {
    throw new RangeError(
      `its bias of shape [${addend.shape}] differs between the images of a batch`,
    );
  }
  const steps = broadcastSteps(addend.shape, Math.max(1, addend.shape.length)).slice(-1);
  const bias = Float32Array.from(strided(addend, [rows], steps).data, (b) => beta * b);
  return addProduct(op, scaled as Constant, name, bias);
}

export function matMul(op: Operation): Traced {
  return addProduct(op, transpose(matrixOf(op), [1, 0]), `${op.name}.weight`);
}

export function batchNormalization(op: Operation): Traced {
  if (op.integer('training_mode', 0) !== 0 || op.integer('spatial', 1) !== 1) {
    throw new RangeError('it measures each batch: export the model for inference');
  }
  const x = op.traced(0);
  let id = op.id(x);
  const channels = x.layout[1];
  if (channels === undefined) throw new RangeError('its input has no channels');
  if (channels.length > 1 && isInOrder(x.layout)) id = op.writer.flatten(id);
  else if (channels.length > 1 || (channels[0] ?? 0) !== 0) {
    throw new RangeError(`axis 1 of its input [${op.dims(0)}] is not the channels`);
  }
  const size = op.writer.shapeOf(id)[0]!;
  const epsilon = op.float('epsilon', 1e-5);
  const names = ['scale', 'shift', 'mean', 'variance'] as const;
  const tensors = names.map((what, i): [string, string] => {
    const data = op.weights(i + 1, what);
    if (what === 'variance' && data.some((v) => !(v + epsilon > 0))) {
      throw new RangeError('its variance should be positive');
    }
    return [what, op.writer.tensor(op.node.inputs[i + 1]!, [data.length], data)];
  });
  const named = Object.fromEntries(tensors) as Record<(typeof names)[number], string>;
  if (tensors.some(([, name]) => op.writer.tensors.get(name)!.data.length !== size)) {
    throw new RangeError(`its statistics should have ${size} numbers each`);
  }
  const made = op.writer.add(op.name, { op: 'batchNorm', inputs: [id], ...named, epsilon });
  // Flattened, all of an image is one axis; the others keep theirs.
  if (channels.length > 1) return op.result(made, [BATCH, 0]);
  return { ...op.result(made, []), layout: x.layout };
}
