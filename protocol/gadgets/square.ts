/**
 * Square: the polynomial that replaces a ReLU, y = X^2 with X = x / 2^f truncated. PROTOCOL section 6.2: any convex
 * quadratic becomes this by completing the square; its constants are the server's and are added outside.
 *
 *   client holds c; draws v                              server holds a (online); its choices make u, mu
 *
 *   offline   corrections of the carry  ------------->   its share of the carry
 *             corrections of mu*v       ------------->   M_S, where M_S + M_C = mu*v (Gilboa, 1999)
 *   online    X_C                       <-------------   d, E = X_S - mu
 *             F = X_C - v               ------------->   2 X_S X_C = 2 (E X_C + M_C) + 2 (mu F + M_S)
 *             X_C^2 + 2(E X_C + M_C) - r'
 *
 * Before: shares a, c of x, |x| < 2^30. After: y - r' and r', y = X^2 exactly, |X - x / 2^f| <= 1 ULP.
 * Leakage: none, E and F are masked by the uniform mu and v, each used once.
 */

import {
  ringProductBytes,
  ringProductReceiver,
  ringProductSender,
  ringProductTweaks,
} from '../ot/product.ts';
import { SQUARE } from '../program/program.ts';
import { deriveSeed, Prg, randomRing } from '../random/index.ts';
import { concat, sliceBits, wordsView } from './bits.ts';
import type { Gadget, LaneState, ReceiverCots, SenderCots } from './gadget.ts';
import {
  acceptCarry,
  applyCarry,
  offerCarry,
  revealCarry,
  truncationBytes,
  truncationTweaks,
} from './truncate.ts';

/** Client. */
interface Stored extends LaneState {
  readonly c: Int32Array;
  /** Its share of the carry. */
  readonly carry: Int32Array;
  /** M_C. */
  readonly product: Int32Array;
  readonly v: Int32Array;
}

/** Server. */
interface Prepared extends LaneState {
  readonly u: Uint8Array;
  readonly carry: Int32Array;
  /** M_S. */
  readonly product: Int32Array;
  readonly mu: Int32Array;
}

/** Server, online: X_S^2 + 2 M_S, and mu. */
interface Pending extends LaneState {
  readonly own: Int32Array;
  readonly mu: Int32Array;
}

/** The first n OTs are the carry's, the 32n after them the product's; so are the tweaks. */
function split<T extends SenderCots | ReceiverCots>(cots: T, n: number): [carry: T, product: T] {
  const { start, first } = cots.tweaks;
  const carry = { ...cots, blocks: cots.blocks.subarray(0, 16 * n) };
  const product = {
    ...cots,
    blocks: cots.blocks.subarray(16 * n),
    tweaks: { start, first: first + truncationTweaks(n) },
  };
  if ('choices' in cots) {
    return [
      { ...carry, choices: sliceBits(cots.choices, 0, n) },
      { ...product, choices: sliceBits(cots.choices, n, 33 * n) },
    ];
  }
  return [carry, product];
}

export const square: Gadget<Stored, Stored, Prepared, Pending> = {
  kind: SQUARE,
  name: 'square',
  labelCots: () => 0,
  productCots: () => 33,
  labelTweaks: () => 0,
  productTweaks: (_, n) => truncationTweaks(n) + ringProductTweaks(n),
  bytes({ shift }, n) {
    const { corrections, bits } = truncationBytes(shift, n);
    return {
      corrections: corrections + ringProductBytes(n),
      tables: 0,
      material: 4 * n + bits,
      result: 8 * n,
    };
  },

  choose: () => new Uint8Array(0),

  correct({ shift }, c, products, seed) {
    const [forCarry, forProduct] = split(products, c.length);
    const carry = offerCarry(shift, c, forCarry);
    const v = randomRing(new Prg(deriveSeed(seed, 'square mask')), c.length);
    const product = ringProductSender(forProduct, v);
    return {
      message: concat(carry.message, product.message),
      state: { c, carry: carry.shares, product: product.shares, v },
    };
  },

  prepare({ shift }, n, _labels, products, corrections) {
    const [forCarry, forProduct] = split(products, n);
    const cut = truncationBytes(shift, n).corrections;
    const carry = acceptCarry(shift, n, forCarry, corrections.subarray(0, cut));
    const { factors, shares } = ringProductReceiver(forProduct, n, corrections.subarray(cut));
    return {
      message: new Uint8Array(0),
      state: { u: forCarry.choices, carry, product: shares, mu: factors },
    };
  },

  store: (_, state) => state,

  reveal({ shift }, { u, carry, product, mu }, a) {
    const n = a.length;
    const message = new Uint8Array(square.bytes({ shift, rangeBits: 0, dropBits: 0 }, n).material);
    const own = revealCarry(shift, a, u, carry, message.subarray(4 * n));
    const masked = new Int32Array(message.buffer, 0, n);
    for (let i = 0; i < n; i++) masked[i] = own[i]! - mu[i]!;
    return {
      message,
      state: { own: own.map((x, i) => Math.imul(x, x) + 2 * product[i]!), mu },
    };
  },

  evaluate({ shift }, { c, carry, product, v }, material, mask) {
    const n = c.length;
    const masked = wordsView(material.subarray(0, 4 * n));
    const own = applyCarry(shift, c, carry, material.subarray(4 * n));
    const result = new Int32Array(2 * n);
    for (let i = 0; i < n; i++) {
      const x = own[i]!;
      const cross = (Math.imul(masked[i]!, x) + product[i]!) | 0;
      result[i] = Math.imul(x, x) + 2 * cross - mask[i]!;
      result[n + i] = x - v[i]!;
    }
    return new Uint8Array(result.buffer);
  },

  finish(_, { own, mu }, result) {
    const n = own.length;
    const words = wordsView(result);
    return own.map((x, i) => x + words[i]! + 2 * Math.imul(mu[i]!, words[n + i]!));
  },
};
