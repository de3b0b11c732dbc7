/**
 * Truncation of a shared value by f bits with one OT and one bit online; the part that identity and square elements share.
 * protocol/README, "Activation layers".
 *
 *   client holds c, B = c >> f, q = sign(c)            server holds a  (online); A = ((a + 2^30) >> f) + 1 - 2^(30-f)
 *
 *   offline   products with q  ---- corrections --->   shares of u*q for a random bit u
 *   online                     <--- d = p xor u ----   p = sign(a + 2^30)
 *
 * x + 2^30 is positive, so a + 2^30 and c wrap around the ring exactly when both are negative: then 2^(32-f) is missing
 * from A + B. p*q = d*q + (1 - 2d)*(u*q) shares that carry.
 *
 * Before: shares a, c of x, |x| < 2^30. After: shares of X with |X - x / 2^f| <= 1 ULP. Leakage: none, d is uniform.
 */

import {
  bitProductBytes,
  bitProductReceive,
  bitProductSend,
  bitProductTweaks,
} from '../ot/product.ts';
import { deriveSeed, Prg, randomBytes } from '../random/index.ts';
import { getBit, setBit } from './bits.ts';
import type { ReceiverCots, SenderCots } from './gadget.ts';
import { bitBytes, roundingUnit, wrapWeight } from './gadget.ts';

/** What makes every value positive: ranges are checked to stay below it. */
export const OFFSET = 1 << 30;

/** The carry is worth 2^(32-f), so its share matters mod 2^f alone. */
const carryBits = (shift: number): number => Math.max(shift, 1);

/** Exact bytes of the corrections and of the online bits d. */
export function truncationBytes(shift: number, n: number): { corrections: number; bits: number } {
  return { corrections: bitProductBytes(n, carryBits(shift)), bits: bitBytes(n) };
}

/** Hash tweaks of the products. */
export const truncationTweaks = bitProductTweaks;

/** Server, offline: n random bits u, its choices. */
export function drawCarry(n: number, seed: Uint8Array): Uint8Array {
  return randomBytes(new Prg(deriveSeed(seed, 'u')), bitBytes(n));
}

/** Client, offline: the corrections, and its shares of u*q. */
export function offerCarry(
  shift: number,
  c: Int32Array,
  products: SenderCots,
): { message: Uint8Array; shares: Int32Array } {
  const signs = c.map((value) => value >>> 31);
  return bitProductSend(signs, carryBits(shift), products.blocks, products.offset, products.tweaks);
}

/** Server, offline: its shares of u*q. */
export function acceptCarry(
  shift: number,
  { choices, blocks, tweaks }: ReceiverCots,
  corrections: Uint8Array,
): Int32Array {
  return bitProductReceive(choices, carryBits(shift), blocks, tweaks, corrections);
}

/** Server, online: writes d into `bits` (zeros) and returns its shares of X. */
export function revealCarry(
  shift: number,
  a: Int32Array,
  u: Uint8Array,
  carry: Int32Array,
  bits: Uint8Array,
): Int32Array {
  const constant = roundingUnit(shift) - (OFFSET >> shift);
  const weight = wrapWeight(shift);
  const shares = new Int32Array(a.length);
  for (let i = 0; i < shares.length; i++) {
    const positive = (a[i]! + OFFSET) | 0;
    const d = (positive >>> 31) ^ getBit(u, i);
    setBit(bits, i, d);
    shares[i] = (positive >> shift) + constant + Math.imul(weight, Math.imul(1 - 2 * d, carry[i]!));
  }
  return shares;
}

/** Client, online: its shares of X. */
export function applyCarry(
  shift: number,
  c: Int32Array,
  carry: Int32Array,
  bits: Uint8Array,
): Int32Array {
  const weight = wrapWeight(shift);
  const shares = new Int32Array(c.length);
  for (let i = 0; i < shares.length; i++) {
    const d = getBit(bits, i);
    const share = Math.imul(d, c[i]! >>> 31) + Math.imul(1 - 2 * d, carry[i]!);
    shares[i] = (c[i]! >> shift) + Math.imul(weight, share);
  }
  return shares;
}
