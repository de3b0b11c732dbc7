/** A profile as numbers: what each party's threads did in each phase, and who waited for whom. */

import type { Profile, Span } from './profile.ts';
import { figure, table } from './report.ts';
import { IDLE, type Part } from './samples.ts';
import type { PartyTrace, TaskSpan } from './trace.ts';

/** What one party did in one phase, in ms. */
export interface Shares {
  readonly wall: number;
  /** By task: how many, and how long they ran together. */
  readonly tasks: ReadonlyMap<string, { count: number; ms: number }>;
  /** Time of workers without a task while one was asked for: on its way to them, or the last one's result on its way back. */
  readonly handOver: number;
  /** Time of workers without a task and none to be had. */
  readonly unused: number;
  /** What the main thread did, by part, idle included. */
  readonly main: ReadonlyMap<string, number>;
  /** What the workers did inside tasks, by part. */
  readonly inside: ReadonlyMap<string, number>;
  /** When a worker ran a task or the main thread did anything: disjoint and in order. */
  readonly active: readonly Span[];
}

/** The part of `span` that lies in `phase`; of no length when none does. */
function clip({ start, end }: Span, phase: Span): Span {
  const from = Math.max(start, phase.start);
  return { start: from, end: Math.max(from, Math.min(end, phase.end)) };
}

const lengthOf = ({ start, end }: Span): number => end - start;

const total = (spans: Iterable<number>): number => [...spans].reduce((sum, ms) => sum + ms, 0);

/** Disjoint spans that cover the same time, in order. */
export function union(spans: readonly Span[]): Span[] {
  const merged: { start: number; end: number }[] = [];
  for (const { start, end } of [...spans].sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (end <= start) continue;
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else merged.push({ start, end });
  }
  return merged;
}

/** How long two lists of disjoint spans overlap. */
export function overlap(a: readonly Span[], b: readonly Span[]): number {
  return total([...a, ...b].map(lengthOf)) - total(union([...a, ...b]).map(lengthOf));
}

/** The pieces of parts that lie inside tasks of the same thread; both are in order and disjoint. */
function intersect(parts: readonly Part[], own: readonly TaskSpan[]): Part[] {
  const pieces: Part[] = [];
  let next = 0;
  for (const task of [...own].sort((a, b) => a.start - b.start)) {
    while (next < parts.length && parts[next]!.end <= task.start) next++;
    for (let i = next; i < parts.length && parts[i]!.start < task.end; i++) {
      pieces.push({ part: parts[i]!.part, ...clip(parts[i]!, task) });
    }
  }
  return pieces;
}

/** How long workers without a task stood beside a task without a worker. */
export function handOver(tasks: readonly TaskSpan[], workers: number, phase: Span): number {
  const events = tasks.flatMap(({ called, start, end }) => [
    { at: called, waiting: 1, running: 0 },
    { at: start, waiting: -1, running: 1 },
    { at: end, waiting: 0, running: -1 },
  ]);
  let [waiting, running, sum, since] = [0, 0, 0, phase.start];
  for (const event of events.sort((a, b) => a.at - b.at)) {
    const step = lengthOf(clip({ start: since, end: event.at }, phase));
    sum += step * Math.min(waiting, workers - running);
    waiting += event.waiting;
    running += event.running;
    since = event.at;
  }
  return sum;
}

export function sharesOf(trace: PartyTrace, phase: Span): Shares {
  const { workers } = trace;
  const tasks = new Map<string, { count: number; ms: number }>();
  const active: Span[] = [];
  for (const span of trace.tasks) {
    const inPhase = clip(span, phase);
    if (lengthOf(inPhase) === 0) continue;
    const { count, ms } = tasks.get(span.task) ?? { count: 0, ms: 0 };
    tasks.set(span.task, { count: count + 1, ms: ms + lengthOf(inPhase) });
    active.push(inPhase);
  }
  const main = new Map<string, number>();
  for (const part of trace.main) {
    const inPhase = clip(part, phase);
    main.set(part.part, (main.get(part.part) ?? 0) + lengthOf(inPhase));
    if (part.part !== IDLE) active.push(inPhase);
  }
  const inside = new Map<string, number>();
  for (const { thread, parts } of trace.threads) {
    const own = trace.tasks.filter((task) => task.thread === thread);
    for (const { part, start, end } of intersect(parts, own)) {
      inside.set(part, (inside.get(part) ?? 0) + lengthOf(clip({ start, end }, phase)));
    }
  }
  const wall = lengthOf(phase);
  const running = total([...tasks.values()].map(({ ms }) => ms));
  const waiting = handOver(trace.tasks, workers, phase);
  const unused = workers * wall - running - waiting;
  return { wall, tasks, handOver: waiting, unused, main, inside, active: union(active) };
}

