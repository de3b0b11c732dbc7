/**
 * Masks that PyTorch's networks of fewer ReLUs come with: m*ReLU(x) + (1 - m)*p(x), with m 0 or 1 at every element and p the
 * identity or a parabola of each channel. Where all p open upwards that is one activation layer; these are the other cases.
 */

import { OUTSIDE } from '../../protocol/ring/gather.ts';
import { ModelError } from '../errors.ts';
import { type Coefficient, type Extent, type Form, is, refine } from './form.ts';

/** Two layers that a masked one is the difference of. */
export interface Split {
  /** The identity where a parabola opens downwards, and what is wanted elsewhere. */
  readonly upper: Form;
  /** x - p(x) where a parabola opens downwards, which opens upwards, and the identity elsewhere. */
  readonly lower: Form;
  /** Of a gather that leaves 0 elsewhere. */
  readonly table: Int32Array;
}

/** A form with parabolas that open downwards as upper(x) - lower(x); undefined where there are none. */
export function splitConcave({ base, powers, bends }: Form, extent: Extent): Split | undefined {
  const [p0, p1, p2] = powers.map((p) => refine(p, 2, extent)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const isConcave = p2.map((curvature) => (Math.fround(curvature) < 0 ? 1 : 0));
  if (!isConcave.includes(1)) return undefined;
  const choose = (there: (i: number) => number, elsewhere: (i: number) => number): Coefficient => ({
    grain: 2,
    data: isConcave.map((concave, i) => (concave === 1 ? there(i) : elsewhere(i))),
  });
  const [zero, one] = [() => 0, () => 1];
  const of = (p: Float64Array) => (i: number) => p[i]!;
  const upper = [choose(zero, of(p0)), choose(one, of(p1)), choose(zero, of(p2))] as const;
  const lower = [
    choose((i) => -p0[i]!, zero),
    choose((i) => 1 - p1[i]!, one),
    choose((i) => -p2[i]!, zero),
  ] as const;
  return {
    upper: { base, powers: upper, bends },
    lower: { base, powers: lower, bends: [] },
    table: Int32Array.from(isConcave, (concave, i) => (concave === 1 ? i : OUTSIDE)),
  };
}

/**
 * Refuses a mask between ReLUs and squares that is neither 0 nor 1 at an element.
 * @throws ModelError `network` that names the element
 */
export function checkMask({ powers, bends }: Form, extent: Extent): void {
  const masks = bends.filter(({ by }) => by.grain === 2);
  if (masks.length === 0 || is(powers[2], 0)) return;
  const curvature = refine(powers[2], 2, extent);
  for (const { by } of masks) {
    const soft = by.data.findIndex((m, i) => m > 0 && m < 1 && curvature[i] !== 0);
    if (soft < 0) continue;
    const value = Number(by.data[soft]!.toPrecision(3));
    throw new ModelError(
      'network',
      `its mask of ReLUs is ${value} at element ${soft}, where a ReLU and a square mix: round the mask to 0 and 1, fine-tune and export again`,
    );
  }
}
