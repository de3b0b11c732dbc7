/**
 * The networks between the parties: how they are called, what they do to a frame, and what a phase takes over one by
 * calculation, where running it would take minutes.
 */

import type { Clock, Link } from '../../protocol/channel/delayed.ts';
import type { PhaseCost } from '../../protocol/inference/cost.ts';

/** A network. Both directions have the same rate, at the same time. */
export interface Network {
  readonly name: string;
  /** There and back, ms. */
  readonly roundTripMs: number;
  readonly bitsPerSecond: number;
}

/** This machine's own loopback; the planner's idea of its rate and delay, which nothing emulates. */
export const LOOPBACK: Network = { name: 'loopback', roundTripMs: 0.1, bitsPerSecond: 10e9 };

export const NETWORKS: readonly Network[] = [
  LOOPBACK,
  { name: 'LAN', roundTripMs: 0.5, bitsPerSecond: 1e9 },
  { name: 'WAN', roundTripMs: 40, bitsPerSecond: 100e6 },
  { name: 'mobile', roundTripMs: 60, bitsPerSecond: 20e6 },
];

/** One direction of a network, for the channel decorator; nothing for loopback. */
export function linkOf({ name, roundTripMs, bitsPerSecond }: Network): Link | undefined {
  return name === LOOPBACK.name ? undefined : { latencyMs: roundTripMs / 2, bitsPerSecond };
}

/** Below this many ms a timer is too coarse and the clock is watched instead. LOCAL. */
const WATCH_MS = 1.5;

/** A clock that wakes within some microseconds: a LAN's quarter of a millisecond is below a timer's grain. */
export const preciseClock: Clock = {
  now: () => performance.now(),
  async sleepUntil(time) {
    const left = time - performance.now() - WATCH_MS;
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
    while (performance.now() < time) await new Promise((resolve) => setImmediate(resolve));
  },
};

const wireMs = (bytes: number, { bitsPerSecond }: Network): number =>
  (8000 * bytes) / bitsPerSecond;

/** How long the bytes of both phases occupy a network, ms: what decides whether a point is run over it. */
export function occupationMs(phases: readonly PhaseCost[], network: Network): number {
  return phases.reduce(
    (ms, { up, down, rounds }) => ms + wireMs(up + down, network) + rounds * network.roundTripMs,
    0,
  );
}

/**
 * What a phase takes over a network, from what it took over loopback. Offline, both parties compute while bytes travel in
 * both directions, so the slowest of the three decides; online they take turns, so all of it adds up.
 */
export function computedMs(
  phase: 'offline' | 'online',
  loopbackMs: number,
  { up, down, rounds }: PhaseCost,
  network: Network,
): number {
  const [upMs, downMs] = [wireMs(up, network), wireMs(down, network)];
  const moved =
    phase === 'offline' ? Math.max(loopbackMs, upMs, downMs) : loopbackMs + upMs + downMs;
  return moved + rounds * network.roundTripMs;
}
