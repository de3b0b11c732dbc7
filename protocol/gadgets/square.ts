/**
 * Square: the polynomial that replaces a ReLU, y = X^2 with X = x / 2^f truncated. Any convex quadratic
 * becomes this by completing the square; its constants are the server's and are added outside (protocol/README).
 *
 * The client's share of x is fixed before the input exists, so no product of two unknown numbers is needed. Both shares are
 * reduced to signed numbers of w = max(k, f + 1) + 1 bits: with x + 2^(w-2) positive and below 2^(w-1), they wrap around
 * exactly when both are negative (k bits would not do). With K = w - f, A = (a + 2^(w-2)) >> f, C = (c >> f) + 1 - 2^(w-2-f),
 * and p, q the signs of a + 2^(w-2) and c, truncation is X = A + C + 2^K pq, and with the bits of A, of which p is the highest,
 *
 *   X^2 = A^2 + C^2 + sum over j < K of 2^(j+1) A_j B_j + 2^(K+1) q (pA)   mod 2^o
 *   B_j = C for j < K - 1,   B_(K-1) = q (2C + 2^K) - C
 *
 * The client knows C, q and all B_j offline: what is left are products of bits with numbers (Gilboa, 1999), made offline
 * for random bits u_j and random m and corrected online. 2^(j+1) A_j B_j matters mod 2^o, B_j therefore mod 2^(o-1-j), and
 * beyond j = o - 2 not at all.
 *
 *   client holds c, r'                                     server holds a (online); draws u_j, m
 *
 *   offline   corrections of u_j B_j    ------------->   its shares S_j of u_j B_j
 *             q, by a label OT          ------------->
 *             its share of q m          <-------------   tables: corrections of q m
 *   online                              <-------------   d_j = A_j xor u_j, E = pA - m
 *             C^2 + sum 2^(j+1) (d_j B_j + (1 - 2 d_j) C_j) + 2^(K+1) (q E + its share of q m) - r'
 *                                       ------------->   + A^2 + sum 2^(j+1) (1 - 2 d_j) S_j + 2^(K+1) its share of q m
 *
 * Before: shares a, c of x, |x| < 2^(k-1), k <= 30. After: y - r' and r', y = X^2 exactly, |X - x / 2^f| <= 1 ULP.
 * Leakage: none, d_j and E are masked by the uniform u_j and m, each used once.
 */

import { padWords, type SenderCots } from '../ot/pads.ts';
import {
  bitProductBytes,
  bitProductCorrect,
  bitProductReceive,
  bitProductSend,
  bitProductTweaks,
} from '../ot/product.ts';
import { kindOf, SQUARE } from '../program/kinds.ts';
import { deriveSeed, Prg, randomRing } from '../random/index.ts';
import { lowBits, pack, packedBytes, signed, unpack } from '../ring/packing.ts';
import { addInto } from '../ring/tensor.ts';
import { concat, packWires } from './bits.ts';
import { carryOf, type Gadget, type GadgetParams, type LaneState, roundingUnit } from './gadget.ts';

/** Client. */
interface Opened extends LaneState {
  readonly c: Int32Array;
  /** r'. */
  readonly mask: Int32Array;
  /** 2^(j+1) C_j, element by element. */
  readonly products: Int32Array;
  /** Its share of q m, before `store` its pad. */
  readonly carry: Int32Array;
}

/** Server. */
interface Prepared extends LaneState {
  /** The bits u_j of each element as a number. */
  readonly u: Int32Array;
  /** 2^(j+1) S_j, element by element. */
  readonly products: Int32Array;
  readonly m: Int32Array;
  /** Its share of q m. */
  readonly carry: Int32Array;
}

/** Server, online: its share of the square. */
interface Pending extends LaneState {
  readonly own: Int32Array;
}

