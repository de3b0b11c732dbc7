/**
 * Running a point: client and server, a process each, over one link.
 *
 * Each has a pool of as many threads as the machine runs at a time, so that on one machine they compete for its cores.
 * Inferences warm up until their times have stopped falling; the last is traced, which slows it down, and counts in no
 * median. A run whose bytes differ from the formulas, or whose answer differs from that of the network in the clear, fails.
 */

import { rm, writeFile } from 'node:fs/promises';
import type { Inference } from '../../client/answers.ts';
import { costOf } from '../../protocol/inference/cost.ts';
import { layoutOf } from '../../protocol/inference/layout.ts';
import type { NamedLink } from '../../protocol/inference/links.ts';
import { runClear } from '../../protocol/program/clear.ts';
import { decodeLogits, encodeInput } from '../../protocol/program/input.ts';
import { encodeModel, type Model } from '../../protocol/program/model.ts';
import { directionOf } from '../links.ts';
import { isFlat, medianOf, type Summary, summarise } from '../measure.ts';
import { byPhase, type PerParty, type PerPhase, type PhaseTraffic } from '../phases.ts';
import type { Subject } from '../points.ts';
import type { PartyOrders } from './parties.ts';
import { PartyProcess, type Usage } from './party.ts';
import type { InferenceTrace } from './trace.ts';

/** A model as a party finds it, and what an inference with it must be. */
export interface Job {
  /** A `.sotto` file. */
  readonly path: string;
  /** Pixels 0..255. */
  readonly image: Uint8Array;
  readonly costs: PerPhase<PhaseTraffic>;
  check(answer: Inference): void;
}

/** Between `least` and `most` repetitions: no further one after `ms` milliseconds. */
export interface Effort {
  readonly least: number;
  readonly most: number;
  readonly ms: number;
  /** Warms up no longer than this, in ms, but for one inference at least. */
  readonly warmMs: number;
}

/** One phase of one inference. */
interface PhaseTimes {
  /** The client's wall clock. */
  readonly ms: number;
  /** Processor time of each party's process, all threads. */
  readonly cpuMs: PerParty<number>;
}

export interface PointMeasurement {
  readonly ms: PerPhase<Summary>;
  /** Medians. */
  readonly cpuMs: PerPhase<PerParty<number>>;
  readonly hintMs: number;
  readonly connectMs: { readonly cold: number; readonly warm: number };
  /** Most memory of each process before the trace. */
  readonly peakBytes: PerParty<number>;
  readonly trace: InferenceTrace;
}

const SCRIPT = new URL('./parties.js', import.meta.url);

/** A process that ends with the signal, or when it is told to stop. */
export const startParty = (signal: AbortSignal): PartyProcess<PartyOrders> =>
  new PartyProcess<PartyOrders>(SCRIPT, signal);

type Parties = PerParty<PartyProcess<PartyOrders>>;

/**
 * Measures a job over a link.
 * @param between called after each repetition, to measure something else in turn; default: nothing
 */
export async function measureJob(
  job: Job,
  link: NamedLink,
  effort: Effort,
  signal: AbortSignal,
  between: () => Promise<void> = async () => {},
): Promise<PointMeasurement> {
  signal.throwIfAborted();
  const direction = directionOf(link);
  const server = startParty(signal);
  const client = startParty(signal);
  const hints = `${job.path}.hints`;
  try {
    const { url, hintMs } = await server.ask('serve', { path: job.path, direction });
    const cold = await client.ask('connect', { url, direction, hints });
    const warm = await client.ask('connect', { url, direction, hints });
    const infer = () => inferOnce(job, { client, server });
    await warmUp(infer, effort.warmMs);
    const start = performance.now();
    const runs: PerPhase<PhaseTimes>[] = [];
    const late = () => runs.length >= effort.least && performance.now() - start > effort.ms;
    while (runs.length < effort.most && !late()) {
      runs.push(await infer());
      await between();
    }
    const [near, far] = [await client.ask('usage'), await server.ask('usage')];
    return {
      ms: byPhase((phase) => summarise(runs.map((run) => run[phase].ms))),
      cpuMs: byPhase((phase) => ({
        client: medianOf(runs.map((run) => run[phase].cpuMs.client)),
        server: medianOf(runs.map((run) => run[phase].cpuMs.server)),
      })),
      hintMs,
      connectMs: { cold, warm },
      peakBytes: { client: near.peakBytes, server: far.peakBytes },
      trace: await trace(job, { client, server }),
    };
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    await Promise.all([client.stop(), server.stop()]);
    await rm(hints, { recursive: true, force: true });
  }
}

