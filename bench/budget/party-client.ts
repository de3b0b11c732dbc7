/** The client of a measured run. */

import { WebSocket } from 'ws';
import { openSession, type Session } from '../../client/session.ts';
import { delayed, type Link } from '../../protocol/channel/delayed.ts';
import { CLIENT_SOCKET_OPTIONS, socketChannel } from '../../protocol/channel/websocket.ts';
import { createThreadPool } from '../../protocol/pool/node.ts';
import type { TracedTasks } from '../profile-worker.ts';
import { now } from '../samples.ts';
import { Tracer } from '../trace.ts';
import { TRACED } from './attribution.ts';
import { preciseClock } from './links.ts';
import { obey, usage } from './party.ts';

let tracer: Tracer;
let session: Session;

export interface OpenOrder {
  readonly url: string;
  readonly link: Link | undefined;
  /** Threads; as many as the machine runs at a time unless given. */
  readonly workers?: number;
}

const orders = {
  async open({ url, link, workers }: OpenOrder): Promise<void> {
    const worker = new URL('../profile-worker.js', import.meta.url);
    const pool = createThreadPool<TracedTasks>(worker, workers === undefined ? {} : { workers });
    tracer = new Tracer(pool, TRACED);
    const channel = socketChannel(new WebSocket(url, CLIENT_SOCKET_OPTIONS));
    session = await openSession({
      channel: link === undefined ? channel : delayed(channel, link, preciseClock),
      pool: tracer.pool,
    });
  },

  prepare: () => session.prepare(),

  infer: (image: Uint8Array) => session.infer(image),

  /** One inference, traced: both phases in ms on the clock of the traces. */
  async trace(image: Uint8Array) {
    await tracer.start();
    const start = now();
    await session.prepare();
    const middle = now();
    await session.infer(image);
    const phases = { offline: { start, end: middle }, online: { start: middle, end: now() } };
    return { phases, trace: await tracer.stop() };
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

export type ClientOrders = typeof orders;

obey(orders);