/** The numbers of the algebra above. */
interface Widths {
  /** w: bits of a reduced share. */
  readonly share: number;
  /** K: bits of A. */
  readonly truncated: number;
  /** Those of them, from the lowest on, whose products matter. */
  readonly planes: number;
  /** 2^(w-2), which makes every value positive. */
  readonly offset: number;
  /** 2^(K+1), what q (pA) is worth, and the bits of the shares of q m: a product has one at least. */
  readonly carryWeight: number;
  readonly carryBits: number;
}

function widthsOf({ rangeBits, shift, outBits }: GadgetParams): Widths {
  const share = kindOf(SQUARE).ringBits(rangeBits, shift);
  const truncated = share - shift;
  const { bits, weight } = carryOf(truncated + 1, outBits);
  return {
    share,
    truncated,
    planes: Math.min(truncated, outBits - 1),
    offset: 1 << (share - 2),
    carryWeight: weight,
    carryBits: Math.max(bits, 1),
  };
}

/** Bits of B_j, j the plane, that matter. */
const planeBits = ({ outBits }: GadgetParams, plane: number): number => outBits - 1 - plane;

const planesUpTo = (count: number): number[] => Array.from({ length: count }, (_, j) => j);

/** Server: u, the same for the same seed. */
function drawBits(planes: number, n: number, seed: Uint8Array): Int32Array {
  const mask = lowBits(planes);
  return randomRing(new Prg(deriveSeed(seed, 'u')), n).map((word) => word & mask);
}

/** Client: C, and the B of the highest plane. */
function factorsOf(
  params: GadgetParams,
  c: Int32Array,
): { usual: Int32Array; highest: Int32Array } {
  const { share, truncated, planes, offset } = widthsOf(params);
  const { shift } = params;
  const holdsSign = planes === truncated;
  const constant = roundingUnit(shift) - (offset >> shift);
  const [usual, highest] = [new Int32Array(c.length), new Int32Array(c.length)];
  for (let i = 0; i < c.length; i++) {
    const reduced = signed(c[i]!, share);
    const value = (reduced >> shift) + constant;
    usual[i] = value;
    highest[i] = holdsSign ? ((reduced >> 31) & (2 * value + (1 << truncated))) - value : value;
  }
  return { usual, highest };
}

/** The OTs of one plane. */
function planeOf<T extends Pick<SenderCots, 'blocks' | 'tweaks'>>(
  cots: T,
  plane: number,
  n: number,
): T {
  const { start, first } = cots.tweaks;
  return {
    ...cots,
    blocks: cots.blocks.subarray(16 * n * plane, 16 * n * (plane + 1)),
    tweaks: { start, first: first + plane * bitProductTweaks(n) },
  };
}

/** Files the shares of one plane where its elements are. */
function placePlane(products: Int32Array, shares: Int32Array, plane: number, all: number): void {
  for (let i = 0; i < shares.length; i++) products[i * all + plane] = shares[i]! << (plane + 1);
}

/** An element's sum over j of 2^(j+1) (1 - 2 d_j) times a party's share of u_j B_j. */
function correctedSum(products: Int32Array, element: number, planes: number, d: number): number {
  let sum = 0;
  for (let j = 0, at = element * planes; j < planes; j++, at++) {
    const negate = -((d >>> j) & 1);
    sum = (sum + ((products[at]! ^ negate) - negate)) | 0;
  }
  return sum;
}

