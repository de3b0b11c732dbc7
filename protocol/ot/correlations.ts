/**
 * Correlated OT as everything above uses it: tickets, redeemed where the work is done.
 *
 * Contract
 * - For each correlation j the sender takes a block q_j, the receiver, who chose bit x_j, takes t_j = q_j ^ x_j Delta.
 *   Delta (`offset`) is the sender's, one for the bundle, with the lowest bit of byte 0 set: garbling needs it.
 * - Both parties take tickets for the same counts in the same order. A ticket is plain data that names chunks which no other
 *   ticket names, so that any thread can redeem it, in any order, once.
 * - {@link redeemReceiver} makes one message of {@link cotBytes} bytes, {@link redeemSender} absorbs it, and throws when it does not
 *   pass the check.
 * - After a ProtocolError the session is dead.
 */

import { bulkBytes } from '../bulk.ts';
import { ProtocolError } from '../errors.ts';
import { DEFAULT_OT_K, type OtK } from './groups.ts';
import {
  COTS_PER_CHUNK,
  extendReceiver,
  extendSender,
  extensionBytes,
  type ReceiverSeeds,
  type SenderSeeds,
} from './softspoken.ts';

/** The right to make `count` correlations, once. Plain data; secret. */
export interface Ticket<S> {
  readonly seeds: S;
  readonly firstChunk: number;
  readonly count: number;
}

export type SenderTicket = Ticket<SenderSeeds>;
export type ReceiverTicket = Ticket<ReceiverSeeds>;

/** The tickets of one end of an extension. */
export class CorrelationTickets<S extends SenderSeeds | ReceiverSeeds> {
  readonly seeds: S;
  #chunk = 0;

  constructor(seeds: S) {
    this.seeds = seeds;
  }

  /** The next chunks, as many as hold `count` correlations. */
  take(count: number): Ticket<S> {
    const ticket = { seeds: this.seeds, firstChunk: this.#chunk, count };
    this.#chunk += chunksOf(count).length;
    return ticket;
  }
}

/** Bytes of the message for `count` correlations made together, from the receiver to the sender. */
export function cotBytes(count: number, k: OtK = DEFAULT_OT_K): number {
  return chunksOf(count).reduce((sum, chunk) => sum + extensionBytes(chunk, k), 0);
}

/**
 * The sender's blocks q of a ticket, with the receiver's message.
 * @throws ProtocolError `bad-message` when it has the wrong length, `corrupted` when the check fails
 */
export function redeemSender(
  { seeds, firstChunk, count }: SenderTicket,
  message: Uint8Array,
): Uint8Array {
  const bytes = cotBytes(count, seeds.k);
  if (message.length !== bytes) {
    throw new ProtocolError('bad-message', `OTs: expected ${bytes} bytes, got ${message.length}`);
  }
  const blocks = bulkBytes(16 * count);
  let from = 0;
  chunksOf(count).forEach((size, i) => {
    const to = from + extensionBytes(size, seeds.k);
    extendSender(seeds, firstChunk + i, size, message.subarray(from, to), {
      blocks: chunkOf(blocks, i, 16),
    });
    from = to;
  });
  return blocks;
}

/**
 * The receiver's blocks t of a ticket, and the message for the sender.
 * @param choices - `count` packed bits, lowest bit of byte 0 first
 */
export function redeemReceiver(
  { seeds, firstChunk, count }: ReceiverTicket,
  choices: Uint8Array,
): { message: Uint8Array; blocks: Uint8Array } {
  const message = new Uint8Array(cotBytes(count, seeds.k));
  const blocks = bulkBytes(16 * count);
  let from = 0;
  chunksOf(count).forEach((size, i) => {
    const to = from + extensionBytes(size, seeds.k);
    const room = { message: message.subarray(from, to), blocks: chunkOf(blocks, i, 16) };
    extendReceiver(seeds, firstChunk + i, size, chunkOf(choices, i, 1 / 8), { room });
    from = to;
  });
  return { message, blocks };
}

/** The part of chunk `i` in bytes of which each correlation has `each`. */
function chunkOf(bytes: Uint8Array, i: number, each: number): Uint8Array {
  return bytes.subarray(i * COTS_PER_CHUNK * each, (i + 1) * COTS_PER_CHUNK * each);
}

/**
 * The counts of the chunks that `count` correlations fall into: all full but the last.
 * @throws RangeError when `count` is not a non-negative integer
 */
function chunksOf(count: number): number[] {
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new RangeError(`correlations: expected a non-negative integer, got ${count}`);
  }
  const chunks = new Array<number>(Math.floor(count / COTS_PER_CHUNK)).fill(COTS_PER_CHUNK);
  if (count % COTS_PER_CHUNK !== 0) chunks.push(count % COTS_PER_CHUNK);
  return chunks;
}
