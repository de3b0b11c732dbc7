/**
 * The training loop: epochs of shuffled steps, each split into shards that run on a pool (shard.ts), one optimiser step
 * each; progress and cancelling.
 *
 * All randomness of an epoch comes from (seed, epoch), so a run that resumes after epoch k goes on exactly as one that
 * never stopped, on any number of workers.
 */

import { abortError } from '../../protocol/errors.ts';
import type { Pool } from '../../protocol/pool/index.ts';
import { createInlinePool } from '../../protocol/pool/inline.ts';
import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/index.ts';
import { Stream } from '../random.ts';
import type { Augmentation } from './data/augment.ts';
import { type LabelledImages, shareImages } from './data/images.ts';
import { moveStatistics, type Network, type Parameter, shareGraph } from './network.ts';
import { clipGradients, type Optimiser, type Schedule } from './optimiser.ts';
import {
  type Groups,
  keep,
  type Original,
  type ShardResult,
  type SharedTeacher,
  trainTasks,
} from './shard.ts';

/** A pool that trains. */
export type TrainingPool = Pool<typeof trainTasks>;

/** Learning from a teacher's scores beside the labels: (1 - share) * labels + share * teacher. */
export type Teacher = {
  /** 0..1 */
  readonly share: number;
  readonly temperature: number;
} & (
  | {
      /** Scores the very images the student sees, augmented. */
      readonly graph: Graph;
    }
  | {
      /** Scores of the set's images as they are, [image][class]: see {@link scoresOf}. */
      readonly logits: Float32Array;
    }
);

export interface TrainOptions {
  readonly epochs: number;
  /** Epochs already done (see checkpoint.ts). */
  readonly done?: number;
  readonly seed: number;
  /** Shards of a step, of the network's batch each; default: 1. Part of the result, like the seed. */
  readonly shards?: number;
  readonly optimiser: Optimiser;
  readonly schedule: Schedule;
  readonly teacher?: Teacher | undefined;
  /** Share of every label that all classes get alike; default: 0. */
  readonly smoothing?: number | undefined;
  readonly groups?: Groups | undefined;
  readonly augmentation?: Augmentation | undefined;
  /**
   * To settle, batch norms use the statistics they have, as in inference, and leave them as they are; see Mode in
   * layers/layer.ts. Default: 'train'.
   */
  readonly mode?: 'train' | 'settle';
  /** Largest norm of the gradient of a step, masks aside. */
  readonly clip?: number | undefined;
  /** With the gradients of a step complete: regularisers add theirs. */
  readonly beforeStep?: (parameters: readonly Parameter[]) => void;
  /** After every step: constraints on the parameters. */
  readonly afterStep?: (parameters: readonly Parameter[]) => void;
  /** About once a second, and at the end of every epoch. */
  readonly onProgress?: ((progress: TrainProgress) => void) | undefined;
  /** After every epoch; returning 'stop', or a promise of it, ends the training there. */
  readonly onEpoch?: (epochsDone: number, stats: EpochStats) => unknown;
  readonly signal?: AbortSignal | undefined;
  /** Where shards run; default: this thread. */
  readonly pool?: TrainingPool | undefined;
}

/** Means over an epoch, on augmented images, while the network learnt. */
export interface EpochStats {
  readonly loss: number;
  /** 0..1 */
  readonly accuracy: number;
  /** By group; NaN for one without images. */
  readonly groupLosses?: Float64Array;
  /** By group, summed over shards: what multiplier ascent adds up. */
  readonly violations?: Float64Array;
}

/** How training stands. Loss and accuracy are means over the epoch so far, on augmented images. */
export interface TrainProgress {
  /** Counted from 1. */
  readonly epoch: number;
  readonly epochs: number;
  /** Images done in this epoch. */
  readonly images: number;
  readonly of: number;
  readonly imagesPerSecond: number;
  readonly loss: number;
  /** 0..1 */
  readonly accuracy: number;
  /** Of the whole training, at the present rate. */
  readonly secondsLeft: number;
}

/** Milliseconds between progress reports. LOCAL */
const REPORT_EVERY = 1000;

let keys = 0;

/** A network as a pool's threads find it. */
function original(network: Network): Original {
  const { batch, options, shared } = network;
  const key = `network ${++keys}`;
  keep(key, network);
  return { key, graph: shared, batch, options };
}

function shareTeacher(teacher: Teacher, batch: number): SharedTeacher {
  const { share, temperature } = teacher;
  if ('logits' in teacher) {
    const { logits } = teacher;
    if (logits.buffer instanceof SharedArrayBuffer) return { share, temperature, logits };
    const copy = new Float32Array(new SharedArrayBuffer(logits.byteLength));
    copy.set(logits);
    return { share, temperature, logits: copy };
  }
  const network = {
    key: `network ${++keys}`,
    graph: shareGraph(teacher.graph),
    batch,
    options: {},
  };
  return { share, temperature, network };
}

