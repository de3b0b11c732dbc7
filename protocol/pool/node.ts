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

/** How long a thread may take to start in place of another before the pool has failed, in ms. LOCAL. */
const START_MS = 30_000;

/** How long a task may run, in ms: the longest of a ResNet-50 takes 2 s on a busy machine. LOCAL. */
const TASK_MS = 120_000;

/** Options of a thread pool. */
export interface ThreadPoolOptions {
  /** Number of threads, 1024 at most; default: as many as the machine runs at a time. LOCAL. */
  readonly workers?: number;
  /** How long a task may run before its thread is ended and replaced, in ms; default: 2 minutes. LOCAL. */
  readonly taskMs?: number;
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
  const { workers = availableParallelism(), taskMs = TASK_MS } = options;
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
  /** Of threads that start in place of others. */
  const starting: NodeJS.Timeout[] = [];
  let closing = false;
  /** What ended a thread or a task last. */
  let last = new Error('no reason was given');
  const queue = new TaskQueue<T>({
    workers,
    async execute(task, input, give) {
      let outcome: Outcome;
      const stuck = new AbortController();
      const timer = setTimeout(() => stuck.abort(), taskMs).unref();
      try {
        const transferList = transferables(give, BULK_BYTES);
        const { signal } = stuck;
        outcome = await threads.run({ task, input }, { transferList, signal });
      } catch (cause) {
        last = stuck.signal.aborted
          ? new Error(`it ran for more than ${taskMs / 1000} s`, { cause })
          : (cause as Error);
        throw new Error(`pool: the worker broke at task "${task}": ${last.message}`, { cause });
      } finally {
        clearTimeout(timer);
      }
      return unwrap(outcome);
    },
    shutdown() {
      closing = true;
      for (const timer of starting) clearTimeout(timer);
      return threads.destroy();
    },
  });
  const fail = (cause: Error): void => {
    queue.fail(new Error(`pool: a worker could not start: ${cause.message}`, { cause }));
  };
  // Piscina starts a thread in place of one that has ended, but none in place of one that never was ready. It says so only
  // when that one had no task; the pool has fewer threads then, and a task that waits for the last would wait for ever.
  threads.on('error', (error: Error) => {
    last = error;
  });
  threads.on('workerDestroy', () => {
    if (closing) return;
    const late = new Error(`no thread was ready within ${START_MS / 1000} s`);
    starting.push(setTimeout(fail, START_MS, late).unref());
    // Later in this turn the thread's task rejects, with the cause.
    setImmediate(() => {
      if (!closing && threads.threads.length < workers) fail(last);
    });
  });
  threads.on('workerCreate', () => clearTimeout(starting.shift()));
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
