/** What named links do to a frame, and what a phase takes over one by calculation, where running it would take minutes. */

import type { Clock, OneWayLink as Direction } from '../protocol/channel/delayed.ts';
import { LOOPBACK, type NamedLink } from '../protocol/inference/links.ts';
import type { PhaseTraffic } from './phases.ts';

/** One direction of a link, for the channel decorator; nothing for loopback. */
export function directionOf({
  name,
  roundTripMs,
  bitsPerSecond,
}: NamedLink): Direction | undefined {
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
export const wireMs = (bytes: number, { bitsPerSecond }: NamedLink): number =>
  (8000 * bytes) / bitsPerSecond;

/** How long the bytes and round trips of phases take over a link, ms: what decides whether a point is run over it. */
export function occupationMs(phases: readonly PhaseTraffic[], link: NamedLink): number {
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
  { upBytes, downBytes, roundTrips }: PhaseTraffic,
  link: NamedLink,
): number {
  const [upMs, downMs] = [wireMs(upBytes, link), wireMs(downBytes, link)];
  const moved =
    phase === 'offline' ? Math.max(loopbackMs, upMs, downMs) : loopbackMs + upMs + downMs;
  return moved + roundTrips * link.roundTripMs;
}
