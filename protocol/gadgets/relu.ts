/**
 * ReLU with truncation: an encoded comparison (compare/encoding.ts) and its product with the truncated value, in one round.
 * relu-garbled.ts does the same by half gates. protocol/README, "Activation layers".
 *
 * With A = (a >> f) + 1, B = c >> f, p, q the signs of a and c, the truncated value is X = A + B + 2^(32-f) p q, and
 * y = b X. The comparison gives the client e = b ^ pi for a random bit pi of the server. With a random bit rho of the
 * client, e' = e ^ rho is public and s = rho ^ pi = (b ^ e') is shared, so that y = e' X + (1 - 2 e') s X.
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
 * p q = d q + (1 - 2 d) mu q: with zc + zs = mu q mod 2^f the carry goes into A* = A + 2^(32-f) (1 - 2 d) zs and
 * B* = B + 2^(32-f) (d q + (1 - 2 d) zc), X = A* + B*. And s X = rho (1 - 2 pi) A* + rho B* + pi A* + pi (1 - 2 rho) B*,
 * where the first product is made with E and shares of rho mA, and the last with OTs in which the server chooses pi; B* is
 * linear in d, so that one OT takes both of its parts.
 *
 * Before: shares a, c of x, |x| < 2^(k-1) - 2^t. After: y - r' and r'. Error: |y - ReLU(x) / 2^f| <= 1 ULP for t <= f;
 * beyond, inputs of |x| < 2^t are passed with probability (2^t + x + 1) / 2^(t+1). With t = 0 the comparison reads x - 1,
 * so that f = 0 gives exact results. Never a wrap.
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
import { tweaksForInstances } from '../random/hash.ts';
import { deriveSeed, Prg, randomBytes } from '../random/index.ts';
import { concat, getBit, joinBits, packWires, setBit, wordsView } from './bits.ts';
import { bitBytes, type Gadget, type LaneState, roundingUnit, wrapWeight } from './gadget.ts';

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
  /** 2^(32-f) zs. */
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

/** Widths of the two products with pi, and of the one with mu: without a truncation there is no carry. */
const piWidths = (shift: number): number[] => (shift === 0 ? [32] : [32, shift]);
const muWidths = (shift: number): number[] => (shift === 0 ? [] : [shift]);

