/**
 * Correlated OT as everything above uses it: `alloc -> flush -> take`.
 *
 * Contract
 * - For each correlation j the sender takes a block q_j, the receiver, who chose bit x_j, takes t_j = q_j ^ x_j Delta.
 *   Delta (`offset`) is the sender's, one for the session, with the lowest bit of byte 0 set: garbling needs it.
 * - Both parties `alloc` the same counts in the same order, then flush once: the receiver makes one message of
 *   {@link cotBytes} bytes for all that is pending, the sender absorbs it. Several allocs share one message. Then both
 *   `take` in that order. Each correlation is handed out once.
 * - `flush` works at once. To spread the work over a pool instead, run each job of `plan` anywhere and in any order
 *   through {@link runReceiverJob} or {@link runSenderJob} (jobs are plain data that can be cloned, and hold secrets), then
 *   give `absorb` the results in the order of the jobs. What comes out does not depend on who ran what. A new flush may
 *   begin only after that; `alloc` and `take` may be called meanwhile.
 * - After a ProtocolError the session is dead.
 */

import { ProtocolError } from '../errors.ts';
import { Ledger, PackedBits } from './ledger.ts';
import {
  COTS_PER_CHUNK,
  extendReceiver,
  extendSender,
  extensionBytes,
  type ReceiverSeeds,
  type SenderSeeds,
  SOFTSPOKEN_K,
} from './softspoken.ts';

/** One chunk of the sender's work. */
export interface SenderJob {
  readonly seeds: SenderSeeds;
  readonly chunk: number;
  readonly count: number;
  readonly message: Uint8Array;
}

/** One chunk of the receiver's work. */
export interface ReceiverJob {
  readonly seeds: ReceiverSeeds;
  readonly chunk: number;
  readonly count: number;
  readonly choices: Uint8Array;
}

/** What {@link runReceiverJob} makes: a part of the message and t. */
export interface ReceiverResult {
  readonly message: Uint8Array;
  readonly blocks: Uint8Array;
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
   * The work of absorbing the receiver's message.
   * @throws ProtocolError `bad-message` when it is not {@link messageBytes} long
   */
  plan(message: Uint8Array): SenderJob[];
  /** Ends a flush with the results of its jobs, in order. */
  absorb(results: readonly Uint8Array[]): void;
  /** `plan`, the jobs and `absorb` in one call. */
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
  /** The work of making the next message. */
  plan(): ReceiverJob[];
  /** Ends a flush with the results of its jobs, in order; the message for the sender. */
  absorb(results: readonly ReceiverResult[]): Uint8Array;
  /** `plan`, the jobs and `absorb` in one call. */
  flush(): Uint8Array;
  /**
   * The next `count` blocks t.
   * @throws RangeError when fewer are available
   */
  take(count: number): Uint8Array;
}

/** Bytes of the message for a flush of `count` correlations, from the receiver to the sender. */
export function cotBytes(count: number, k = SOFTSPOKEN_K): number {
  return chunksOf(count).reduce((sum, chunk) => sum + extensionBytes(chunk, k), 0);
}

/** Runs one of the sender's jobs, in any thread. */
export function runSenderJob(job: SenderJob): Uint8Array {
  return extendSender(job.seeds, job.chunk, job.count, job.message);
}

/** Runs one of the receiver's jobs, in any thread. */
export function runReceiverJob(job: ReceiverJob): ReceiverResult {
  return extendReceiver(job.seeds, job.chunk, job.count, job.choices);
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

  alloc(count: number): void {
    this.#ledger.ask(count);
  }

  plan(message: Uint8Array): SenderJob[] {
    expectFlush(message, this.messageBytes);
    let from = 0;
    return chunksOf(this.#ledger.begin()).map((count) => {
      const to = from + extensionBytes(count, this.#seeds.k);
      const part = message.slice(from, to);
      from = to;
      return { seeds: this.#seeds, chunk: this.#chunk++, count, message: part };
    });
  }

  absorb(results: readonly Uint8Array[]): void {
    this.#ledger.deliver(results);
  }

  flush(message: Uint8Array): void {
    this.absorb(this.plan(message).map(runSenderJob));
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

  alloc(choices: Uint8Array, count: number): void {
    this.#choices.append(choices, count);
    this.#ledger.ask(count);
  }

  plan(): ReceiverJob[] {
    const chunks = chunksOf(this.#ledger.begin());
    const choices = this.#choices.drain();
    return chunks.map((count, i) => {
      const from = (i * COTS_PER_CHUNK) / 8;
      const part = choices.slice(from, from + Math.ceil(count / 8));
      return { seeds: this.#seeds, chunk: this.#chunk++, count, choices: part };
    });
  }

  absorb(results: readonly ReceiverResult[]): Uint8Array {
    this.#ledger.deliver(results.map((result) => result.blocks));
    return concat(results.map((result) => result.message));
  }

  flush(): Uint8Array {
    return this.absorb(this.plan().map(runReceiverJob));
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

/** The counts of the chunks that `count` correlations fall into: all full but the last. */
function chunksOf(count: number): number[] {
  const chunks = new Array<number>(Math.floor(count / COTS_PER_CHUNK)).fill(COTS_PER_CHUNK);
  if (count % COTS_PER_CHUNK !== 0) chunks.push(count % COTS_PER_CHUNK);
  return chunks;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
