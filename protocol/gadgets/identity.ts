/**
 * Identity: a linearised element. Truncation and a fresh mask, nothing else. protocol/README, "Activation layers".
 *
 * Both shares are reduced to signed numbers of w = max(k, f + 1) + 1 bits; y is modulo 2^o.
 *
 *   client holds c, B = c >> f, q = sign(c), r'        server holds a (online); A = (a' >> f) + 1 - 2^(w-2-f)
 *
 *   offline   products with q  ---- corrections --->   shares of u q for a random bit u
 *   online                     <--- d = p ^ u -----    a' = a + 2^(w-2), p = sign(a')
 *             its share of X, less r'  ----------->    y - r'
 *
 * x + 2^(w-2) is positive and below 2^(w-1), so a' and c wrap around the ring of w bits exactly when both are negative
 * (k bits would not do): then 2^(w-f) is missing from A + B. p q = d q + (1 - 2d) u q shares that carry, which matters
 * mod 2^(o-w+f) alone.
 *
 * Before: shares a, c of x, |x| < 2^(k-1), k <= 30. After: y - r' and r' with |y - x / 2^f| <= 1 ULP. Leakage: none, d is
 * masked by u.
 */

import {
  bitProductBytes,
  bitProductReceive,
  bitProductSend,
  bitProductTweaks,
} from '../ot/product.ts';
import { IDENTITY, kindOf } from '../program/kinds.ts';
import { deriveSeed, Prg, randomBytes } from '../random/index.ts';
import { pack, packedBytes, signed, unpack } from '../ring/packing.ts';
import { addInto } from '../ring/tensor.ts';
import { getBit, setBit } from './bits.ts';
import {
  bitBytes,
  carryOf,
  type Gadget,
  type GadgetParams,
  type LaneState,
  roundingUnit,
} from './gadget.ts';

/** The numbers of the algebra above. */
interface Widths {
  /** w. */
  readonly share: number;
  /** 2^(w-2), which makes every value positive. */
  readonly offset: number;
  /** What the carry weighs, and the bits of its shares: a product has one at least. */
  readonly carryWeight: number;
  readonly carryBits: number;
}

function widthsOf({ rangeBits, shift, outBits }: GadgetParams): Widths {
  const share = kindOf(IDENTITY).ringBits(rangeBits, shift);
  const { bits, weight } = carryOf(share - shift, outBits);
  return {
    share,
    offset: 1 << (share - 2),
    carryWeight: weight,
    carryBits: Math.max(bits, 1),
  };
}

/** Client: its share of the value, reduced, and of the carry, and r'. */
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
  bytes(params, n) {
    return {
      corrections: bitProductBytes(n, widthsOf(params).carryBits),
      tables: 0,
      material: bitBytes(n),
      result: packedBytes(n, params.outBits),
    };
  },

  draw: (_, n, seed) => randomBytes(new Prg(deriveSeed(seed, 'u')), bitBytes(n)),

  choose: () => new Uint8Array(0),

  correct(params, { c, mask, products }) {
    const { share, carryBits } = widthsOf(params);
    const reduced = c.map((value) => signed(value, share));
    const y = reduced.map((value) => value >>> 31);
    const { message, shares } = bitProductSend([{ y, width: carryBits }], products);
    return { message, state: { c: reduced, mask, carry: shares[0]! } };
  },

  prepare(params, { products, corrections }) {
    const carry = bitProductReceive([widthsOf(params).carryBits], products, corrections)[0]!;
    return { message: new Uint8Array(0), state: { u: products.choices, carry } };
  },

  store: (_params, _n, state) => state,

  reveal(params, { u, carry }, a) {
    const { shift } = params;
    const { share, offset, carryWeight } = widthsOf(params);
    const n = a.length;
    const message = new Uint8Array(bitBytes(n));
    const own = new Int32Array(n);
    const constant = roundingUnit(shift) - (offset >> shift);
    for (let i = 0; i < n; i++) {
      const positive = signed(a[i]! + offset, share);
      const d = (positive >>> 31) ^ getBit(u, i);
      setBit(message, i, d);
      const carried = Math.imul(carryWeight, Math.imul(1 - 2 * d, carry[i]!));
      own[i] = (positive >> shift) + constant + carried;
    }
    return { message, state: { own } };
  },

  evaluate(params, n, { c, mask, carry }, material) {
    const { shift, outBits } = params;
    const { carryWeight } = widthsOf(params);
    const result = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const d = getBit(material, i);
      const share = Math.imul(d, c[i]! >>> 31) + Math.imul(1 - 2 * d, carry[i]!);
      result[i] = (c[i]! >> shift) + Math.imul(carryWeight, share) - mask[i]!;
    }
    return pack(result, outBits);
  },

  finish({ outBits }, { own }, result) {
    const shares = unpack(result, own.length, outBits);
    addInto(shares, own);
    return shares;
  },
};
