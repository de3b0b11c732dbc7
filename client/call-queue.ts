/** Calls that run one after the other. */

import { abortError } from '../protocol/errors.ts';

/** A call that has begun, or waits for its turn. */
export interface Call {
  /** `performance.now()` when it was made. */
  readonly made: number;
  /** Whether its caller does not wait for it any more: what it has begun it finishes, and begins nothing else. */
  readonly cancelled: boolean;
}

/** One queue of calls. */
export class CallQueue {
  #tail: Promise<unknown> = Promise.resolve();
  #calls = 0;

  /** Calls that run or wait. */
  get calls(): number {
    return this.#calls;
  }

  /** Resolves when the calls of this moment are over. */
  async settled(): Promise<void> {
    await this.#tail;
  }

  /**
   * Runs a call when those before it are over.
   * @param what - names it: "`what` was cancelled"
   * @throws AbortError as soon as the signal fires
   */
  run<T>(
    what: string,
    signal: AbortSignal | undefined,
    work: (call: Call) => Promise<T>,
  ): Promise<T> {
    const made = performance.now();
    const cancelled = () => signal?.aborted ?? false;
    const call: Call = {
      made,
      get cancelled() {
        return cancelled();
      },
    };
    this.#calls++;
    return new Promise<T>((resolve, reject) => {
      const cancel = (): void => reject(abortError(what, signal?.reason));
      if (call.cancelled) cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      this.#tail = this.#tail.then(async () => {
        try {
          if (!call.cancelled) resolve(await work(call));
        } catch (error) {
          reject(error as Error);
        } finally {
          signal?.removeEventListener('abort', cancel);
          this.#calls--;
        }
      });
    });
  }
}

/** Something that happens now and then. */
export class Occasion {
  #happens!: () => void;
  #next: Promise<void>;

  constructor() {
    this.#next = this.#renewed();
  }

  /** Resolves when it happens the next time. */
  get next(): Promise<void> {
    return this.#next;
  }

  happens(): void {
    const happens = this.#happens;
    this.#next = this.#renewed();
    happens();
  }

  #renewed(): Promise<void> {
    return new Promise((resolve) => {
      this.#happens = resolve;
    });
  }
}
