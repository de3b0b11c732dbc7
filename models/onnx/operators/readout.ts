/** Softmax, LogSoftmax and ArgMax: not computed, but noted as what the model's author makes of the result. */

import { axisAt } from '../arithmetic.ts';
import { BATCH, isInOrder, type Layout } from '../layout.ts';
import type { Operation, Traced } from '../operation.ts';

/** @throws RangeError when the axes from `from` to `to` do not hold all of an image, in the graph's order. */
function checkClasses(op: Operation, layout: Layout, from: number, to: number): void {
  const others = layout.filter((_, axis) => axis < from || axis >= to).flat();
  if (others.some((atom) => atom !== BATCH) || layout.slice(from, to).flat().includes(BATCH)) {
    throw new RangeError(
      `it works on part of [${op.dims(0)}]: only over all numbers of an image, at the end of the network`,
    );
  }
  if (!isInOrder(layout)) throw new RangeError('it numbers the results in another order');
}

function softmaxLike(op: Operation, readout: 'softmax' | 'logSoftmax'): Traced {
  const x = op.traced(0);
  const rank = x.layout.length;
  // Before version 13 the axes from `axis` on were one.
  const isOld = op.model.opset < 13;
  const axis = axisAt(op.integer('axis', isOld ? 1 : -1), rank);
  checkClasses(op, x.layout, axis, isOld ? rank : axis + 1);
  return { ...x, readout };
}

export function softmax(op: Operation): Traced {
  return softmaxLike(op, 'softmax');
}

export function logSoftmax(op: Operation): Traced {
  return softmaxLike(op, 'logSoftmax');
}

export function argMax(op: Operation): Traced {
  if (op.integer('select_last_index', 0) !== 0) {
    throw new RangeError('it takes the last of equal scores: export it with select_last_index=0');
  }
  const x = op.reshapable(0);
  if (x.readout === 'argmax') throw new RangeError('it follows another ArgMax');
  const axis = axisAt(op.integer('axis', 0), x.layout.length);
  checkClasses(op, x.layout, axis, axis + 1);
  return { ...x, readout: 'argmax' };
}
