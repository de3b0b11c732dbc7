/**
 * ReLU with truncation: an encoded comparison (compare/encoding.ts) and its product with the truncated value, in one round.
 * relu-garbled.ts does the same by half gates. protocol/README, "Activation layers".
 *
 * Both shares are reduced to signed numbers of w = max(k, f) bits; y is modulo 2^o. With A = (a >> f) + 1, B = c >> f, p, q
 * the signs of a and c, the truncated value is X = A + B + 2^(w-f) p q, and y = b X. The comparison gives the client
 * e = b ^ pi for a random bit pi of the server. With a random bit rho of the client, e' = e ^ rho is public and
 * s = rho ^ pi = (b ^ e') is shared, so that y = e' X + (1 - 2 e') s X.
 *
 *   client holds c, r'; draws rho                          server holds a (online); draws pi, mu
 *
 *   offline
 *     c_1 .. c_n, rho            ---- label OTs ------->    the comparison's pads; shares of rho m, m = mA its difference
 *     q, and (1 - 2 rho) B*      ---- corrections ----->    shares of mu q and of pi (1 - 2 rho) B*
 *     the comparison's state     <--- tables -----------    the comparison's corrections
 *   online
 *     e' = e ^ rho               <--- material ---------    the comparison's message; d = p ^ mu; E = (1 - 2 pi) A* - mA
 *     its share of y, less r'    ---- e', result ------>    y - r'
 *
 * p q = d q + (1 - 2 d) mu q: with zc + zs = mu q mod 2^v, v = o - (w - f), the carry goes into
 * A* = A + 2^(w-f) (1 - 2 d) zs and B* = B + 2^(w-f) (d q + (1 - 2 d) zc), X = A* + B*; for v <= 0 there is none. And
 * s X = rho (1 - 2 pi) A* + rho B* + pi A* + pi (1 - 2 rho) B*, where the first product is made with E and shares of rho mA,
 * and the last with OTs in which the server chooses pi; B* is linear in d, so that one OT takes both of its parts.
 *
 * Before: shares a, c of x, |x| < 2^(k-1) - 2^t. After: y - r' and r'. Error: |y - ReLU(x) / 2^f| <= 1 ULP for t <= f;
 * beyond, inputs of |x| < 2^t are passed with probability (2^t + x + 1) / 2^(t+1). With t = 0 the comparison reads x - 1,
 * so that f = 0 gives exact results. Never a wrap: where b = 1, a + c leaves the ring of w bits exactly when both are
 * negative. For x >= 0 nothing else fits x < 2^(w-1); an x < 0 passes only where all bits of a and c from t on differ, the
 * signs too.
 * Leakage: none. e', d and E are masked by rho, mu and mA, each fresh and used once.
 */

import {
  choicePositions,
  chooseOffline,
  comparisonBytes,
  comparisonCots,
  comparisonTweaks,
  correctOffline,
  decodeOnline,
  encodeOffline,
  encodeOnline,
} from '../compare/encoding.ts';
import { padWords, type ReceiverCots, type SenderCots, senderPadWords } from '../ot/pads.ts';
import { bitProductBytes, bitProductReceive, bitProductSend } from '../ot/product.ts';
import { kindOf, RELU } from '../program/kinds.ts';
import { tweaksForInstances } from '../random/hash.ts';
import { deriveSeed, Prg, randomBytes } from '../random/index.ts';
import { pack, packedBytes, signed, unpack } from '../ring/packing.ts';
import { concat, getBit, joinBits, packWires, setBit } from './bits.ts';
import {
  bitBytes,
  type Carry,
  carryOf,
  type Gadget,
  type GadgetParams,
  type LaneState,
  roundingUnit,
} from './gadget.ts';

/** Client: its share of y less r' for both e', at d = 0, and what d = 1 adds to each. */
interface Opened extends LaneState {
  readonly comparison: Uint8Array;
  readonly rho: Uint8Array;
  readonly zero: Int32Array;
  readonly one: Int32Array;
  readonly zeroCarry: Int32Array;
  readonly oneCarry: Int32Array;
}

