/** Sums, means and maxima over axes. */

import { ModelError } from '../../errors.ts';
import { elements } from '../../graph/index.ts';
import { axisAt } from '../arithmetic.ts';
import { constant as number } from '../form.ts';
import { Moving } from '../moving.ts';
import type { Operation, Traced } from '../operation.ts';
import { dimsOf, transposed } from '../view.ts';
import { abs } from './bends.ts';
import { affine, negated } from './linear.ts';
import { multiply } from './pointwise.ts';

/** The node that makes one number of every plane. */
type Reduce = (op: Operation, id: string) => string;

function axesOf(op: Operation, rank: number): number[] {
  const given = op.list(1, 'axes') ?? [];
  if (given.length > 0) return given.map((axis) => axisAt(axis, rank));
  return op.integer('noop_with_empty_axes', 0) !== 0 ? [] : [...Array(rank).keys()];
}

/** Axes that stay become channels, those that go planes. */
function overAxes(op: Operation, x: Traced, reduce: Reduce): { result: Traced; count: number } {
  const dims = dimsOf(x.view);
  const batch = op.batchOf(x);
  const first = batch === undefined ? 0 : 1;
  const axes = axesOf(op, dims.length);
  if (first === 1 && axes.includes(0)) {
    throw new ModelError(
      'network',
      'it reduces over the images of the batch: export the model with a batch of 1',
    );
  }
  const keep = op.integer('keepdims', 1) !== 0;
  const target = keep
    ? dims.map((n, axis) => (axes.includes(axis) ? 1 : n))
    : dims.filter((_, axis) => !axes.includes(axis));
  const count = elements(axes.map((axis) => dims[axis]!));
  if (count === 1) {
    return { result: new Moving(op, x).reshape(target).done() as Traced, count };
  }
  const kept = [...dims.keys()].filter((axis) => axis >= first && !axes.includes(axis));
  const order = [...(first === 0 ? [] : [0]), ...kept, ...axes.toSorted((a, b) => a - b)];
  const gone = order
    .slice(first + kept.length)
    .map((axis) => dims[axis]!)
    .filter((n) => n > 1);
  const channels = elements(kept.map((axis) => dims[axis]!));
  const shape = [channels, elements(gone.slice(0, -1)), gone.at(-1)!];
  const id = reduce(op, op.arranged(x, shape, transposed(x.view, order)));
  return { result: op.result(id, target), count };
}

const meanOf: Reduce = (op, id) =>
  op.writer.add(op.name, { op: 'globalAveragePool', inputs: [id] });

const maximumOf: Reduce = (op, id) => {
  const [, h, w] = op.writer.shapeOf(id) as [number, number, number];
  return op.writer.add(op.name, {
    op: 'maxPool',
    inputs: [id],
    kernel: [h, w],
    stride: [1, 1],
    pads: [0, 0, 0, 0],
  });
};

export function reduceMean(op: Operation): Traced {
  return overAxes(op, op.traced(0), meanOf).result;
}

function sumOf(op: Operation, x: Traced): Traced {
  const { result, count } = overAxes(op, x, meanOf);
  return count === 1 ? result : affine(op, result, number(count));
}

export function reduceSum(op: Operation): Traced {
  return sumOf(op, op.traced(0));
}

export function reduceL1(op: Operation): Traced {
  return sumOf(op, { ...abs(op), name: `${op.name}.abs` });
}

export function reduceSumSquare(op: Operation): Traced {
  const x = op.traced(0);
  return sumOf(op, { ...multiply(op, x, x), name: `${op.name}.squares` });
}

export function reduceMax(op: Operation): Traced {
  return overAxes(op, op.traced(0), maximumOf).result;
}

export function reduceMin(op: Operation): Traced {
  return negated(
    op,
    overAxes(op, { ...negated(op, op.traced(0)), name: `${op.name}.minus` }, maximumOf).result,
  );
}

export function globalAveragePool(op: Operation): Traced {
  return globally(op, meanOf);
}

export function globalMaxPool(op: Operation): Traced {
  return globally(op, maximumOf);
}

function globally(op: Operation, reduce: Reduce): Traced {
  const x = op.traced(0);
  const dims = dimsOf(x.view);
  if (dims.length < 3)
    throw new ModelError('network', `its input of shape [${dims}] has no planes`);
  const n = op.batchOf(x) === undefined ? dims[0]! : 1;
  const rest = dims.slice(2);
  const shape = [n * dims[1]!, elements(rest.slice(0, -1)), rest.at(-1)!];
  const id = reduce(op, op.arranged(x, shape));
  return op.result(id, [dims[0]!, dims[1]!, ...rest.map(() => 1)]);
}
