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
 * message hides y under a pad the receiver cannot compute. All modulo 2^bits. Exact, no leakage beyond semi-honest.
 */

import { ProtocolError } from '../errors.ts';
import { type Tweaks, tweaksForInstances } from '../random/hash.ts';
import { lowBits, pack, packedBytes, unpack } from '../ring/packing.ts';
import { padWords, senderPadWords } from './pads.ts';

/** Bytes of the message of a bit product, sender to receiver. */
export function bitProductBytes(n: number, bits: number): number {
  return packedBytes(n, bits);
}

/** Tweak numbers that a bit product of `n` instances uses up. */
export function bitProductTweaks(n: number): number {
  return tweaksForInstances(n);
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
