/** Inferences before preparations, within a session. */

import type { RunOptions } from '../pool/index.ts';
import type { Input, Output } from '../pool/task.ts';
import type * as tasks from './tasks.ts';
import type { ProtocolRunner } from './tasks.ts';

type Tasks = typeof tasks;

/**
 * A session's part of a pool. While an inference runs, tasks that are not urgent do not start: whoever prepares and asks at once waits for
 * the answer. What runs already ends first, and between two inferences all that waits goes on.
 */
export class SessionRunner implements ProtocolRunner {
  readonly #pool: ProtocolRunner;
  #inferences = 0;
  #free: Promise<void> = Promise.resolve();
  #release: () => void = () => {};

  constructor(pool: ProtocolRunner) {
    this.#pool = pool;
  }

  get workers(): number {
    return this.#pool.workers;
  }

  async run<K extends keyof Tasks & string>(
    task: K,
    input: Input<Tasks, K>,
    options?: RunOptions,
  ): Promise<Output<Tasks, K>> {
    if (this.#inferences > 0 && !options?.urgent) await this.#free;
    return this.#pool.run(task, input, options);
  }

  /** Runs an inference before all that prepares. */
  async first<T>(inference: () => Promise<T>): Promise<T> {
    if (this.#inferences++ === 0) {
      this.#free = new Promise((resolve) => {
        this.#release = resolve;
      });
    }
    try {
      return await inference();
    } finally {
      if (--this.#inferences === 0) this.#release();
    }
  }
}
