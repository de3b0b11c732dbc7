/** Sums, and products with numbers: what stays a formula as long as it can. */

import { broadcast } from '../arithmetic.ts';
import type { Constant } from '../constant.ts';
import { type Coefficient, identityForm, constant as number, ZERO } from '../form.ts';
import { checkMask } from '../masks.ts';
import { isTraced, type Operand, type Operation, type Traced } from '../operation.ts';
import {
  dimsOf,
  hasOutside,
  isPermutation,
  keyOf,
  type Part,
  transposed,
  type View,
} from '../view.ts';

export function negated(op: Operation, x: Traced): Traced {
  return { ...x, form: op.writer.algebra(x.form.base).scale(x.form, number(-1)), name: op.name };
}

/** c * x + d for numbers c and d, or what varies as the coefficients do. */
export function affine(
  op: Operation,
  x: Traced,
  by: Coefficient,
  shift: Coefficient = ZERO,
): Traced {
  const algebra = op.writer.algebra(x.form.base);
  return { ...x, form: algebra.shift(algebra.scale(x.form, by), shift), name: op.name };
}

export function addConstant(op: Operation, from: Traced, constant: Constant): Traced {
  const { by, x: wide } = op.coefficient(constant, from);
  // What is 0 because nothing is there becomes the constant only when it is something.
  const isBare = hasOutside(wide.view) && by.data.some((v) => v !== 0);
  const x = isBare ? op.settled(wide) : wide;
  return { ...x, form: op.writer.algebra(x.form.base).shift(x.form, by), name: op.name };
}

export function multiplyConstant(op: Operation, from: Traced, constant: Constant): Traced {
  const { by, x } = op.coefficient(constant, from);
  return { ...x, form: op.writer.algebra(x.form.base).scale(x.form, by), name: op.name };
}

/** The order of a view's axes in which its elements are the value's, if it only transposes. */
function orderOf(view: View): number[] | undefined {
  const isOnePart = view.axes.every(
    (parts) => parts.length <= 1 && parts.every(({ table }) => table === undefined),
  );
  if (!isOnePart || !isPermutation(view)) return undefined;
  const step = (axis: number) => {
    const [part] = view.axes[axis] as [Part?];
    return part === undefined ? 0 : part.isBatch ? Infinity : part.step;
  };
  const full = [...view.axes.keys()].filter((axis) => view.axes[axis]!.length > 0);
  if (full.some((axis) => step(axis) < 0)) return undefined;
  const empty = [...view.axes.keys()].filter((axis) => view.axes[axis]!.length === 0);
  return [...empty, ...full.toSorted((a, b) => (step(a) > step(b) ? -1 : 1))];
}

/** Two values of one shape as nodes that have their elements at the same places, and what to make of the two. */
export function aligned(
  op: Operation,
  left: Traced,
  right: Traced,
): { ids: [string, string]; result(id: string): Traced } {
  const dims = broadcast(dimsOf(left.view), dimsOf(right.view));
  const [a, b] = [op.expanded(left, dims), op.expanded(right, dims)];
  for (const [own, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const order = orderOf(own.view);
    if (order === undefined) continue;
    // Where one of the two only transposes, the other follows.
    const id = op.id(own);
    const made = op.arranged(other, op.writer.shapeOf(id), transposed(other.view, order));
    return {
      ids: own === a ? [id, made] : [made, id],
      result: (sum) => ({ form: identityForm(sum), name: op.name, view: own.view }),
    };
  }
  const [x, y] = [op.settled(a), op.settled(b)];
  return { ids: [op.id(x), op.id(y)], result: (sum) => op.result(sum, dims) };
}

/** Whether both have their elements at the same places. */
export function isSameView(a: Traced, b: Traced): boolean {
  return `${dimsOf(a.view)}` === `${dimsOf(b.view)}` && keyOf(a.view) === keyOf(b.view);
}

/** Two values as formulas of one, where they are. */
export function ofOneValue(op: Operation, a: Traced, b: Traced): [Traced, Traced] | undefined {
  if (!isSameView(a, b)) return undefined;
  const forms = op.writer.together(a.form, b.form);
  return (
    forms && [
      { ...a, form: forms[0] },
      { ...b, form: forms[1] },
    ]
  );
}

/** The sum of two formulas of one value. */
function total(op: Operation, x: Traced, y: Traced, name: string): Traced {
  const { writer } = op;
  const form = writer.algebra(x.form.base).sum(x.form, y.form);
  checkMask(form, writer.extentOf(form.base));
  return { ...x, form, name };
}

/** Formulas over one value add up, others become a node. */
export function addTraced(op: Operation, a: Traced, b: Traced): Traced {
  const forms = ofOneValue(op, a, b);
  if (forms !== undefined) {
    return total(op, ...forms, op.name);
  }
  const { ids, result } = aligned(op, a, b);
  return result(op.writer.add(op.name, { op: 'add', inputs: ids }));
}

/** a - b of two values. */
export function subtractTraced(
  op: Operation,
  a: Traced,
  b: Traced,
  wanted: string = op.name,
): Traced {
  const forms = ofOneValue(op, a, b);
  if (forms !== undefined) {
    const [x, y] = forms;
    return total(op, x, negated(op, y), wanted);
  }
  const { ids, result } = aligned(op, a, b);
  return {
    ...result(op.writer.add(wanted, { op: 'add', inputs: ids, subtract: true })),
    name: wanted,
  };
}

export function addAny(op: Operation, a: Operand, b: Operand): Traced {
  if (isTraced(a)) return isTraced(b) ? addTraced(op, a, b) : addConstant(op, a, b);
  return addConstant(op, b as Traced, a);
}

export function subtractAny(op: Operation, a: Operand, b: Operand): Traced {
  if (isTraced(b))
    return isTraced(a) ? subtractTraced(op, a, b) : addConstant(op, negated(op, b), a);
  return addAny(op, a, { shape: b.shape, data: b.data.map((v) => -v) as Constant['data'] });
}
