/**
 * The links between the parties: how they are called, what they do to a frame, and what a phase takes over one by
 * calculation, where running it would take minutes.
 */

import type { Clock, Link as Direction } from '../protocol/channel/delayed.ts';
import type { PhaseBytes } from './results.ts';

/** A link. Both directions have the same rate, at the same time. */
export interface Link {
  readonly name: string;
  /** There and back, ms. */
  readonly roundTripMs: number;
  readonly bitsPerSecond: number;
}

/** This machine's own loopback; the planner's idea of its rate and delay, which nothing emulates. */
export const LOOPBACK: Link = { name: 'loopback', roundTripMs: 0.1, bitsPerSecond: 10e9 };

/** A phone's. */
export const MOBILE: Link = { name: 'mobile', roundTripMs: 60, bitsPerSecond: 20e6 };

export const LINKS: readonly Link[] = [
  LOOPBACK,
  { name: 'LAN', roundTripMs: 0.5, bitsPerSecond: 1e9 },
  { name: 'WAN', roundTripMs: 40, bitsPerSecond: 100e6 },
  MOBILE,
];

/** One direction of a link, for the channel decorator; nothing for loopback. */
export function directionOf({ name, roundTripMs, bitsPerSecond }: Link): Direction | undefined {
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

/** How long bytes occupy one direction of a link, ms. */
export const wireMs = (bytes: number, { bitsPerSecond }: Link): number =>
  (8000 * bytes) / bitsPerSecond;

/** How long the bytes and round trips of phases take over a link, ms: what decides whether a point is run over it. */
export function occupationMs(phases: readonly PhaseBytes[], link: Link): number {
  return phases.reduce(
    (ms, { upBytes, downBytes, roundTrips }) =>
      ms + wireMs(upBytes + downBytes, link) + roundTrips * link.roundTripMs,
    0,
  );
}

/**
 * What a phase takes over a link, from what it took over loopback. Offline, both parties compute while bytes travel in
 * both directions, so the slowest of the three decides; online they take turns, so all of it adds up.
 */
export function computedMs(
  phase: 'offline' | 'online',
  loopbackMs: number,
  { upBytes, downBytes, roundTrips }: PhaseBytes,
  link: Link,
): number {
  const [upMs, downMs] = [wireMs(upBytes, link), wireMs(downBytes, link)];
  const moved =
    phase === 'offline' ? Math.max(loopbackMs, upMs, downMs) : loopbackMs + upMs + downMs;
  return moved + roundTrips * link.roundTripMs;
}
