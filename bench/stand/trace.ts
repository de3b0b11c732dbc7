/**
 * What one party of a run does, and when: the tasks of its workers, the work of its main thread, its frames; and all of it
 * as a Chrome trace.
 *
 * All processes of a machine read one clock, so the traces of both parties share a time axis. A task tells its own start
 * and end; what the main thread does is sampled (samples.ts).
 */

import { Decorator } from '../../protocol/channel/decorator.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import type { LaneShape } from '../../protocol/inference/batches.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import type { ProtocolPool, ProtocolRunner } from '../../protocol/inference/session.ts';
import type * as tasks from '../../protocol/inference/tasks.ts';
import type { Pool, Runner, RunOptions } from '../../protocol/pool/index.ts';
import type { Input, Output } from '../../protocol/pool/task.ts';
import { type ActivationKind, kindOf } from '../../protocol/program/kinds.ts';
import type { PerParty, PerPhase } from '../phases.ts';
import { IDLE, type NamedSpan, now, type PartTable, type Span, startSampling } from './samples.ts';
import type { TracedTasks } from './trace-worker.ts';

/** A task as it ran in its thread. */
export interface TaskSpan extends Span {
  readonly task: string;
  /** Of which kind of element, for tasks of lanes; of a batch of lanes, that of its longest. */
  readonly kind?: ActivationKind;
  readonly thread: number;
}

/** A frame as it is sent, and its payload. */
export interface FrameMark {
  readonly kind: number;
  readonly bytes: number;
  readonly at: number;
}

/** One party of one run. */
export interface PartyTrace {
  readonly tasks: readonly TaskSpan[];
  /** What the main thread did. */
  readonly main: readonly NamedSpan[];
  readonly sent: readonly FrameMark[];
}

type Protocol = typeof tasks;

/** Sees everything a party does between start() and stop(). */
export class Tracer {
  /** The party's pool, to be used in place of the one given. */
  readonly pool: ProtocolPool;
  readonly #parts: PartTable;
  #tasks: TaskSpan[] = [];
  #sent: FrameMark[] = [];
  #stopSampling: (() => NamedSpan[]) | undefined;

  /** @param parts what the main thread's samples are filed under */
  constructor(inner: Pool<TracedTasks>, parts: PartTable) {
    this.#parts = parts;
    const traced = (runner: Runner<TracedTasks>): ProtocolRunner => ({
      workers: runner.workers,
      run: (task, input, options) => this.#run(runner, task, input, options),
    });
    this.pool = {
      ...traced(inner),
      get running() {
        return inner.running;
      },
      get waiting() {
        return inner.waiting;
      },
      failed: inner.failed,
      runner: (options) => traced(inner.runner(options)),
      close: () => inner.close(),
    };
  }

  /** The channel, with its frames seen as they are sent. */
  watched(channel: Channel): Channel {
    return new Watched(channel, (kind, bytes) => this.#sent.push({ kind, bytes, at: now() }));
  }

  start(): void {
    this.#stopSampling = startSampling(this.#parts);
    this.#tasks = [];
    this.#sent = [];
  }

  stop(): PartyTrace {
    // Copies: what comes after is not part of it.
    return { main: this.#stopSampling!(), tasks: [...this.#tasks], sent: [...this.#sent] };
  }

  async #run<K extends keyof Protocol>(
    runner: Runner<TracedTasks>,
    task: K,
    input: Input<Protocol, K>,
    options?: RunOptions,
  ): Promise<Output<Protocol, K>> {
    const traced = await runner.run(task, input as Input<TracedTasks, K>, options);
    const { output, ...span } = traced as ReturnType<TracedTasks['evaluate']>;
    const kind = kindIn(input);
    this.#tasks.push({ task, ...(kind !== undefined && { kind }), ...span });
    return output as Output<Protocol, K>;
  }
}

/** The kind of element that a task works on; of a batch of lanes, that of its longest. */
function kindIn(input: unknown): ActivationKind | undefined {
  if (typeof input !== 'object' || input === null) return undefined;
  const { lanes, kind } = input as { lanes?: readonly LaneShape[]; kind?: ActivationKind };
  return lanes === undefined ? kind : [...lanes].sort((a, b) => b.n - a.n)[0]?.kind;
}

class Watched extends Decorator {
  readonly #sees: (kind: number, bytes: number) => void;

  constructor(inner: Channel, sees: (kind: number, bytes: number) => void) {
    super(inner);
    this.#sees = sees;
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    this.#sees(kind, payload.length);
    return super.send(kind, payload);
  }
}

/** One traced inference. */
export interface InferenceTrace {
  readonly phases: PerPhase<Span>;
  readonly parties: PerParty<PartyTrace>;
}

/**
 * The trace in the Trace Event Format, which chrome://tracing and ui.perfetto.dev open: a process for each party, in it a
 * row for the main thread, with the frames that it sends, and one for each worker; the phases above all.
 */
export function chromeTrace({ phases, parties }: InferenceTrace): string {
  const frames = new Map(Object.entries(Kind).map(([name, kind]) => [kind as number, name]));
  const us = (ms: number): number => Math.round(1000 * (ms - phases.offline.start));
  const bar = (pid: number, tid: number, name: string, { start, end }: Span) => ({
    ...{ ph: 'X', pid, tid, name, ts: us(start), dur: us(end) - us(start) },
  });
  const title = (pid: number, what: 'process_name' | 'thread_name', name: string, tid = 0) => ({
    ...{ ph: 'M', pid, tid, name: what, args: { name } },
  });
  const events = (['client', 'server'] as const).flatMap((name, i) => {
    const { tasks, main, sent } = parties[name];
    const pid = i + 1;
    const workers = [...new Set(tasks.map(({ thread }) => thread))].sort((a, b) => a - b);
    return [
      title(pid, 'process_name', name),
      title(pid, 'thread_name', 'main thread'),
      ...workers.map((thread, n) => title(pid, 'thread_name', `worker ${n + 1}`, thread)),
      ...main.filter(({ part }) => part !== IDLE).map((part) => bar(pid, 0, part.part, part)),
      ...tasks.map((span) => {
        const of = span.kind === undefined ? '' : ` ${kindOf(span.kind).name}`;
        return bar(pid, span.thread, span.task + of, span);
      }),
      ...sent.map(({ kind, bytes, at }) => {
        const name = `${frames.get(kind) ?? kind}: ${bytes} bytes`;
        return { ph: 'i', s: 't', pid, tid: 0, name, ts: us(at) };
      }),
    ];
  });
  const above = Object.entries(phases).map(([name, span]) => bar(0, 0, name, span));
  const traceEvents = [title(0, 'process_name', 'phases'), ...above, ...events];
  return `${JSON.stringify({ displayTimeUnit: 'ms', traceEvents })}\n`;
}
