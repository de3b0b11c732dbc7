/**
 * Inferences that arrive by themselves: when, and by simulation what becomes of them.
 *
 * The question is that of Garimella et al. (Characterizing and Optimizing End-to-End Systems for Private Inference, ASPLOS
 * 2023): a client stores few bundles, so from some arrival rate on an inference waits for its own offline phase.
 */

import { Stream } from '../../models/random.ts';
import { SEED } from './points.ts';

/** One inference that arrives. */
export interface Arrival {
  /** Since the beginning, ms. */
  readonly at: number;
  /** Which client's. */
  readonly client: number;
}

/** A Poisson stream of `perMinute` inferences, spread evenly at random over `clients`, for `ms` milliseconds. */
export function poisson(perMinute: number, clients: number, ms: number, seed = SEED): Arrival[] {
  const stream = new Stream(seed);
  const arrivals: Arrival[] = [];
  for (let at = 0; ; ) {
    at += (-Math.log(1 - stream.uniform()) * 60_000) / perMinute;
    if (at >= ms) return arrivals;
    arrivals.push({ at, client: Math.floor(stream.uniform() * clients) });
  }
}

/** What became of one inference. */
export interface Served {
  readonly at: number;
  /** From its arrival to its answer. */
  readonly ms: number;
  /** Whether a bundle waited for it. */
  readonly ready: boolean;
}

/** What a machine takes when it does nothing else, ms. */
export interface Work {
  readonly offlineMs: number;
  readonly onlineMs: number;
}

interface Job {
  readonly phase: 'offline' | 'online';
  left: number;
}

/**
 * Simulates clients with `store` bundles each, which one machine serves: jobs that run at the same time share it equally.
 * As in a session, each client does one thing at a time; answers come before bundles, but do not interrupt one.
 */
export function simulate(
  arrivals: readonly Arrival[],
  clients: number,
  store: number,
  { offlineMs, onlineMs }: Work,
): Served[] {
  const states = Array.from({ length: clients }, () => ({
    bundles: store,
    waiting: [] as { at: number; ready: boolean }[],
    job: undefined as Job | undefined,
  }));
  const served: Served[] = [];
  let now = 0;
  let next = 0;
  const begin = (state: (typeof states)[number]): void => {
    if (state.job !== undefined) return;
    if (state.waiting.length > 0 && state.bundles > 0) {
      state.bundles--;
      state.job = { phase: 'online', left: onlineMs };
    } else if (state.waiting.length > 0 || state.bundles < store) {
      state.job = { phase: 'offline', left: offlineMs };
    }
  };
  for (;;) {
    const running = states.filter(({ job }) => job !== undefined);
    const done =
      running.length === 0
        ? Number.POSITIVE_INFINITY
        : Math.min(...running.map(({ job }) => job!.left)) * running.length;
    const arrival = arrivals[next];
    if (arrival === undefined && states.every(({ waiting }) => waiting.length === 0)) break;
    const step = Math.min(done, (arrival?.at ?? Number.POSITIVE_INFINITY) - now);
    for (const { job } of running) job!.left -= step / running.length;
    now += step;
    if (arrival !== undefined && arrival.at <= now) {
      const { waiting, bundles } = states[arrival.client]!;
      waiting.push({ at: arrival.at, ready: bundles > waiting.length });
      next++;
    }
    for (const state of running) {
      if (state.job!.left > 1e-9) continue;
      if (state.job!.phase === 'offline') {
        state.bundles++;
      } else {
        const { at, ready } = state.waiting.shift()!;
        served.push({ at, ms: now - at, ready });
      }
      state.job = undefined;
    }
    for (const state of states) begin(state);
  }
  return served;
}
