/** The pool of a browser's web workers: module workers, with shared memory where the page is cross-origin isolated. */

import type { Pool } from './index.ts';
import {
  Members,
  type Messages,
  type Port,
  type SharedNews,
  serveMessages,
  share,
} from './ports.ts';
import { TaskQueue } from './queue.ts';
import { packError, type TaskTable } from './task.ts';

/** The part of a browser's `Worker` that is used. */
export interface WebWorker extends Messages {
  terminate(): void;
  addEventListener(
    type: 'message' | 'messageerror',
    listener: (event: { data: unknown }) => void,
  ): void;
  addEventListener(
    type: 'error' | 'messageerror',
    listener: (event: { message?: string; preventDefault?(): void }) => void,
  ): void;
}

/** The part of a worker's own global scope that is used. */
export type WorkerScope = Messages;

/** The workers of a pool as another thread has them. */
export interface Shared {
  /** A port to each, for `createPortPool`. */
  readonly ports: readonly Port[];
  /** Ends what is told. */
  end(): void;
}

/** A pool of web workers. */
export interface WebPool<T extends TaskTable> extends Pool<T> {
  /**
   * Ports to all workers.
   * @param told - what becomes of them from here on
   * @throws Error when the pool is closed or has failed
   */
  share(told: (news: SharedNews) => void): Shared;
}

/** Options of a pool of web workers. */
export interface WebPoolOptions {
  /** Number of workers; default: as many as the machine runs at a time, at most `MOST_WORKERS`. LOCAL. */
  readonly workers?: number | undefined;
}

/** Most workers of a pool by default: each has its own memory, and machines with many cores have other pages. LOCAL. */
export const MOST_WORKERS = 8;

/** What may have happened where a browser does not say. */
const UNTOLD = "its module was not found, or the page's content security policy forbids worker-src";

/** Why a worker did not start, as far as the browser says. */
export function failureToStart(message: string | undefined): Error {
  const cause = new Error(message || UNTOLD);
  return new Error(`pool: a worker could not start: ${cause.message}`, { cause });
}

/** What a worker says once its module has loaded. */
const READY = 'ready';

/**
 * A pool of web workers.
 * @param spawn - makes a module worker whose module calls {@link serveWorker} with the same table `T`. It is the caller's
 *   so that bundlers find the worker's module where its URL is written
 * @throws RangeError when `workers` is not a positive integer
 */
export function createWebPool<T extends TaskTable>(
  spawn: () => WebWorker,
  options: WebPoolOptions = {},
): WebPool<T> {
  const cores = globalThis.navigator?.hardwareConcurrency ?? 2;
  const workers = options.workers ?? Math.min(cores, MOST_WORKERS);
  if (!(Number.isInteger(workers) && workers >= 1)) {
    throw new RangeError(`workers: expected a positive integer, got ${workers}`);
  }
  const crew = new Crew(spawn, workers);
  const queue = new TaskQueue<T>(crew);
  crew.start((error) => queue.fail(error));
  return Object.assign(queue, {
    share: (told: (news: SharedNews) => void) => crew.share(told),
  });
}

/** Serves a pool from inside a worker, and those that its workers are shared with: what its module does last. */
export function serveWorker(scope: WorkerScope, tasks: TaskTable): void {
  serveMessages(scope, tasks);
  scope.postMessage(READY, []);
}

/** Workers that this thread has started, and starts anew when they break. */
class Crew extends Members {
  readonly #spawn: () => WebWorker;
  readonly #hired: WebWorker[] = [];
  readonly #told = new Set<(news: SharedNews) => void>();
  #shares = 0;
  #fail: (error: Error) => void = () => {};
  #end: Error | undefined;

  constructor(spawn: () => WebWorker, workers: number) {
    super(workers);
    this.#spawn = spawn;
  }

  /** @param fail - is told when a worker cannot start, and then nothing can run */
  start(fail: (error: Error) => void): void {
    this.#fail = (error) => {
      fail(error);
      this.#over(error);
    };
    for (let at = 0; at < this.workers; at++) this.#hire(at);
  }

  share(told: (news: SharedNews) => void): Shared {
    if (this.#end !== undefined) throw this.#end;
    // Each begins at another worker: those that have one task at a time do not all wait for the same.
    const first = this.#shares++ % this.workers;
    const turned = (news: SharedNews): void =>
      told('at' in news ? { ...news, at: (news.at - first + this.workers) % this.workers } : news);
    const workers = [...this.#hired.slice(first), ...this.#hired.slice(0, first)];
    const ports = workers.map(share);
    this.#told.add(turned);
    return { ports, end: () => this.#told.delete(turned) };
  }

  override async shutdown(): Promise<void> {
    this.#fail = () => {};
    this.#over(new Error('pool: it was closed'));
    for (const worker of this.#hired.splice(0)) worker.terminate();
    await super.shutdown();
  }

  #over(error: Error): void {
    this.#end ??= error;
    for (const tell of this.#told) tell({ failed: packError(error) });
    this.#told.clear();
  }

  #hire(at: number, cause?: Error): void {
    const worker = this.#spawn();
    let ready = false;
    let over = false;
    this.#hired[at] = worker;
    this.place(at, worker, cause);
    for (const tell of cause ? this.#told : []) {
      tell({ at, port: share(worker), cause: packError(cause) });
    }
    worker.addEventListener('message', ({ data }) => {
      ready ||= data === READY;
    });
    const broken = (event: { message?: string; preventDefault?(): void }): void => {
      event.preventDefault?.();
      if (over || this.#hired[at] !== worker) return;
      over = true;
      worker.terminate();
      const cause = new Error(event.message || UNTOLD);
      if (!ready) {
        // Another would not load either.
        this.#fail(failureToStart(event.message));
        return;
      }
      try {
        this.#hire(at, cause);
      } catch (cause) {
        this.#fail(new Error('pool: a worker could not start', { cause }));
      }
    };
    worker.addEventListener('error', broken);
    worker.addEventListener('messageerror', broken);
  }
}
