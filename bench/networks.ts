/**
 * The networks the field argues with, at full size: ResNet-20, ResNet-32 and ResNet-18 on 32x32 images. Weights are random
 * (times and bytes do not depend on them), ranges are calibrated on noise.
 *
 * As in inference.ts the server is a process of its own on loopback, both parties share the machine's cores, and plain
 * runs alternate with private ones. Some networks run with half gates as well: a server process for either comparison,
 * in turn, so that ratios are of neighbours. What `sotto plan` says beforehand stands beside what was measured.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '../client/index.ts';
import type { PhaseStats, Session } from '../client/session.ts';
import { compile } from '../models/compile/index.ts';
import { elements, type Graph, preprocess } from '../models/graph/index.ts';
import { randomMap, resNet18, resNetCifar } from '../models/networks/index.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import {
  type MeasuredProgram,
  measureProgram,
  type Price,
  priceOf,
} from '../protocol/inference/price.ts';
import { countKinds } from '../protocol/program/kinds.ts';
import { encodeModel, type Model } from '../protocol/program/model.ts';
import { type Comparison, mapsOf } from '../protocol/program/program.ts';
import { Prg, randomBytes } from '../protocol/random/index.ts';
import { checkCost } from './inference.ts';
import { type Summary, summarise, timed } from './measure.ts';
import { openPlain } from './plain.ts';
import { type ServerProcess, startServer } from './server-process.ts';

/** One network. */
export interface Subject {
  readonly name: string;
  readonly make: () => Graph;
  /** Whether it is run with half gates as well. */
  readonly halfGates?: boolean;
}

export const SUBJECTS: readonly Subject[] = [
  { name: 'ResNet-20, all ReLUs', make: () => resNetCifar(20), halfGates: true },
  {
    name: 'ResNet-32, all ReLUs',
    make: () => resNetCifar(32),
  },
  {
    name: 'ResNet-18, all ReLUs',
    make: () => resNet18(),
    halfGates: true,
  },
  {
    name: 'ResNet-18, 12,900 ReLUs, rest identity',
    make: () => resNet18({ map: randomMap(12_900, 1, 'identity') }),
  },
];

/** What a network takes with one comparison. */
export interface Taken {
  readonly offline: Summary;
  readonly online: Summary;
  readonly offlineBytes: number;
  readonly onlineBytes: number;
  /** Bytes of a bundle's linear layers, and of the hint, once a client. */
  readonly linearBytes: number;
  readonly hintBytes: number;
  /** Round trips online. */
  readonly rounds: number;
  /** What the client keeps of one bundle, bytes, by the gadgets. */
  readonly clientStored: number;
  /** What the plan said. */
  readonly planned: Price;
}

export interface NetworkResult extends Taken {
  readonly name: string;
  readonly relus: number;
  /** The same with half gates, where it was run, and encoded / half gates, pair by pair. */
  readonly halfGates?:
    | (Taken & { readonly ratio: Record<'offline' | 'online', Summary> })
    | undefined;
  /** The same network in onnxruntime-web, and online / plain pair by pair; a reason when it could not be run. */
  readonly plain: { readonly ms: Summary; readonly ratio: Summary } | string;
}

/** Images of noise, as the calibration and the runs take them. */
const CALIBRATION = 2;

