/** The pool without threads. */

import type { Pool } from './index.ts';
import { TaskQueue } from './queue.ts';
import { call, type TaskTable } from './task.ts';

/**
 * A pool without threads: each task has a turn of the event loop to itself, so that timers, sockets and the other party
 * of a local run get theirs in between. For tests, small models and where there are no workers.
 */
export function createInlinePool<T extends TaskTable>(tasks: T): Pool<T> {
  return new TaskQueue<T>({
    workers: 1,
    async execute(task, input) {
      await nextTurn();
      return call(tasks, task, input);
    },
    async shutdown() {},
  });
}

/** How long work that can be interrupted keeps the event loop, in ms. LOCAL. */
const SLICE_MS = 10;

/** Does work that yields now and then, and lets the event loop come round whenever it has kept it for some ms. */
export async function inSlices<T>(work: Iterator<undefined, T>): Promise<T> {
  let began = performance.now();
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    if (performance.now() - began < SLICE_MS) continue;
    await nextTurn();
    began = performance.now();
  }
}

/** Waits for the event loop to come round. Browsers throttle timers, so theirs is a message to oneself. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
