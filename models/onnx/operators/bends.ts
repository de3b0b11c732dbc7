/** Functions of straight pieces: ReLU and what is made of ReLUs. */

import { ModelError } from '../../errors.ts';
import type { Constant } from '../constant.ts';
import {
  type Algebra,
  type Form,
  grainOf,
  identityForm,
  isAffine,
  isIdentity,
  constant as number,
  ONE,
  plainRelu,
} from '../form.ts';
import { isTraced, type Operand, type Operation, type Traced } from '../operation.ts';
import { isPieces, reluOf } from '../pieces.ts';
import { hasOutside, isPermutation, viewSize } from '../view.ts';
import { addAny, addConstant, subtractAny, subtractTraced } from './linear.ts';

/**
 * A value that a function of single elements may be applied to before it is moved rather than after: nothing is computed
 * for elements that are left out, and zeros that are put in stay zeros.
 */
export function beforeMoves(op: Operation, x: Traced, keepsZero: boolean): Traced {
  if (isPermutation(x.view)) return x;
  const isFew = viewSize(x.view) >= x.view.size;
  return isFew && (keepsZero || !hasOutside(x.view)) ? x : op.settled(x);
}

/** The value as a function of straight pieces whose coefficients are numbers, if need be of itself. */
export function straight(op: Operation, from: Traced, keepsZero: boolean): Traced {
  const x = beforeMoves(op, from, keepsZero);
  const form = op.writer.settled(x.form);
  if (isPieces(form)) return { ...x, form };
  const id =
    isAffine(form) && grainOf(form) > 0
      ? op.writer.settle(form, x.name)
      : op.writer.value(form, x.name);
  return { ...x, form: identityForm(id) };
}

/** ReLU of a form of straight pieces; of its value when that takes fewer comparisons. */
function reluForm(form: Form, name: string): Form | undefined {
  const made = reluOf(form, name);
  return made.bends.length <= form.bends.length + 1 ? made : undefined;
}

type Make = (x: Form, relu: (form: Form) => Form, algebra: Algebra) => Form;

/** A function made of sums and multiples of ReLUs. */
function bent(op: Operation, from: Traced, keepsZero: boolean, make: Make): Traced {
  const x = straight(op, from, keepsZero);
  const attempt = (form: Form): Form | undefined => {
    let isShort = true;
    const relu = (inner: Form): Form => {
      const made = reluForm(inner, x.name);
      if (made === undefined) isShort = false;
      return made ?? inner;
    };
    const made = make(form, relu, op.writer.algebra(form.base));
    return isShort ? made : undefined;
  };
  const form = attempt(x.form) ?? attempt(identityForm(op.id(x)))!;
  return { ...x, form, name: op.name };
}

export function reluOfValue(op: Operation, from: Traced): Traced {
  const { form } = from;
  if (form.reluOf !== undefined && isPermutation(from.view)) return from;
  return bent(op, from, true, (x, relu) => (isIdentity(x) ? plainRelu(x.base) : relu(x)));
}

export function relu(op: Operation): Traced {
  return reluOfValue(op, op.traced(0));
}

/** slope * x where x < 0. */
function leaky(op: Operation, x: Traced, slope: number): Traced {
  return bent(op, x, true, (form, relu, algebra) =>
    algebra.sum(algebra.scale(form, number(slope)), algebra.scale(relu(form), number(1 - slope))),
  );
}

export function leakyRelu(op: Operation): Traced {
  return leaky(op, op.traced(0), op.float('alpha', 0.01));
}

export function abs(op: Operation): Traced {
  return leaky(op, op.traced(0), -1);
}

export function pRelu(op: Operation): Traced {
  let slope = op.numbers(1, 'slope');
  const rank = op.dims(0).length;
  if (op.model.opset < 7 && slope.shape.length === 1 && rank > 2) {
    slope = { ...slope, shape: [...slope.shape, ...Array<number>(rank - 2).fill(1)] };
  }
  const { by, x } = op.coefficient(slope, op.traced(0));
  if (by.grain === 0) return leaky(op, x, by.data[0]!);
  const p = straight(op, x, true);
  const algebra = op.writer.algebra(p.form.base);
  const rest = algebra.add(ONE, algebra.multiply(by, number(-1)));
  const positive = reluForm(p.form, p.name) ?? plainRelu(op.id(p));
  const base = positive.base === p.form.base ? p.form : identityForm(positive.base);
  const form = algebra.sum(algebra.scale(base, by), algebra.scale(positive, rest));
  return { ...p, form, name: op.name };
}

