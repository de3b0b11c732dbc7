/**
 * Training throughput beside PyTorch's: steps of the same CIFAR ResNet-8 (training.py), 64 images a thread and step.
 *
 * Ours are whole steps of the trainer: batches made, shards on a pool, gradients added up, the optimiser's step. The
 * contestants take turns of some seconds, so that what disturbs the machine for a while disturbs all of them.
 */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { resNetCifar } from '../models/networks/index.ts';
import type { LabelledImages } from '../models/train/data/images.ts';
import { train } from '../models/train/loop.ts';
import { Network } from '../models/train/network.ts';
import { Sgd } from '../models/train/optimiser.ts';
import { createTrainingPool } from '../models/train/pool.ts';
import { Prg } from '../protocol/random/index.ts';
import { type Summary, summarise } from './measure.ts';
import { figure, spread, table } from './report.ts';

/** Images of a thread in a step. */
const BATCH = 64;

/** Steps of a turn that warm up, and are not counted. */
const WARM_UP = 3;

/** One engine on a number of threads, in images per second of each step. */
export interface TrainingRate {
  readonly engine: string;
  readonly threads: number;
  readonly rate: Summary;
}

export interface TrainingReport {
  readonly rates: readonly TrainingRate[];
  /** Why there is no PyTorch among them. */
  readonly skipped?: string;
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
  // Beside this file in the sources, two levels up from the built file.
  const script = ['training.py', '../../bench/training.py']
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(path));
  if (script === undefined) return { reason: 'bench/training.py is only in the repository' };
  for (const python of ['python3', '/usr/bin/python3']) {
    const found = await promisify(execFile)(python, ['-c', 'import torch']).then(
      () => true,
      () => false,
    );
    if (found) return { python, script };
  }
  return { reason: 'no python3 with torch (on Debian: apt-get install python3-torch)' };
}

/**
 * Images per second of both engines on one thread and on two, where the machine has them.
 * @param turns of each contestant
 * @param seconds of a turn
 */
export async function benchTraining(turns: number, seconds: number): Promise<TrainingReport> {
  const found = await findTorch();
  const contestants = [1, 2]
    .filter((threads) => threads <= availableParallelism())
    .flatMap((threads) => [
      ours(threads, false),
      ours(threads, true),
      ...('script' in found ? [torch(found.python, found.script, threads)] : []),
    ]);
  const samples = contestants.map((): number[] => []);
  for (let turn = 0; turn < turns; turn++) {
    for (const [i, contestant] of contestants.entries()) {
      samples[i]!.push(...(await contestant.turn(seconds)));
    }
  }
  const rates = contestants.map(({ engine, threads }, i) => ({
    engine,
    threads,
    rate: summarise(samples[i]!),
  }));
  return 'reason' in found ? { rates, skipped: found.reason } : { rates };
}

/** The report as a Markdown table. */
export function trainingTable({ rates, skipped }: TrainingReport): string {
  const rows = rates.map(({ engine, threads, rate }) => {
    const native = rates.find((r) => r.engine === 'PyTorch' && r.threads === threads);
    const share = native ? `${((100 * rate.median) / native.rate.median).toFixed(0)} %` : '';
    return [engine, `${threads}`, figure(rate.median), spread(rate), share];
  });
  return [
    `Training steps of a CIFAR ResNet-8, ${BATCH} images a thread, images per second:`,
    '',
    table(['engine', 'threads', 'median', 'quartiles', 'of PyTorch'], rows),
    ...(skipped === undefined ? [] : ['', `PyTorch was not measured: ${skipped}.`]),
    '',
  ].join('\n');
}
