/**
 * How loaded a server is: whether what is new would harm what it has.
 *
 * - The queue: where all threads are at work, an ordinary task that does nothing is run now and then, as of one more client. How long it
 *   waits is how long the first task of a new session would.
 * - Memory: resident memory is what the system counts, and what it ends a process for. It also holds what V8 has not given back yet, so it
 *   weighs only while inferences are prepared: they are used or forgotten some time, and nobody waits for ever.
 */

import type { ProtocolPool } from '../protocol/inference/session.ts';

/** Why a server takes nothing new. */
export type Overload = 'queue' | 'memory';

/** Beyond these it takes nothing new; `ServerLimits` has them. */
interface LoadLimits {
  /** How long a task may wait for a thread, in ms. */
  readonly queueMs: number;
  /** Resident memory, in bytes. */
  readonly memoryBytes: number;
}

/** How often the queue is tried, in ms. LOCAL. */
const TRY_MS = 1000;

export class Load {
  readonly #pool: ProtocolPool;
  readonly #limits: LoadLimits;
  /** How many inferences each session has reserved or prepared, and how many wait for their clients. */
  readonly #held = new Set<() => number>();
  readonly #timer: ReturnType<typeof setInterval>;
  /** How long the last task waited, in ms. */
  #waited = 0;
  /** Since when one waits. */
  #since: number | undefined;

  constructor(pool: ProtocolPool, limits: LoadLimits) {
    this.#pool = pool;
    this.#limits = limits;
    this.#timer = setInterval(() => void this.#try(), TRY_MS).unref();
  }

  /** Why nothing new is taken at this moment; undefined when it is. */
  get over(): Overload | undefined {
    const waiting = this.#since === undefined ? 0 : performance.now() - this.#since;
    if (Math.max(this.#waited, waiting) > this.#limits.queueMs) return 'queue';
    const full = process.memoryUsage.rss() > this.#limits.memoryBytes;
    return full && this.#holds() ? 'memory' : undefined;
  }

  /**
   * Counts prepared inferences.
   * @returns ends that
   */
  count(held: () => number): () => void {
    this.#held.add(held);
    return () => void this.#held.delete(held);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #holds(): boolean {
    for (const held of this.#held) if (held() > 0) return true;
    return false;
  }

  async #try(): Promise<void> {
    if (this.#since !== undefined) return;
    const { running, waiting, workers } = this.#pool;
    if (waiting === 0 && running < workers) {
      this.#waited = 0;
      return;
    }
    this.#since = performance.now();
    try {
      await this.#pool.runner().run('probe', undefined);
    } catch {
      // A worker that broke, or a pool that has failed: others notice that.
    }
    this.#waited = performance.now() - this.#since;
    this.#since = undefined;
  }
}
