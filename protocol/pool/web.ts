/** The pool of a browser's web workers: module workers, with shared memory where the page is cross-origin isolated. */

import { BULK_BYTES } from '../bulk.ts';
import type { Pool } from './index.ts';
import { TaskQueue, type Workers } from './queue.ts';
import {
  movable,
  type Outcome,
  perform,
  type Request,
  type TaskTable,
  transferables,
  unwrap,
} from './task.ts';

/** The part of a browser's `Worker` that is used. */
export interface WebWorker {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  terminate(): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  addEventListener(
    type: 'error' | 'messageerror',
    listener: (event: { message?: string; preventDefault?(): void }) => void,
  ): void;
}

/** The part of a worker's own global scope that is used. */
export interface WorkerScope {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(
    type: 'message' | 'messageerror',
    listener: (event: { data: unknown }) => void,
  ): void;
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
): Pool<T> {
  const cores = globalThis.navigator?.hardwareConcurrency ?? 2;
  const workers = options.workers ?? Math.min(cores, MOST_WORKERS);
  if (!(Number.isInteger(workers) && workers >= 1)) {
    throw new RangeError(`workers: expected a positive integer, got ${workers}`);
  }
  const crew = new Crew(spawn, workers);
  const queue = new TaskQueue<T>(crew);
  crew.start((error) => queue.fail(error));
  return queue;
}

/** Serves a pool from inside a worker: what its module does last. */
export function serveWorker(scope: WorkerScope, tasks: TaskTable): void {
  scope.addEventListener('message', ({ data }) => {
    const outcome = movable(perform(tasks, data as Request)) as Outcome;
    scope.postMessage(outcome, transferables(outcome));
  });
  scope.addEventListener('messageerror', () => {
    throw new Error('what a task takes cannot be read here');
  });
  scope.postMessage(READY, []);
}

/** A task that a worker has. */
interface Call {
  readonly task: string;
  resolve(outcome: Outcome): void;
  reject(error: Error): void;
}

/** A worker with what it is doing. */
interface Member {
  readonly worker: WebWorker;
  ready: boolean;
  call: Call | undefined;
}

class Crew implements Workers {
  readonly workers: number;
  readonly #spawn: () => WebWorker;
  readonly #members = new Set<Member>();
  #fail: (error: Error) => void = () => {};

  constructor(spawn: () => WebWorker, workers: number) {
    this.#spawn = spawn;
    this.workers = workers;
  }

  /** @param fail - is told when a worker cannot start, and then nothing can run */
  start(fail: (error: Error) => void): void {
    this.#fail = fail;
    for (let i = 0; i < this.workers; i++) this.#hire();
  }

  async execute(task: string, input: unknown, give: unknown): Promise<unknown> {
    // The queue runs at most as many tasks as there are members.
    const member = [...this.#members].find(({ call }) => call === undefined)!;
    const outcome = await new Promise<Outcome>((resolve, reject) => {
      member.call = { task, resolve, reject };
      try {
        // A worker that has not loaded its module yet keeps the message until it has.
        member.worker.postMessage(
          { task, input } satisfies Request,
          transferables(give, BULK_BYTES),
        );
      } catch (error) {
        member.call = undefined;
        reject(error as Error);
      }
    });
    return unwrap(outcome);
  }

  async shutdown(): Promise<void> {
    this.#fail = () => {};
    for (const { worker } of this.#members) worker.terminate();
    this.#members.clear();
  }

  #hire(): void {
    const member: Member = { worker: this.#spawn(), ready: false, call: undefined };
    this.#members.add(member);
    member.worker.addEventListener('message', ({ data }) => {
      if (data === READY) {
        member.ready = true;
        return;
      }
      const { call } = member;
      member.call = undefined;
      call?.resolve(data as Outcome);
    });
    const broken = (event: { message?: string; preventDefault?(): void }): void => {
      event.preventDefault?.();
      if (!this.#members.delete(member)) return;
      member.worker.terminate();
      const cause = new Error(event.message || UNTOLD);
      if (!member.ready) {
        // Another would not load either.
        this.#fail(new Error(`pool: a worker could not start: ${cause.message}`, { cause }));
        return;
      }
      try {
        this.#hire();
      } catch (cause) {
        this.#fail(new Error('pool: a worker could not start', { cause }));
      }
      member.call?.reject(
        new Error(`pool: the worker broke at task "${member.call.task}"`, { cause }),
      );
    };
    member.worker.addEventListener('error', broken);
    member.worker.addEventListener('messageerror', broken);
  }
}
