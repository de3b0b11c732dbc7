/**
 * Where a thread's time goes, by sampling: V8's profiler looks at the stack some thousand times a second, and each look
 * is filed under the part of the system that the innermost known frame belongs to.
 */

import { type Profiler, Session } from 'node:inspector';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Milliseconds on the clock that all threads of a process, and the profiler, read. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Between two looks, in microseconds. LOCAL. */
const INTERVAL = 250;

/** A stretch of time in one part, in ms. */
export interface Part {
  readonly part: string;
  readonly start: number;
  readonly end: number;
}

/** The part of a thread that does nothing. */
export const IDLE = 'idle';

/** Which part a stack belongs to: the first frame from the inside that one of these knows decides. */
export type PartTable = readonly (readonly [part: string, frame: RegExp])[];

/** Parts of the system. */
export const PARTS: PartTable = [
  [IDLE, /^(\(idle\)|wait) /],
  ['garbage collection', /^\(garbage collector\) /],
  ['AES', /node:internal\/crypto|\/random\/aes\.[jt]s$/],
  ['NTT', /\/linear\/.*transform\.[jt]s$/],
  ['RLWE', /\/protocol\/linear\//],
  ['OT', /\/protocol\/ot\//],
  ['garbling', /\/protocol\/(garble\/|gadgets\/(relu-garbled|argmax)\.)/],
  ['encoded comparison', /\/protocol\/compare\//],
  ['gadgets', /\/protocol\/gadgets\//],
  ['hashing', /\/random\/hash\.[jt]s$/],
  ['randomness', /\/protocol\/random\//],
  ['integer layers', /\/protocol\/ring\//],
  [
    'frames',
    /\/protocol\/(channel|inference\/messages)|node_modules\/ws\/|node:(net|internal\/stream)/,
  ],
  ['hand-over', /node_modules\/piscina\/|node:internal\/(worker|per_context)|\/protocol\/pool/],
  ['memory', /\/protocol\/(bulk|kernels)/],
  ['steps', /\/protocol\/|\/client\/|\/server\//],
];

const OTHER = 'other';

function partOf(stack: readonly string[], table: PartTable): string {
  for (const frame of stack) {
    for (const [part, pattern] of table) if (pattern.test(frame)) return part;
  }
  return OTHER;
}

/**
 * Collects all garbage of this thread. Before version 24 of Node, a profiler that starts holds a lock while it allocates,
 * and a full collection just then waits for that lock for ever (nodejs/node#65140); right after a collection none is due.
 */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

/** Starts to sample this thread; the function it returns ends it and gives what was seen, in order, equal neighbours joined. */
export function startSampling(table: PartTable = PARTS): () => Part[] {
  collectGarbage();
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: INTERVAL });
  session.post('Profiler.start');
  return () => {
    let parts: Part[] = [];
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
  table: PartTable = PARTS,
): Part[] {
  const parents = new Map<number, Profiler.ProfileNode>();
  for (const node of nodes) for (const child of node.children ?? []) parents.set(child, node);
  const partById = new Map<number, string>();
  for (const node of nodes) {
    const stack: string[] = [];
    for (let at: Profiler.ProfileNode | undefined = node; at; at = parents.get(at.id)) {
      stack.push(`${at.callFrame.functionName} ${at.callFrame.url}`);
    }
    partById.set(node.id, partOf(stack, table));
  }
  const parts: { part: string; start: number; end: number }[] = [];
  let time = startTime / 1000;
  for (const [i, id] of samples.entries()) {
    // A sample stands for the time until the next.
    time += timeDeltas[i]! / 1000;
    const part = partById.get(id) ?? OTHER;
    const last = parts.at(-1);
    if (last !== undefined) last.end = time;
    if (last?.part !== part) parts.push({ part, start: time, end: time });
  }
  return parts;
}
