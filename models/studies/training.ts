/**
 * Training throughput beside PyTorch's, where a Python of this machine has it: steps of the same CIFAR ResNet-8 (training.py), 64 images a thread and step.
 *
 * Ours are whole steps of the trainer: batches made, shards on a pool, gradients added up, the optimiser's step. The
 * contestants take turns of some seconds, so that what disturbs the machine for a while disturbs all of them.
 *
 *   npm run build && node dist/models/studies/training.js
 */

import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Prg } from '../../protocol/random/index.ts';
import { resNetCifar } from '../networks/index.ts';
import type { LabelledImages } from '../train/data/images.ts';
import { train } from '../train/loop.ts';
import { Network } from '../train/network.ts';
import { Sgd } from '../train/optimiser.ts';
import { createTrainingPool } from '../train/pool.ts';
import { FOLDER, writeResults } from './results.ts';

/** Images of a thread in a step. */
const BATCH = 64;

/** Steps of a turn that warm up, and are not counted. */
const WARM_UP = 3;

/** One engine on a number of threads, over its steps. */
export interface TrainingRate {
  readonly engine: string;
  readonly threads: number;
  /** Quartiles. */
  readonly imagesPerSecond: {
    readonly lower: number;
    readonly median: number;
    readonly upper: number;
  };
}

interface Contestant {
  readonly engine: string;
  readonly threads: number;
  turn(seconds: number): Promise<readonly number[]>;
}

/** Noise of 32x32 pixels: what a step takes does not depend on the images. */
function noise(images: number): LabelledImages {
  const shape = [3, 32, 32] as const;
  const pixels = new Uint8Array(images * 3 * 32 * 32);
  new Prg(new Uint8Array(16)).fill(pixels);
  return { shape, pixels, labels: Uint8Array.from({ length: images }, (_, i) => i % 10) };
}

/** This engine; `fused` as SOTTO_TRAIN_FMA=1. */
function ours(threads: number, fused: boolean): Contestant {
  return {
    engine: fused ? 'Sotto, fused' : 'Sotto',
    threads,
    async turn(seconds) {
      const before = process.env['SOTTO_TRAIN_FMA'];
      process.env['SOTTO_TRAIN_FMA'] = fused ? '1' : '0';
      const pool = createTrainingPool(threads);
      const rates: number[] = [];
      const started = performance.now();
      let last = started;
      try {
        await train(new Network(resNetCifar(8), BATCH), noise(8 * threads * BATCH), {
          epochs: Number.MAX_SAFE_INTEGER,
          seed: 1,
          shards: threads,
          pool,
          optimiser: new Sgd(),
          schedule: () => 0.01,
          afterStep() {
            const now = performance.now();
            rates.push((1000 * threads * BATCH) / (now - last));
            last = now;
          },
          onEpoch: () => (last - started > 1000 * seconds ? 'stop' : undefined),
        });
      } finally {
        await pool.close();
        if (before === undefined) delete process.env['SOTTO_TRAIN_FMA'];
        else process.env['SOTTO_TRAIN_FMA'] = before;
      }
      return rates.slice(WARM_UP);
    },
  };
}

/** PyTorch by the system's Python; training.py does not count its warm-up either. */
function torch(python: string, script: string, threads: number): Contestant {
  return {
    engine: 'PyTorch',
    threads,
    async turn(seconds) {
      const args = [script, threads, threads * BATCH, seconds].map(String);
      const { stdout } = await promisify(execFile)(python, args);
      return (JSON.parse(stdout) as { rates: number[] }).rates;
    },
  };
}

/** A Python that has torch, or why there is none. */
async function findTorch(): Promise<{ python: string; script: string } | { reason: string }> {
  const script = join(FOLDER, 'training.py');
  for (const python of ['python3', '/usr/bin/python3']) {
    const found = await promisify(execFile)(python, ['-c', 'import torch']).then(
      () => true,
      () => false,
    );
    if (found) return { python, script };
  }
  return { reason: 'no python3 with torch (on Debian: apt-get install python3-torch)' };
}

/** How many turns each has, and of how many seconds. */
const TURNS = 4;
const SECONDS = 5;

/** The sample below which `part` of some lie. */
function quantile(samples: readonly number[], part: number): number {
  return [...samples].sort((a, b) => a - b)[Math.floor(part * (samples.length - 1))]!;
}

const found = await findTorch();
if ('reason' in found) console.log(`PyTorch is not measured: ${found.reason}`);
const contestants = [1, 2]
  .filter((threads) => threads <= availableParallelism())
  .flatMap((threads) => [
    ours(threads, false),
    ours(threads, true),
    ...('script' in found ? [torch(found.python, found.script, threads)] : []),
  ]);
const samples = contestants.map((): number[] => []);
for (let turn = 0; turn < TURNS; turn++) {
  for (const [i, contestant] of contestants.entries()) {
    samples[i]!.push(...(await contestant.turn(SECONDS)));
  }
}
const rates = contestants.map(({ engine, threads }, i): TrainingRate => {
  const [lower, median, upper] = [0.25, 0.5, 0.75].map((part) => quantile(samples[i]!, part));
  return { engine, threads, imagesPerSecond: { lower: lower!, median: median!, upper: upper! } };
});
console.table(rates.map(({ imagesPerSecond, ...rate }) => ({ ...rate, ...imagesPerSecond })));
await writeResults('training', rates);