async function warmUp(infer: () => Promise<PerPhase<PhaseTimes>>, warmMs: number): Promise<void> {
  const start = performance.now();
  const times: number[] = [];
  do {
    const { offline, online } = await infer();
    times.push(offline.ms + online.ms);
  } while (!isFlat(times) && performance.now() - start < warmMs);
}

async function inferOnce(job: Job, { client, server }: Parties): Promise<PerPhase<PhaseTimes>> {
  const look = () => Promise.all([client.ask('usage'), server.ask('usage')]);
  const before = await look();
  await client.ask('prepare');
  const middle = await look();
  const answer = await client.ask('infer', job.image);
  const after = await look();
  job.check(answer);
  return byPhase((phase) => {
    const { ms, bytesUp, bytesDown } = answer.stats[phase];
    const { upBytes, downBytes } = job.costs[phase];
    if (bytesUp !== upBytes || bytesDown !== downBytes) {
      throw new Error(
        `${phase}: counted ${bytesUp} bytes up and ${bytesDown} down, the formulas say ${upBytes} and ${downBytes}`,
      );
    }
    const [from, to] = phase === 'offline' ? [before, middle] : [middle, after];
    const used = (party: 0 | 1) => (to[party] as Usage).cpuMs - (from[party] as Usage).cpuMs;
    return { ms, cpuMs: { client: used(0), server: used(1) } };
  });
}

async function trace({ image }: Job, { client, server }: Parties): Promise<InferenceTrace> {
  await server.ask('startTrace');
  const { phases, trace: near } = await client.ask('trace', image);
  return { phases, parties: { client: near, server: await server.ask('stopTrace') } };
}

/** A subject in a file, ready for the parties. */
export async function jobOf({ model, image }: Subject, path: string): Promise<Job> {
  await writeFile(path, encodeModel(model));
  const cost = costOf(layoutOf(model.program));
  const costs = byPhase((phase) => {
    const { up, down, rounds } = cost[phase];
    return { upBytes: up, downBytes: down, roundTrips: rounds };
  });
  return { path, image, costs, check: checkAgainstClear(model, image) };
}

/** Holds answers to the network in the clear. Where an image leaves a network's ranges there is nothing to hold them to. */
export function checkAgainstClear(model: Model, image: Uint8Array): (answer: Inference) => void {
  const { program } = model;
  const output = program.steps.at(-1)!;
  const pixels = Float32Array.from(image, (pixel) => pixel / 255);
  let outside = 0;
  const result = runClear(model, encodeInput(program, pixels), (_step, _value, count) => {
    outside += count;
  });
  if (outside > 0 || output.op !== 'output') return () => {};
  if (output.reveal === 'label') {
    return ({ label }) => {
      if (label !== result[0]) throw new Error(`private class ${label}, in the clear ${result[0]}`);
    };
  }
  const clear = decodeLogits(program, result);
  // Results may have fewer bits than the output step computes with.
  const tolerance = output.tolerance * 2 ** -Math.min(...program.results.map(({ bits }) => bits));
  return ({ logits }) => {
    const off = Math.max(...clear.map((logit, i) => Math.abs(logit - logits![i]!)));
    if (!(off <= tolerance)) {
      throw new Error(
        `a private logit is ${off} from the one in the clear, at most ${tolerance} may be`,
      );
    }
  };
}
