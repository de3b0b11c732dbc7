/**
 * A server whose sessions prepare and infer without a pause: the digit network, as many sessions as a server takes by default. The
 * server is a process, all clients are another with one pool between them, and both compete for the cores.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_SERVER_LIMITS } from '../../server/limits.ts';
import { p95Of, summarise } from '../measure.ts';
import type { SteadyResult } from '../results.ts';
import { jobOf, startParty } from './measurement.ts';
import type { SectionContext } from './run.ts';

/** The point whose network is run. */
const STEADY = 'zoo/digits';

/** How many sessions, inferences that each prepares at a time, and how long they run, in ms. */
const SCALE = {
  full: { sessions: DEFAULT_SERVER_LIMITS.sessions, prepared: 4, warmMs: 5000, ms: 30_000 },
  quick: { sessions: 4, prepared: 2, warmMs: 500, ms: 3000 },
};

/** Runs, where its point is among those that are measured. */
export async function measureSteady(context: SectionContext): Promise<SteadyResult[]> {
  const { mode, points, signal, report } = context;
  const point = points.find(({ id }) => id === STEADY);
  if (point === undefined) return [];
  const { sessions, prepared, warmMs, ms } = SCALE[mode];
  report(`steady: ${sessions} sessions`);
  const folder = await mkdtemp(join(tmpdir(), 'sotto-steady-'));
  const server = startParty(signal);
  const clients = startParty(signal);
  try {
    const { path, image } = await jobOf(await point.make(), join(folder, 'model.sotto'));
    const { url } = await server.ask('serve', { path });
    const order = { url, sessions, prepared, image, warmMs, ms };
    const { offline, online } = await clients.ask('steady', order);
    return [
      {
        ...{ point: STEADY, sessions, prepared },
        perSecond: (1000 * online.length) / ms,
        onlineMs: { ...summarise(online), p95: p95Of(online) },
        offlineMs: { ...summarise(offline), p95: p95Of(offline) },
      },
    ];
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    await Promise.all([clients.stop(), server.stop()]);
    await rm(folder, { recursive: true });
  }
}
