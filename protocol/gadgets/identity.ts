/**
 * Identity: a linearised element. Truncation and a fresh mask, nothing else. protocol/README, "Activation layers".
 *
 *   client holds c, B = c >> f, q = sign(c), r'        server holds a (online); A = ((a + 2^30) >> f) + 1 - 2^(30-f)
 *
 *   offline   products with q  ---- corrections --->   shares of u q for a random bit u
 *   online                     <--- d = p ^ u -----    p = sign(a + 2^30)
 *             its share of X, less r'  ----------->    y - r'
 *
 * x + 2^30 is positive, so a + 2^30 and c wrap around the ring exactly when both are negative: then 2^(32-f) is missing
 * from A + B. p q = d q + (1 - 2d) u q shares that carry, which matters mod 2^f alone. (Reducing both shares mod 2^(k+1)
 * first, as squares do, would make it matter mod 2^(f+31-k): longer corrections.)
 *
 * Before: shares a, c of x, |x| < 2^30. After: y - r' and r' with |y - x / 2^f| <= 1 ULP. Leakage: none, d is masked by u.
 */

import {
  bitProductBytes,
  bitProductReceive,
  bitProductSend,
  bitProductTweaks,
} from '../ot/product.ts';
import { deriveSeed, Prg, randomBytes } from '../random/index.ts';
import { getBit, setBit, wordsView } from './bits.ts';
import { bitBytes, type Gadget, type LaneState, roundingUnit, wrapWeight } from './gadget.ts';

/** What makes every value positive: ranges are checked to stay below it. */
const OFFSET = 1 << 30;

/** The carry is worth 2^(32-f), so its share matters mod 2^f alone; a product has one bit at least. */
const carryBits = (shift: number): number => Math.max(shift, 1);

/** Client: its share of the value and of the carry, and r'. */
interface Stored extends LaneState {
  readonly c: Int32Array;
  readonly mask: Int32Array;
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
  productTweaks: (_, n) => bitProductTweaks(n),
  bytes({ shift }, n) {
    const corrections = bitProductBytes(n, carryBits(shift));
    return { corrections, tables: 0, material: bitBytes(n), result: 4 * n };
  },

  draw: (_, n, seed) => randomBytes(new Prg(deriveSeed(seed, 'u')), bitBytes(n)),

  choose: () => new Uint8Array(0),

  correct({ shift }, { c, mask, products }) {
    const y = c.map((value) => value >>> 31);
    const { message, shares } = bitProductSend([{ y, width: carryBits(shift) }], products);
    return { message, state: { c, mask, carry: shares[0]! } };
  },

  prepare({ shift }, { products, corrections }) {
    const carry = bitProductReceive([carryBits(shift)], products, corrections)[0]!;
    return { message: new Uint8Array(0), state: { u: products.choices, carry } };
  },

  store: (_params, _n, state) => state,

  reveal({ shift }, { u, carry }, a) {
    const n = a.length;
    const message = new Uint8Array(bitBytes(n));
    const own = new Int32Array(n);
    const constant = roundingUnit(shift) - (OFFSET >> shift);
    const weight = wrapWeight(shift);
    for (let i = 0; i < n; i++) {
      const positive = (a[i]! + OFFSET) | 0;
      const d = (positive >>> 31) ^ getBit(u, i);
      setBit(message, i, d);
      own[i] = (positive >> shift) + constant + Math.imul(weight, Math.imul(1 - 2 * d, carry[i]!));
    }
    return { message, state: { own } };
  },

  evaluate({ shift }, n, { c, mask, carry }, material) {
    const weight = wrapWeight(shift);
    const result = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const d = getBit(material, i);
      const share = Math.imul(d, c[i]! >>> 31) + Math.imul(1 - 2 * d, carry[i]!);
      result[i] = (c[i]! >> shift) + Math.imul(weight, share) - mask[i]!;
    }
    return new Uint8Array(result.buffer);
  },

  finish(_, { own }, result) {
    const shares = wordsView(result).slice();
    for (let i = 0; i < shares.length; i++) shares[i]! += own[i]!;
    return shares;
  },
};
