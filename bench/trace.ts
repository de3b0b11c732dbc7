/**
 * What one party of a run does, and when: the tasks of its workers, the work of its main thread, its frames.
 *
 * All threads of a process read one clock, so the traces of both parties share a time axis. A task tells its own start
 * and end; what its thread and the main thread do beside and inside tasks is sampled (samples.ts).
 */

import type { ProtocolRunner } from '../protocol/inference/session.ts';
import type { tasks } from '../protocol/inference/tasks.ts';
import type { Pool, RunOptions } from '../protocol/pool/index.ts';
import type { Input, Output } from '../protocol/pool/task.ts';
import type { ActivationKind } from '../protocol/program/kinds.ts';
import type { TracedTasks } from './profile-worker.ts';
import { now, PARTS, type Part, type PartTable, startSampling } from './samples.ts';

/** A task, times in ms: asked for, begun and ended in its thread, its result back at the main thread. */
export interface TaskSpan {
  readonly task: string;
  /** Of which kind of element, for a lane's tasks. */
  readonly kind?: ActivationKind;
  readonly thread: number;
  readonly called: number;
  readonly start: number;
  readonly end: number;
  readonly done: number;
}

/** A frame as it leaves or arrives. */
export interface FrameMark {
  readonly kind: number;
  readonly bytes: number;
  readonly at: number;
}

/** One party of one run. */
export interface PartyTrace {
  /** How many threads its pool has. */
  readonly workers: number;
  readonly tasks: readonly TaskSpan[];
  /** What the main thread did. */
  readonly main: readonly Part[];
  /** What each worker did, inside tasks and between them, where that was sampled. */
  readonly threads: readonly { readonly thread: number; readonly parts: readonly Part[] }[];
  readonly sent: readonly FrameMark[];
  readonly received: readonly FrameMark[];
}

/** Where a frame's kind stands in its header. */
const KIND_OFFSET = 1;

type Protocol = typeof tasks;

/** What a tracer samples. */
export interface TracerOptions {
  /** What the main thread's samples are filed under. */
  readonly parts?: PartTable;
  /** Whether workers are sampled too: it slows them down by a third and more. Their tasks are told in any case. */
  readonly workers?: boolean;
}

/** Sees everything a party does between start() and stop(). */
export class Tracer {
  /** The party's pool, to be used in place of the one given. */
  readonly pool: ProtocolRunner;
  readonly #inner: Pool<TracedTasks>;
  readonly #parts: PartTable;
  readonly #sampled: number;
  #tasks: TaskSpan[] = [];
  #sent: FrameMark[] = [];
  #received: FrameMark[] = [];
  #stopSampling: (() => Part[]) | undefined;

  constructor(inner: Pool<TracedTasks>, { parts = PARTS, workers = true }: TracerOptions = {}) {
    this.#inner = inner;
    this.#parts = parts;
    this.#sampled = workers ? inner.workers : 0;
    this.pool = {
      workers: inner.workers,
      run: (task, input, options) => this.#run(task, input, options),
    };
  }

  /** Closes the pool. */
  close(): Promise<void> {
    return this.#inner.close();
  }

  /** Sees the frames of a socket that no channel reads yet. A frame may travel in fragments, its header first. */
  watch(socket: TracedSocket): void {
    const mark = (fragments: readonly Uint8Array[]): FrameMark => ({
      kind: fragments[0]![KIND_OFFSET]!,
      bytes: fragments.reduce((sum, { length }) => sum + length, 0),
      at: now(),
    });
    const send = socket.send.bind(socket);
    let fragments: Uint8Array[] = [];
    socket.send = (data, options) => {
      fragments.push(data);
      if (options.fin) {
        this.#sent.push(mark(fragments));
        fragments = [];
      }
      send(data, options);
    };
    socket.addEventListener('message', ({ data }) => {
      if (data instanceof ArrayBuffer) this.#received.push(mark([new Uint8Array(data)]));
      else if (Array.isArray(data)) this.#received.push(mark(data));
    });
  }

  async start(): Promise<void> {
    await this.#everywhere((input) => this.#inner.run('startSampling', input));
    this.#stopSampling = startSampling(this.#parts);
    this.#tasks = [];
    this.#sent = [];
    this.#received = [];
  }

  async stop(): Promise<PartyTrace> {
    const main = this.#stopSampling!();
    // Copies: what comes after is not part of it.
    const [tasks, sent, received] = [[...this.#tasks], [...this.#sent], [...this.#received]];
    const threads = await this.#everywhere((input) => this.#inner.run('stopSampling', input));
    return { workers: this.pool.workers, tasks, main, threads, sent, received };
  }

  /** Runs a task that waits at a barrier once in every worker that is sampled. */
  #everywhere<T>(run: (barrier: Int32Array) => Promise<T>): Promise<T[]> {
    const barrier = new Int32Array(new SharedArrayBuffer(8));
    barrier[1] = this.#sampled;
    return Promise.all(Array.from({ length: this.#sampled }, () => run(barrier)));
  }

  async #run<K extends keyof Protocol>(
    task: K,
    input: Input<Protocol, K>,
    options?: RunOptions,
  ): Promise<Output<Protocol, K>> {
    const called = now();
    const traced = await this.#inner.run(task, input as Input<TracedTasks, K>, options);
    const { output, ...span } = traced as ReturnType<TracedTasks['evaluate']>;
    const kind = typeof input === 'object' && 'kind' in input ? { kind: input.kind } : {};
    this.#tasks.push({ task, ...kind, called, ...span, done: now() });
    return output as Output<Protocol, K>;
  }
}

/** The part of a socket of `ws` that is watched. */
interface TracedSocket {
  send(data: Uint8Array<ArrayBuffer>, options: { readonly fin: boolean }): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
}
