/** The queue of every pool: order, cancellation, and the promise that each run settles. */

import { abortError } from '../errors.ts';
import type { Pool, Runner, RunnerOptions, RunOptions } from './index.ts';
import type { Input, Output, TaskTable } from './task.ts';
import { Turns } from './turns.ts';

/** Urgent tasks that start in a row while others wait; then one of those starts. LOCAL. */
const URGENT_IN_A_ROW = 7;

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
  readonly urgent: boolean;
  /** The options of the runner stand for the runner. */
  readonly owner: RunnerOptions;
  /** When it began to wait, by performance.now(). */
  readonly since: number;
  resolve(output: unknown): void;
  reject(error: Error): void;
}

/** A pool that feeds {@link Workers}. */
export class TaskQueue<T extends TaskTable> implements Pool<T> {
  readonly workers: number;
  readonly failed: Promise<Error>;
  readonly #backend: Workers;
  readonly #urgent = new Turns<Job>();
  readonly #ordinary = new Turns<Job>();
  readonly #running = new Set<Job>();
  /** Urgent tasks that have started since an ordinary one did, or none waited. */
  #inARow = 0;
  /** Runs what is not a runner's. */
  readonly #own: Runner<T>;
  #end: Error | undefined;
  #reportFailure!: (error: Error) => void;
  #closed: Promise<void> | undefined;

  constructor(backend: Workers) {
    this.#backend = backend;
    this.workers = backend.workers;
    this.failed = new Promise((resolve) => {
      this.#reportFailure = resolve;
    });
    this.#own = this.runner();
  }

  get running(): number {
    return this.#running.size;
  }

  get waiting(): number {
    return this.#urgent.size + this.#ordinary.size;
  }

  run<K extends keyof T & string>(
    task: K,
    input: Input<T, K>,
    options?: RunOptions,
  ): Promise<Output<T, K>> {
    return this.#own.run(task, input, options);
  }

  runner({ onStart }: RunnerOptions = {}): Runner<T> {
    const owner = { onStart };
    return {
      workers: this.workers,
      run: <K extends keyof T & string>(task: K, input: Input<T, K>, options?: RunOptions) =>
        this.#run(owner, task, input, options) as Promise<Output<T, K>>,
    };
  }

  close(): Promise<void> {
    this.#stop(new Error('pool: it was closed'));
    this.#closed ??= this.#backend.shutdown();
    return this.#closed;
  }

  /** Rejects everything that is not done and everything to come: there is nobody left to do it. */
  fail(error: Error): void {
    if (this.#end === undefined) this.#reportFailure(error);
    this.#stop(error);
  }

  #run(
    owner: RunnerOptions,
    task: string,
    input: unknown,
    { signal, give, urgent = false }: RunOptions = {},
  ): Promise<unknown> {
    return new Promise<unknown>((resolve, reject) => {
      const cancelled = (): Error => abortError(`task "${task}"`, signal?.reason);
      if (this.#end) throw this.#end;
      if (signal?.aborted) throw cancelled();
      const waiting = urgent ? this.#urgent : this.#ordinary;
      const abort = (): void => {
        waiting.delete(job);
        job.reject(cancelled());
      };
      // Settling twice is harmless: a promise keeps its first answer.
      const job: Job = {
        task,
        input,
        give,
        urgent,
        owner,
        since: performance.now(),
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
      waiting.add(job);
      this.#start();
    });
  }

  #stop(error: Error): void {
    this.#end ??= error;
    for (const job of this.#running) job.reject(this.#end);
    for (const turns of [this.#urgent, this.#ordinary]) {
      for (let job = turns.take(); job !== undefined; job = turns.take()) job.reject(this.#end);
    }
  }

  #start(): void {
    while (this.#running.size < this.workers) {
      const job = this.#next();
      if (job === undefined) return;
      this.#running.add(job);
      job.owner.onStart?.(performance.now() - job.since, job.urgent);
      void this.#finish(job);
    }
  }

  #next(): Job | undefined {
    const passed = this.#ordinary.size > 0 && this.#inARow >= URGENT_IN_A_ROW;
    const urgent = passed ? undefined : this.#urgent.take();
    this.#inARow = urgent === undefined || this.#ordinary.size === 0 ? 0 : this.#inARow + 1;
    return urgent ?? this.#ordinary.take();
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
