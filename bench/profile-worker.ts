/** What a worker of a profiled party loads: the protocol's tasks, each of which tells when and where it ran. */

import { threadId } from 'node:worker_threads';
import { tasks } from '../protocol/inference/tasks.ts';
import { serveTasks } from '../protocol/pool/node.ts';
import { now, type Part, startSampling } from './samples.ts';

type Protocol = typeof tasks;

/** A task's output, with its times on the clock of the process. */
export interface Traced<Output> {
  readonly output: Output;
  readonly thread: number;
  readonly start: number;
  readonly end: number;
}

export type TracedTasks = {
  readonly [K in keyof Protocol]: (
    input: Parameters<Protocol[K]>[0],
  ) => Traced<ReturnType<Protocol[K]>>;
} & typeof sampling;

let stop: (() => Part[]) | undefined;

/** Waits until as many threads are here as the barrier wants: [how many are here, how many there are]. */
function meet(barrier: Int32Array): void {
  const here = Atomics.add(barrier, 0, 1) + 1;
  const all = barrier[1]!;
  if (here === all) Atomics.notify(barrier, 0);
  for (let seen = here; seen < all; seen = Atomics.load(barrier, 0)) Atomics.wait(barrier, 0, seen);
}

const sampling = {
  startSampling(barrier: Int32Array): void {
    meet(barrier);
    stop = startSampling();
  },

  stopSampling(barrier: Int32Array): { thread: number; parts: Part[] } {
    meet(barrier);
    return { thread: threadId, parts: stop!() };
  },
};

function traced<I, O>(task: (input: I) => O): (input: I) => Traced<O> {
  return (input) => {
    const start = now();
    const output = task(input);
    return { output, thread: threadId, start, end: now() };
  };
}

const table = Object.fromEntries(
  Object.entries(tasks).map(([name, task]) => [name, traced(task as (input: never) => unknown)]),
);

export const run = serveTasks({ ...table, ...sampling });
