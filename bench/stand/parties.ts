/** The process of a party under measurement: a server, or a client, that does what it is told and can trace itself. */

import { connect, type Session, storedHints } from '../../client/index.ts';
import { type Link as Direction, delayed } from '../../protocol/channel/delayed.ts';
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
}

export interface ConnectOrder {
  readonly url: string;
  readonly direction?: Direction | undefined;
  /** Folder of hints; default: none are kept. */
  readonly hints?: string;
  /** Threads; default: as many as the machine runs at a time. */
  readonly workers?: number;
}

const orders = {
  /** Serves a model: its URL, and how long its hint was made, in ms, 0 where it was there. */
  async serve({ path, direction }: ServeOrder): Promise<{ url: string; hintMs: number }> {
    tracer = traced(undefined);
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

  /** Opens a session, in place of the one before; milliseconds. */
  async connect({ url, direction, hints, workers }: ConnectOrder): Promise<number> {
    await session?.close();
    tracer ??= traced(workers);
    const kept = hints === undefined ? (false as const) : storedHints({ folder: hints });
    const options = { pool: tracer.pool, decorate: decorator(direction), hints: kept };
    const { ms, result } = await timed(() => connect(url, options));
    session = result;
    return ms;
  },

  prepare: () => session.prepare(),

  infer: (image: Uint8Array) => session.infer(image),

  startTrace: () => tracer.start(),
  stopTrace: () => tracer.stop(),

  /** One traced inference: its phases, on the clock of the traces. */
  async trace(image: Uint8Array): Promise<{ phases: PerPhase<Span>; trace: PartyTrace }> {
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

  /**
   * One inference of a client that keeps `store` bundles when it can: how long it took from its arrival, and whether a
   * bundle was there.
   */
  async arrive({ image, store }: { image: Uint8Array; store: number }) {
    const start = now();
    arrivals++;
    const ready = session.available >= arrivals;
    await session.infer(image);
    arrivals--;
    void fill(store);
    return { ms: now() - start, ready };
  },

  fill,
  usage,
};

/** Inferences that have arrived and are not answered. */
let arrivals = 0;
let filling: Promise<void> | undefined;

/** Prepares until the store is full; an inference that arrives meanwhile has its turn after the bundle in work. */
function fill(store: number): Promise<void> {
  filling ??= (async () => {
    while (session.available < store) await session.prepare();
  })().finally(() => {
    filling = undefined;
  });
  return filling;
}

export type PartyOrders = typeof orders;

obey(orders);
