/**
 * Correlated OT as everything above uses it: `alloc -> flush -> take`.
 *
 * Contract
 * - For each correlation j the sender takes a block q_j, the receiver, who chose bit x_j, takes t_j = q_j ^ x_j Delta.
 *   Delta (`offset`) is the sender's, one for the session, with the lowest bit of byte 0 set: garbling needs it.
 * - Both parties `alloc` the same counts in the same order, then flush once: the receiver makes one message of
 *   {@link cotBytes} bytes for all that is pending, the sender absorbs it. Several allocs share one message. Then both
 *   `take` in that order. Each correlation is handed out once.
 * - To make correlations elsewhere, such as in a worker, take a `ticket` for them instead: plain data that names chunks of
 *   its own, to be redeemed once by {@link redeemReceiver} or {@link redeemSender}. Both parties take tickets and flush in
 *   the same order.
 * - After a ProtocolError the session is dead.
 */

import { bulkBytes } from '../bulk.ts';
import { ProtocolError } from '../errors.ts';
import { Ledger, PackedBits } from './ledger.ts';
import {
  COTS_PER_CHUNK,
  DEFAULT_OT_K,
  extendReceiver,
  extendSender,
  extensionBytes,
  type OtK,
  type ReceiverSeeds,
  type SenderSeeds,
} from './softspoken.ts';

/** The right to make `count` correlations as the sender, once. Plain data; secret. */
export interface SenderTicket {
  readonly seeds: SenderSeeds;
  readonly firstChunk: number;
  readonly count: number;
}

/** The right to make `count` correlations as the receiver, once. Plain data; secret. */
export interface ReceiverTicket {
  readonly seeds: ReceiverSeeds;
  readonly firstChunk: number;
  readonly count: number;
}

/** The party that knows the offset. */
export interface CotSender {
  /** Delta, 16 bytes. Secret. */
  readonly offset: Uint8Array;
  /** Correlations ready to be taken. */
  readonly available: number;
  /** Bytes of the message that the next flush expects. */
  readonly messageBytes: number;
  /** Asks for `count` more correlations. */
  alloc(count: number): void;
  /**
   * Makes what was asked for, with the receiver's message.
   * @throws ProtocolError `bad-message` when it is not {@link messageBytes} long
   */
  flush(message: Uint8Array): void;
  /**
   * The next `count` blocks q.
   * @throws RangeError when fewer are available
   */
  take(count: number): Uint8Array;
}

/** The party that chooses. */
export interface CotReceiver {
  /** Correlations ready to be taken. */
  readonly available: number;
  /**
   * Asks for `count` more correlations.
   * @param choices - one packed bit for each, lowest bit of byte 0 first, ceil(count / 8) bytes
   */
  alloc(choices: Uint8Array, count: number): void;
  /** Makes what was asked for; the message for the sender. */
  flush(): Uint8Array;
  /**
   * The next `count` blocks t.
   * @throws RangeError when fewer are available
   */
  take(count: number): Uint8Array;
}

/** Bytes of the message for `count` correlations made together, from the receiver to the sender. */
export function cotBytes(count: number, k: OtK = DEFAULT_OT_K): number {
  return chunksOf(count).reduce((sum, chunk) => sum + extensionBytes(chunk, k), 0);
}

/**
 * The sender's blocks q of a ticket, with the receiver's message.
 * @throws ProtocolError `bad-message` when it has the wrong length
 */
export function redeemSender(
  { seeds, firstChunk, count }: SenderTicket,
  message: Uint8Array,
): Uint8Array {
  expectFlush(message, cotBytes(count, seeds.k));
  const blocks = bulkBytes(16 * count);
  let from = 0;
  chunksOf(count).forEach((size, i) => {
    const to = from + extensionBytes(size, seeds.k);
    extendSender(seeds, firstChunk + i, size, message.subarray(from, to), chunkOf(blocks, i, 16));
    from = to;
  });
  return blocks;
}

/**
 * The receiver's blocks t of a ticket, and the message for the sender.
 * @param choices - `count` packed bits
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
    extendReceiver(seeds, firstChunk + i, size, chunkOf(choices, i, 1 / 8), room);
    from = to;
  });
  return { message, blocks };
}

/** The part of chunk `i` in bytes of which each correlation has `each`. */
function chunkOf(bytes: Uint8Array, i: number, each: number): Uint8Array {
  return bytes.subarray(i * COTS_PER_CHUNK * each, (i + 1) * COTS_PER_CHUNK * each);
}

/** The sender over SoftSpokenOT. */
export class ExtendedSender implements CotSender {
  readonly #seeds: SenderSeeds;
  readonly #ledger = new Ledger();
  #chunk: number;

  /** @param firstChunk - number of the first chunk that has not been used under these seeds */
  constructor(seeds: SenderSeeds, firstChunk = 0) {
    this.#seeds = seeds;
    this.#chunk = firstChunk;
  }

  get offset(): Uint8Array {
    return this.#seeds.offset;
  }

  get available(): number {
    return this.#ledger.available;
  }

  get messageBytes(): number {
    return cotBytes(this.#ledger.pending, this.#seeds.k);
  }

  /** Chunks of its own for `count` correlations, to be made elsewhere. */
  ticket(count: number): SenderTicket {
    const ticket = { seeds: this.#seeds, firstChunk: this.#chunk, count };
    this.#chunk += chunksOf(count).length;
    return ticket;
  }

  alloc(count: number): void {
    this.#ledger.ask(count);
  }

  flush(message: Uint8Array): void {
    expectFlush(message, this.messageBytes);
    this.#ledger.deliver((count) => redeemSender(this.ticket(count), message));
  }

  take(count: number): Uint8Array {
    return this.#ledger.take(count);
  }
}

/** The receiver over SoftSpokenOT. */
export class ExtendedReceiver implements CotReceiver {
  readonly #seeds: ReceiverSeeds;
  readonly #ledger = new Ledger();
  readonly #choices = new PackedBits();
  #chunk: number;

  /** @param firstChunk - number of the first chunk that has not been used under these seeds */
  constructor(seeds: ReceiverSeeds, firstChunk = 0) {
    this.#seeds = seeds;
    this.#chunk = firstChunk;
  }

  get available(): number {
    return this.#ledger.available;
  }

  /** Chunks of its own for `count` correlations, to be made elsewhere. */
  ticket(count: number): ReceiverTicket {
    const ticket = { seeds: this.#seeds, firstChunk: this.#chunk, count };
    this.#chunk += chunksOf(count).length;
    return ticket;
  }

  alloc(choices: Uint8Array, count: number): void {
    this.#choices.append(choices, count);
    this.#ledger.ask(count);
  }

  flush(): Uint8Array {
    let message = new Uint8Array(0);
    this.#ledger.deliver((count) => {
      const made = redeemReceiver(this.ticket(count), this.#choices.drain());
      message = made.message as Uint8Array<ArrayBuffer>;
      return made.blocks;
    });
    return message;
  }

  take(count: number): Uint8Array {
    return this.#ledger.take(count);
  }
}

/**
 * Refuses a flush message of the wrong length.
 * @throws ProtocolError `bad-message`
 */
export function expectFlush(message: Uint8Array, bytes: number): void {
  if (message.length !== bytes) {
    throw new ProtocolError(
      'bad-message',
      `OT flush: expected ${bytes} bytes, got ${message.length}`,
    );
  }
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
