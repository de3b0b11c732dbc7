/**
 * The networks the field argues with, at full size: ResNet-20, ResNet-32 and ResNet-18 on 32x32 images. Weights are random
 * (times and bytes do not depend on them), ranges are calibrated on noise.
 *
 * As in inference.ts the server is a process of its own on loopback, both parties share the machine's cores, and plain
 * runs alternate with private ones. What `sotto plan` says beforehand stands beside what was measured.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '../client/index.ts';
import type { PhaseStats } from '../client/session.ts';
import { compile } from '../models/compile/index.ts';
import { randomMap, resNet18, resNetCifar } from '../models/graph/builders/index.ts';
import { elements, type Graph, preprocess } from '../models/graph/index.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import { measureProgram, type Price, priceOf } from '../protocol/inference/price.ts';
import { countKinds } from '../protocol/program/kinds.ts';
import { encodeModel, type Model } from '../protocol/program/model.ts';
import { mapsOf } from '../protocol/program/program.ts';
import { Prg, randomBytes } from '../protocol/random/index.ts';
import { type Summary, summarise, timed } from './measure.ts';
import { openPlain } from './plain.ts';
import { startServer } from './server-process.ts';

/** What a network is to take: both parties on one machine of 2 cores, loopback. Milliseconds and bytes, both ways. */
export interface Target {
  readonly onlineMs: number;
  readonly offlineMs: number;
  readonly onlineBytes: number;
  readonly offlineBytes: number;
}

/** One network. */
export interface Subject {
  readonly name: string;
  readonly make: () => Graph;
  readonly target?: Target;
}

export const SUBJECTS: readonly Subject[] = [
  { name: 'ResNet-20, all ReLUs', make: () => resNetCifar(20) },
  {
    name: 'ResNet-32, all ReLUs',
    make: () => resNetCifar(32),
    target: { onlineMs: 1000, offlineMs: 4000, onlineBytes: 75e6, offlineBytes: 180e6 },
  },
  {
    name: 'ResNet-18, all ReLUs',
    make: () => resNet18(),
    target: { onlineMs: 2000, offlineMs: 8000, onlineBytes: 135e6, offlineBytes: 330e6 },
  },
  {
    name: 'ResNet-18, 12,900 ReLUs, rest identity',
    make: () => resNet18({ map: randomMap(12_900, 1, 'identity') }),
    target: { onlineMs: 400, offlineMs: 5000, onlineBytes: 6e6, offlineBytes: 50e6 },
  },
];

export interface NetworkResult {
  readonly name: string;
  readonly relus: number;
  readonly offline: Summary;
  readonly online: Summary;
  readonly offlineBytes: number;
  readonly onlineBytes: number;
  /** Round trips online. */
  readonly rounds: number;
  /** What the plan said. */
  readonly planned: Price;
  /** Resident memory of the client's process with one bundle, bytes. */
  readonly clientMemory: number;
  /** The same network in onnxruntime-web, and online / plain pair by pair; a reason when it could not be run. */
  readonly plain: { readonly ms: Summary; readonly ratio: Summary } | string;
  readonly target: Target | undefined;
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
      results.push(await benchNetwork(subject, join(folder, 'model.sotto'), repetitions));
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
): { model: Model; images: Uint8Array[]; calibration: Float32Array[] } {
  const noise = new Prg(new Uint8Array(16));
  const size = elements(graph.input.shape);
  const images = Array.from({ length: count }, () => randomBytes(noise, size));
  const calibration = images.map((image) => preprocess(graph.input, image));
  // Noise has no ranges worth keeping: a wide margin, so that every image fits.
  const { model } = compile(graph, calibration, { name, margin: 2 });
  return { model, images, calibration };
}

async function benchNetwork(
  { name, make, target }: Subject,
  path: string,
  repetitions: number,
): Promise<NetworkResult> {
  const graph = make();
  const { model, images, calibration } = compileOnNoise(name, graph);
  await writeFile(path, encodeModel(model));
  const layout = layoutOf(model.program);
  const planned = priceOf(measureProgram(layout), {
    bitsPerSecond: 10e9,
    roundTripMs: 0.1,
    clientCores: availableParallelism(),
    serverCores: availableParallelism(),
    shared: true,
  });
  const plain = await openPlain(graph).catch((error: Error) => error.message);
  const server = await startServer(path);
  const session = await connect(server.url);
  const offline: PhaseStats[] = [];
  const online: PhaseStats[] = [];
  const plainMs: number[] = [];
  let clientMemory = 0;
  try {
    // The first run warms up and does not count.
    for (let i = 0; i <= repetitions; i++) {
      await session.prepare();
      clientMemory = Math.max(clientMemory, process.memoryUsage().rss);
      const image = i % CALIBRATION;
      const { stats } = await session.infer(images[image]!);
      const ms =
        typeof plain === 'string'
          ? undefined
          : (await timed(() => plain.run(calibration[image]!))).ms;
      if (i === 0) continue;
      offline.push(stats.offline);
      online.push(stats.online);
      if (ms !== undefined) plainMs.push(ms);
    }
  } finally {
    await session.close();
    await server.stop();
    if (typeof plain !== 'string') await plain.close();
  }
  const bytes = ({ bytesUp, bytesDown }: PhaseStats) => bytesUp + bytesDown;
  return {
    name,
    relus: countKinds(...mapsOf(model.program)).relus,
    offline: summarise(offline.map(({ ms }) => ms)),
    online: summarise(online.map(({ ms }) => ms)),
    offlineBytes: bytes(offline[0]!),
    onlineBytes: bytes(online[0]!),
    rounds: online[0]!.rounds,
    planned,
    clientMemory,
    plain:
      typeof plain === 'string'
        ? plain
        : { ms: summarise(plainMs), ratio: summarise(online.map(({ ms }, i) => ms / plainMs[i]!)) },
    target,
  };
}