export const square: Gadget<Opened, Opened, Prepared, Pending> = {
  heavy: false,
  laneElements: 8192,
  labelCots: () => 1,
  productCots: (params) => widthsOf(params).planes,
  labelTweaks: (_, n) => bitProductTweaks(n),
  productTweaks: (params, n) => widthsOf(params).planes * bitProductTweaks(n),
  bytes(params, n) {
    const { planes, carryBits } = widthsOf(params);
    const tables = bitProductBytes(n, carryBits);
    return {
      corrections: planesUpTo(planes).reduce(
        (sum, j) => sum + packedBytes(n, planeBits(params, j)),
        0,
      ),
      tables,
      material: packedBytes(n, planes) + tables,
      result: packedBytes(n, params.outBits),
    };
  },

  draw(params, n, seed) {
    const { planes } = widthsOf(params);
    return packWires(drawBits(planes, n, seed), planesUpTo(planes), n);
  },

  choose: (params, c) => packWires(c, [widthsOf(params).share - 1], c.length),

  correct(params, { c, mask, labels, products: cots }) {
    const n = c.length;
    const { planes } = widthsOf(params);
    const { usual, highest } = factorsOf(params, c);
    const products = new Int32Array(planes * n);
    const messages = planesUpTo(planes).map((j) => {
      const factor = { y: j === planes - 1 ? highest : usual, width: planeBits(params, j) };
      const { message, shares } = bitProductSend([factor], planeOf(cots, j, n));
      placePlane(products, shares[0]!, j, planes);
      return message;
    });
    const carry = padWords(labels.blocks, labels.tweaks)[0]!;
    return { message: concat(...messages), state: { c, mask, products, carry } };
  },

  prepare(params, { n, labels, products: cots, corrections, seed }) {
    const { planes, carryBits } = widthsOf(params);
    const u = drawBits(planes, n, seed);
    const products = new Int32Array(planes * n);
    let at = 0;
    for (const j of planesUpTo(planes)) {
      const width = planeBits(params, j);
      const bytes = packedBytes(n, width);
      const own = { ...planeOf(cots, j, n), choices: packWires(u, [j], n) };
      const message = corrections.subarray(at, at + bytes);
      placePlane(products, bitProductReceive([width], own, message)[0]!, j, planes);
      at += bytes;
    }
    const m = randomRing(new Prg(deriveSeed(seed, 'm')), n);
    const { message, shares } = bitProductSend([{ y: m, width: carryBits }], labels);
    return { message, state: { u, products, m, carry: shares[0]! } };
  },

  store(params, n, state, tables) {
    const { share, carryBits } = widthsOf(params);
    const q = packWires(state.c, [share - 1], n);
    const carry = bitProductCorrect([carryBits], q, [state.carry], tables)[0]!;
    return { ...state, carry };
  },

  reveal(params, { u, products, m, carry }, a) {
    const n = a.length;
    const { share, planes, offset, carryWeight, carryBits } = widthsOf(params);
    const { shift } = params;
    const [d, masked, own] = [new Int32Array(n), new Int32Array(n), new Int32Array(n)];
    for (let i = 0; i < n; i++) {
      const value = signed(a[i]! + offset, share) >> shift;
      d[i] = value ^ u[i]!;
      masked[i] = ((value >> 31) & value) - m[i]!;
      const carried = Math.imul(carryWeight, carry[i]!);
      own[i] = Math.imul(value, value) + correctedSum(products, i, planes, d[i]!) + carried;
    }
    const message = concat(pack(d, planes), pack(masked, carryBits));
    return { message, state: { own } };
  },

  evaluate(params, n, { c, mask, products, carry }, material) {
    const { share, planes, carryWeight, carryBits } = widthsOf(params);
    const cut = packedBytes(n, planes);
    const d = unpack(material.subarray(0, cut), n, planes);
    const masked = unpack(material.subarray(cut), n, carryBits);
    const { usual, highest } = factorsOf(params, c);
    const result = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const value = usual[i]!;
      const top = d[i]! >>> (planes - 1);
      const rest = d[i]! ^ (top << (planes - 1));
      const known = 2 * Math.imul(rest, value) + (Math.imul(top, highest[i]!) << planes);
      const q = signed(c[i]!, share) >> 31;
      const carried = Math.imul(carryWeight, (q & masked[i]!) + carry[i]!);
      const sum = correctedSum(products, i, planes, d[i]!) + known + carried;
      result[i] = Math.imul(value, value) + sum - mask[i]!;
    }
    return pack(result, params.outBits);
  },

  finish({ outBits }, { own }, result) {
    const shares = unpack(result, own.length, outBits);
    addInto(shares, own);
    return shares;
  },
};
