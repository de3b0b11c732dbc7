/** Batch normalisation: an affine function per channel whose numbers are known. */

import { ModelError } from '../../errors.ts';
import { elements } from '../../graph/index.ts';
import { identityForm } from '../form.ts';
import type { Operation, Traced } from '../operation.ts';
import { dimsOf } from '../view.ts';
import { affine } from './linear.ts';

const NAMES = ['scale', 'shift', 'mean', 'variance'] as const;

export function batchNormalization(op: Operation): Traced {
  const { opset } = op.model;
  const isTraining = op.integer('training_mode', 0) !== 0;
  if (isTraining || (opset < 7 && op.integer('is_test', 0) === 0)) {
    throw new ModelError('network', 'it measures each batch: export the model for inference');
  }
  const x = op.traced(0);
  const dims = dimsOf(x.view);
  const size = dims[1];
  if (size === undefined)
    throw new ModelError('network', `its input of shape [${dims}] has no channels`);
  const epsilon = op.float('epsilon', 1e-5);
  const statistics = NAMES.map((what, i) => op.weights(i + 1, what));
  if (statistics[3]!.some((v) => !(v + epsilon > 0))) {
    throw new ModelError('network', 'its variance plus epsilon should be positive');
  }
  if (opset < 9 && op.integer('spatial', 1) === 0) return perElement(op, x, statistics, epsilon);
  if (statistics.some((list) => list.length !== size)) {
    throw new ModelError('network', `its statistics should have ${size} numbers each`);
  }
  const index = {
    shape: [size, ...dims.slice(2).map(() => 1)],
    data: new Float64Array(size).map((_, i) => i),
  };
  let { by, x: wide } = op.coefficient(index, x);
  if (by.grain !== 1 || by.data.length > size) {
    const [n, ...rest] =
      op.batchOf(x) === undefined ? [dims[0]!, ...dims.slice(2)] : [1, ...dims.slice(2)];
    const count = (n ?? 1) * size;
    const shape = rest.length === 0 ? [count] : [count, elements(rest.slice(0, -1)), rest.at(-1)!];
    ({ by, x: wide } = op.coefficient(index, op.settled(x, shape)));
  }
  const { writer } = op;
  const channels = writer.shapeOf(wide.form.base)[0]!;
  const from = by.grain === 1 ? by.data : new Float64Array(channels);
  const isAsGiven = channels === size && from.every((n, i) => n === i);
  const tensors = NAMES.map((what, i): [string, string] => {
    const list = statistics[i]!;
    const own = isAsGiven ? list : Float32Array.from(from, (n) => list[n]!);
    const name = isAsGiven ? op.node.inputs[i + 1]! : `${op.name}.${what}`;
    return [what, writer.tensor(name, [channels], own)];
  });
  const named = Object.fromEntries(tensors) as Record<(typeof NAMES)[number], string>;
  const id = writer.add(op.name, { op: 'batchNorm', inputs: [op.id(wide)], ...named, epsilon });
  return { form: identityForm(id), name: op.name, view: wide.view };
}

/** Statistics for every element of an image, as versions before 9 had them. */
function perElement(
  op: Operation,
  x: Traced,
  [scale, shift, mean, variance]: readonly Float32Array[],
  epsilon: number,
): Traced {
  const shape = [1, ...dimsOf(x.view).slice(1)];
  if ([scale, shift, mean, variance].some((list) => list!.length !== elements(shape))) {
    throw new ModelError('network', `its statistics should have ${elements(shape)} numbers each`);
  }
  op.writer.allocate(16 * elements(shape));
  const by = Float64Array.from(scale!, (s, i) => s / Math.sqrt(variance![i]! + epsilon));
  const add = Float64Array.from(shift!, (b, i) => b - by[i]! * mean![i]!);
  const factor = op.coefficient({ shape, data: by }, x);
  return affine(op, factor.x, factor.by, op.coefficient({ shape, data: add }, factor.x).by);
}
