/** The process of a party under measurement: a server, or a client, that does what it is told and can trace itself. */

import {
  connect,
  type Inference,
  memoryHints,
  type Session,
  storedHints,
} from '../../client/index.ts';
import { type OneWayLink as Direction, delayed } from '../../protocol/channel/delayed.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { createThreadPool } from '../../protocol/pool/node.ts';
import { loadModelFile, serve } from '../../server/index.ts';
import { preciseClock } from '../links.ts';
import { timed } from '../measure.ts';
import { byPhase, type PerPhase } from '../phases.ts';
import { CLASS_OF_FRAME } from './attribution.ts';
import { obey, usage } from './party.ts';
import { now, type Span } from './samples.ts';
import { type PartyTrace, Tracer } from './trace.ts';
import type { TracedTasks } from './trace-worker.ts';

let tracer: Tracer;
let session: Session;

/** A tracer over a pool of so many threads; default: as many as the machine runs at a time. */
function traced(workers: number | undefined): Tracer {
  const worker = new URL('./trace-worker.js', import.meta.url);
  const options = workers === undefined ? {} : { workers };
  return new Tracer(createThreadPool<TracedTasks>(worker, options), CLASS_OF_FRAME);
}

/** Frames are seen as the party sends them, before the link holds them back. */
const decorator = (direction: Direction | undefined) => (channel: Channel) =>
  tracer.watched(direction === undefined ? channel : delayed(channel, direction, preciseClock));

export interface ServeOrder {
  /** A `.sotto` file. */
  readonly path: string;
  /** What lies in front of all it sends; default: nothing. */
  readonly direction?: Direction | undefined;
  /** Threads; default: as many as the machine runs at a time. */
  readonly workers?: number;
}

export interface ConnectOrder {
  readonly url: string;
  readonly direction?: Direction | undefined;
  /** Folder of hints; default: none are kept. */
  readonly hints?: string;
  /** Threads; default: as many as the machine runs at a time. */
  readonly workers?: number;
}

/** Sessions of one process, over one pool of threads. */
export interface SteadyOrder {
  readonly url: string;
  readonly sessions: number;
  /** Inferences that a session prepares at a time. */
  readonly prepared: number;
  readonly image: Uint8Array;
  /** How long they run before they are measured, until they are out of step, and how long they are, in ms. */
  readonly warmMs: number;
  readonly ms: number;
}

/** Of each inference of {@link SteadyOrder}, in ms. */
export interface SteadyTimes {
  readonly offline: readonly number[];
  readonly online: readonly number[];
}

/** What a party does when it is told. */
export type PartyOrders = {
  /** Serves a model: its URL, and how long its hint was made, in ms, 0 where it was there. */
  readonly serve: (order: ServeOrder) => Promise<{ url: string; hintMs: number }>;
  /** Opens a session, in place of the one before; milliseconds. */
  readonly connect: (order: ConnectOrder) => Promise<number>;
  readonly prepare: () => Promise<void>;
  readonly infer: (image: Uint8Array) => Promise<Inference>;
  readonly startTrace: () => void;
  readonly stopTrace: () => PartyTrace;
  /** One traced inference: its phases, on the clock of the traces. */
  readonly trace: (
    image: Uint8Array,
  ) => Promise<{ readonly phases: PerPhase<Span>; readonly trace: PartyTrace }>;
  /**
   * One inference of a client that keeps `store` bundles when it can: how long it took from its arrival, and whether a
   * bundle was there.
   */
  readonly arrive: (order: {
    readonly image: Uint8Array;
    readonly store: number;
  }) => Promise<{ readonly ms: number; readonly ready: boolean }>;
  /** Prepares until the store is full. */
  readonly fill: (store: number) => Promise<void>;
  /** One inference that begins while another is being prepared: how long it took, what it waited included, in ms. */
  readonly beside: (image: Uint8Array) => Promise<number>;
  /** Sessions that prepare and infer without a pause, until they are over. */
  readonly steady: (order: SteadyOrder) => Promise<SteadyTimes>;
  readonly usage: typeof usage;
};

const orders: PartyOrders = {
  async serve({ path, direction, workers }) {
    tracer = traced(workers);
    let hintMs = 0;
    const { url } = await serve([await loadModelFile(path)], {
      port: 0,
      pool: tracer.pool,
      decorate: decorator(direction),
      onEvent(event) {
        if (event.type === 'hint') hintMs = event.ms;
        // An error of a session is the client's to report; what is this side's own fault would be lost there.
        if (event.type === 'error' && event.code === 'internal')
          process.stderr.write(`${event.message}\n`);
      },
    });
    return { url, hintMs };
  },

  async connect({ url, direction, hints, workers }) {
    await session?.close();
    tracer ??= traced(workers);
    const kept = hints === undefined ? (false as const) : storedHints({ folder: hints });
    const options = { pool: tracer.pool, decorate: decorator(direction), hints: kept };
    const { ms, result } = await timed(() => connect(url, options));
    session = result;
    return ms;
  },

  prepare: () => session.prepare(),

  infer: (image) => session.infer(image),

  startTrace: () => tracer.start(),
  stopTrace: () => tracer.stop(),

  async trace(image) {
    tracer.start();
    const times = [now()];
    await session.prepare();
    times.push(now());
    await session.infer(image);
    times.push(now());
    const phases = byPhase((phase) => {
      const from = phase === 'offline' ? 0 : 1;
      return { start: times[from]!, end: times[from + 1]! };
    });
    return { phases, trace: tracer.stop() };
  },

  async arrive({ image, store }) {
    const start = now();
    arrivals++;
    const ready = session.available >= arrivals;
    await session.infer(image);
    arrivals--;
    void fill(store);
    return { ms: now() - start, ready };
  },

  fill,

  async beside(image) {
    let begin = (): void => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const preparing = session.prepare({ onProgress: ({ done }) => done > 0 && begin() });
    await begun;
    const { stats } = await session.infer(image);
    await preparing;
    return stats.online.ms + stats.waitMs;
  },

  async steady({ url, sessions, prepared, image, warmMs, ms }) {
    tracer ??= traced(undefined);
    const options = { pool: tracer.pool, hints: memoryHints() };
    const first = await connect(url, options);
    const others = Array.from({ length: sessions - 1 }, () => connect(url, options));
    const opened = await Promise.all([first, ...others]);
    const times = { offline: [] as number[], online: [] as number[] };
    // Nothing counts until every session has compiled what it compiles.
    let [counts, end] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    const note = (list: number[], since: number, inferences = 1): void => {
      const at = now();
      if (at >= counts && at < end) list.push((at - since) / inferences);
    };
    const round = async (own: Session): Promise<void> => {
      const began = now();
      await own.prepare({ inferences: prepared });
      note(times.offline, began, prepared);
      for (let i = 0; i < prepared; i++) {
        const start = now();
        await own.infer(image);
        note(times.online, start);
      }
    };
    await Promise.all(opened.map(round));
    counts = now() + warmMs;
    end = counts + ms;
    const use = async (own: Session): Promise<void> => {
      while (now() < end) await round(own);
      await own.close();
    };
    await Promise.all(opened.map(use));
    return times;
  },

  usage,
};

/** Inferences that have arrived and are not answered. */
let arrivals = 0;
let filling: Promise<void> | undefined;

/** An inference that arrives meanwhile has its turn after the bundle in work. */
function fill(store: number): Promise<void> {
  filling ??= (async () => {
    while (session.available < store) await session.prepare();
  })().finally(() => {
    filling = undefined;
  });
  return filling;
}

obey(orders);
