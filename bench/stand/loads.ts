/**
 * What becomes of inferences that arrive by themselves, at several clients of one server, each with a bounded store of
 * bundles: the digit network, at several rates.
 *
 * The question is that of Garimella et al. (Characterizing and Optimizing End-to-End Systems for Private Inference, ASPLOS
 * 2023): a client stores few bundles, so from some arrival rate on an inference waits for its own offline phase.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Stream } from '../../models/random.ts';
import { medianOf, p95Of } from '../measure.ts';
import { SEED } from '../points.ts';
import type { LoadResult } from '../results.ts';
import { type Job, jobOf, startParty } from './measurement.ts';
import type { SectionContext } from './run.ts';

/** The point whose network is run. */
const LOADED = 'zoo/digits';

const CLIENTS = 3;

/** What is run: stores, rates a minute, and how long each, ms. */
const RUNS = {
  full: { stores: [1, 4], rates: [60, 120, 240, 360, 600], ms: 5000 },
  quick: { stores: [4], rates: [120], ms: 2000 },
};

/** One inference that arrives. */
export interface InferenceArrival {
  /** Since the beginning, ms. */
  readonly at: number;
  /** Which client's. */
  readonly client: number;
}

/** A Poisson stream of `perMinute` inferences, spread evenly at random over `clients`, for `ms` milliseconds. */
export function poisson(
  perMinute: number,
  clients: number,
  ms: number,
  seed: number = SEED,
): InferenceArrival[] {
  const stream = new Stream(seed);
  const arrivals: InferenceArrival[] = [];
  for (let at = 0; ; ) {
    at += (-Math.log(1 - stream.uniform()) * 60_000) / perMinute;
    if (at >= ms) return arrivals;
    arrivals.push({ at, client: Math.floor(stream.uniform() * clients) });
  }
}

/** What became of one inference. */
interface Served {
  readonly at: number;
  /** From its arrival to its answer. */
  readonly ms: number;
  /** Whether a bundle waited for it. */
  readonly ready: boolean;
}

/** Runs, where its point is among those that are measured. */
export async function measureLoads(context: SectionContext): Promise<LoadResult[]> {
  const { mode, points, signal, report } = context;
  const { stores, rates, ms } = RUNS[mode];
  const loads: LoadResult[] = [];
  const point = points.find(({ id }) => id === LOADED);
  const folder = await mkdtemp(join(tmpdir(), 'sotto-loads-'));
  try {
    if (point === undefined) return [];
    const job = await jobOf(await point.make(), join(folder, 'model.sotto'));
    for (const store of stores) {
      for (const rate of rates) {
        report(`loads: ${rate} arrivals a minute, a store of ${store}`);
        loads.push(await runLoad(job, store, rate, ms, signal));
      }
    }
    return loads;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function runLoad(
  { path, image }: Job,
  store: number,
  rate: number,
  ms: number,
  signal: AbortSignal,
): Promise<LoadResult> {
  const server = startParty(signal);
  const clients = Array.from({ length: CLIENTS }, () => startParty(signal));
  // The clients share the machine: each has its part of it.
  const workers = Math.max(1, Math.floor(availableParallelism() / CLIENTS));
  try {
    const { url } = await server.ask('serve', { path });
    for (const client of clients) {
      await client.ask('connect', { url, workers });
      // One inference compiles what the machine compiles.
      await client.ask('infer', image);
      await client.ask('fill', store);
    }
    const start = performance.now();
    const served: Promise<Served>[] = [];
    for (const { at, client } of poisson(rate, CLIENTS, ms)) {
      const wait = at - (performance.now() - start);
      if (wait > 0) await sleep(wait, undefined, { signal });
      const asked = clients[client]!.ask('arrive', { image, store });
      served.push(asked.then((answer) => ({ at, ...answer })));
    }
    return loadOf(store, rate, await Promise.all(served));
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    await Promise.all([...clients, server].map((party) => party.stop()));
  }
}

function loadOf(store: number, rate: number, served: readonly Served[]): LoadResult {
  const times = served.map(({ ms }) => ms);
  const first = Math.min(...served.map(({ at }) => at));
  const last = Math.max(...served.map(({ at, ms }) => at + ms));
  return {
    point: LOADED,
    clients: CLIENTS,
    store,
    arrivalsPerMinute: rate,
    answeredPerMinute: (60_000 * served.length) / (last - first),
    medianMs: medianOf(times),
    p95Ms: p95Of(times),
    readyShare: served.filter(({ ready }) => ready).length / served.length,
    inferences: served.length,
  };
}
