/**
 * Inferences per minute against the rate at which they arrive, for several clients of one server and a bounded store of
 * bundles: run with the digit network, and simulated for it and for larger ones from their measured phases.
 */

import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOOPBACK } from '../../protocol/inference/links.ts';
import { loadDigits } from '../digits.ts';
import { summarise } from '../measure.ts';
import { poisson, type Served, simulate, type Work } from './arrivals.ts';
import { startClientParty, startServerParty } from './measurement.ts';
import { type Load, type PointResult, runOver, type ThroughputResult } from './results.ts';

/** The point whose network is run. */
export const LOADED = 'zoo/digits';

const CLIENTS = 3;

/** What is run: stores, rates a minute, and how long each, ms. */
const RUNS = {
  full: { stores: [1, 4], rates: [60, 120, 240, 360, 600], ms: 5000 },
  quick: { stores: [4], rates: [120, 360], ms: 3000 },
};

/** Rates of a simulation, as shares of what the machine could do at most, and its arrivals. */
const SIMULATED_LOADS = [0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2];
const SIMULATED_ARRIVALS = 3000;
const SIMULATED_STORES = [1, 4, 16];

/** Which networks are simulated. */
const SIMULATED = [LOADED, 'ResNet-20/identity/9421', 'ResNet-32/identity/303104'];

/**
 * Runs and simulates.
 * @param before loads that a run which was cut has left
 * @param save told of all loads that were run so far
 */
export async function benchThroughput(
  mode: 'quick' | 'full',
  points: readonly PointResult[],
  before: readonly Load[],
  save: (loads: readonly Load[]) => Promise<void>,
  report: (line: string) => void,
  signal: AbortSignal,
): Promise<ThroughputResult> {
  const { stores, rates, ms } = RUNS[mode];
  const loads = [...before];
  for (const { store, rate } of stores.flatMap((store) => rates.map((rate) => ({ store, rate })))) {
    if (loads.some((load) => load.store === store && load.arrivalsPerMinute === rate)) continue;
    report(`throughput: ${rate} arrivals a minute, a store of ${store}`);
    loads.push(await runLoad(store, rate, ms, signal));
    await save(loads);
  }
  const simulated = points.filter(({ id }) => SIMULATED.includes(id)).flatMap(simulateLoads);
  return { loads: [...loads, ...simulated] };
}

async function runLoad(
  store: number,
  rate: number,
  ms: number,
  signal: AbortSignal,
): Promise<Load> {
  const { path, images } = loadDigits();
  const server = startServerParty([], signal);
  const clients = Array.from({ length: CLIENTS }, () => startClientParty(signal));
  // The clients share the machine: each has its part of it.
  const workers = Math.max(1, Math.floor(availableParallelism() / CLIENTS));
  try {
    const url = await server.ask('listen', { path, host: '127.0.0.1', link: undefined });
    for (const client of clients) {
      await client.ask('open', { url, link: undefined, workers });
      // One inference compiles what the machine compiles.
      await client.ask('infer', images[0]!);
      await client.ask('fill', store);
    }
    const start = performance.now();
    const served: Promise<Served>[] = [];
    for (const { at, client } of poisson(rate, CLIENTS, ms)) {
      const wait = at - (performance.now() - start);
      if (wait > 0) await sleep(wait, undefined, { signal });
      const asked = clients[client]!.ask('arrive', { image: images[3]!, store });
      served.push(asked.then((answer) => ({ at, ...answer })));
    }
    return loadOf(LOADED, 'measured', store, rate, await Promise.all(served));
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    await Promise.all([...clients, server].map((party) => party.stop()));
  }
}

/** A network's loads by simulation, from the medians of its phases over loopback. */
export function simulateLoads(point: PointResult): Load[] {
  const { ms } = runOver(point, LOOPBACK.name)!;
  const work: Work = {
    offlineMs: summarise(ms.offline).median,
    onlineMs: summarise(ms.online).median,
  };
  const most = 60_000 / (work.offlineMs + work.onlineMs);
  return SIMULATED_STORES.flatMap((store) =>
    SIMULATED_LOADS.map((share) => {
      const rate = share * most;
      const arrivals = poisson(rate, CLIENTS, (60_000 * SIMULATED_ARRIVALS) / rate);
      return loadOf(point.id, 'simulated', store, rate, simulate(arrivals, CLIENTS, store, work));
    }),
  );
}

function loadOf(
  network: string,
  origin: Load['origin'],
  store: number,
  rate: number,
  served: readonly Served[],
): Load {
  const times = served.map(({ ms }) => ms).sort((a, b) => a - b);
  const first = Math.min(...served.map(({ at }) => at));
  const last = Math.max(...served.map(({ at, ms }) => at + ms));
  return {
    network,
    origin,
    clients: CLIENTS,
    store,
    arrivalsPerMinute: rate,
    answeredPerMinute: (60_000 * served.length) / (last - first),
    medianMs: summarise(times).median,
    p95Ms: times[Math.ceil(0.95 * times.length) - 1]!,
    ready: served.filter(({ ready }) => ready).length / served.length,
    inferences: served.length,
  };
}
