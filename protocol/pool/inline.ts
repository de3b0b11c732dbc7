/** The pool without threads. */

import { nextTurn } from '../slices.ts';
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