export async function benchNetworks(
  repetitions: number,
  report: (line: string) => void,
): Promise<NetworkResult[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sotto-bench-'));
  const results: NetworkResult[] = [];
  try {
    for (const subject of SUBJECTS) {
      report(subject.name);
      results.push(await benchNetwork(subject, folder, repetitions));
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  return results;
}

/** The network compiled on `count` images of noise, and those images, pixels 0..255 and preprocessed. */
export function compileOnNoise(
  name: string,
  graph: Graph,
  count = CALIBRATION,
  comparison: Comparison = 'encoded',
): { model: Model; images: Uint8Array[]; calibration: Float32Array[] } {
  const noise = new Prg(new Uint8Array(16));
  const size = elements(graph.input.shape);
  const images = Array.from({ length: count }, () => randomBytes(noise, size));
  const calibration = images.map((image) => preprocess(graph.input, image));
  // Noise has no ranges worth keeping: a wide margin, so that every image fits. Nor does it matter what deep random squares
  // make of it.
  const { model } = compile(graph, calibration, { name, margin: 2, comparison, force: true });
  return { model, images, calibration };
}

/** A network with one comparison: its server, its session, and what its inferences took. */
interface Way {
  readonly measured: MeasuredProgram;
  readonly server: ServerProcess;
  readonly session: Session;
  readonly runs: { offline: PhaseStats; online: PhaseStats }[];
}

async function openWay(model: Model, comparison: Comparison, folder: string): Promise<Way> {
  const program = { ...model.program, comparison };
  const path = join(folder, `${comparison}.sotto`);
  await writeFile(path, encodeModel({ ...model, program }));
  const measured = measureProgram(layoutOf(program));
  const server = await startServer(path);
  return { measured, server, session: await connect(server.url), runs: [] };
}

async function benchNetwork(
  { name, make, halfGates }: Subject,
  folder: string,
  repetitions: number,
): Promise<NetworkResult> {
  const graph = make();
  const { model, images, calibration } = compileOnNoise(name, graph);
  const plain = await openPlain(graph).catch((error: Error) => error.message);
  const encoded = await openWay(model, 'encoded', folder);
  const garbled = halfGates ? await openWay(model, 'garbled', folder) : undefined;
  const ways = garbled ? [encoded, garbled] : [encoded];
  const plainMs: number[] = [];
  try {
    // The first round warms up and does not count.
    for (let i = 0; i <= repetitions; i++) {
      const image = i % CALIBRATION;
      for (const way of i % 2 === 0 ? ways : [...ways].reverse()) {
        await way.session.prepare();
        const { stats } = await way.session.infer(images[image]!);
        checkCost(way.measured.cost, stats);
        if (i > 0) way.runs.push(stats);
        if (way !== encoded || typeof plain === 'string') continue;
        const { ms } = await timed(() => plain.run(calibration[image]!));
        if (i > 0) plainMs.push(ms);
      }
    }
  } finally {
    for (const { session, server } of ways) {
      await session.close();
      await server.stop();
    }
    if (typeof plain !== 'string') await plain.close();
  }
  const over = (phase: 'offline' | 'online', other: (round: number) => number) =>
    summarise(encoded.runs.map((run, round) => run[phase].ms / other(round)));
  const overGarbled = (phase: 'offline' | 'online', { runs }: Way) =>
    over(phase, (round) => runs[round]![phase].ms);
  return {
    name,
    relus: countKinds(...mapsOf(model.program)).relus,
    ...takenBy(encoded),
    halfGates: garbled && {
      ...takenBy(garbled),
      ratio: {
        offline: overGarbled('offline', garbled),
        online: overGarbled('online', garbled),
      },
    },
    plain:
      typeof plain === 'string'
        ? plain
        : { ms: summarise(plainMs), ratio: over('online', (round) => plainMs[round]!) },
  };
}

function takenBy({ measured, runs }: Way): Taken {
  const cores = availableParallelism();
  const { offline, online } = measured.cost;
  return {
    offline: summarise(runs.map((run) => run.offline.ms)),
    online: summarise(runs.map((run) => run.online.ms)),
    offlineBytes: offline.up + offline.down,
    onlineBytes: online.up + online.down,
    linearBytes: measured.cost.steps
      .filter(({ op }) => op === 'linear')
      .reduce((sum, { offline }) => sum + offline.up, 0),
    hintBytes: measured.cost.hint,
    rounds: online.rounds,
    clientStored: measured.steps.reduce((sum, step) => sum + step.clientStored, 0),
    planned: priceOf(measured, {
      bitsPerSecond: 10e9,
      roundTripMs: 0.1,
      clientCores: cores,
      serverCores: cores,
      shared: true,
    }),
  };
}
