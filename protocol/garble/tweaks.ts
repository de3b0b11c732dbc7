/**
 * Handing out tweak numbers: every use of the hash under one `start` gets numbers of its own.
 */

/** Tweak numbers one counter may hand out. SECURITY: far above any bundle, far below the 53 bits of a number. */
export const TWEAK_LIMIT = 2 ** 48;

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