/** Adds up what an epoch's shards report. */
class EpochSums {
  shards = 0;
  right = 0;
  #loss = 0;
  readonly #groups: { losses: Float64Array; counts: Float64Array; violations: Float64Array };

  constructor(groups: number) {
    const zeros = () => new Float64Array(groups);
    this.#groups = { losses: zeros(), counts: zeros(), violations: zeros() };
  }

  get loss(): number {
    return this.#loss / this.shards;
  }

  add(result: ShardResult): void {
    this.shards++;
    this.#loss += result.loss + result.penalty;
    this.right += result.right;
    const { losses, counts, violations } = this.#groups;
    for (let g = 0; g < losses.length; g++) {
      losses[g]! += result.groupLosses?.[g] ?? 0;
      counts[g]! += result.groupCounts?.[g] ?? 0;
      violations[g]! += result.violations?.[g] ?? 0;
    }
  }

  stats(images: number): EpochStats {
    const { losses, counts, violations } = this.#groups;
    const { loss } = this;
    const accuracy = this.right / images;
    if (losses.length === 0) return { loss, accuracy };
    const groupLosses = losses.map((sum, g) => sum / counts[g]!);
    return { loss, accuracy, groupLosses, violations };
  }
}

/** Puts the mean of the shards' gradients and statistics where optimisers look for them. */
function collect(network: Network, slots: readonly Float32Array[]): void {
  let at = 0;
  const mean = (out: Float32Array) => {
    for (let i = 0; i < out.length; i++, at++) {
      let sum = 0;
      for (const slot of slots) sum += slot[at]!;
      out[i] = sum / slots.length;
    }
  };
  for (const { gradient } of network.parameters) mean(gradient);
  for (const { batch } of network.statistics) mean(batch);
}

/**
 * Trains a network in place. The last images of an epoch that fill no step are left out (other ones each epoch).
 * @throws AbortError when `signal` is aborted; the network then stands after its last step.
 * @throws ModelError `data` when the set fills no step, `diverged` when the loss is no longer a number; the network then stands before
 *   the step that would have broken it.
 */
export async function train(
  network: Network,
  images: LabelledImages,
  options: TrainOptions,
): Promise<void> {
  const { epochs, done = 0, shards = 1, smoothing = 0, groups, augmentation, optimiser } = options;
  const { mode = 'train' } = options;
  const { batch, parameters, statistics } = network;
  const perStep = shards * batch;
  const steps = Math.floor(images.labels.length / perStep);
  if (steps === 0) {
    throw new ModelError(
      'data',
      `${images.labels.length} images do not fill one step of ${perStep}`,
    );
  }
  const pool = options.pool ?? createInlinePool(trainTasks);
  const set = shareImages(images);
  const student = original(network);
  const teacher = options.teacher && shareTeacher(options.teacher, batch);
  const length = [
    ...parameters.map(({ value }) => value.length),
    ...statistics.map(({ value }) => value.length),
  ].reduce((sum, n) => sum + n, 0);
  const slots = Array.from(
    { length: shards },
    () => new Float32Array(new SharedArrayBuffer(4 * length)),
  );
  const started = performance.now();
  let reported = started;
  for (let epoch = done; epoch < epochs; epoch++) {
    const order = new Stream(options.seed, epoch).permutation(set.labels.length);
    const sums = new EpochSums(groups?.multipliers.length ?? 0);
    for (let step = 0; step < steps; step++) {
      if (options.signal?.aborted) throw abortError('training', options.signal.reason);
      const results = await Promise.all(
        slots.map((slot, s) => {
          const from = step * perStep + s * batch;
          const indices = order.slice(from, from + batch);
          const seeds = [options.seed, epoch, step, s] as const;
          const job = {
            student,
            teacher,
            smoothing,
            groups,
            mode,
            set,
            indices,
            augmentation,
            seeds,
            slot,
          } as const;
          return pool.run('trainShard', job);
        }),
      );
      for (const result of results) sums.add(result);
      if (!Number.isFinite(sums.loss)) {
        throw new ModelError(
          'diverged',
          `training diverged in epoch ${epoch + 1}, step ${step + 1}: the loss is no number; lower the learning rate, clip gradients, or limit the ranges of squares`,
        );
      }
      collect(network, slots);
      options.beforeStep?.(parameters);
      if (options.clip !== undefined) clipGradients(parameters, options.clip);
      const progress = (epoch + step / steps) / epochs;
      optimiser.step(parameters, options.schedule(progress), progress);
      if (mode === 'train') moveStatistics(statistics);
      options.afterStep?.(parameters);

      const now = performance.now();
      if (now - reported < REPORT_EVERY && step < steps - 1) continue;
      reported = now;
      const imagesDone = (step + 1) * perStep;
      const rate = (((epoch - done) * steps + step + 1) * perStep) / ((now - started) / 1000);
      options.onProgress?.({
        epoch: epoch + 1,
        epochs,
        images: imagesDone,
        of: steps * perStep,
        imagesPerSecond: rate,
        loss: sums.loss,
        accuracy: sums.right / imagesDone,
        secondsLeft: ((epochs - epoch) * steps * perStep - imagesDone) / rate,
      });
    }
    const verdict = await options.onEpoch?.(epoch + 1, sums.stats(steps * perStep));
    if (verdict === 'stop') return;
  }
}

