/**
 * Square: the polynomial that replaces a ReLU, y = X^2 with X = x / 2^f truncated. Any convex quadratic
 * becomes this by completing the square; its constants are the server's and are added outside (protocol/README).
 *
 * The client's share of x is fixed before the input exists, so no product of two unknown numbers is needed: with K = 32 - f,
 * A = (a + 2^30) >> f, C = (c >> f) + 1 - 2^(30-f), and p, q the signs of a + 2^30 and c, truncation (truncate.ts) is
 * X = A + C + 2^K pq, and with the bits of A, of which p is the highest,
 *
 *   X^2 = A^2 + C^2 + sum over j < K of 2^(j+1) A_j B_j + 2^(K+1) q (pA)   mod 2^32
 *   B_j = C for j < K - 1,   B_(K-1) = q (2C + 2^K) - C
 *
 * The client knows C, q and all B_j offline: what is left are products of bits with numbers (Gilboa, 1999), made offline
 * for random bits u_j and random m and corrected online.
 *
 *   client holds c                                         server holds a (online); draws u_j, m
 *
 *   offline   corrections of u_j B_j    ------------->   its shares S_j of u_j B_j
 *             q, by a label OT          ------------->
 *             its share of q m          <-------------   tables: corrections of q m
 *   online                              <-------------   d_j = A_j xor u_j, E = pA - m
 *             C^2 + sum 2^(j+1) (d_j B_j + (1 - 2 d_j) C_j) + 2^(K+1) (q E + its share of q m) - r'
 *                                       ------------->   + A^2 + sum 2^(j+1) (1 - 2 d_j) S_j + 2^(K+1) its share of q m
 *
 * Before: shares a, c of x, |x| < 2^30. After: y - r' and r', y = X^2 exactly, |X - x / 2^f| <= 1 ULP.
 * Leakage: none, d_j and E are masked by the uniform u_j and m, each used once.
 *
 * Multiplying shares of X after truncating it, as usual, takes 32 + 1 OTs, 200 B offline and 12.1 B online; this takes
 * K + 1, and for f = 16 116.9 B and 7.9 B, and keeps 148 B until then where that kept 28 B.
 */

import {
  bitProductBytes,
  bitProductReceive,
  bitProductSend,
  bitProductTweaks,
} from '../ot/product.ts';
import type { Tweaks } from '../random/hash.ts';
import { deriveSeed, Prg, randomRing } from '../random/index.ts';
import { lowBits, pack, packedBytes, unpack } from '../ring/packing.ts';
import { concat, packWires, wordsView } from './bits.ts';
import type { Gadget, LaneState } from './gadget.ts';
import { roundingUnit, wrapWeight } from './gadget.ts';
import { OFFSET } from './truncate.ts';

/** Client. */
interface Opened extends LaneState {
  readonly c: Int32Array;
  /** 2^(j+1) C_j, element by element. */
  readonly products: Int32Array;
}

