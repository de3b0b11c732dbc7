/** The pool of Node's threads, by piscina: the only file that knows it. */

import { availableParallelism } from 'node:os';
import { move, Piscina, transferableSymbol, valueSymbol } from 'piscina';
import { BULK_BYTES } from '../bulk.ts';
import type { Pool } from './index.ts';
import { TaskQueue } from './queue.ts';
import {
  movable,
  type Outcome,
  perform,
  type Request,
  type TaskTable,
  transferables,
  unwrap,
} from './task.ts';

/**
 * Largest young generation of a thread's heap, in MB. Tasks keep their numbers in typed arrays; the little else they make then stays
 * in the cache. Where it may grow, as the base OTs make it, everything after them takes a sixth longer. LOCAL.
 */
const YOUNG_MB = 2;

/** The most threads of a pool: beyond what machines run at a time, within what they can start. LOCAL. */
const MOST_WORKERS = 1024;

/** Options of a thread pool. */
export interface ThreadPoolOptions {
  /** Number of threads, 1024 at most; default: as many as the machine runs at a time. LOCAL. */
  readonly workers?: number;
}

/**
 * A pool of threads that all load `workerUrl`: a JavaScript module whose export `run` is `serveTasks(tasks)` for the
 * same table `T`. Idle threads do not keep the process alive.
 * @throws RangeError when the number of threads is out of its range
 */
export function createThreadPool<T extends TaskTable>(
  workerUrl: URL,
  options: ThreadPoolOptions = {},
): Pool<T> {
  const workers = options.workers ?? availableParallelism();
  if (!(Number.isInteger(workers) && workers >= 1 && workers <= MOST_WORKERS)) {
    throw new RangeError(`workers: expected an integer from 1 to ${MOST_WORKERS}, got ${workers}`);
  }
  const threads = new Piscina<Request, Outcome>({
    filename: workerUrl.href,
    name: 'run',
    minThreads: workers,
    maxThreads: workers,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
  });
  const queue = new TaskQueue<T>({
    workers,
    async execute(task, input, give) {
      let outcome: Outcome;
      try {
        const transferList = transferables(give, BULK_BYTES);
        outcome = await threads.run({ task, input }, { transferList });
      } catch (cause) {
        throw new Error(`pool: the worker broke at task "${task}"`, { cause });
      }
      return unwrap(outcome);
    },
    shutdown: () => threads.destroy(),
  });
  // Emitted when a thread dies without a task, which is when it cannot load its module. Piscina then starts no other,
  // and a task waiting for one would wait for ever.
  threads.on('error', (cause: Error) => {
    queue.fail(new Error('pool: a worker could not start', { cause }));
  });
  return queue;
}

/** What a worker module exports as `run`. */
export function serveTasks(tasks: TaskTable): (request: Request) => unknown {
  return (request) => {
    const outcome = movable(perform(tasks, request)) as Outcome;
    return move({
      [transferableSymbol]: transferables(outcome),
      [valueSymbol]: outcome,
    } as Parameters<typeof move>[0]);
  };
}
