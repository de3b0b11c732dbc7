/** Formulas whose coefficients are numbers, as what they are between their knots: ReLUs and products of such. */

import { type Coefficient, constant, type Form, grainOf, identityForm, is, ZERO } from './form.ts';

/** Knots that a function may have. LOCAL: every one is a private comparison of every element. */
const MAX_KNOTS = 32;

/** A function that is offset[i] + slope[i] * x up to knot[i], and after the last. */
interface Pieces {
  readonly knots: readonly number[];
  readonly offsets: readonly number[];
  readonly slopes: readonly number[];
}

/** Whether a form is of straight pieces, and its coefficients are numbers. */
export function isPieces(form: Form): boolean {
  return grainOf(form) === 0 && is(form.powers[2], 0) && form.bends.length <= MAX_KNOTS;
}

function numberOf({ data }: Coefficient): number {
  return data[0]!;
}

function piecesOf({ powers, bends }: Form): Pieces {
  const sorted = bends
    .map(({ knot, by }) => ({ knot: numberOf(knot), by: numberOf(by) }))
    .toSorted((a, b) => a.knot - b.knot);
  const offsets = [numberOf(powers[0])];
  const slopes = [numberOf(powers[1])];
  for (const { knot, by } of sorted) {
    offsets.push(offsets.at(-1)! - by * knot);
    slopes.push(slopes.at(-1)! + by);
  }
  return { knots: sorted.map(({ knot }) => knot), offsets, slopes };
}

/** Slopes that differ by rounding alone are one. */
function isBend(before: number, after: number): boolean {
  return Math.abs(after - before) > 1e-12 * Math.max(Math.abs(before), Math.abs(after));
}

function formOf(base: string, { knots, offsets, slopes }: Pieces): Form {
  const bends = knots
    .map((knot, i) => ({ knot: constant(knot), by: constant(slopes[i + 1]! - slopes[i]!) }))
    .filter((_, i) => isBend(slopes[i]!, slopes[i + 1]!));
  return { base, powers: [constant(offsets[0]!), constant(slopes[0]!), ZERO], bends };
}

/** ReLU(f(x)) as a form of x, which may have more bends than f. */
export function reluOf(form: Form, name: string): Form {
  const { knots, offsets, slopes } = piecesOf(form);
  const at: number[] = [];
  const kept: [number, number][] = [];
  slopes.forEach((slope, i) => {
    const offset = offsets[i]!;
    const [from, to] = [knots[i - 1] ?? -Infinity, knots[i] ?? Infinity];
    const zero = -offset / slope;
    const crosses = slope !== 0 && zero > from && zero < to;
    const push = (isPositive: boolean) => kept.push(isPositive ? [offset, slope] : [0, 0]);
    if (i > 0) at.push(from);
    if (crosses) {
      push(slope < 0);
      at.push(zero);
      push(slope > 0);
    } else {
      const middle =
        from === -Infinity
          ? to === Infinity
            ? 0
            : to - 1
          : to === Infinity
            ? from + 1
            : (from + to) / 2;
      push(offset + slope * middle > 0);
    }
  });
  const made = formOf(form.base, {
    knots: at,
    offsets: kept.map(([offset]) => offset),
    slopes: kept.map(([, slope]) => slope),
  });
  const isPlain = form.bends.length === 0 && !is(form.powers[1], 0);
  return isPlain ? { ...made, reluOf: { form, name } } : made;
}

/** A square: curvature * v^2 + slope * v, of v >= 0 or v <= 0 that is a form of x. */
interface Curve {
  readonly of: Form;
  readonly slope: number;
  readonly curvature: number;
}

/** f(x) * g(x) as a sum: what of it is straight, and squares of straight functions. */
export function productOf(f: Form, g: Form): { straight: Form; curves: Curve[] } {
  const { base } = f;
  const [a, b] = [piecesOf(f), piecesOf(g)];
  const knots = [...new Set([...a.knots, ...b.knots])].toSorted((x, y) => x - y);
  /** c0 + c1*x + c2*x^2 between two knots. */
  const parts = [...knots.keys(), knots.length].map((i) => {
    const inside = knots[i] ?? Infinity;
    const pieceAt = ({ knots: own, offsets, slopes }: Pieces): [number, number] => {
      const j = own.filter((knot) => knot < inside).length;
      return [offsets[j]!, slopes[j]!];
    };
    const [p, q] = [pieceAt(a), pieceAt(b)];
    return { c0: p[0] * q[0], c1: p[0] * q[1] + p[1] * q[0], c2: p[1] * q[1] };
  });
  // Straight where the product is, level where a curve takes over.
  const slopes = parts.map(({ c1, c2 }) => (c2 === 0 ? c1 : 0));
  const first = parts[0]!;
  const start = knots[0]!;
  const value = first.c0 + start * (first.c1 + start * first.c2);
  const offsets = [value - slopes[0]! * start];
  knots.forEach((knot, i) => {
    offsets.push(offsets[i]! + (slopes[i]! - slopes[i + 1]!) * knot);
  });
  const curves = parts.flatMap(({ c1, c2 }, i): Curve[] => {
    if (c2 === 0) return [];
    const [from, to] = [knots[i - 1], knots[i]];
    // v is 0 at the knot that the piece begins at, or ends at when it is the first; level outside of the piece.
    const zero = from ?? to!;
    const level = [0, from === undefined ? 0 : (to ?? from) - from];
    const of = formOf(base, {
      knots: from === undefined ? [to!] : to === undefined ? [from] : [from, to],
      offsets:
        from === undefined ? [-to!, 0] : [0, -from, ...(to === undefined ? [] : [level[1]!])],
      slopes: from === undefined ? [1, 0] : [0, 1, ...(to === undefined ? [] : [0])],
    });
    return [{ of: named(of), slope: c1 + 2 * c2 * zero, curvature: c2 }];
  });
  return { straight: formOf(base, { knots, offsets, slopes }), curves };
}

/** ReLU(x - knot) is known as such. */
function named(form: Form): Form {
  const [bend, ...others] = form.bends;
  const isRelu =
    bend !== undefined && others.length === 0 && is(bend.by, 1) && is(form.powers[1], 0);
  if (!isRelu || !is(form.powers[0], 0)) return form;
  const inner = identityForm(form.base);
  const powers: Form['powers'] = [constant(-numberOf(bend.knot)), inner.powers[1], ZERO];
  return { ...form, reluOf: { form: { ...inner, powers }, name: `${form.base}.beyond` } };
}
