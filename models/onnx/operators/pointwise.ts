/** Sums, products, quotients and powers. */

import { ModelError } from '../../errors.ts';
import type { Constant } from '../constant.ts';
import { type Form, identityForm, isPolynomial, constant as number, ZERO } from '../form.ts';
import { isTraced, type Operand, type Operation, type Traced } from '../operation.ts';
import { isPieces, productOf } from '../pieces.ts';
import { beforeMoves, hardSigmoidOf, straight } from './bends.ts';
import {
  addAny,
  addTraced,
  affine,
  multiplyConstant,
  negated,
  ofOneValue,
  subtractAny,
  subtractTraced,
} from './linear.ts';

/** The operands of a binary operator; before version 7 the second one stood at an axis of the first. */
function pair(op: Operation): [Operand, Operand] {
  const [a, b] = [op.operand(0), op.operand(1)];
  const axis = op.integer('axis', -1);
  if (op.model.opset >= 7 || isTraced(b) || op.integer('broadcast', 0) === 0) return [a, b];
  const behind = axis < 0 ? 0 : op.dims(0).length - axis - b.shape.length;
  if (behind < 0)
    throw new ModelError('network', `its axis ${axis} leaves no room for [${b.shape}]`);
  return [a, { ...b, shape: [...b.shape, ...Array<number>(behind).fill(1)] }];
}

export function add(op: Operation): Traced {
  return addAny(op, ...pair(op));
}

export function sub(op: Operation): Traced {
  return subtractAny(op, ...pair(op));
}

export function sum(op: Operation): Traced {
  const terms = op.operands();
  const [start] = terms.splice(terms.findIndex(isTraced), 1);
  return terms.reduce<Traced>((total, term) => addAny(op, total, term), start as Traced);
}

export function mean(op: Operation): Traced {
  return affine(op, sum(op), number(1 / op.node.inputs.length));
}

const TWO_VALUES =
  'it multiplies two values that depend on the image, which takes a private product that is not supported: only products with constants, and of functions of one value, are';

/** The product of two functions of one value: a parabola, or a sum of parabolas of straight functions. */
export function multiply(op: Operation, left: Traced, right: Traced): Traced {
  const forms = ofOneValue(op, left, right);
  if (forms === undefined) throw new ModelError('network', TWO_VALUES);
  const [first, second] = forms.map((x) => beforeMoves(op, x, false));
  const same = ofOneValue(op, first!, second!);
  if (same === undefined) throw new ModelError('network', TWO_VALUES);
  const [a, b] = same;
  const form = op.writer.algebra(a.form.base).product(a.form, b.form);
  if (form !== undefined) return { ...a, form, name: op.name };
  if (isPolynomial(a.form) && isPolynomial(b.form)) {
    throw new ModelError(
      'network',
      'it makes a polynomial of a degree above 2: replace it by one of degree 2 and fine-tune the network',
    );
  }
  return productOfPieces(op, a, b);
}

function productOfPieces(op: Operation, a: Traced, b: Traced): Traced {
  const { writer } = op;
  const squared = (of: Form, slope: number, curvature: number, name: string): Traced => {
    const id = writer.value(of, name);
    const powers: Form['powers'] = [ZERO, number(slope), number(curvature)];
    return { ...a, form: { ...identityForm(id), powers }, name: `${name}.curve` };
  };
  if (a.form === b.form) return { ...squared(a.form, 0, 1, a.name), name: op.name };
  const [p, q] = [writer.settled(a.form), writer.settled(b.form)];
  if (p.base === q.base && isPieces(p) && isPieces(q)) {
    const { straight: rest, curves } = productOf(p, q);
    const parts = curves.map((curve, i) =>
      squared(curve.of, curve.slope, curve.curvature, `${op.name}.part${i}`),
    );
    const isNothing = rest.bends.length === 0 && rest.powers.every(({ data }) => data[0] === 0);
    const terms = isNothing ? parts : [{ ...a, form: rest, name: `${op.name}.rest` }, ...parts];
    return { ...terms.reduce((total, part) => addTraced(op, total, part)), name: op.name };
  }
  const isStraight = [a, b].every(({ form }) => form.powers[2].data.every((v) => v === 0));
  if (!isStraight) {
    throw new ModelError(
      'network',
      'it multiplies a square by a function that depends on the image: replace it by a polynomial of degree 2 and fine-tune the network',
    );
  }
  // a * b = (a + b)^2 / 4 - (a - b)^2 / 4
  const plus = addTraced(op, a, b);
  const minus = subtractTraced(op, a, b);
  const halves = [plus, minus].map(({ form }, i) =>
    squared(form, 0, i === 0 ? 0.25 : -0.25, `${op.name}.part${i}`),
  );
  return { ...addTraced(op, halves[0]!, halves[1]!), name: op.name };
}

export function mul(op: Operation): Traced {
  const [a, b] = pair(op);
  if (!isTraced(a)) return multiplyConstant(op, b as Traced, a);
  return isTraced(b) ? multiply(op, a, b) : multiplyConstant(op, a, b);
}

export function hardSwish(op: Operation): Traced {
  const x = straight(op, op.traced(0), true);
  return multiply(op, x, hardSigmoidOf(op, x, 1 / 6, 0.5));
}

export function div(op: Operation): Traced {
  const [a, divisor] = pair(op);
  if (isTraced(divisor)) {
    throw new ModelError(
      'network',
      'it divides by a value that depends on the image, which has no private counterpart here: divide by a constant, such as the mean over the training images, and fine-tune the network',
    );
  }
  if (divisor.data.some((v) => v === 0)) throw new ModelError('network', 'it divides by zero');
  const data = Float64Array.from(divisor.data, (v) => 1 / v);
  return multiplyConstant(op, a as Traced, { shape: divisor.shape, data });
}

export function neg(op: Operation): Traced {
  return negated(op, op.traced(0));
}

export function pow(op: Operation): Traced {
  const { data } = op.numbers(1, 'exponent');
  const [exponent] = data;
  const x = op.traced(0);
  if (data.every((v) => v === 1)) return x;
  if (data.some((v) => v !== exponent) || exponent !== 2) {
    throw new ModelError(
      'network',
      `its exponent is ${exponent}, and only 1 and 2 can be read: replace it by a square and fine-tune the network`,
    );
  }
  return multiply(op, x, x);
}

export function where(op: Operation): Traced {
  const mask = op.constant(0);
  if (mask === undefined) {
    throw new ModelError(
      'network',
      'it chooses by a value that depends on the image, and comparisons of private numbers are only supported inside of Relu, Max, Min and the like: write it with those',
    );
  }
  const of = (input: number, keep: (m: number) => number): Operand => {
    const factor: Constant = { shape: mask.shape, data: Float64Array.from(mask.data, keep) };
    const x = op.operand(input);
    if (isTraced(x)) return multiplyConstant(op, x, factor);
    return maskedConstant(op, x, factor);
  };
  return addAny(
    op,
    of(1, (m) => (m === 0 ? 0 : 1)),
    of(2, (m) => (m === 0 ? 1 : 0)),
  );
}

function maskedConstant(op: Operation, x: Constant, factor: Constant): Constant {
  if (x.data.length !== 1 && `${x.shape}` !== `${factor.shape}`) {
    throw new ModelError(
      'network',
      'its constants have two shapes: compute them before the export',
    );
  }
  op.writer.allocate(8 * factor.data.length);
  const data = factor.data.map((m, i) => (m === 0 ? 0 : x.data[x.data.length === 1 ? 0 : i]!));
  return { shape: factor.shape, data: data as Constant['data'] };
}
