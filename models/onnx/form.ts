/**
 * Functions of one value, element by element, kept as formulas until a layer needs their numbers:
 *
 *   f(x) = p0 + p1*x + p2*x^2 + the sum over j of by[j] * ReLU(x - knot[j]),
 *
 * every coefficient a number, one per channel, or one per element. ONNX writes a polynomial as products and sums, and
 * knows no activation that differs from element to element. Adding and multiplying formulas instead of making a node each
 * shows what they are together: one activation, one piecewise function, one scale.
 */

/** How far a coefficient varies: one number, one per channel, one per element. */
export type Grain = 0 | 1 | 2;

export interface Coefficient {
  readonly grain: Grain;
  readonly data: Float64Array;
}

/** by * ReLU(x - knot) */
export interface Bend {
  readonly knot: Coefficient;
  readonly by: Coefficient;
}

/** See the head of this file. */
export interface Form {
  /** Id of the graph's value x. */
  readonly base: string;
  /** Coefficients of 1, x and x^2. */
  readonly powers: readonly [Coefficient, Coefficient, Coefficient];
  readonly bends: readonly Bend[];
  /** Set when the form is ReLU of this affine function of x and nothing else. */
  readonly reluOf?: { readonly form: Form; readonly name: string };
}

/** Channels of the value, and elements in one. */
export interface Extent {
  readonly channels: number;
  readonly plane: number;
}

export function constant(value: number): Coefficient {
  return { grain: 0, data: Float64Array.of(value) };
}

export const ZERO: Coefficient = constant(0);
export const ONE: Coefficient = constant(1);

/** x itself. */
export function identityForm(base: string): Form {
  return { base, powers: [ZERO, ONE, ZERO], bends: [] };
}

/** ReLU(x). */
export function plainRelu(base: string): Form {
  const bends = [{ knot: ZERO, by: ONE }];
  const reluOf = { form: identityForm(base), name: base };
  return { base, powers: [ZERO, ZERO, ZERO], bends, reluOf };
}

/** Whether a coefficient is one number everywhere. */
export function is({ data }: Coefficient, value: number): boolean {
  return data.every((v) => v === value);
}

export function isPolynomial({ bends }: Form): boolean {
  return bends.length === 0;
}

/** p0 + p1*x */
export function isAffine(form: Form): boolean {
  return isPolynomial(form) && is(form.powers[2], 0);
}

export function isIdentity(form: Form): boolean {
  return isAffine(form) && is(form.powers[0], 0) && is(form.powers[1], 1);
}

/** Every coefficient of a form. */
export function coefficientsOf({ powers, bends }: Form): Coefficient[] {
  return [...powers, ...bends.flatMap(({ knot, by }) => [knot, by])];
}

/** The finest grain of a form. */
export function grainOf(form: Form): Grain {
  return Math.max(...coefficientsOf(form).map(({ grain }) => grain)) as Grain;
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

/** A coefficient as one number where it is, but for the rounding of what it was computed from. */
function collapsed(coefficient: Coefficient): Coefficient {
  const { grain, data } = coefficient;
  const first = Number(data[0]!.toPrecision(10));
  const most = 1e-9 * Math.max(1, Math.abs(first));
  return grain > 0 && data.every((v) => Math.abs(v - first) <= most)
    ? constant(first)
    : coefficient;
}

function isOneKnot(a: Coefficient, b: Coefficient): boolean {
  return a.grain === b.grain && a.data.every((v, i) => Math.fround(v) === Math.fround(b.data[i]!));
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
  scale({ base, powers: [p0, p1, p2], bends }: Form, c: Coefficient): Form {
    const by = (p: Coefficient) => this.multiply(p, c);
    return {
      base,
      powers: [by(p0), by(p1), by(p2)],
      bends: this.#merged(bends.map((bend) => ({ ...bend, by: by(bend.by) }))),
    };
  }

  /** f(x) + c. */
  shift({ base, powers: [p0, p1, p2], bends }: Form, c: Coefficient): Form {
    return { base, powers: [this.add(p0, c), p1, p2], bends };
  }

  /** f(x) + g(x); both of one x. */
  sum(a: Form, b: Form): Form {
    const [p0, p1, p2] = a.powers.map((p, k) => this.add(p, b.powers[k]!));
    return {
      base: a.base,
      powers: [p0!, p1!, p2!],
      bends: this.#merged([...a.bends, ...b.bends]),
    };
  }

  /** Bends at one knot as one, without those that are none. */
  #merged(bends: readonly Bend[]): Bend[] {
    const result: Bend[] = [];
    for (const bend of bends) {
      const at = result.findIndex(({ knot }) => isOneKnot(knot, bend.knot));
      if (at < 0) result.push(bend);
      else result[at] = { ...result[at]!, by: this.add(result[at]!.by, bend.by) };
    }
    return result.filter(({ by }) => !is(by, 0));
  }

  /** f(x) * g(x), both polynomials in one x; nothing when that has a degree above 2. */
  product(a: Form, b: Form): Form | undefined {
    const isNumber = (form: Form) => isAffine(form) && is(form.powers[1], 0);
    if (isNumber(a)) return this.scale(b, a.powers[0]);
    if (isNumber(b)) return this.scale(a, b.powers[0]);
    if (!isPolynomial(a) || !isPolynomial(b)) return undefined;
    const term = (k: number) =>
      a.powers.reduce((sum, p, i) => {
        const q = b.powers[k - i];
        return q === undefined ? sum : this.add(sum, this.multiply(p, q));
      }, ZERO);
    // Not the degrees: where coefficients differ from element to element, one factor may be constant at each.
    if (!is(term(3), 0) || !is(term(4), 0)) return undefined;
    return { base: a.base, powers: [term(0), term(1), term(2)], bends: [] };
  }

  /**
   * A form of x as one of z.
   * @param inner z as an affine function of x
   * @returns nothing when x is no function of z that grows with it
   */
  over(form: Form, inner: Form, z: string): Form | undefined {
    const [shift, slope] = inner.powers;
    if (!slope.data.every((a) => a > 0)) return undefined;
    const inverse: Coefficient = { grain: slope.grain, data: slope.data.map((a) => 1 / a) };
    const start = this.multiply(this.multiply(shift, constant(-1)), inverse);
    const x: Form = { base: z, powers: [start, inverse, ZERO], bends: [] };
    const [p0, p1, p2] = form.powers;
    const square = is(p2, 0) ? undefined : this.product(x, x);
    const terms = [this.scale(x, p1), ...(square === undefined ? [] : [this.scale(square, p2)])];
    const total = terms.reduce((sum, term) => this.sum(sum, term));
    const bends = form.bends.map(({ knot, by }) => ({
      knot: collapsed(this.add(shift, this.multiply(slope, knot))),
      by: collapsed(this.multiply(by, inverse)),
    }));
    const powers = this.shift(total, p0).powers.map(collapsed) as unknown as Form['powers'];
    return { base: z, powers, bends: this.#merged(bends) };
  }
}
