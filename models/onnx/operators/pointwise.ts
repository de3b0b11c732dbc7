/** Functions of single elements: sums, products, ReLU, squares. */

import type { Constant } from '../constant.ts';
import { identity, is, constant as number, relu as reluOf } from '../form.ts';
import type { Operation, Traced } from '../operation.ts';

/** The two operands of a binary operator, of which at least one depends on the image. */
function operands(op: Operation): [Traced | Constant, Traced | Constant] {
  return [0, 1].map((i) => op.constant(i) ?? op.traced(i)) as [
    Traced | Constant,
    Traced | Constant,
  ];
}

const isTraced = (x: Traced | Constant): x is Traced => 'form' in x;

function negated(op: Operation, x: Traced): Traced {
  return { ...x, form: op.writer.algebra(x.form.base).scale(x.form, number(-1)) };
}

function addConstant(op: Operation, x: Traced, constant: Constant): Traced {
  const { by, layout } = op.coefficient(constant, x);
  const form = op.writer.algebra(x.form.base).shift(x.form, by);
  return { form, name: op.name, layout };
}

function multiplyConstant(op: Operation, x: Traced, constant: Constant): Traced {
  const { by, layout } = op.coefficient(constant, x);
  const form = op.writer.algebra(x.form.base).scale(x.form, by);
  return { form, name: op.name, layout };
}

/** Two values of one layout: formulas over one x add up, others become a node. */
function addTraced(op: Operation, a: Traced, b: Traced): Traced {
  const [dims, other] = [a, b].map((x) => `${x.layout.map((atoms) => `(${atoms})`)}`);
  if (a.form.base === b.form.base && dims === other) {
    const form = op.writer.algebra(a.form.base).sum(a.form, b.form);
    return { form, name: op.name, layout: a.layout };
  }
  if (dims !== other) {
    throw new RangeError('it adds values whose elements are arranged or repeated in two ways');
  }
  const id = op.writer.add(op.name, { op: 'add', inputs: [op.id(a), op.id(b)] });
  return { form: identity(id), name: op.name, layout: a.layout };
}

function addAny(op: Operation, a: Traced | Constant, b: Traced | Constant): Traced {
  if (isTraced(a)) return isTraced(b) ? addTraced(op, a, b) : addConstant(op, a, b);
  return addConstant(op, b as Traced, a);
}

export function add(op: Operation): Traced {
  return addAny(op, ...operands(op));
}

export function sub(op: Operation): Traced {
  const [a, b] = operands(op);
  if (isTraced(b)) return addAny(op, a, negated(op, b));
  return addAny(op, a, { shape: b.shape, data: b.data.map((v) => -v) as Constant['data'] });
}

export function sum(op: Operation): Traced {
  const terms = op.node.inputs.map((_, i) => op.constant(i) ?? op.traced(i));
  const first = terms.findIndex(isTraced);
  const [start] = terms.splice(first, 1);
  return terms.reduce<Traced>((total, term) => addAny(op, total, term), start as Traced);
}

function multiply(op: Operation, a: Traced, b: Traced): Traced {
  const isOneLayout = `${a.layout.map((x) => `(${x})`)}` === `${b.layout.map((x) => `(${x})`)}`;
  const form =
    a.form.base === b.form.base && isOneLayout
      ? op.writer.algebra(a.form.base).product(a.form, b.form)
      : undefined;
  if (form === undefined) {
    throw new RangeError(
      'it multiplies two values that depend on the image: only polynomials of degree 2 in one value are supported',
    );
  }
  return { form, name: op.name, layout: a.layout };
}

export function mul(op: Operation): Traced {
  const [a, b] = operands(op);
  if (!isTraced(a)) return multiplyConstant(op, b as Traced, a);
  return isTraced(b) ? multiply(op, a, b) : multiplyConstant(op, a, b);
}

export function div(op: Operation): Traced {
  const divisor = op.constant(1);
  if (divisor === undefined) {
    throw new RangeError('it divides by a value that depends on the image');
  }
  if (divisor.data.some((v) => v === 0)) throw new RangeError('it divides by zero');
  const data = Float64Array.from(divisor.data, (v) => 1 / v);
  return multiplyConstant(op, op.traced(0), { shape: divisor.shape, data });
}

export function neg(op: Operation): Traced {
  return { ...negated(op, op.traced(0)), name: op.name };
}

export function pow(op: Operation): Traced {
  const { data } = op.numbers(1, 'exponent');
  if (data.length !== 1 || data[0] !== 2) {
    throw new RangeError('its exponent should be 2: no other power is supported');
  }
  const x = op.traced(0);
  return multiply(op, x, x);
}

export function relu(op: Operation): Traced {
  const x = op.traced(0);
  const { form } = x;
  if (is(form.relu, 1) && form.powers.every((p) => is(p, 0))) return x;
  return { form: reluOf(op.id(x)), name: op.name, layout: x.layout };
}

/** Clip from 0 on is a ReLU. With an upper bound, as in ReLU6, it would need a second private comparison. */
export function clip(op: Operation): Traced {
  const bound = (input: number, name: string, fallback: number) => {
    if (!op.has(input)) return op.float(name, fallback);
    const { data } = op.numbers(input, `${name} bound`);
    return data.length === 1 ? data[0]! : Number.NaN;
  };
  const min = bound(1, 'min', -Infinity);
  const max = bound(2, 'max', Infinity);
  // The largest float stands for no bound, as in older exports.
  const isOpen = max >= 3.4e38;
  if (isOpen && min <= -3.4e38) return op.traced(0);
  if (isOpen && min === 0) return relu(op);
  throw new RangeError(
    `it clips to ${min}..${max}, and only to 0 and above is one private comparison: replace it by Relu and fine-tune the network`,
  );
}
