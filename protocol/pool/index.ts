/**
 * Pools: heavy work beside the event loop.
 *
 * Contract
 * - A pool runs named tasks of a table that both sides of the thread boundary import. It knows nothing of what they do.
 * - A task is a pure, synchronous function: the output depends on the input alone, so results do not depend on which
 *   worker ran it or in which order. It does not write to its input. It returns fresh arrays, never ones it keeps:
 *   they are moved out of the worker, not copied. What many tasks read it returns in shared memory (bulk.ts), so that
 *   handing it to them copies nothing.
 * - As many tasks run at a time as there are workers. Those of a runner start in the order of run(); runners whose tasks wait
 *   take turns. Urgent tasks start before all others, of which at least one in eight starts is. Worth it from about 5 ms of
 *   work each.
 * - Workers that are shared with another thread (ports.ts) serve the pool there as well: the order is then each pool's own.
 * - run() always settles. A task's own error rejects with its class, message and code; a crashed worker rejects what it
 *   was running, and another takes its place; close() rejects whatever is not done; an aborted signal rejects at once
 *   (a task that is already running is left to end, and its result is dropped: tasks are short, threads are not).
 * - In the threads of Node a task that does not end is ended with its worker, as one that crashes it.
 * - A pool fails when a worker cannot start, the one in place of a crashed one included: then every run() rejects.
 *
 * Implementations: `createInlinePool` (inline.ts), without threads; `createThreadPool` (node.ts), the threads of Node;
 * `createWebPool` (web.ts), the web workers of a browser; `createPortPool` (ports.ts), workers that another thread shares.
 */

import type { Input, Output, TaskTable } from './task.ts';

export type { Input, Output, TaskTable } from './task.ts';

/** Options of one run. */
export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Parts of the input, such as a received message, that the caller does not need any more: their large arrays are moved
   * to the worker instead of copied, and are empty afterwards. Each array must fill its buffer to be moved.
   */
  readonly give?: unknown;
  /** Somebody waits for the result: the task starts before those that are not urgent. Default: false. */
  readonly urgent?: boolean | undefined;
}

/** Options of a runner. */
export interface RunnerOptions {
  /** Called as each of its tasks starts, with the ms since its run(), and whether it is urgent. Must not throw. */
  readonly onStart?: ((waitMs: number, urgent: boolean) => void) | undefined;
}

/** Runs the tasks of the table `T`. */
export interface Runner<T extends TaskTable> {
  /** How many tasks run at a time: a hint for how finely to split work, never a part of a result. */
  readonly workers: number;

  /**
   * Runs one task.
   * @throws what the task throws
   * @throws AbortError when `signal` fires first
   * @throws Error when the worker crashes, or the pool is closed or has failed
   */
  run<K extends keyof T & string>(
    task: K,
    input: Input<T, K>,
    options?: RunOptions,
  ): Promise<Output<T, K>>;
}

/** Workers, and the queue of what they are to do. */
export interface Pool<T extends TaskTable> extends Runner<T> {
  /** Tasks that run, and tasks that wait, at this moment. */
  readonly running: number;
  readonly waiting: number;
  /** Resolves with the cause when the pool has failed. Never rejects; stays pending when the pool is closed. */
  readonly failed: Promise<Error>;

  /** A runner for one user of the pool, such as a session: its waiting tasks take turns with those of other runners. */
  runner(options?: RunnerOptions): Runner<T>;

  /** Rejects everything that is not done and ends the workers. */
  close(): Promise<void>;
}
