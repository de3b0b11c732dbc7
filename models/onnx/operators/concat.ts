/** Joining values and constants along an axis. */

import { OUTSIDE } from '../../../protocol/ring/gather.ts';
import { ModelError } from '../../errors.ts';
import { elements } from '../../graph/index.ts';
import { axisAt } from '../arithmetic.ts';
import type { Constant } from '../constant.ts';
import { identityForm } from '../form.ts';
import { Moving } from '../moving.ts';
import { isTraced, type Operand, type Operation, type Traced } from '../operation.ts';
import { dimsOf, inOrder, transposed } from '../view.ts';
import { addConstant } from './linear.ts';

function extentsOf(x: Operand): readonly number[] {
  return isTraced(x) ? dimsOf(x.view) : x.shape;
}

export function concat(op: Operation): Traced {
  const parts = partsOf(op);
  const rank = extentsOf(parts[0]!).length;
  const at = axisAt(op.integer('axis', 1), rank);
  const shapes = parts.map(extentsOf);
  if (
    shapes.some(
      (dims) => dims.length !== rank || `${dims.with(at, 0)}` !== `${shapes[0]!.with(at, 0)}`,
    )
  ) {
    throw new ModelError(
      'network',
      `it joins ${shapes.map((dims) => `[${dims}]`).join(' and ')} along axis ${at}`,
    );
  }
  const values = parts.filter(isTraced);
  const readout = values[0]!.readout;
  if (readout !== undefined && 'axis' in readout && readout.axis === at && parts.length > 1) {
    throw new ModelError(
      'network',
      `it joins results along axis ${at}, which the ${readout.kind} before it works along: read up to what that reads with --output-name`,
    );
  }
  const joined = joinedValues(op, values, at);
  if (values.length === parts.length) return joined;
  return withConstants(op, joined, parts, at);
}

/** The operands: results of one kind, or values and constants that hold something. */
function partsOf(op: Operation): Operand[] {
  const all = op.node.inputs.map((_, i) => op.constant(i) ?? op.movable(i));
  const kinds = new Set(all.map((x) => JSON.stringify(isTraced(x) ? x.readout : undefined)));
  const isLabel = all.some((x) => isTraced(x) && x.labels !== undefined);
  // What is mixed with something else has to be computed: whoever made it is told so.
  if (kinds.size > 1 || isLabel) for (const [i, x] of all.entries()) if (isTraced(x)) op.traced(i);
  return all.filter((x) => isTraced(x) || x.data.length > 0);
}

function joinedValues(op: Operation, values: readonly Traced[], at: number): Traced {
  const [first, ...others] = values as [Traced, ...Traced[]];
  if (others.length === 0) return { ...first, placed: op.name };
  const batch = op.batchOf(first);
  const dims = dimsOf(first.view);
  const rest = [...dims.keys()].filter((axis) => axis !== at);
  const order = batch === undefined ? [at, ...rest] : [0, at, ...rest.filter((axis) => axis !== 0)];
  if (batch !== undefined && at === 0) {
    throw new ModelError('network', 'it joins batches: export the model with a batch of 1');
  }
  const inner = order.slice(batch === undefined ? 1 : 2).map((axis) => dims[axis]!);
  const own = batch === undefined && inner[0] === 1 ? inner.slice(1) : inner;
  const isFlat = inner.every((n) => n === 1) && own.length !== 2;
  const ids = values.map((x) => {
    op.batchOf(x);
    const n = dimsOf(x.view)[at]!;
    const shape = isFlat ? [n] : [n, elements(own.slice(0, -1)), own.at(-1) ?? 1];
    return op.arranged(x, shape, transposed(x.view, order));
  }) as [string, string, ...string[]];
  const id = op.writer.add(op.name, { op: 'concat', inputs: ids });
  const total = values.reduce((sum, x) => sum + dimsOf(x.view)[at]!, 0);
  const made = inOrder([total, ...inner], batch);
  const back = dims.map((_, axis) => order.indexOf(axis));
  const { readout, ended } = first;
  return {
    form: identityForm(id),
    name: op.name,
    view: transposed(made, back),
    ...(readout && { readout }),
    ...(ended && { ended }),
  };
}

/** Zeros where constants stand, and the constants added to them. */
function withConstants(
  op: Operation,
  joined: Traced,
  parts: readonly Operand[],
  at: number,
): Traced {
  const dims = extentsOf(parts[0]!);
  const total = parts.reduce((sum, x) => sum + extentsOf(x)[at]!, 0);
  const table = new Int32Array(total).fill(OUTSIDE);
  let place = 0;
  let next = 0;
  for (const part of parts) {
    const n = extentsOf(part)[at]!;
    if (isTraced(part)) for (let i = 0; i < n; i++) table[place + i] = next++;
    place += n;
  }
  const x = new Moving(op, joined).pick(at, table).done() as Traced;
  const constants = parts.filter((part): part is Constant => !isTraced(part));
  if (constants.every(({ data }) => data.every((v) => v === 0))) return x;
  const shape = dims.with(at, total);
  const size = elements(shape);
  op.writer.allocate(8 * size);
  const data = new Float64Array(size);
  const inner = elements(shape.slice(at + 1));
  place = 0;
  for (const part of parts) {
    const n = extentsOf(part)[at]!;
    if (!isTraced(part)) {
      for (let i = 0; i < part.data.length; i++) {
        const outer = Math.floor(i / (n * inner));
        data[(outer * total + place) * inner + (i % (n * inner))] = part.data[i]!;
      }
    }
    place += n;
  }
  return addConstant(op, x, { shape, data });
}
