/** Book-keeping of correlations: what is asked for, what is being made, what is ready. Each is handed out once. */

import { bulkBytes } from '../bulk.ts';

/** Correlations of one direction on their way from `alloc` through `flush` to `take`, in order. */
export class Ledger {
  #pending = 0;
  #ready: Uint8Array[] = [];
  #available = 0;

  /** Correlations asked for since the last flush began. */
  get pending(): number {
    return this.#pending;
  }

  /** Correlations ready to be taken. */
  get available(): number {
    return this.#available;
  }

  /** Asks for `count` more. */
  ask(count: number): void {
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new RangeError(`correlations: expected a non-negative integer, got ${count}`);
    }
    this.#pending += count;
  }

  /** Makes all that is pending. When `make` throws, it stays pending. */
  deliver(make: (count: number) => Uint8Array): void {
    const blocks = make(this.#pending);
    this.#available += this.#pending;
    this.#pending = 0;
    this.#ready.push(blocks);
  }

  /** The next `count` blocks. Taken blocks are forgotten here. */
  take(count: number): Uint8Array {
    if (!Number.isSafeInteger(count) || count < 0 || count > this.#available) {
      throw new RangeError(`correlations: ${count} needed, ${this.#available} available`);
    }
    this.#available -= count;
    // What was made for just this asks for no copy.
    const next = this.#ready[0];
    if (next?.length === 16 * count && next.buffer.byteLength === next.length) {
      this.#ready.shift();
      return next;
    }
    const out = bulkBytes(16 * count);
    for (let at = 0; at < out.length; ) {
      const part = this.#ready[0]!;
      const piece = part.subarray(0, out.length - at);
      out.set(piece, at);
      at += piece.length;
      if (piece.length === part.length) this.#ready.shift();
      else this.#ready[0] = part.subarray(piece.length);
    }
    return out;
  }
}

/** A growing string of bits, packed lowest bit of byte 0 first. */
export class PackedBits {
  #bytes = new Uint8Array(64);
  #length = 0;

  /** Appends the first `count` bits of `bits`, which must be just as many bytes as they need. */
  append(bits: Uint8Array, count: number): void {
    if (bits.length !== Math.ceil(count / 8)) {
      throw new RangeError(
        `choices: ${count} bits take ${Math.ceil(count / 8)} bytes, got ${bits.length}`,
      );
    }
    const at = this.#length >> 3;
    const shift = this.#length & 7;
    if (at + bits.length + 1 > this.#bytes.length) {
      const grown = new Uint8Array(2 * (at + bits.length + 1));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    for (let i = 0; i < bits.length; i++) {
      // Stray bits beyond the count would spill into what is appended next.
      const left = count - 8 * i;
      const byte = left >= 8 ? bits[i]! : bits[i]! & ((1 << left) - 1);
      this.#bytes[at + i]! |= byte << shift;
      this.#bytes[at + i + 1] = byte >> (8 - shift);
    }
    this.#length += count;
  }

  /** Hands over all bits and starts afresh. */
  drain(): Uint8Array {
    const out = this.#bytes.slice(0, Math.ceil(this.#length / 8));
    this.#bytes = new Uint8Array(64);
    this.#length = 0;
    return out;
  }
}