/** Images of a piece of scoring: enough that a piece takes a few hundred milliseconds at most. LOCAL */
const SCORED_TOGETHER = 1024;

/**
 * Scores of all images of a set, in evaluation mode, [image][class]: accuracies, group tables and teachers' logits are
 * made of them.
 */
export async function scoresOf(
  network: Network,
  images: LabelledImages,
  options: {
    readonly pool?: TrainingPool | undefined;
    readonly signal?: AbortSignal | undefined;
  } = {},
): Promise<Float32Array> {
  const pool = options.pool ?? createInlinePool(trainTasks);
  const set = shareImages(images);
  const count = set.labels.length;
  const out = new Float32Array(new SharedArrayBuffer(4 * count * network.results));
  const copy = original(network);
  const parts: Promise<void>[] = [];
  for (let from = 0; from < count; from += SCORED_TOGETHER) {
    const to = Math.min(count, from + SCORED_TOGETHER);
    const part = pool.run('scoreShard', { network: copy, set, from, to }, options);
    parts.push(part.then((scores) => out.set(scores, from * network.results)));
  }
  await Promise.all(parts);
  return out;
}

/**
 * Takes the running statistics of batch norms anew, as their means over some batches, with the parameters as they are. Those
 * that training moves are of steps ago: at high learning rates they fit the parameters badly. Training does not read them, so
 * that it goes on as it would have.
 */
export async function measureStatistics(
  network: Network,
  images: LabelledImages,
  options: {
    /** Fewer where the set has fewer. */
    readonly batches: number;
    readonly seed: number;
    readonly augmentation?: Augmentation | undefined;
    readonly pool?: TrainingPool | undefined;
  },
): Promise<void> {
  const { seed, augmentation, pool = createInlinePool(trainTasks) } = options;
  const { batch, statistics } = network;
  const set = shareImages(images);
  const copy = original(network);
  const order = new Stream(seed).permutation(set.labels.length);
  const batches = Math.min(options.batches, Math.floor(order.length / batch));
  if (batches === 0) {
    throw new ModelError('data', `${order.length} images do not fill one batch of ${batch}`);
  }
  const measured = await Promise.all(
    Array.from({ length: batches }, (_, i) => {
      const indices = order.slice(i * batch, (i + 1) * batch);
      const seeds = [seed, 0, i, 0] as const;
      return pool.run('statisticsShard', { network: copy, set, indices, augmentation, seeds });
    }),
  );
  let at = 0;
  for (const { value } of statistics) {
    for (let i = 0; i < value.length; i++, at++) {
      value[i] = measured.reduce((sum, of) => sum + of[at]!, 0) / batches;
    }
  }
}

/** Share of the images whose label has the highest of their scores, 0..1; a row with NaN counts as wrong. */
export function accuracyOf(scores: Float32Array, labels: Uint8Array): number {
  const classes = scores.length / labels.length;
  let right = 0;
  for (let i = 0; i < labels.length; i++) {
    const row = scores.subarray(i * classes, (i + 1) * classes);
    if (row.every((v) => v <= row[labels[i]!]!) && row.indexOf(row[labels[i]!]!) === labels[i]) {
      right++;
    }
  }
  return right / labels.length;
}

/** Share of the images a network classifies rightly, 0..1. */
export async function score(
  network: Network,
  set: LabelledImages,
  pool?: TrainingPool,
): Promise<number> {
  return accuracyOf(await scoresOf(network, set, { pool }), set.labels);
}

/** Progress as one line of text. */
export function progressLine(p: TrainProgress): string {
  const percent = (100 * p.accuracy).toFixed(2);
  const left = `${Math.floor(p.secondsLeft / 60)}:${String(Math.floor(p.secondsLeft % 60)).padStart(2, '0')}`;
  return `epoch ${p.epoch}/${p.epochs}  ${p.images}/${p.of} images  ${p.imagesPerSecond.toFixed(0)}/s  loss ${p.loss.toFixed(4)}  ${percent} % right  ${left} left`;
}