/** Server, until it learns a. */
interface Prepared extends LaneState {
  readonly comparison: Uint8Array;
  readonly pi: Uint8Array;
  readonly mu: Uint8Array;
  /** mA, which masks A*. */
  readonly masking: Int32Array;
  /** Its shares of rho mA and of pi (1 - 2 rho) B* at d = 0, and what d = 1 adds. */
  readonly share: Int32Array;
  readonly shareCarry: Int32Array;
  /** 2^(w-f) zs. */
  readonly carry: Int32Array;
}

/** Server, between its message and the client's: its share of y for both e'. */
interface Pending extends LaneState {
  readonly zero: Int32Array;
  readonly one: Int32Array;
}

/** n random bits of a purpose, packed: the same for the same seed. */
function randomBits(seed: Uint8Array, purpose: 'rho' | 'pi' | 'mu', n: number): Uint8Array {
  const bits = randomBytes(new Prg(deriveSeed(seed, purpose)), bitBytes(n));
  if (n % 8 !== 0) bits[bits.length - 1]! &= (1 << (n % 8)) - 1;
  return bits;
}

/** The OTs number `from` of each element on: n blocks each. */
function otsFrom<T extends SenderCots | ReceiverCots>(cots: T, from: number, n: number): T {
  const { start, first } = cots.tweaks;
  return {
    ...cots,
    blocks: cots.blocks.subarray(16 * n * from),
    tweaks: { start, first: first + from * tweaksForInstances(n) },
  };
}

/** The OTs number `from` of each element alone. */
function otsAt<T extends SenderCots | ReceiverCots>(cots: T, from: number, n: number): T {
  const rest = otsFrom(cots, from, n);
  return { ...rest, blocks: rest.blocks.subarray(0, 16 * n) };
}

/** The numbers of the algebra above. */
interface Widths {
  /** w. */
  readonly share: number;
  /** p q, of v bits: 0 where there is none. */
  readonly carry: Carry;
  /** Widths of the products with pi, and of the one with mu. */
  readonly pi: readonly number[];
  readonly mu: readonly number[];
}

/** Of either comparison: relu-garbled.ts has the same w and the same carry. */
export function widthsOf({ rangeBits, shift, outBits }: GadgetParams): Widths {
  const share = kindOf(RELU).ringBits(rangeBits, shift);
  const carry = carryOf(share - shift, outBits);
  const carries = carry.bits === 0 ? [] : [carry.bits];
  return { share, carry, pi: [outBits, ...carries], mu: carries };
}

/** Bytes of the parts of the server's online message: E, then d. */
function materialParts(params: GadgetParams, n: number): { masked: number; signs: number } {
  const masked = packedBytes(n, params.outBits);
  return { masked, signs: widthsOf(params).carry.bits === 0 ? 0 : bitBytes(n) };
}

