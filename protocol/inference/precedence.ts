/** Inferences before preparations, within a session. */

import type { RunOptions } from '../pool/index.ts';
import type { Input, Output } from '../pool/task.ts';
import type * as tasks from './tasks.ts';
import type { ProtocolRunner } from './tasks.ts';

type Tasks = typeof tasks;

/**
 * A session's part of a pool. While an inference runs, tasks that are not urgent do not start: whoever prepares and asks at once waits for
 * the answer. What runs already ends first, and between two inferences all that waits goes on. Nor are more of them given to the pool than
 * it runs at a time, for what waits there starts whatever runs.
 */
export class SessionRunner implements ProtocolRunner {
  readonly #pool: ProtocolRunner;
  readonly #waiting: (() => void)[] = [];
  /** Tasks that are not urgent and that the pool has. */
  #given = 0;
  #inferences = 0;

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
    if (options?.urgent) return this.#pool.run(task, input, options);
    if (this.#mayStart) this.#given++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await this.#pool.run(task, input, options);
    } finally {
      this.#given--;
      this.#start();
    }
  }

  /** Runs an inference before all that prepares. */
  async first<T>(inference: () => Promise<T>): Promise<T> {
    this.#inferences++;
    try {
      return await inference();
    } finally {
      this.#inferences--;
      this.#start();
    }
  }

  get #mayStart(): boolean {
    return this.#inferences === 0 && this.#given < this.workers;
  }

  #start(): void {
    while (this.#mayStart) {
      const begin = this.#waiting.shift();
      if (begin === undefined) return;
      this.#given++;
      begin();
    }
  }
}
