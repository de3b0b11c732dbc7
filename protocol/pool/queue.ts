/** The waiting room of every pool: order, cancellation, and the promise that each run settles. */

import { abortError } from '../errors.ts';
import type { Pool, RunOptions } from './index.ts';
import type { Input, Output, TaskTable } from './task.ts';

/** What actually runs tasks. */
export interface Workers {
  /** How many tasks it runs at a time. */
  readonly workers: number;
  /** Runs one; rejects with the task's error or because the worker broke. `give`: see {@link RunOptions}. */
  execute(task: string, input: unknown, give: unknown): Promise<unknown>;
  /** Ends the workers; what they are running may never settle. */
  shutdown(): Promise<void>;
}

interface Job {
  readonly task: string;
  readonly input: unknown;
  readonly give: unknown;
  resolve(output: unknown): void;
  reject(error: Error): void;
}

/** A pool that feeds {@link Workers}. */
export class TaskQueue<T extends TaskTable> implements Pool<T> {
  readonly workers: number;
  readonly #backend: Workers;
  /** In order of arrival. */
  readonly #waiting = new Set<Job>();
  readonly #running = new Set<Job>();
  #end: Error | undefined;
  #closed: Promise<void> | undefined;

  constructor(backend: Workers) {
    this.#backend = backend;
    this.workers = backend.workers;
  }

  run<K extends keyof T & string>(
    task: K,
    input: Input<T, K>,
    options: RunOptions = {},
  ): Promise<Output<T, K>> {
    const { signal, give } = options;
    return new Promise<unknown>((resolve, reject) => {
      const cancelled = (): Error => abortError(`task "${task}"`, signal?.reason);
      if (this.#end) throw this.#end;
      if (signal?.aborted) throw cancelled();
      const abort = (): void => {
        this.#waiting.delete(job);
        job.reject(cancelled());
      };
      // Settling twice is harmless: a promise keeps its first answer.
      const job: Job = {
        task,
        input,
        give,
        resolve(output) {
          signal?.removeEventListener('abort', abort);
          resolve(output);
        },
        reject(error) {
          signal?.removeEventListener('abort', abort);
          reject(error);
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiting.add(job);
      this.#start();
    }) as Promise<Output<T, K>>;
  }

  close(): Promise<void> {
    this.fail(new Error('pool: it was closed'));
    this.#closed ??= this.#backend.shutdown();
    return this.#closed;
  }

  /** Rejects everything that is not done and everything to come: there is nobody left to do it. */
  fail(error: Error): void {
    this.#end ??= error;
    for (const job of [...this.#running, ...this.#waiting]) job.reject(this.#end);
    this.#waiting.clear();
  }

  #start(): void {
    for (const job of this.#waiting) {
      if (this.#running.size === this.workers) return;
      this.#waiting.delete(job);
      this.#running.add(job);
      void this.#finish(job);
    }
  }

  async #finish(job: Job): Promise<void> {
    try {
      job.resolve(await this.#backend.execute(job.task, job.input, job.give));
    } catch (error) {
      job.reject(error as Error);
    }
    this.#running.delete(job);
    this.#start();
  }
}