/** Values below `min` and above `max` as those. */
function clipped(op: Operation, x: Traced, min: number, max: number): Traced {
  const least = min <= -3.4e38 ? -Infinity : min;
  const most = max >= 3.4e38 ? Infinity : max;
  if (least === -Infinity && most === Infinity) return x;
  if (least === 0 && most === Infinity) return reluOfValue(op, x);
  return bent(op, x, least <= 0 && most >= 0, (form, relu, algebra) => {
    const by = (inner: Form, n: number) => (n === 0 ? inner : algebra.shift(inner, number(n)));
    const above = least === -Infinity ? form : by(relu(by(form, -least)), least);
    if (most === Infinity) return above;
    return algebra.sum(above, algebra.scale(relu(by(above, -most)), number(-1)));
  });
}

export function clip(op: Operation): Traced {
  const bound = (input: number, name: string, fallback: number) => {
    if (!op.has(input)) return op.float(name, fallback);
    const { data } = op.numbers(input, `${name} bound`);
    if (data.length !== 1 || Number.isNaN(data[0])) {
      throw new ModelError('network', `its ${name} bound should be one number`);
    }
    return data[0]!;
  };
  return clipped(op, op.traced(0), bound(1, 'min', -Infinity), bound(2, 'max', Infinity));
}

/** alpha * x + beta between 0 and 1. */
export function hardSigmoidOf(op: Operation, x: Traced, alpha: number, beta: number): Traced {
  const algebra = op.writer.algebra(x.form.base);
  const shifted = addConstant(
    op,
    { ...x, form: algebra.scale(x.form, number(alpha)) },
    { shape: [], data: Float64Array.of(beta) },
  );
  return clipped(op, shifted, 0, 1);
}

export function hardSigmoid(op: Operation): Traced {
  return hardSigmoidOf(op, op.traced(0), op.float('alpha', 0.2), op.float('beta', 0.5));
}

export function shrink(op: Operation): Traced {
  const [lambda, bias] = [op.float('lambd', 0.5), op.float('bias', 0)];
  if (lambda !== bias) {
    throw new ModelError(
      'network',
      `it jumps by ${lambda - bias} at ${lambda}: only functions without jumps are read, those with bias equal to lambd`,
    );
  }
  const x = op.traced(0);
  const inner = clipped(op, x, -lambda, lambda);
  return subtractTraced(op, x, inner);
}

/** The larger of two: y + ReLU(x - y). */
function larger(op: Operation, x: Operand, y: Operand): Operand {
  if (!isTraced(x)) return isTraced(y) ? larger(op, y, x) : largerConstant(x, y, Math.max);
  const above = reluOfValue(op, { ...subtractAny(op, x, y), name: `${op.name}.above` });
  return addAny(op, y, above);
}

function largerConstant(x: Constant, y: Constant, f: (a: number, b: number) => number): Constant {
  if (y.data.length !== 1 && x.data.length !== y.data.length) {
    throw new ModelError(
      'network',
      'it compares constants of two shapes: compute them before the export',
    );
  }
  const data = x.data.map((v, i) => f(v, y.data[y.data.length === 1 ? 0 : i]!));
  return { shape: x.shape, data: data as Constant['data'] };
}

/** The smaller of two: x - ReLU(x - y). */
function smaller(op: Operation, x: Operand, y: Operand): Operand {
  if (!isTraced(x)) return isTraced(y) ? smaller(op, y, x) : largerConstant(x, y, Math.min);
  const above = reluOfValue(op, { ...subtractAny(op, x, y), name: `${op.name}.above` });
  return subtractTraced(op, x, above);
}

export function max(op: Operation): Operand {
  return op.operands().reduce((a, b) => larger(op, a, b));
}

export function min(op: Operation): Operand {
  return op.operands().reduce((a, b) => smaller(op, a, b));
}