export const relu: Gadget<Opened, Opened, Prepared, Pending> = {
  heavy: false,
  laneElements: 8192,
  labelCots: (params) => comparisonCots(params) + 1,
  productCots: ({ shift }) => (shift === 0 ? 1 : 2),
  labelTweaks: (params, n) => comparisonTweaks(params, n) + tweaksForInstances(n),
  productTweaks: (params, n) => relu.productCots(params) * tweaksForInstances(n),
  bytes(params, n) {
    const { corrections, message } = comparisonBytes(params, n);
    const { shift } = params;
    return {
      corrections: bitProductBytes(n, ...piWidths(shift), ...muWidths(shift)),
      tables: corrections,
      material: 4 * n + (shift === 0 ? 0 : bitBytes(n)) + message,
      result: 4 * n + bitBytes(n),
    };
  },

  draw({ shift }, n, seed) {
    const pi = randomBits(seed, 'pi', n);
    return shift === 0 ? pi : joinBits([pi, n], [randomBits(seed, 'mu', n), n]);
  },

  choose(params, c, seed) {
    const positions = choicePositions(params);
    const n = c.length;
    const bits = packWires(c, positions, n);
    return joinBits([bits, n * positions.length], [randomBits(seed, 'rho', n), n]);
  },

  correct(params, { c, mask, labels, products, seed }) {
    const { shift } = params;
    const n = c.length;
    const weight = wrapWeight(shift);
    const rho = randomBits(seed, 'rho', n);
    const comparison = chooseOffline(params, c, labels);
    const last = otsAt(labels, comparisonCots(params), n);
    const rhoShare = padWords(last.blocks, last.tweaks)[0]!;
    const carryOf = shift === 0 ? undefined : offerCarry(c, shift, otsAt(products, 1, n));
    // B* at d = 0, and what d = 1 adds to it, the second without its weight.
    const [usual, added] = [new Int32Array(n), new Int32Array(n)];
    const [y, yAdded] = [new Int32Array(n), new Int32Array(n)];
    for (let i = 0; i < n; i++) {
      const zc = carryOf === undefined ? 0 : carryOf.shares[i]!;
      const sign = 1 - 2 * getBit(rho, i);
      usual[i] = (c[i]! >> shift) + Math.imul(weight, zc);
      added[i] = (c[i]! >>> 31) - 2 * zc;
      y[i] = Math.imul(sign, usual[i]!);
      yAdded[i] = Math.imul(sign, added[i]!);
    }
    const numbers = [y, yAdded];
    const factors = piWidths(shift).map((width, i) => ({ y: numbers[i]!, width }));
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
      message: concat(message, carryOf?.message ?? new Uint8Array(0)),
      state: { comparison, rho, zero, one, zeroCarry, oneCarry },
    };
  },

  prepare(params, { n, labels, products, corrections, seed }) {
    const { shift } = params;
    const weight = wrapWeight(shift);
    const [pi, mu] = [randomBits(seed, 'pi', n), randomBits(seed, 'mu', n)];
    const { corrections: message, state: comparison } = encodeOffline(params, n, labels);
    const last = otsAt(labels, comparisonCots(params), n);
    const pads = senderPadWords(last.blocks, last.offset, last.tweaks);
    const cut = bitProductBytes(n, ...piWidths(shift));
    const piCots = { ...otsAt(products, 0, n), choices: pi };
    const shares = bitProductReceive(piWidths(shift), piCots, corrections.subarray(0, cut));
    const [share, masking] = [shares[0]!, pads.one[0]!];
    const shareCarry = shares[1] ?? new Int32Array(n);
    let carry = new Int32Array(n);
    if (shift > 0) {
      const muCots = { ...otsAt(products, 1, n), choices: mu };
      carry = bitProductReceive([shift], muCots, corrections.subarray(cut))[0]! as typeof carry;
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
    const { shift, dropBits } = params;
    const n = a.length;
    const message = new Uint8Array(relu.bytes(params, n).material);
    const masked = new Int32Array(message.buffer, 0, n);
    const signs = message.subarray(4 * n, 4 * n + (shift === 0 ? 0 : bitBytes(n)));
    const [zero, one] = [new Int32Array(n), new Int32Array(n)];
    const unit = roundingUnit(shift);
    for (let i = 0; i < n; i++) {
      const piBit = getBit(pi, i);
      const d = shift === 0 ? 0 : (a[i]! >>> 31) ^ getBit(mu, i);
      if (shift > 0) setBit(signs, i, d);
      const own = (a[i]! >> shift) + unit + Math.imul(1 - 2 * d, carry[i]!);
      masked[i] = Math.imul(1 - 2 * piBit, own) - masking[i]!;
      const product = share[i]! + Math.imul(piBit, own) + Math.imul(d, shareCarry[i]!);
      zero[i] = product;
      one[i] = own - product;
    }
    // Where every bit is compared, the coin falls at x = -1 alone; reading x - 1 moves it to 0, whose ReLU is 0 anyway.
    const compared = dropBits === 0 ? a.map((value) => value - 1) : a;
    message.set(encodeOnline(params, comparison, compared, pi), 4 * n + signs.length);
    return { message, state: { zero, one } };
  },

  evaluate(params, n, { comparison, rho, zero, one, zeroCarry, oneCarry }, material) {
    const masked = wordsView(material.subarray(0, 4 * n));
    const cut = 4 * n + (params.shift === 0 ? 0 : bitBytes(n));
    const signs = material.subarray(4 * n, cut);
    const e = decodeOnline(params, n, comparison, material.subarray(cut));
    const message = new Uint8Array(relu.bytes(params, n).result);
    const result = new Int32Array(message.buffer, 0, n);
    const known = message.subarray(4 * n);
    for (let i = 0; i < n; i++) {
      const rhoBit = getBit(rho, i);
      const bit = getBit(e, i) ^ rhoBit;
      setBit(known, i, bit);
      const d = params.shift === 0 ? 0 : getBit(signs, i);
      const own = zero[i]! ^ ((zero[i]! ^ one[i]!) & -bit);
      const added = zeroCarry[i]! ^ ((zeroCarry[i]! ^ oneCarry[i]!) & -bit);
      result[i] = own + (added & -d) + Math.imul((1 - 2 * bit) * rhoBit, masked[i]!);
    }
    return message;
  },

  finish(_, { zero, one }, message) {
    const n = zero.length;
    const result = wordsView(message.subarray(0, 4 * n));
    const known = message.subarray(4 * n);
    const shares = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const keep = -getBit(known, i);
      shares[i] = result[i]! + (zero[i]! ^ ((zero[i]! ^ one[i]!) & keep));
    }
    return shares;
  },
};

/** Client: shares of mu q mod 2^f, q the sign of c. */
function offerCarry(
  c: Int32Array,
  shift: number,
  cots: SenderCots,
): { message: Uint8Array; shares: Int32Array } {
  const signs = c.map((value) => value >>> 31);
  const { message, shares } = bitProductSend([{ y: signs, width: shift }], cots);
  return { message, shares: shares[0]! };
}
