/**
 * Workers that are spoken to by messages, and a pool over ports to workers of another thread: a session that runs in a worker has such ports to
 * its page's pool, so that nothing of a task passes through the page.
 */

import { BULK_BYTES } from '../bulk.ts';
import type { Pool } from './index.ts';
import { TaskQueue, type Workers } from './queue.ts';
import {
  movable,
  type Outcome,
  type PackedError,
  perform,
  type Request,
  type TaskTable,
  transferables,
  unpackError,
  unwrap,
} from './task.ts';

/** The part of a worker, of a port and of a worker's global scope that is used. */
export interface Messages {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(
    type: 'message' | 'messageerror',
    listener: (event: { data: unknown }) => void,
  ): void;
}

/** One end of a `MessageChannel`. */
export interface Port extends Messages {
  start(): void;
  close(): void;
}

/** What ends a port. */
const END = 'end';

/** A task that a worker has. */
interface Call {
  readonly task: string;
  resolve(outcome: Outcome): void;
  reject(error: Error): void;
}

/** A worker, and what it is doing. */
class Member {
  readonly #worker: Messages;
  call: Call | undefined;

  constructor(worker: Messages) {
    this.#worker = worker;
    worker.addEventListener('message', ({ data }) => {
      if (typeof data !== 'object') return;
      const { call } = this;
      this.call = undefined;
      call?.resolve(data as Outcome);
    });
    worker.addEventListener('messageerror', () => {
      const { call } = this;
      this.call = undefined;
      call?.reject(new Error(`pool: what task "${call.task}" gave cannot be read here`));
    });
  }

  execute(task: string, input: unknown, give: unknown): Promise<Outcome> {
    return new Promise<Outcome>((resolve, reject) => {
      this.call = { task, resolve, reject };
      try {
        // A worker that has not loaded its module yet keeps the message until it has.
        this.#worker.postMessage(
          { task, input } satisfies Request,
          transferables(give, BULK_BYTES),
        );
      } catch (error) {
        this.call = undefined;
        reject(error as Error);
      }
    });
  }
}

/** Places of workers; another worker takes the place of one that broke. */
export class Members implements Workers {
  readonly workers: number;
  readonly #members: Member[] = [];

  constructor(workers: number) {
    this.workers = workers;
  }

  /** Puts a worker in a place; the task of the one before it rejects. */
  place(at: number, worker: Messages, cause?: Error): void {
    const call = this.#members[at]?.call;
    this.#members[at] = new Member(worker);
    call?.reject(new Error(`pool: the worker broke at task "${call.task}"`, { cause }));
  }

  async execute(task: string, input: unknown, give: unknown): Promise<unknown> {
    // The queue runs at most as many tasks as there are members.
    const member = this.#members.find(({ call }) => call === undefined)!;
    return unwrap(await member.execute(task, input, give));
  }

  async shutdown(): Promise<void> {
    this.#members.length = 0;
  }
}

/** What becomes of workers that are shared: another one in a place, or none can start. */
export type SharedNews =
  | { readonly at: number; readonly port: Port; readonly cause: PackedError }
  | { readonly failed: PackedError };

/** A pool over shared workers. */
export interface PortPool<T extends TaskTable> extends Pool<T> {
  /** Takes what {@link SharedNews} says. */
  hear(news: SharedNews): void;
}

/** A pool over workers of another thread, one port to each. Its close() ends the ports and no worker. */
export function createPortPool<T extends TaskTable>(ports: readonly Port[]): PortPool<T> {
  const open = [...ports];
  const members = new Members(ports.length);
  const take = (at: number, port: Port, cause?: Error): void => {
    open[at] = port;
    members.place(at, port, cause);
    port.start();
  };
  for (const [at, port] of ports.entries()) take(at, port);
  const queue = new TaskQueue<T>({
    workers: members.workers,
    execute: (...task) => members.execute(...task),
    async shutdown() {
      for (const port of open) {
        port.postMessage(END, []);
        port.close();
      }
      await members.shutdown();
    },
  });
  return Object.assign(queue, {
    hear(news: SharedNews): void {
      if ('failed' in news) queue.fail(unpackError(news.failed));
      else take(news.at, news.port, unpackError(news.cause));
    },
  });
}

/** A worker is asked to serve a port as well. */
interface Sharing {
  readonly serve: Port;
}

/** Has a worker serve a port too: the other end is for a {@link createPortPool}. */
export function share(worker: Messages): Port {
  const { port1, port2 } = new MessageChannel();
  worker.postMessage({ serve: port1 } satisfies Sharing, [port1]);
  return port2;
}

/** Ends the worker: whoever has posted a task waits for it. */
function unread(): never {
  throw new Error('what a task takes cannot be read here');
}

/** Runs tasks for whoever posts them: at `scope`, and at every port that comes there. */
export function serveMessages(scope: Messages, tasks: TaskTable): void {
  const serve = (at: Messages, data: unknown): void => {
    if (typeof data !== 'object' || data === null) return;
    if ('serve' in data) {
      const { serve: port } = data as Sharing;
      port.addEventListener('message', (event) => {
        if (event.data === END) port.close();
        else serve(port, event.data);
      });
      port.addEventListener('messageerror', unread);
      port.start();
    } else if ('task' in data) {
      const outcome = movable(perform(tasks, data as Request)) as Outcome;
      at.postMessage(outcome, transferables(outcome));
    }
  };
  scope.addEventListener('message', ({ data }) => serve(scope, data));
  scope.addEventListener('messageerror', unread);
}
