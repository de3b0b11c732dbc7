/**
 * What the named links (protocol/inference/links.ts) do to a frame, and what a phase takes over one by calculation, where
 * running it would take minutes.
 */

import type { Clock, Link } from '../../protocol/channel/delayed.ts';
import type { PhaseCost } from '../../protocol/inference/cost.ts';
import { LOOPBACK, type NamedLink } from '../../protocol/inference/links.ts';

/** One direction of a network, for the channel decorator; nothing for loopback. */
export function linkOf({ name, roundTripMs, bitsPerSecond }: NamedLink): Link | undefined {
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

const wireMs = (bytes: number, { bitsPerSecond }: NamedLink): number =>
  (8000 * bytes) / bitsPerSecond;

/** How long the bytes of both phases occupy a network, ms: what decides whether a point is run over it. */
export function occupationMs(phases: readonly PhaseCost[], network: NamedLink): number {
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
  network: NamedLink,
): number {
  const [upMs, downMs] = [wireMs(up, network), wireMs(down, network)];
  const moved =
    phase === 'offline' ? Math.max(loopbackMs, upMs, downMs) : loopbackMs + upMs + downMs;
  return moved + rounds * network.roundTripMs;
}
