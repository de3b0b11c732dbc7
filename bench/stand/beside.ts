/**
 * What an inference takes while the same session prepares another, against one alone: both in turn, so that what disturbs meets both. Each
 * party has half of the machine's threads: on one machine they would otherwise wait for each other's preparation as well.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { summarise } from '../measure.ts';
import type { BesideResult } from '../results.ts';
import { type Job, jobOf, startParty } from './measurement.ts';
import type { SectionContext } from './run.ts';

/** The points whose networks are run, small to large. */
const POINTS = ['zoo/digits', 'zoo/cifar10', 'ResNet-18/identity/557056'];

/** Pairs, and those before them that compile what the machine compiles. */
const PAIRS = { full: { warm: 4, counted: 25 }, quick: { warm: 0, counted: 3 } };

/** Runs those whose points are among the ones that are measured. */
export async function measureBeside(context: SectionContext): Promise<BesideResult[]> {
  const { points, signal, report } = context;
  const results: BesideResult[] = [];
  const folder = await mkdtemp(join(tmpdir(), 'sotto-beside-'));
  try {
    for (const point of points.filter(({ id }) => POINTS.includes(id))) {
      signal.throwIfAborted();
      report(`beside: ${point.id}`);
      const job = await jobOf(await point.make(), join(folder, 'model.sotto'));
      results.push({ point: point.id, ...(await runPairs(job, context)) });
    }
    return results;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function runPairs(
  { path, image, costs }: Job,
  { mode, signal }: SectionContext,
): Promise<Omit<BesideResult, 'point'>> {
  const { warm, counted } = PAIRS[mode];
  const workers = Math.max(1, Math.floor(availableParallelism() / 2));
  const server = startParty(signal);
  const client = startParty(signal);
  const pairs: { readonly alone: number; readonly beside: number }[] = [];
  try {
    const { url } = await server.ask('serve', { path, workers });
    await client.ask('connect', { url, workers });
    await client.ask('prepare');
    for (let i = 0; i < warm + counted; i++) {
      const beside = await client.ask('beside', image);
      const { online, waitMs } = (await client.ask('infer', image)).stats;
      await client.ask('prepare');
      if (i >= warm) pairs.push({ alone: online.ms + waitMs, beside });
    }
    return {
      ...costs.online,
      aloneMs: summarise(pairs.map(({ alone }) => alone)),
      besideMs: summarise(pairs.map(({ beside }) => beside)),
      ratio: summarise(pairs.map(({ alone, beside }) => beside / alone)),
    };
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    await Promise.all([client.stop(), server.stop()]);
  }
}
