/**
 * Pools: heavy work beside the event loop.
 *
 * Contract
 * - A pool runs named tasks of a table that both sides of the thread boundary import. It knows nothing of what they do.
 * - A task is a pure, synchronous function: the output depends on the input alone, so results do not depend on which
 *   worker ran it or in which order. It does not write to its input. It returns fresh arrays, never ones it keeps:
 *   they are moved out of the worker, not copied. What many tasks read it returns in shared memory (bulk.ts), so that
 *   handing it to them copies nothing.
 * - Tasks start in the order of run(), as many at a time as there are workers. Worth it from about 5 ms of work each.
 * - run() always settles. A task's own error rejects with its class, message and code; a crashed worker rejects what it
 *   was running, and another takes its place; close() rejects whatever is not done; an aborted signal rejects at once
 *   (a task that is already running is left to end, and its result is dropped: tasks are short, threads are not).
 *
 * Implementations: `createInlinePool` (inline.ts), without threads; `createThreadPool` (node.ts), the threads of Node;
 * `createWebPool` (web.ts), the web workers of a browser.
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
}

/** Runs the tasks of the table `T`. */
export interface Pool<T extends TaskTable> {
  /** How many tasks run at a time: a hint for how finely to split work, never a part of a result. */
  readonly workers: number;

  /**
   * Runs one task.
   * @throws what the task throws
   * @throws AbortError when `signal` fires first
   * @throws Error when the worker crashes or the pool is closed
   */
  run<K extends keyof T & string>(
    task: K,
    input: Input<T, K>,
    options?: RunOptions,
  ): Promise<Output<T, K>>;

  /** Rejects everything that is not done and ends the workers. */
  close(): Promise<void>;
}
