/** The gadgets by element kind. A new kind has one file and one line here. */

import {
  type ActivationKind,
  countKinds,
  IDENTITY,
  KINDS,
  kindOf,
  RELU,
  SQUARE,
} from '../program/kinds.ts';
import type { ActivationStep } from '../program/program.ts';
import type { Gadget, GadgetParams } from './gadget.ts';
import { identity } from './identity.ts';
import { relu } from './relu.ts';
import { square } from './square.ts';

const gadgets: Readonly<Record<ActivationKind, Gadget>> = {
  [IDENTITY]: identity,
  [RELU]: relu,
  [SQUARE]: square,
};

/** The gadget of an element kind. */
export function gadgetOf(kind: ActivationKind): Gadget {
  return gadgets[kind];
}

/** Most elements of a lane of each kind. AGREEMENT. */
export const LANE_ELEMENTS: readonly number[] = KINDS.map((kind) => gadgets[kind].laneElements);

/** Elements of one kind in one activation layer that travel together. */
export interface Lane {
  readonly kind: ActivationKind;
  readonly params: GadgetParams;
  /** Which elements of the layer's tensor, ascending. */
  readonly elements: Uint32Array;
}

/** The lanes of a layer, in the order their messages travel. */
export function lanesOf(step: ActivationStep): Lane[] {
  const { kinds, rangeBits, dropBits } = step;
  const counts = countKinds(kinds);
  return KINDS.flatMap((kind) => {
    const { laneElements } = gadgets[kind];
    const params = { rangeBits, dropBits, shift: kindOf(kind).shift(step) };
    const elements = new Uint32Array(counts[kindOf(kind).count]);
    for (let i = 0, at = 0; i < kinds.length; i++) if (kinds[i] === kind) elements[at++] = i;
    return Array.from({ length: Math.ceil(elements.length / laneElements) }, (_, i) => ({
      kind,
      params,
      elements: elements.slice(i * laneElements, (i + 1) * laneElements),
    }));
  });
}

/**
 * Adds its channel's constant to each element of a lane whose kind carries constants: `before` to the server's share of
 * the pre-activations, `after` to that of the results. So no gadget has to know of them.
 * @param plane elements of one channel of the layer's tensor
 */
export function addConstants(
  { kind, elements }: Lane,
  values: Int32Array,
  constants: Int32Array | undefined,
  plane: number,
): void {
  if (!kindOf(kind).constants) return;
  for (let i = 0; i < values.length; i++) {
    values[i]! += constants![Math.floor(elements[i]! / plane)]!;
  }
}
