/**
 * Products of one party's bits with the other's numbers, as sums of two shares: Gilboa's multiplication.
 *
 * Gilboa, "Two Party RSA Key Generation", Crypto 1999, section 4.1, over correlated OT. n instances at once.
 *
 * Before: the COT sender holds y_i, q_i and the offset; the receiver holds the choice bits x_i and t_i.
 * After: sender share + receiver share = x_i y_i. Each share alone is uniform.
 *
 *     COT sender (y, q, Delta)                                  COT receiver (x, t)
 *         |  ---- y_i + H(q_i) - H(q_i ^ Delta) -------------->  |
 *     share -H(q_i)                                          share H(t_i) + x_i * message_i
 *
 * With x = 0, t = q and the pads cancel; with x = 1, H(t) = H(q ^ Delta) cancels the other one and leaves y + H(q). The
 * message hides y under a pad the receiver cannot compute. Exact, no leakage beyond semi-honest.
 *
 * `bitProduct` works modulo 2^bits. `ringProduct` multiplies whole elements of Z_2^32, the receiver's being given by its 32
 * bits: sum over j of 2^j x_j v, where bit j needs v only modulo 2^(32-j), so 32 + 31 + ... + 1 bits = 66 bytes a product.
 */

import { ProtocolError } from '../errors.ts';
import { type Tweaks, tweaksForInstances } from '../random/hash.ts';
import { lowBits, pack, packedBytes, unpack } from '../ring/packing.ts';
import { padWords, senderPadWords } from './pads.ts';

/** Correlations and choice bits of one {@link ringProductSend}. */
export const RING_BITS = 32;

/** Bytes of the message of a bit product, sender to receiver. */
export function bitProductBytes(n: number, bits: number): number {
  return packedBytes(n, bits);
}

/** Bytes of the message of a ring product, sender to receiver: 66 an instance. */
export function ringProductBytes(n: number): number {
  return 66 * n;
}

/** Tweak numbers that a bit product of `n` instances uses up. */
export function bitProductTweaks(n: number): number {
  return tweaksForInstances(n);
}

/** Tweak numbers that a ring product of `n` instances uses up. */
export function ringProductTweaks(n: number): number {
  return tweaksForInstances(RING_BITS * n);
}

/**
 * Sender's half of x_i y_i mod 2^bits.
 * @param y - n values, of which the low `bits` count
 * @param q - n blocks
 * @returns the message of {@link bitProductBytes} bytes and the shares in [0, 2^bits)
 */
export function bitProductSend(
  y: Int32Array,
  bits: number,
  q: Uint8Array,
  offset: Uint8Array,
  tweaks: Tweaks,
): { message: Uint8Array; shares: Int32Array } {
  expectBlocks(q, y.length);
  const { zero, one } = senderPadWords(q, offset, tweaks);
  const mask = lowBits(bits);
  const corrections = new Int32Array(y.length);
  const shares = new Int32Array(y.length);
  for (let i = 0; i < y.length; i++) {
    corrections[i] = y[i]! + zero[i]! - one[i]!;
    shares[i] = -zero[i]! & mask;
  }
  return { message: pack(corrections, bits), shares };
}

/**
 * Receiver's half of x_i y_i mod 2^bits.
 * @param choices - x, n packed bits, lowest bit of byte 0 first
 * @param t - n blocks
 * @returns the shares in [0, 2^bits)
 * @throws ProtocolError `bad-message` when the message has the wrong length
 */
export function bitProductReceive(
  choices: Uint8Array,
  bits: number,
  t: Uint8Array,
  tweaks: Tweaks,
  message: Uint8Array,
): Int32Array {
  const n = t.length / 16;
  expectChoices(choices, n);
  expectLength(message, bitProductBytes(n, bits));
  const corrections = unpack(message, n, bits);
  const mask = lowBits(bits);
  const shares = padWords(t, tweaks);
  for (let i = 0; i < n; i++) {
    shares[i] = (shares[i]! + (chosen(choices, i) & corrections[i]!)) & mask;
  }
  return shares;
}

/**
 * Sender's half of mu_i v_i in Z_2^32.
 *
 * Order: bit-major, correlation j n + i belongs to bit j of instance i. On the wire come 16 n words and n half words:
 * word i of plane 0 is bit 0's correction; word i of plane j = 1 .. 15 holds bit j's 32 - j bits below bit 32 - j's j bits;
 * the half words are bit 16's.
 * @param v - n values
 * @param q - 32 n blocks
 * @returns the message of {@link ringProductBytes} bytes and n shares
 */
