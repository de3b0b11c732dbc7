/**
 * Networks of ImageNet's size: SqueezeNet 1.1, MobileNetV2 and ResNet-50, with all their ReLUs and with a twentieth of
 * them, the rest identities. What max pools compare is left in both, and so are ReLUs in front of one that is padded.
 * Weights are random, images noise: times and bytes do not depend on them.
 *
 * Client and server are processes of their own, so that the memory of each is that of one party alone: what compiles a
 * network is in neither. Each starts anew for every network. One answer is held to the network in the clear.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { elements, type Graph } from '../models/graph/index.ts';
import {
  type ActivationLayer,
  allRelus,
  type BuilderOptions,
  mobileNetV2,
  type ReluMap,
  randomMap,
  resNet50,
  squeezeNet,
} from '../models/networks/index.ts';
import { type Cost, costOf } from '../protocol/inference/cost.ts';
import { hintBytesOf } from '../protocol/inference/hint.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import { countKinds } from '../protocol/program/kinds.ts';
import { encodeModel } from '../protocol/program/model.ts';
import { mapsOf } from '../protocol/program/program.ts';
import { checkAgainstClear } from './budget/measurement.ts';
import { Party } from './budget/party.ts';
import type { PartyOrders } from './imagenet-party.ts';
import { checkCost } from './inference.ts';
import { type Summary, summarise, timed } from './measure.ts';
import { compileOnNoise } from './networks.ts';

/** One network with one map. */
export interface ImageNetSubject {
  readonly name: string;
  readonly make: () => Graph;
}

export interface ImageNetResult {
  readonly name: string;
  /** Comparisons: ReLUs, and what max pools compare. */
  readonly comparisons: number;
  readonly hintBytes: number;
  /** Of one inference, exact. */
  readonly cost: Cost;
  /** How long the server made the hint, with all its threads. */
  readonly hintMs: number;
  /** Opening a session, the hint fetched and the hint kept. */
  readonly connect: { readonly coldMs: number; readonly warmMs: number };
  readonly offline: Summary;
  readonly online: Summary;
  /** Most resident memory of either process at any time, bytes: the server's includes making the hint. */
  readonly peak: { readonly client: number; readonly server: number };
  /** How the private answer differs from the one in the clear; undefined where it is within the program's tolerance. */
  readonly differs: string | undefined;
}

const NETWORKS: readonly (readonly [string, (options: BuilderOptions) => Graph])[] = [
  ['SqueezeNet 227', squeezeNet],
  ['MobileNetV2 224', mobileNetV2],
  ['ResNet-50 224', resNet50],
];

/** ResNet-50's ReLUs in front of its max pool. Its padding is zeros, so that what it reads may not be negative. */
const BEFORE_PADDED_POOL = 'relu';

/** One ReLU in twenty, chosen at random; all of those that have to stay. */
const twentieth: ReluMap = (layers) => {
  const stays = ({ id }: ActivationLayer) => id === BEFORE_PADDED_POOL;
  const others = layers.filter((layer) => !stays(layer));
  const total = others.reduce((sum, { shape }) => sum + elements(shape), 0);
  const maps = [...randomMap(Math.round(total / 20), 1, 'identity')(others)];
  return layers.map((layer) => (stays(layer) ? allRelus([layer])[0]! : maps.shift()!));
};

export const IMAGENET_SUBJECTS: readonly ImageNetSubject[] = NETWORKS.flatMap(([name, build]) => [
  { name: `${name}, all ReLUs`, make: () => build({}) },
  { name: `${name}, 5 % of the ReLUs`, make: () => build({ map: twentieth, gain: 1 }) },
]);

/**
 * @param repetitions - of each phase; one more comes first, to warm up
 * @param report - hears what is at work
 */
export async function benchImageNet(
  subjects: readonly ImageNetSubject[],
  repetitions: number,
  report: (line: string) => void,
): Promise<ImageNetResult[]> {
  const results: ImageNetResult[] = [];
  for (const subject of subjects) {
    const folder = await mkdtemp(join(tmpdir(), 'sotto-bench-'));
    try {
      results.push(await benchSubject(subject, folder, repetitions, report));
    } finally {
      await rm(folder, { recursive: true });
    }
  }
  return results;
}

async function benchSubject(
  { name, make }: ImageNetSubject,
  folder: string,
  repetitions: number,
  report: (line: string) => void,
): Promise<ImageNetResult> {
  const say = (what: string) => report(`${name}: ${what}`);
  say('compiling');
  const { ms, result } = await timed(() => compileOnNoise(name, make(), 1));
  const { model, images } = result;
  const image = images[0]!;
  const layout = layoutOf(model.program);
  const cost = costOf(layout);
  const path = join(folder, 'model.sotto');
  await writeFile(path, encodeModel(model));
  const check = checkAgainstClear(model, image);
  say(`compiled in ${(ms / 1000).toFixed(0)} s; making the hint`);

  const stop = new AbortController();
  const script = new URL('./imagenet-party.js', import.meta.url);
  const start = () => new Party<PartyOrders>(script, { signal: stop.signal });
  const [server, client] = [start(), start()];
  try {
    const { url, hintMs } = await server.ask('serve', path);
    const hints = { url, folder: join(folder, 'hints') };
    const coldMs = await client.ask('connect', hints);
    const warmMs = await client.ask('connect', hints);
    const runs: { offline: number; online: number }[] = [];
    let differs: string | undefined;
    for (let i = 0; i <= repetitions; i++) {
      say(`inference ${i} of ${repetitions}`);
      await client.ask('prepare');
      const answer = await client.ask('infer', image);
      const { offline, online } = answer.stats;
      checkCost(cost, answer.stats);
      if (i > 0) runs.push({ offline: offline.ms, online: online.ms });
      try {
        check(answer);
      } catch (error) {
        differs ??= (error as Error).message;
      }
    }
    const [near, far] = [await client.ask('usage'), await server.ask('usage')];
    return {
      name,
      comparisons: countKinds(...mapsOf(model.program)).relus,
      hintBytes: hintBytesOf(layout),
      cost,
      hintMs,
      connect: { coldMs, warmMs },
      offline: summarise(runs.map(({ offline }) => offline)),
      online: summarise(runs.map(({ online }) => online)),
      peak: { client: near.peakBytes, server: far.peakBytes },
      differs,
    };
  } finally {
    await Promise.all([client.stop(), server.stop()]);
  }
}
