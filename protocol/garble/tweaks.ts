/** Handing out tweak numbers: every use of the hash under one `start` gets other numbers. */

import type { Tweaks } from '../random/hash.ts';

/** Tweak numbers one counter may hand out. SECURITY: far above any bundle, far below the 53 bits of a number. */
export const TWEAK_LIMIT: number = 2 ** 48;

/** A counter for one `start`; both parties count alike, since what they take is public. */
export class TweakCounter {
  #next = 0;

  /**
   * Reserves `count` consecutive numbers and returns the first.
   * @throws RangeError when `count` is not a non-negative integer or the numbers would run past {@link TWEAK_LIMIT}
   */
  take(count: number): number {
    if (!Number.isSafeInteger(count) || count < 0 || count > TWEAK_LIMIT - this.#next) {
      throw new RangeError(
        `tweaks: expected a count of 0 to ${TWEAK_LIMIT - this.#next}, got ${count}`,
      );
    }
    const first = this.#next;
    this.#next += count;
    return first;
  }
}

/** Hash tweaks of one direction, handed out once each. Both parties take the same counts in the same order. */
export class TweakSource {
  readonly #start: Uint8Array;
  readonly #counter = new TweakCounter();

  /** @param start - 16 public bytes, fresh for each offset */
  constructor(start: Uint8Array) {
    this.#start = start;
  }

  take(count: number): Tweaks {
    return { start: this.#start, first: this.#counter.take(count) };
  }
}
