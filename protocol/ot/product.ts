/**
 * Products of one party's bits with the other's numbers, as sums of two shares: Gilboa's multiplication.
 *
 * Gilboa, "Two Party RSA Key Generation", Crypto 1999, section 4.1, over correlated OT. n instances at once, each of one bit
 * with up to four numbers, which take a 32-bit word of the pad each.
 *
 * Before: the COT sender holds y_i, q_i and the offset; the receiver holds the choice bits x_i and t_i.
 * After: sender share + receiver share = x_i y_i. Each share alone is uniform.
 *
 *     COT sender (y, q, Delta)                                  COT receiver (x, t)
 *         |  ---- y_i + H(q_i) - H(q_i ^ Delta) -------------->  |
 *     share -H(q_i)                                          share H(t_i) + x_i * message_i
 *
 * With x = 0, t = q and the pads cancel; with x = 1, H(t) = H(q ^ Delta) cancels the other one and leaves y + H(q). The
 * message hides y under a pad the receiver cannot compute. All modulo 2^width. Exact. A sender that deviates adds an error to
 * the product, of which the receiver sees nothing; a receiver's choices are checked before (softspoken.ts).
 */

import { ProtocolError } from '../errors.ts';
import { tweaksForInstances } from '../random/hash.ts';
import { lowBits, pack, packedBytes, unpack } from '../ring/packing.ts';
import { padWords, type ReceiverCots, type SenderCots, senderPadWords } from './pads.ts';

/** A number of the sender for each instance, of which the low `width` bits count. */
export interface Factor {
  readonly y: Int32Array;
  /** 1 to 32 bits. */
  readonly width: number;
}

/** Bytes of the message of a bit product, sender to receiver: the numbers one after the other. */
export function bitProductBytes(n: number, ...widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + packedBytes(n, width), 0);
}

/** Tweak numbers that a bit product of `n` instances uses up. */
export function bitProductTweaks(n: number): number {
  return tweaksForInstances(n);
}

/**
 * Sender's half of x_i y_i mod 2^width.
 * @param factors - at most four
 * @param cots - n blocks
 * @returns the message of {@link bitProductBytes} bytes, and for each factor its shares in [0, 2^width)
 */
export function bitProductSend(
  factors: readonly Factor[],
  { blocks, offset, tweaks }: SenderCots,
): { message: Uint8Array; shares: Int32Array[] } {
  const n = blocks.length / 16;
  const message = new Uint8Array(bitProductBytes(n, ...factors.map(({ width }) => width)));
  const pads = senderPadWords(blocks, offset, tweaks, factors.length);
  let at = 0;
  const shares = factors.map(({ y, width }, word) => {
    if (y.length !== n) throw new RangeError(`product: expected ${y.length} blocks, got ${n}`);
    const [zero, one] = [pads.zero[word]!, pads.one[word]!];
    const mask = lowBits(width);
    for (let i = 0; i < n; i++) {
      one[i] = y[i]! + zero[i]! - one[i]!;
      zero[i] = -zero[i]! & mask;
    }
    message.set(pack(one, width), at);
    at += packedBytes(n, width);
    return zero;
  });
  return { message, shares };
}

/**
 * Receiver's half of x_i y_i mod 2^width.
 * @param widths - of the sender's factors
 * @param cots - n choices x, packed bits, lowest bit of byte 0 first, and n blocks
 * @returns for each factor the shares in [0, 2^width)
 * @throws ProtocolError `bad-message` when the message has the wrong length
 */
export function bitProductReceive(
  widths: readonly number[],
  { choices, blocks, tweaks }: ReceiverCots,
  message: Uint8Array,
): Int32Array[] {
  return bitProductCorrect(widths, choices, padWords(blocks, tweaks, widths.length), message);
}

/**
 * The second half of {@link bitProductReceive}, for a receiver that hashes its blocks before the message comes.
 * @param pads - the first words of the pads, one for each factor; changed in place to the shares
 */
export function bitProductCorrect(
  widths: readonly number[],
  choices: Uint8Array,
  pads: readonly Int32Array[],
  message: Uint8Array,
): Int32Array[] {
  const n = pads[0]?.length ?? 0;
  expectChoices(choices, n);
  expectLength(message, bitProductBytes(n, ...widths));
  let at = 0;
  return widths.map((width, word) => {
    const to = at + packedBytes(n, width);
    const corrections = unpack(message.subarray(at, to), n, width);
    at = to;
    const mask = lowBits(width);
    const shares = pads[word]!;
    for (let i = 0; i < n; i++) {
      shares[i] = (shares[i]! + (chosen(choices, i) & corrections[i]!)) & mask;
    }
    return shares;
  });
}

/** All ones where the choice is 1, else 0. */
function chosen(choices: Uint8Array, i: number): number {
  return -((choices[i >> 3]! >> (i & 7)) & 1);
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