export function ringProductSend(
  v: Int32Array,
  q: Uint8Array,
  offset: Uint8Array,
  tweaks: Tweaks,
): { message: Uint8Array; shares: Int32Array } {
  const n = v.length;
  expectBlocks(q, RING_BITS * n);
  const { zero, one } = senderPadWords(q, offset, tweaks);
  const shares = new Int32Array(n);
  const words = new Int32Array(16 * n);
  const halves = new Int16Array(n);
  for (let j = 0; j < RING_BITS; j++) {
    const pads = zero.subarray(j * n, (j + 1) * n);
    const others = one.subarray(j * n, (j + 1) * n);
    for (let i = 0; i < n; i++) {
      others[i] = v[i]! + pads[i]! - others[i]!;
      shares[i]! -= pads[i]! << j;
    }
    if (j === 16) {
      halves.set(others);
      continue;
    }
    const plane = words.subarray((j < 16 ? j : 32 - j) * n);
    const mask = lowBits(32 - j);
    const shift = j > 16 ? j : 0;
    for (let i = 0; i < n; i++) plane[i]! |= (others[i]! & mask) << shift;
  }
  const message = new Uint8Array(ringProductBytes(n));
  message.set(new Uint8Array(words.buffer));
  message.set(new Uint8Array(halves.buffer), 64 * n);
  return { message, shares };
}

/**
 * Receiver's half of mu_i v_i in Z_2^32.
 * @param mu - n values, whose bits were the choices: see {@link ringProductChoices}
 * @param t - 32 n blocks
 * @returns n shares
 * @throws ProtocolError `bad-message` when the message has the wrong length
 */
export function ringProductReceive(
  mu: Int32Array,
  t: Uint8Array,
  tweaks: Tweaks,
  message: Uint8Array,
): Int32Array {
  const n = mu.length;
  expectBlocks(t, RING_BITS * n);
  expectLength(message, ringProductBytes(n));
  const aligned = message.slice();
  const words = new Int32Array(aligned.buffer, 0, 16 * n);
  const halves = new Int16Array(aligned.buffer, 64 * n, n);
  const pads = padWords(t, tweaks);
  const shares = new Int32Array(n);
  for (let j = 0; j < RING_BITS; j++) {
    const own = pads.subarray(j * n, (j + 1) * n);
    const corrections = j === 16 ? halves : words.subarray((j < 16 ? j : 32 - j) * n);
    const shift = j > 16 ? j : 0;
    for (let i = 0; i < n; i++) {
      const mask = -((mu[i]! >>> j) & 1);
      // Bits above 32 - j fall off in the shift by j.
      shares[i]! += (own[i]! + (mask & (corrections[i]! >>> shift))) << j;
    }
  }
  return shares;
}

/** The receiver's choice bits for a ring product, 32 n packed bits in the product's bit-major order. */
export function ringProductChoices(mu: Int32Array): Uint8Array {
  const n = mu.length;
  const choices = new Uint8Array(4 * n);
  for (let j = 0; j < RING_BITS; j++) {
    for (let i = 0; i < n; i++) {
      const at = j * n + i;
      choices[at >> 3]! |= ((mu[i]! >>> j) & 1) << (at & 7);
    }
  }
  return choices;
}

/** All ones where the choice is 1, else 0. */
function chosen(choices: Uint8Array, i: number): number {
  return -((choices[i >> 3]! >> (i & 7)) & 1);
}

function expectBlocks(blocks: Uint8Array, n: number): void {
  if (blocks.length !== 16 * n) {
    throw new RangeError(`product: expected ${n} blocks, got ${blocks.length / 16}`);
  }
}

function expectChoices(choices: Uint8Array, n: number): void {
  if (choices.length !== Math.ceil(n / 8)) {
    throw new RangeError(`choices: expected ${Math.ceil(n / 8)} bytes, got ${choices.length}`);
  }
}

function expectLength(message: Uint8Array, bytes: number): void {
  if (message.length !== bytes) {
    throw new ProtocolError(
      'bad-message',
      `OT product: expected ${bytes} bytes, got ${message.length}`,
    );
  }
}
