/** Softmax, Sigmoid, ArgMax and the like: not computed, but noted as what whoever receives the result makes of it. */

import { ModelError } from '../../errors.ts';
import type { Readout } from '../../graph/index.ts';
import { axisAt } from '../arithmetic.ts';
import type { Operation, Traced } from '../operation.ts';

function softmaxLike(op: Operation, kind: 'softmax' | 'logSoftmax'): Traced {
  const x = op.traced(0);
  const dims = op.dims(0);
  // Before version 13 the axes from `axis` on were one.
  const isOld = op.model.opset < 13;
  const first = axisAt(op.integer('axis', isOld ? 1 : -1), dims.length);
  const long = isOld ? [...dims.keys()].filter((a) => a >= first && dims[a]! > 1) : [first];
  if (long.length > 1) {
    throw new ModelError(
      'network',
      `it works along axes ${long.join(' and ')} of [${dims}] at once, and along one only can be noted: reshape its input so that they are one, or read up to '${op.node.inputs[0]}' with --output-name`,
    );
  }
  return ended(op, x, { kind, axis: long[0] ?? first });
}

function ended(op: Operation, x: Traced, readout: Readout): Traced {
  if ('axis' in readout && x.view.axes[readout.axis]!.some(({ isBatch }) => isBatch)) {
    throw new ModelError(
      'network',
      `it works along axis ${readout.axis} of [${op.dims(0)}], the images of the batch: only one image at a time is read`,
    );
  }
  return { ...x, readout, ended: op.name };
}

export function softmax(op: Operation): Traced {
  return softmaxLike(op, 'softmax');
}

export function logSoftmax(op: Operation): Traced {
  return softmaxLike(op, 'logSoftmax');
}

export function sigmoid(op: Operation): Traced {
  return ended(op, op.traced(0), { kind: 'sigmoid' });
}

export function tanh(op: Operation): Traced {
  return ended(op, op.traced(0), { kind: 'tanh' });
}

export function argMax(op: Operation): Traced {
  if (op.integer('select_last_index', 0) !== 0) {
    throw new ModelError(
      'network',
      'it takes the last of equal scores, and the first is noted here: export it with select_last_index=0',
    );
  }
  const x = op.movable(0);
  const dims = op.dims(0);
  const axis = axisAt(op.integer('axis', 0), dims.length);
  const { readout } = x;
  // What grows with the scores keeps their order.
  const keepsOrder =
    readout === undefined ||
    readout.kind === 'sigmoid' ||
    readout.kind === 'tanh' ||
    ('axis' in readout && readout.kind !== 'argmax' && readout.axis === axis);
  if (!keepsOrder) {
    throw new ModelError(
      'network',
      `it follows a ${readout.kind} that works along another axis: read up to what that reads with --output-name`,
    );
  }
  const keep = op.integer('keepdims', 1) !== 0;
  const labels = keep ? dims.with(axis, 1) : dims.filter((_, i) => i !== axis);
  return { ...ended(op, x, { kind: 'argmax', axis }), labels };
}
