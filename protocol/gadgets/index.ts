/** The gadgets by element kind. A new kind of element is one file and one line here. */

import type { ActivationKind, ActivationStep } from '../program/program.ts';
import { countKinds, SQUARE } from '../program/program.ts';
import type { Gadget, GadgetParams } from './gadget.ts';
import { identity } from './identity.ts';
import { relu } from './relu.ts';
import { square } from './square.ts';

/** In the order in which a layer's lanes travel: workers start on the garbled ones first. AGREEMENT. */
const gadgets: readonly Gadget[] = [relu, square, identity];

/** The gadget of an element kind. */
export function gadgetOf(kind: ActivationKind): Gadget {
  return gadgets.find((gadget) => gadget.kind === kind)!;
}

/** Most elements of a lane of each gadget, in their order. AGREEMENT. */
export const LANE_ELEMENTS: readonly number[] = gadgets.map(({ laneElements }) => laneElements);

/** Elements of one kind in one activation layer that travel together. */
export interface Lane {
  readonly kind: ActivationKind;
  readonly params: GadgetParams;
  /** Which elements of the layer's tensor, ascending. */
  readonly elements: Uint32Array;
}

/** The lanes of a layer, in the order their messages travel. */
export function lanesOf({
  kinds,
  rangeBits,
  dropBits,
  shift,
  squareShift,
}: ActivationStep): Lane[] {
  const counts = countKinds(kinds);
  return gadgets.flatMap(({ kind, name, laneElements }) => {
    const params = { rangeBits, dropBits, shift: kind === SQUARE ? squareShift : shift };
    const elements = new Uint32Array(counts[name]);
    for (let i = 0, at = 0; i < kinds.length; i++) if (kinds[i] === kind) elements[at++] = i;
    return Array.from({ length: Math.ceil(elements.length / laneElements) }, (_, i) => ({
      kind,
      params,
      elements: elements.slice(i * laneElements, (i + 1) * laneElements),
    }));
  });
}
