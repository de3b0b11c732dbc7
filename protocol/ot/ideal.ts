/**
 * Correlated OT from a trusted dealer that both parties impersonate: INSECURE, for tests and for measuring what is above.
 *
 * The same interface, order and message lengths as the real one; the message is zeros. Both ends derive offset and
 * blocks from one shared seed, so either could compute the other's secrets.
 */

import { deriveSeed, Prg } from '../random/index.ts';
import { type CotReceiver, type CotSender, cotBytes, expectFlush } from './correlations.ts';
import { Ledger, PackedBits } from './ledger.ts';

function idealOffset(seed: Uint8Array): Uint8Array {
  const offset = deriveSeed(seed, 'ideal offset');
  offset[0]! |= 1;
  return offset;
}

function dealer(seed: Uint8Array): (count: number) => Uint8Array {
  const stream = new Prg(deriveSeed(seed, 'ideal blocks'));
  return (count) => {
    const blocks = new Uint8Array(16 * count);
    stream.fill(blocks);
    return blocks;
  };
}

/** The sender's end. */
export class IdealSender implements CotSender {
  readonly offset: Uint8Array;
  readonly #deal: (count: number) => Uint8Array;
  readonly #ledger = new Ledger();

  /** @param seed - 16 bytes, the same at both ends */
  constructor(seed: Uint8Array) {
    this.offset = idealOffset(seed);
    this.#deal = dealer(seed);
  }

  get available(): number {
    return this.#ledger.available;
  }

  get messageBytes(): number {
    return cotBytes(this.#ledger.pending);
  }

  alloc(count: number): void {
    this.#ledger.ask(count);
  }

  flush(message: Uint8Array): void {
    expectFlush(message, this.messageBytes);
    this.#ledger.deliver(this.#deal);
  }

  take(count: number): Uint8Array {
    return this.#ledger.take(count);
  }
}

/** The receiver's end. */
export class IdealReceiver implements CotReceiver {
  readonly #offset: Uint8Array;
  readonly #deal: (count: number) => Uint8Array;
  readonly #ledger = new Ledger();
  readonly #choices = new PackedBits();

  /** @param seed - 16 bytes, the same at both ends */
  constructor(seed: Uint8Array) {
    this.#offset = idealOffset(seed);
    this.#deal = dealer(seed);
  }

  get available(): number {
    return this.#ledger.available;
  }

  alloc(choices: Uint8Array, count: number): void {
    this.#choices.append(choices, count);
    this.#ledger.ask(count);
  }

  flush(): Uint8Array {
    const offset = new Int32Array(this.#offset.buffer);
    let bytes = 0;
    this.#ledger.deliver((count) => {
      const blocks = this.#deal(count);
      const choices = this.#choices.drain();
      const words = new Int32Array(blocks.buffer);
      for (let i = 0; i < words.length; i++) {
        const mask = -((choices[i >> 5]! >> ((i >> 2) & 7)) & 1);
        words[i]! ^= mask & offset[i & 3]!;
      }
      bytes = cotBytes(count);
      return blocks;
    });
    return new Uint8Array(bytes);
  }

  take(count: number): Uint8Array {
    return this.#ledger.take(count);
  }
}
