/** What a worker of a traced party loads: the protocol's tasks, each of which tells when and where it ran. */

import { threadId } from 'node:worker_threads';
import * as tasks from '../../protocol/inference/tasks.ts';
import { serveTasks } from '../../protocol/pool/node.ts';
import type { Request, TaskTable } from '../../protocol/pool/task.ts';
import { now } from './samples.ts';

type Protocol = typeof tasks;

/** A task's output, with its times on the clock of the traces. */
export interface TimedOutput<Output> {
  readonly output: Output;
  readonly thread: number;
  readonly start: number;
  readonly end: number;
}

export type TracedTasks = {
  readonly [K in keyof Protocol]: (
    input: Parameters<Protocol[K]>[0],
  ) => TimedOutput<ReturnType<Protocol[K]>>;
};

function traced<I, O>(task: (input: I) => O): (input: I) => TimedOutput<O> {
  return (input) => {
    const start = now();
    const output = task(input);
    return { output, thread: threadId, start, end: now() };
  };
}

export const run: (request: Request) => unknown = serveTasks(
  Object.fromEntries(
    Object.entries<TaskTable[string]>(tasks).map(([name, task]) => [name, traced(task)]),
  ),
);
