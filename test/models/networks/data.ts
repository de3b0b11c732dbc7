/** Published networks and CIFAR-10's images, where there are any. */

import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { compile } from '../../../models/compile/index.ts';
import { scoreAll, scoreTasks } from '../../../models/compile/score.ts';
import { type Graph, preprocess } from '../../../models/graph/index.ts';
import { loadNamed } from '../../../models/networks/index.ts';
import { readCifar } from '../../../models/train/data/cifar.ts';
import { type LabelledImages, slice } from '../../../models/train/data/images.ts';
import { dataFolder, missing } from '../../../models/train/data/published.ts';
import { createInlinePool } from '../../../protocol/pool/inline.ts';
import { createThreadPool } from '../../../protocol/pool/node.ts';
import type { Model } from '../../../protocol/program/model.ts';
import { isLong } from '../../support/long.ts';

/** SOTTO_LONG=networks scores all 1,000 test images. */
export const long = isLong('networks');

/** Networks by name, and the file of their weights. */
export const FILES = {
  resnet20: 'resnet-cifar10/resnet20-12fca82f.safetensors',
  resnet32: 'resnet-cifar10/resnet32-d509ac18.safetensors',
  minionn: 'minionn-cifar10/minionn-cifar10-relu-model.safetensors',
  'minionn-5-squares': 'minionn-cifar10/minionn-cifar10-5_approx-model.safetensors',
} as const;
export type Name = keyof typeof FILES;

const cifar = dataFolder('cifar10');
const weights = dataFolder('weights');
export const available = cifar !== undefined && weights !== undefined;
if (cifar === undefined) console.log(`skipped: ${missing('cifar10')}`);
if (weights === undefined) console.log(`skipped: ${missing('weights')}`);

function readImages(name: string): LabelledImages {
  return readCifar(readFileSync(join(cifar!, name)), name);
}

/** The first images of the test set, at most 1,000. */
export function testImages(count: number): LabelledImages {
  return slice(readImages('test_batch_first1000.bin.br'), 0, count);
}

export function pixelsAt(set: LabelledImages, i: number): Uint8Array {
  return slice(set, i, i + 1).pixels;
}

export interface Loaded {
  readonly graph: Graph;
  readonly model: Model;
}

/** A network, compiled with ranges from images of the training set. */
export function load(name: Name, images = long ? 200 : 20): Loaded {
  const graph = loadNamed(name, readFileSync(join(weights!, FILES[name])));
  const train = readImages('data_batch_1.bin.br');
  const samples = Array.from({ length: images }, (_, i) =>
    preprocess(graph.input, pixelsAt(train, i)),
  );
  return { graph, model: compile(graph, samples, { name }).model };
}

const root = new URL('../../../', import.meta.url);

/** A worker's module among the built files, which the test command makes first; threads load no TypeScript. */
export function builtWorker(path: string): URL | undefined {
  const url = new URL(`dist/${path}`, root);
  return existsSync(url) ? url : undefined;
}

/** Scores on all cores where there are built files. */
export async function scoreOn({ graph, model }: Loaded, images: LabelledImages) {
  const worker = builtWorker('models/compile/worker.js');
  const pool = worker
    ? createThreadPool<typeof scoreTasks>(worker, { workers: availableParallelism() })
    : createInlinePool(scoreTasks);
  try {
    return await scoreAll(pool, { graph, model, ...images });
  } finally {
    await pool.close();
  }
}
