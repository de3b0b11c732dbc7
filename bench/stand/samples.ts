/**
 * What a thread does, by sampling: V8's profiler looks at the stack some thousand times a second, and each look is filed
 * under the name that the innermost known frame has.
 */

import { type Profiler, Session } from 'node:inspector';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Milliseconds on a clock that all processes of the machine, and the profiler, read. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** A stretch of time, in ms on that clock. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** A stretch that belongs to one name. */
export interface NamedSpan extends Span {
  readonly part: string;
}

/** The name of a thread that does nothing, and of frames that no entry of a table knows. */
export const IDLE = 'idle';
export const OTHER = 'other';

/** Which name a stack has: the first frame from the inside that one of these knows decides. */
export type PartTable = readonly (readonly [part: string, frame: RegExp])[];

/** Between two looks, in microseconds. LOCAL. */
const INTERVAL = 250;

/**
 * Collects all garbage of this thread. Before version 24 of Node, a profiler that starts holds a lock while it allocates,
 * and a full collection just then waits for that lock for ever (nodejs/node#65140); right after a collection none is due.
 */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

/** Starts to sample this thread; the function it returns ends it and gives what was seen, in order, equal neighbours joined. */
export function startSampling(table: PartTable): () => NamedSpan[] {
  collectGarbage();
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: INTERVAL });
  session.post('Profiler.start');
  return () => {
    let parts: NamedSpan[] = [];
    // On the thread's own inspector the answer comes before post() returns.
    session.post('Profiler.stop', (error, { profile }) => {
      if (error) throw error;
      parts = partsOf(profile, table);
    });
    session.disconnect();
    return parts;
  };
}

/** The samples of a profile as stretches of time. */
export function partsOf(
  { nodes, samples = [], timeDeltas = [], startTime }: Profiler.Profile,
  table: PartTable,
): NamedSpan[] {
  const parents = new Map<number, Profiler.ProfileNode>();
  for (const node of nodes) for (const child of node.children ?? []) parents.set(child, node);
  const named = new Map<number, string>();
  for (const node of nodes) {
    let name: string | undefined;
    for (let at: typeof node | undefined = node; at && !name; at = parents.get(at.id)) {
      const frame = `${at.callFrame.functionName} ${at.callFrame.url}`;
      name = table.find(([, pattern]) => pattern.test(frame))?.[0];
    }
    named.set(node.id, name ?? OTHER);
  }
  const parts: { part: string; start: number; end: number }[] = [];
  let time = startTime / 1000;
  for (const [i, id] of samples.entries()) {
    // A sample stands for the time until the next.
    time += timeDeltas[i]! / 1000;
    const part = named.get(id) ?? OTHER;
    const last = parts.at(-1);
    if (last !== undefined) last.end = time;
    if (last?.part !== part) parts.push({ part, start: time, end: time });
  }
  return parts;
}
