/**
 * Running a point: client and server, a process each, over one network.
 *
 * Each has a pool of as many threads as the machine runs at a time, so that on one machine they compete for its cores, as
 * in inference.ts. The first inference warms up and does not count; the last is traced, which slows it down, and does
 * not count either. A run whose bytes differ from the formulas, or whose answer differs from that of the network in
 * the clear, fails.
 */

import { writeFile } from 'node:fs/promises';
import type { Inference } from '../../client/session.ts';
import type { Link } from '../../protocol/channel/delayed.ts';
import { type Cost, costOf } from '../../protocol/inference/cost.ts';
import { layoutOf } from '../../protocol/inference/layout.ts';
import { runClear } from '../../protocol/program/clear.ts';
import { decodeLogits, encodeInput } from '../../protocol/program/input.ts';
import { encodeModel, type Model } from '../../protocol/program/model.ts';
import { type Attribution, attribute } from './attribution.ts';
import { Party, type Usage } from './party.ts';
import type { ClientOrders } from './party-client.ts';
import type { ServerOrders } from './party-server.ts';
import type { Subject } from './points.ts';
import { PHASES, type Phase, type PhaseRun, type Repetition } from './results.ts';

/** A model as a party finds it, and what an inference with it must be. */
export interface Job {
  /** A `.sotto` file. */
  readonly path: string;
  /** Pixels 0..255. */
  readonly image: Uint8Array;
  readonly cost: Cost;
  check(answer: Inference): void;
}

/** How the client reaches the server. */
export interface Route {
  /** What lies in front of all that either sends. */
  readonly link: Link | undefined;
  /** Where the server listens, and the command that starts it there. */
  readonly host: string;
  readonly prefix: readonly string[];
  /** The URL to connect to, from the server's. */
  readonly via?: (url: string) => Promise<string>;
}

/** A route over this machine's loopback. */
export const overLoopback = (link: Link | undefined): Route => ({
  link,
  host: '127.0.0.1',
  prefix: [],
});

/** Between `least` and `most` repetitions: no further one after `ms` milliseconds. */
export interface Effort {
  readonly least: number;
  readonly most: number;
  readonly ms: number;
}

export interface Measured {
  readonly repetitions: readonly Repetition[];
  readonly attribution: Readonly<Record<Phase, Attribution>>;
  /** Most memory of each process before the trace, bytes. */
  readonly memory: { readonly client: number; readonly server: number };
}

/** Both parties of a run, started. */
export interface Parties {
  readonly client: Party<ClientOrders>;
  readonly server: Party<ServerOrders>;
}

const script = (name: string) => new URL(`./party-${name}.js`, import.meta.url);

export const startServerParty = (prefix: readonly string[], signal: AbortSignal) =>
  new Party<ServerOrders>(script('server'), { prefix, signal });

export const startClientParty = (signal: AbortSignal) =>
  new Party<ClientOrders>(script('client'), { signal });

/** Measures a job over a route. */
export async function measureJob(
  job: Job,
  { link, host, prefix, via }: Route,
  effort: Effort,
  signal: AbortSignal,
): Promise<Measured> {
  signal.throwIfAborted();
  const server = startServerParty(prefix, signal);
  const client = startClientParty(signal);
  try {
    const listening = await server.ask('listen', { path: job.path, host, link });
    const url = via === undefined ? listening : await via(listening);
    await client.ask('open', { url, link });
    await inferOnce(job, { client, server });
    const start = performance.now();
    const repetitions: Repetition[] = [];
    const enough = () =>
      repetitions.length >= effort.most ||
      (repetitions.length >= effort.least && performance.now() - start > effort.ms);
    while (!enough()) repetitions.push(await inferOnce(job, { client, server }));
    const [near, far] = [await client.ask('usage'), await server.ask('usage')];
    return {
      repetitions,
      memory: { client: near.peakBytes, server: far.peakBytes },
      attribution: await trace(job, { client, server }),
    };
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    await Promise.all([client.stop(), server.stop()]);
  }
}

async function inferOnce(job: Job, { client, server }: Parties): Promise<Repetition> {
  const look = () => Promise.all([client.ask('usage'), server.ask('usage')]);
  const before = await look();
  await client.ask('prepare');
  const between = await look();
  const answer = await client.ask('infer', job.image);
  const after = await look();
  job.check(answer);
  const run = (phase: Phase, from: readonly Usage[], to: readonly Usage[]): PhaseRun => {
    const { ms, bytesUp, bytesDown, rounds } = answer.stats[phase];
    const { up, down } = job.cost[phase];
    if (bytesUp !== up || bytesDown !== down) {
      throw new Error(
        `${phase}: counted ${bytesUp} bytes up and ${bytesDown} down, the formulas say ${up} and ${down}`,
      );
    }
    const [clientCpuMs, serverCpuMs] = to.map(({ cpuMs }, i) => cpuMs - from[i]!.cpuMs);
    return { ms, bytesUp, bytesDown, rounds, clientCpuMs: clientCpuMs!, serverCpuMs: serverCpuMs! };
  };
  return { offline: run('offline', before, between), online: run('online', between, after) };
}

async function trace(
  { image }: Job,
  { client, server }: Parties,
): Promise<Readonly<Record<Phase, Attribution>>> {
  await server.ask('startTrace');
  const { phases, trace: near } = await client.ask('trace', image);
  const traces = [near, await server.ask('stopTrace')];
  return {
    offline: attribute(traces, phases.offline),
    online: attribute(traces, phases.online),
  };
}

/** A subject in a file, ready for the parties. */
export async function jobOf({ model, image }: Subject, path: string): Promise<Job> {
  await writeFile(path, encodeModel(model));
  const cost = costOf(layoutOf(model.program));
  return { path, image, cost, check: checkAgainstClear(model, image) };
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
  const tolerance = output.tolerance * 2 ** -output.fractionBits;
  return ({ logits }) => {
    const off = Math.max(...clear.map((logit, i) => Math.abs(logit - logits![i]!)));
    if (!(off <= tolerance)) {
      throw new Error(
        `a private logit is ${off} from the one in the clear, at most ${tolerance} may be`,
      );
    }
  };
}

/** The milliseconds of some repetitions. */
export function millisecondsOf(repetitions: readonly Repetition[]): Record<Phase, number[]> {
  const of = (phase: Phase) => repetitions.map((repetition) => repetition[phase].ms);
  return Object.fromEntries(PHASES.map((phase) => [phase, of(phase)])) as Record<Phase, number[]>;
}
