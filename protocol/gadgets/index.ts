/** The gadgets by element kind. A new kind has one file here, and one line for each comparison. */

import {
  type ActivationKind,
  countKinds,
  IDENTITY,
  KINDS,
  kindOf,
  RELU,
  SQUARE,
} from '../program/kinds.ts';
import type { ActivationStep, Comparison } from '../program/program.ts';
import type { Gadget, GadgetParams } from './gadget.ts';
import { identity } from './identity.ts';
import { relu } from './relu.ts';
import { garbledRelu } from './relu-garbled.ts';
import { square } from './square.ts';

const gadgets: Readonly<Record<Comparison, Readonly<Record<ActivationKind, Gadget>>>> = {
  encoded: { [IDENTITY]: identity, [RELU]: relu, [SQUARE]: square },
  garbled: { [IDENTITY]: identity, [RELU]: garbledRelu, [SQUARE]: square },
};

/** The gadget of a lane. */
export function gadgetOf({ kind, params }: Pick<Lane, 'kind' | 'params'>): Gadget {
  return gadgets[params.comparison][kind];
}

/** Most elements of a lane of each kind, for both comparisons. AGREEMENT. */
export const LANE_ELEMENTS: readonly number[] = Object.values(gadgets).flatMap((own) =>
  KINDS.map((kind) => own[kind].laneElements),
);

/** Elements of one kind in one activation layer that travel together. */
export interface Lane {
  readonly kind: ActivationKind;
  readonly params: GadgetParams;
  /** Which elements of the layer's tensor, ascending. */
  readonly elements: Uint32Array;
}

/**
 * The lanes of a layer, in the order their messages travel.
 * @param outBits - bits of the ring in which the layer's result is shared
 */
export function lanesOf(step: ActivationStep, comparison: Comparison, outBits: number): Lane[] {
  const { kinds, rangeBits, dropBits } = step;
  const counts = countKinds(kinds);
  return KINDS.flatMap((kind) => {
    const shift = kindOf(kind).shift(step);
    const params = { rangeBits, dropBits, shift, outBits, comparison };
    const { laneElements } = gadgetOf({ kind, params });
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
 * Adds its channel's constant to each element of a lane: `before` to the server's share of the pre-activations, `after` to
 * that of the results. So no gadget has to know of them.
 * @param constants one per channel, those of the lane's kind; undefined where the layer has none
 * @param plane elements of one channel of the layer's tensor
 */
export function addConstants(
  { elements }: Pick<Lane, 'elements'>,
  values: Int32Array,
  constants: Int32Array | undefined,
  plane: number,
): void {
  if (constants === undefined) return;
  for (let i = 0; i < values.length; i++) {
    values[i]! += constants[Math.floor(elements[i]! / plane)]!;
  }
}