/** A profile as a section of Markdown. */
export function section(profile: Profile): string {
  const { name, slug, client, server } = profile;
  const phases = (['offline', 'online'] as const).map((phase) => {
    const [near, far] = [client, server].map((trace) => sharesOf(trace, profile[phase]));
    return { phase, near: near!, far: far! };
  });
  const columns = phases.flatMap(({ near, far }) => [near, far]);
  const row = (label: string, value: (shares: Shares) => string) => [label, ...columns.map(value)];
  const ms = (value: number | undefined) => (value && value >= 0.05 ? figure(value) : '');
  /** Keys of the columns' maps, the most time first. */
  const keys = (map: (shares: Shares) => ReadonlyMap<string, number>): string[] => {
    const sum = (key: string) => total(columns.map((shares) => map(shares).get(key) ?? 0));
    return [...new Set(columns.flatMap((shares) => [...map(shares).keys()]))]
      .filter((key) => sum(key) >= 0.05)
      .sort((a, b) => sum(b) - sum(a));
  };
  const taskMs = ({ tasks }: Shares) => new Map([...tasks].map(([task, { ms }]) => [task, ms]));
  const rows = [
    row('**workers**: running tasks', (shares) => ms(total(taskMs(shares).values()))),
    ...keys(taskMs).map((task) =>
      row(`- ${task}`, ({ tasks }) => {
        const { count, ms: time } = tasks.get(task) ?? { count: 0, ms: 0 };
        return count === 0 ? '' : `${figure(time)} (${count} x ${figure(time / count)})`;
      }),
    ),
    row('- hand-over', (shares) => ms(shares.handOver)),
    row('- no task to be had', (shares) => ms(shares.unused)),
    row('**main thread**: busy', ({ wall, main }) => ms(wall - (main.get(IDLE) ?? 0))),
    ...keys(({ main }) => main)
      .filter((part) => part !== IDLE)
      .map((part) => row(`- ${part}`, ({ main }) => ms(main.get(part)))),
    row('- idle', ({ main }) => ms(main.get(IDLE))),
    row('**inside tasks**', ({ inside }) => ms(total(inside.values()))),
    ...keys(({ inside }) => inside).map((part) =>
      row(`- ${part}`, ({ inside }) => ms(inside.get(part))),
    ),
  ];
  const head = phases.flatMap(({ phase }) => [`client ${phase}`, `server ${phase}`]);
  const sentences = phases.map(({ phase, near, far }) => {
    const both = overlap(near.active, far.active);
    const [own, peer] = [near, far].map(({ active }) => total(active.map(lengthOf)) - both);
    const percent = (value: number) => `${Math.round((100 * value) / near.wall)} %`;
    return (
      `${phase[0]!.toUpperCase()}${phase.slice(1)}, ${figure(near.wall)} ms: both parties compute ` +
      `${percent(both)} of the time, the client alone ${percent(own!)}, the server alone ` +
      `${percent(peer!)}, neither ${percent(near.wall - both - own! - peer!)}.`
    );
  });
  return `## ${name}

${sentences.join('\n')}

![timeline](timeline-${slug}.svg)

${table(['ms', ...head], rows)}
`;
}

/** The page of all profiles. */
export function page(profiles: readonly Profile[], machine: string): string {
  const { workers } = profiles[0]!.client;
  return `# Where the milliseconds go

Written by \`npm run bench -- --profile\`, one inference each after some that warm up. Commit ${profiles[0]!.commit};
${machine}.

Both parties run in one process over loopback, each with an event loop and ${workers} worker${workers > 1 ? 's' : ''} of its own: half of the
cores each, so that no worker waits for the other party's. One run, not a median: it says where time goes, not how much
of it; sampling every 0.25 ms costs some percent.

- **tasks** measure themselves; in brackets how many, and how long one takes. **Hand-over**: a worker without a task beside
  a task without a worker, so one of them is on its way: structured clones, results to shared memory, the event loop.
- **main thread** and **inside tasks** are sampled, each sample filed under the innermost part it knows. Frames: channel
  and socket, their copies included. Memory: large arrays made and copied for other threads. Steps: the protocol's own
  loops. Other: Node's. A sample lasts until the next, so that a task's beginning may still count as hand-over.

${profiles.map(section).join('\n')}`;
}
