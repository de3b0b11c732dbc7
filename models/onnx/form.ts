/**
 * Functions of one value, element by element, kept as formulas until a layer needs their numbers:
 *
 *   f(x) = r*ReLU(x) + p0 + p1*x + p2*x^2, every coefficient a number, one per channel, or one per element.
 *
 * ONNX has no activation that differs from element to element, and writes a polynomial as products and sums. Adding and
 * multiplying formulas instead of making a node each shows what they are together: one activation layer, one scale.
 */

/** How far a coefficient varies: one number, one per channel, one per element. */
export type Grain = 0 | 1 | 2;

export interface Coefficient {
  readonly grain: Grain;
  readonly data: Float64Array;
}

/** See the head of this file. */
export interface Form {
  /** Id of the graph's value x. */
  readonly base: string;
  readonly relu: Coefficient;
  /** Coefficients of 1, x and x^2. */
  readonly powers: readonly [Coefficient, Coefficient, Coefficient];
}

/** Channels of the value, and elements in one. */
export interface Extent {
  readonly channels: number;
  readonly plane: number;
}

export function constant(value: number): Coefficient {
  return { grain: 0, data: Float64Array.of(value) };
}

const ZERO = constant(0);
const ONE = constant(1);

/** x itself. */
export function identity(base: string): Form {
  return { base, relu: ZERO, powers: [ZERO, ONE, ZERO] };
}

/** ReLU(x). */
export function relu(base: string): Form {
  return { base, relu: ONE, powers: [ZERO, ZERO, ZERO] };
}

/** Whether a coefficient is one number everywhere. */
export function is({ data }: Coefficient, value: number): boolean {
  return data.every((v) => v === value);
}

export function isIdentity({ relu, powers: [p0, p1, p2] }: Form): boolean {
  return is(relu, 0) && is(p0, 0) && is(p1, 1) && is(p2, 0);
}

/** A coefficient at a finer grain. */
export function refine({ grain, data }: Coefficient, to: Grain, extent: Extent): Float64Array {
  if (grain === to) return data;
  const length = [1, extent.channels, extent.channels * extent.plane][to]!;
  if (grain === 0) return new Float64Array(length).fill(data[0]!);
  const out = new Float64Array(length);
  data.forEach((value, channel) => {
    out.fill(value, channel * extent.plane, (channel + 1) * extent.plane);
  });
  return out;
}

/** Formulas over values of one extent. */
export class Algebra {
  readonly #extent: Extent;
  readonly #allocate: (bytes: number) => void;

  /** @param allocate is told of the bytes of every coefficient per element before it is made */
  constructor(extent: Extent, allocate: (bytes: number) => void) {
    this.#extent = extent;
    this.#allocate = allocate;
  }

  #combine(a: Coefficient, b: Coefficient, f: (x: number, y: number) => number): Coefficient {
    const grain = Math.max(a.grain, b.grain) as Grain;
    if (grain === 2) this.#allocate(8 * this.#extent.channels * this.#extent.plane);
    const [x, y] = [a, b].map((c) => refine(c, grain, this.#extent));
    return { grain, data: x!.map((value, i) => f(value, y![i]!)) };
  }

  add(a: Coefficient, b: Coefficient): Coefficient {
    if (is(a, 0)) return b;
    return is(b, 0) ? a : this.#combine(a, b, (x, y) => x + y);
  }

  multiply(a: Coefficient, b: Coefficient): Coefficient {
    if (is(a, 0) || is(b, 0)) return ZERO;
    if (is(a, 1)) return b;
    return is(b, 1) ? a : this.#combine(a, b, (x, y) => x * y);
  }

  /** c * f(x). */
  scale({ base, relu, powers: [p0, p1, p2] }: Form, c: Coefficient): Form {
    const by = (p: Coefficient) => this.multiply(p, c);
    return { base, relu: by(relu), powers: [by(p0), by(p1), by(p2)] };
  }

  /** f(x) + c. */
  shift(form: Form, c: Coefficient): Form {
    const [p0, p1, p2] = form.powers;
    return { ...form, powers: [this.add(p0, c), p1, p2] };
  }

  /** f(x) + g(x); both of one x. */
  sum(a: Form, b: Form): Form {
    const [p0, p1, p2] = a.powers.map((p, k) => this.add(p, b.powers[k]!));
    return { base: a.base, relu: this.add(a.relu, b.relu), powers: [p0!, p1!, p2!] };
  }

  /** f(x) * g(x), both of one x; nothing when that is no such function. */
  product(a: Form, b: Form): Form | undefined {
    const degree = ({ powers: [, p1, p2] }: Form) => (is(p2, 0) ? (is(p1, 0) ? 0 : 1) : 2);
    const isPolynomial = is(a.relu, 0) && is(b.relu, 0);
    if (isPolynomial && degree(a) === 0) return this.scale(b, a.powers[0]);
    if (isPolynomial && degree(b) === 0) return this.scale(a, b.powers[0]);
    if (!isPolynomial) return undefined;
    const term = (k: number) =>
      a.powers.reduce((sum, p, i) => {
        const q = b.powers[k - i];
        return q === undefined ? sum : this.add(sum, this.multiply(p, q));
      }, ZERO);
    // Not the degrees: where coefficients differ from element to element, one factor may be constant at each.
    if (!is(term(3), 0) || !is(term(4), 0)) return undefined;
    return { base: a.base, relu: ZERO, powers: [term(0), term(1), term(2)] };
  }
}
