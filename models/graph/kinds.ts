/** The element kinds of programs in float arithmetic. */

import {
  type ActivationKind,
  IDENTITY,
  kindsIn,
  RELU,
  SQUARE,
} from '../../protocol/program/kinds.ts';

/** y = relu*max(x, 0) + c0 + c1*x + c2*x^2, whatever the kind. */
export interface FloatKind {
  readonly relu: 0 | 1;
  /** (c0, c1, c2); undefined for those of the element's channel. */
  readonly polynomial: readonly [number, number, number] | undefined;
}

export const FLOAT_KINDS: Readonly<Record<ActivationKind, FloatKind>> = {
  [IDENTITY]: { relu: 0, polynomial: [0, 1, 0] },
  [RELU]: { relu: 1, polynomial: [0, 0, 0] },
  [SQUARE]: { relu: 0, polynomial: undefined },
};

/** Whether some elements of a map read the coefficients of their channel. */
export function readsCoefficients(map: Uint8Array): boolean {
  return kindsIn(map).some((kind) => FLOAT_KINDS[kind].polynomial === undefined);
}
