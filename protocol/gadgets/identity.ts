/**
 * Identity: a linearised element. Truncation and a fresh mask, nothing else. protocol/README, "Activation layers".
 *
 *   client holds c                                       server holds a (online)
 *   offline   corrections of the carry  ------------->   its share of the carry
 *   online                              <-------------   d, one bit
 *             X_C - r'                  ------------->   y - r' = X_S + X_C - r'
 *
 * Before: shares a, c of x, |x| < 2^30. After: y - r' and r' with |y - x / 2^f| <= 1 ULP. Leakage: none.
 */

import { wordsView } from './bits.ts';
import type { Gadget, LaneState } from './gadget.ts';
import {
  acceptCarry,
  applyCarry,
  drawCarry,
  offerCarry,
  revealCarry,
  truncationBytes,
  truncationTweaks,
} from './truncate.ts';

/** Client: its share of the value and of the carry. */
interface Stored extends LaneState {
  readonly c: Int32Array;
  readonly carry: Int32Array;
}

/** Server: the bits u and its share of the carry. */
interface Prepared extends LaneState {
  readonly u: Uint8Array;
  readonly carry: Int32Array;
}

/** Server: its share of the truncated value. */
interface Pending extends LaneState {
  readonly own: Int32Array;
}

export const identity: Gadget<Stored, Stored, Prepared, Pending> = {
  heavy: false,
  laneElements: 32768,
  labelCots: () => 0,
  productCots: () => 1,
  labelTweaks: () => 0,
  productTweaks: (_, n) => truncationTweaks(n),
  bytes({ shift }, n) {
    const { corrections, bits } = truncationBytes(shift, n);
    return { corrections, tables: 0, material: bits, result: 4 * n };
  },

  draw: (_, n, seed) => drawCarry(n, seed),

  choose: () => new Uint8Array(0),

  correct({ shift }, c, products) {
    const { message, shares } = offerCarry(shift, c, products);
    return { message, state: { c, carry: shares } };
  },

  prepare({ shift }, _n, _labels, products, corrections) {
    const carry = acceptCarry(shift, products, corrections);
    return { message: new Uint8Array(0), state: { u: products.choices, carry } };
  },

  store: (_, state) => state,

  reveal({ shift }, { u, carry }, a) {
    const message = new Uint8Array(truncationBytes(shift, a.length).bits);
    return { message, state: { own: revealCarry(shift, a, u, carry, message) } };
  },

  evaluate({ shift }, { c, carry }, material, mask) {
    const result = applyCarry(shift, c, carry, material);
    for (let i = 0; i < result.length; i++) result[i]! -= mask[i]!;
    return new Uint8Array(result.buffer);
  },

  finish(_, { own }, result) {
    const shares = wordsView(result).slice();
    for (let i = 0; i < shares.length; i++) shares[i]! += own[i]!;
    return shares;
  },
};