export const relu: Gadget<Opened, Opened, Prepared, Pending> = {
  heavy: false,
  laneElements: 8192,
  labelCots: (params) => comparisonCots(params) + 1,
  productCots: (params) => (widthsOf(params).carry.bits === 0 ? 1 : 2),
  labelTweaks: (params, n) => comparisonTweaks(params, n) + tweaksForInstances(n),
  productTweaks: (params, n) => relu.productCots(params) * tweaksForInstances(n),
  bytes(params, n) {
    const { corrections, message } = comparisonBytes(params, n);
    const { pi, mu } = widthsOf(params);
    const { masked, signs } = materialParts(params, n);
    return {
      corrections: bitProductBytes(n, ...pi, ...mu),
      tables: corrections,
      material: masked + signs + message,
      result: packedBytes(n, params.outBits) + bitBytes(n),
    };
  },

  draw(params, n, seed) {
    const pi = randomBits(seed, 'pi', n);
    if (widthsOf(params).carry.bits === 0) return pi;
    return joinBits([pi, n], [randomBits(seed, 'mu', n), n]);
  },

  choose(params, c, seed) {
    const positions = choicePositions(params);
    const n = c.length;
    const bits = packWires(c, positions, n);
    return joinBits([bits, n * positions.length], [randomBits(seed, 'rho', n), n]);
  },

  correct(params, { c, mask, labels, products, seed }) {
    const { shift } = params;
    const widths = widthsOf(params);
    const { weight, bits } = widths.carry;
    const n = c.length;
    const rho = randomBits(seed, 'rho', n);
    const comparison = chooseOffline(params, c, labels);
    const last = otsAt(labels, comparisonCots(params), n);
    const rhoShare = padWords(last.blocks, last.tweaks)[0]!;
    const reduced = c.map((value) => signed(value, widths.share));
    const offered = bits === 0 ? undefined : offerCarry(reduced, bits, otsAt(products, 1, n));
    // B* at d = 0, and what d = 1 adds to it, the second without its weight.
    const [usual, added] = [new Int32Array(n), new Int32Array(n)];
    const [y, yAdded] = [new Int32Array(n), new Int32Array(n)];
    for (let i = 0; i < n; i++) {
      const zc = offered === undefined ? 0 : offered.shares[i]!;
      const sign = 1 - 2 * getBit(rho, i);
      usual[i] = (reduced[i]! >> shift) + Math.imul(weight, zc);
      added[i] = (reduced[i]! >>> 31) - 2 * zc;
      y[i] = Math.imul(sign, usual[i]!);
      yAdded[i] = Math.imul(sign, added[i]!);
    }
    const numbers = [y, yAdded];
    const factors = widths.pi.map((width, i) => ({ y: numbers[i]!, width }));
    const { message, shares } = bitProductSend(factors, otsAt(products, 0, n));
    const [zero, one] = [new Int32Array(n), new Int32Array(n)];
    const [zeroCarry, oneCarry] = [new Int32Array(n), new Int32Array(n)];
    const [own, ownAdded] = [shares[0]!, shares[1] ?? new Int32Array(n)];
    for (let i = 0; i < n; i++) {
      const bit = getBit(rho, i);
      const product = rhoShare[i]! + Math.imul(bit, usual[i]!) + own[i]!;
      const productCarry = Math.imul(weight, Math.imul(bit, added[i]!) + ownAdded[i]!);
      zero[i] = product - mask[i]!;
      one[i] = usual[i]! - product - mask[i]!;
      zeroCarry[i] = productCarry;
      oneCarry[i] = Math.imul(weight, added[i]!) - productCarry;
    }
    return {
      message: concat(message, offered?.message ?? new Uint8Array(0)),
      state: { comparison, rho, zero, one, zeroCarry, oneCarry },
    };
  },

  prepare(params, { n, labels, products, corrections, seed }) {
    const widths = widthsOf(params);
    const { weight, bits } = widths.carry;
    const [pi, mu] = [randomBits(seed, 'pi', n), randomBits(seed, 'mu', n)];
    const { corrections: message, state: comparison } = encodeOffline(params, n, labels);
    const last = otsAt(labels, comparisonCots(params), n);
    const pads = senderPadWords(last.blocks, last.offset, last.tweaks);
    const cut = bitProductBytes(n, ...widths.pi);
    const piCots = { ...otsAt(products, 0, n), choices: pi };
    const shares = bitProductReceive(widths.pi, piCots, corrections.subarray(0, cut));
    const [share, masking] = [shares[0]!, pads.one[0]!];
    const shareCarry = shares[1] ?? new Int32Array(n);
    let carry = new Int32Array(n);
    if (bits > 0) {
      const muCots = { ...otsAt(products, 1, n), choices: mu };
      carry = bitProductReceive(widths.mu, muCots, corrections.subarray(cut))[0]! as typeof carry;
    }
    const zero = pads.zero[0]!;
    for (let i = 0; i < n; i++) {
      masking[i] = masking[i]! - zero[i]!;
      share[i] = share[i]! - zero[i]!;
      shareCarry[i] = Math.imul(weight, shareCarry[i]!);
      carry[i] = Math.imul(weight, carry[i]!);
    }
    return { message, state: { comparison, pi, mu, masking, share, shareCarry, carry } };
  },

  store(params, n, state, tables) {
    return { ...state, comparison: correctOffline(params, n, state.comparison, tables) };
  },

  reveal(params, { comparison, pi, mu, masking, share, shareCarry, carry }, a) {
    const { shift, dropBits, outBits } = params;
    const { share: width, carry: wrap } = widthsOf(params);
    const n = a.length;
    const masked = new Int32Array(n);
    const signs = new Uint8Array(materialParts(params, n).signs);
    const [zero, one] = [new Int32Array(n), new Int32Array(n)];
    const unit = roundingUnit(shift);
    for (let i = 0; i < n; i++) {
      const piBit = getBit(pi, i);
      const reduced = signed(a[i]!, width);
      const d = wrap.bits === 0 ? 0 : (reduced >>> 31) ^ getBit(mu, i);
      if (wrap.bits > 0) setBit(signs, i, d);
      const own = (reduced >> shift) + unit + Math.imul(1 - 2 * d, carry[i]!);
      masked[i] = Math.imul(1 - 2 * piBit, own) - masking[i]!;
      const product = share[i]! + Math.imul(piBit, own) + Math.imul(d, shareCarry[i]!);
      zero[i] = product;
      one[i] = own - product;
    }
    // Where every bit is compared, the coin falls at x = -1 alone; reading x - 1 moves it to 0, whose ReLU is 0 anyway.
    const compared = dropBits === 0 ? a.map((value) => value - 1) : a;
    const message = encodeOnline(params, comparison, compared, pi);
    return { message: concat(pack(masked, outBits), signs, message), state: { zero, one } };
  },

  evaluate(params, n, { comparison, rho, zero, one, zeroCarry, oneCarry }, material) {
    const { outBits } = params;
    const parts = materialParts(params, n);
    const masked = unpack(material.subarray(0, parts.masked), n, outBits);
    const signs = material.subarray(parts.masked, parts.masked + parts.signs);
    const message = material.subarray(parts.masked + parts.signs);
    const e = decodeOnline(params, n, comparison, message);
    const result = new Int32Array(n);
    const known = new Uint8Array(bitBytes(n));
    for (let i = 0; i < n; i++) {
      const rhoBit = getBit(rho, i);
      const bit = getBit(e, i) ^ rhoBit;
      setBit(known, i, bit);
      const d = parts.signs === 0 ? 0 : getBit(signs, i);
      const own = zero[i]! ^ ((zero[i]! ^ one[i]!) & -bit);
      const added = zeroCarry[i]! ^ ((zeroCarry[i]! ^ oneCarry[i]!) & -bit);
      result[i] = own + (added & -d) + Math.imul((1 - 2 * bit) * rhoBit, masked[i]!);
    }
    return concat(pack(result, outBits), known);
  },

  finish({ outBits }, { zero, one }, message) {
    const n = zero.length;
    const cut = packedBytes(n, outBits);
    const shares = unpack(message.subarray(0, cut), n, outBits);
    const known = message.subarray(cut);
    for (let i = 0; i < n; i++) {
      const keep = -getBit(known, i);
      shares[i]! += zero[i]! ^ ((zero[i]! ^ one[i]!) & keep);
    }
    return shares;
  },
};

/** Client: shares of mu q mod 2^v, q the sign of c, which is reduced. */
function offerCarry(
  c: Int32Array,
  width: number,
  cots: SenderCots,
): { message: Uint8Array; shares: Int32Array } {
  const signs = c.map((value) => value >>> 31);
  const { message, shares } = bitProductSend([{ y: signs, width }], cots);
  return { message, shares: shares[0]! };
}
