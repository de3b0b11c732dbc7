/**
 * Square: the polynomial that replaces a ReLU, y = X^2 with X = x / 2^f truncated. Any convex quadratic
 * becomes this by completing the square; its constants are the server's and are added outside (protocol/README).
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
  ringProductChoices,
  ringProductReceive,
  ringProductSend,
  ringProductTweaks,
} from '../ot/product.ts';
import { SQUARE } from '../program/program.ts';
import { deriveSeed, Prg, randomRing } from '../random/index.ts';
import { concat, wordsView } from './bits.ts';
import type { Gadget, LaneState, ReceiverCots, SenderCots } from './gadget.ts';
import {
  acceptCarry,
  applyCarry,
  drawCarry,
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

/** The first 32n OTs are the product's, the n after them the carry's; so are the tweaks and the choices. */
function split<T extends SenderCots | ReceiverCots>(cots: T, n: number): [product: T, carry: T] {
  const { start, first } = cots.tweaks;
  const product = { ...cots, blocks: cots.blocks.subarray(0, 512 * n) };
  const tweaks = { start, first: first + ringProductTweaks(n) };
  const carry = { ...cots, blocks: cots.blocks.subarray(512 * n), tweaks };
  return 'choices' in cots
    ? [product, { ...carry, choices: cots.choices.subarray(4 * n) }]
    : [product, carry];
}

/** mu, the same for the same seed. */
function drawFactors(n: number, seed: Uint8Array): Int32Array {
  return randomRing(new Prg(deriveSeed(seed, 'mu')), n);
}

export const square: Gadget<Stored, Stored, Prepared, Pending> = {
  kind: SQUARE,
  name: 'square',
  heavy: false,
  laneElements: 8192,
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

  draw: (_, n, seed) => concat(ringProductChoices(drawFactors(n, seed)), drawCarry(n, seed)),

  choose: () => new Uint8Array(0),

  correct({ shift }, c, products, seed) {
    const [forProduct, forCarry] = split(products, c.length);
    const v = randomRing(new Prg(deriveSeed(seed, 'v')), c.length);
    const { blocks, offset, tweaks } = forProduct;
    const product = ringProductSend(v, blocks, offset, tweaks);
    const carry = offerCarry(shift, c, forCarry);
    return {
      message: concat(product.message, carry.message),
      state: { c, carry: carry.shares, product: product.shares, v },
    };
  },

  prepare({ shift }, n, _labels, products, corrections, seed) {
    const [{ blocks, tweaks }, forCarry] = split(products, n);
    const cut = ringProductBytes(n);
    const mu = drawFactors(n, seed);
    const product = ringProductReceive(mu, blocks, tweaks, corrections.subarray(0, cut));
    const carry = acceptCarry(shift, forCarry, corrections.subarray(cut));
    return { message: new Uint8Array(0), state: { u: forCarry.choices, carry, product, mu } };
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