interface Stored extends Opened {
  /** Its share of q m. */
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

/** How many bits of A matter: K, but for f = 0, whose highest is shifted out of the ring. */
const planesOf = (shift: number): number => Math.min(32 - shift, 31);

/** 2^(j+1) A_j B_j matters mod 2^32, B_j therefore mod 2^(31-j). */
const planeBits = (plane: number): number => 31 - plane;

/** What q (pA) is worth: 2^(K+1). */
const carryWeight = (shift: number): number => (shift < 2 ? 0 : 1 << (33 - shift));

/** So q m matters mod 2^(f-1); a product has one bit at least. */
const carryBits = (shift: number): number => Math.max(shift - 1, 1);

const planes = (shift: number): number[] => Array.from({ length: planesOf(shift) }, (_, j) => j);

/** Server: u, the same for the same seed. */
function drawBits(shift: number, n: number, seed: Uint8Array): Int32Array {
  const mask = lowBits(planesOf(shift));
  return randomRing(new Prg(deriveSeed(seed, 'u')), n).map((word) => word & mask);
}

/** Client: C, and the B of the plane of p. */
function factorsOf(shift: number, c: Int32Array): { usual: Int32Array; highest: Int32Array } {
  const constant = roundingUnit(shift) - (OFFSET >> shift);
  const wrap = wrapWeight(shift);
  const [usual, highest] = [new Int32Array(c.length), new Int32Array(c.length)];
  for (let i = 0; i < c.length; i++) {
    const value = (c[i]! >> shift) + constant;
    usual[i] = value;
    highest[i] = shift === 0 ? value : ((c[i]! >> 31) & (2 * value + wrap)) - value;
  }
  return { usual, highest };
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

export const square: Gadget<Opened, Stored, Prepared, Pending> = {
  heavy: false,
  laneElements: 8192,
  labelCots: () => 1,
  productCots: ({ shift }) => planesOf(shift),
  labelTweaks: (_, n) => bitProductTweaks(n),
  productTweaks: ({ shift }, n) => planesOf(shift) * bitProductTweaks(n),
  bytes({ shift }, n) {
    const carry = bitProductBytes(n, carryBits(shift));
    return {
      corrections: planes(shift).reduce((sum, j) => sum + bitProductBytes(n, planeBits(j)), 0),
      tables: carry,
      material: packedBytes(n, planesOf(shift)) + carry,
      result: 4 * n,
    };
  },

  draw: ({ shift }, n, seed) => packWires(drawBits(shift, n, seed), planes(shift), n),

  choose: (_, c) => packWires(c, [31], c.length),

  correct({ shift }, c, { blocks, offset, tweaks }) {
    const n = c.length;
    const { usual, highest } = factorsOf(shift, c);
    const products = new Int32Array(planesOf(shift) * n);
    const messages = planes(shift).map((j) => {
      const { message, shares } = bitProductSend(
        j === 31 - shift ? highest : usual,
        planeBits(j),
        blocks.subarray(16 * n * j, 16 * n * (j + 1)),
        offset,
        planeTweaks(tweaks, j, n),
      );
      placePlane(products, shares, j, planesOf(shift));
      return message;
    });
    return { message: concat(...messages), state: { c, products } };
  },

  prepare({ shift }, n, labels, { blocks, tweaks }, corrections, seed) {
    const u = drawBits(shift, n, seed);
    const products = new Int32Array(planesOf(shift) * n);
    let at = 0;
    for (const j of planes(shift)) {
      const bytes = bitProductBytes(n, planeBits(j));
      const shares = bitProductReceive(
        packWires(u, [j], n),
        planeBits(j),
        blocks.subarray(16 * n * j, 16 * n * (j + 1)),
        planeTweaks(tweaks, j, n),
        corrections.subarray(at, at + bytes),
      );
      placePlane(products, shares, j, planesOf(shift));
      at += bytes;
    }
    const m = randomRing(new Prg(deriveSeed(seed, 'm')), n);
    const { message, shares: carry } = bitProductSend(
      m,
      carryBits(shift),
      labels.blocks,
      labels.offset,
      labels.tweaks,
    );
    return { message, state: { u, products, m, carry } };
  },

  store({ shift }, { c, products }, labels, tweaks, tables) {
    const q = packWires(c, [31], c.length);
    const carry = bitProductReceive(q, carryBits(shift), labels, tweaks, tables);
    return { c, products, carry };
  },

  reveal({ shift }, { u, products, m, carry }, a) {
    const n = a.length;
    const weight = carryWeight(shift);
    const all = planesOf(shift);
    const [d, masked, own] = [new Int32Array(n), new Int32Array(n), new Int32Array(n)];
    for (let i = 0; i < n; i++) {
      const value = ((a[i]! + OFFSET) | 0) >> shift;
      d[i] = value ^ u[i]!;
      masked[i] = ((value >> 31) & value) - m[i]!;
      const carried = Math.imul(weight, carry[i]!);
      own[i] = Math.imul(value, value) + correctedSum(products, i, all, d[i]!) + carried;
    }
    const message = concat(pack(d, all), pack(masked, carryBits(shift)));
    return { message, state: { own } };
  },

  evaluate({ shift }, { c, products, carry }, material, mask) {
    const n = c.length;
    const all = planesOf(shift);
    const cut = packedBytes(n, all);
    const d = unpack(material.subarray(0, cut), n, all);
    const masked = unpack(material.subarray(cut), n, carryBits(shift));
    const { usual, highest } = factorsOf(shift, c);
    const weight = carryWeight(shift);
    const result = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const value = usual[i]!;
      const top = d[i]! >>> (all - 1);
      const rest = d[i]! ^ (top << (all - 1));
      const known = 2 * Math.imul(rest, value) + (Math.imul(top, highest[i]!) << all);
      const carried = Math.imul(weight, ((c[i]! >> 31) & masked[i]!) + carry[i]!);
      const sum = correctedSum(products, i, all, d[i]!) + known + carried;
      result[i] = Math.imul(value, value) + sum - mask[i]!;
    }
    return new Uint8Array(result.buffer);
  },

  finish(_, { own }, result) {
    const shares = wordsView(result).slice();
    for (let i = 0; i < shares.length; i++) shares[i]! += own[i]!;
    return shares;
  },
};

/** The tweaks of one plane's products. */
function planeTweaks({ start, first }: Tweaks, plane: number, n: number): Tweaks {
  return { start, first: first + plane * bitProductTweaks(n) };
}
