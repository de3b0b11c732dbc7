/**
 * The training loop: epochs of shuffled batches, one optimiser step each, progress and cancelling.
 *
 * All randomness of an epoch comes from (seed, epoch), so a run that resumes after epoch k goes on exactly as one that
 * never stopped.
 */

import { abortError } from '../../protocol/errors.ts';
import { argmax } from '../graph/index.ts';
import { type Augment, type LabelledImages, makeBatch } from './data/images.ts';
import { crossEntropy, distillation } from './loss.ts';
import type { Network, Parameter } from './network.ts';
import type { Optimiser, Schedule } from './optimiser.ts';
import { Stream } from './random.ts';

/** Learning from a larger network's scores beside the labels: (1 - share) * labels + share * teacher. */
export interface Teacher {
  /** Of the student's batch size. */
  readonly network: Network;
  /** 0..1 */
  readonly share: number;
  readonly temperature: number;
}

export interface TrainOptions {
  readonly epochs: number;
  /** Epochs already done (see checkpoint.ts). */
  readonly done?: number;
  readonly seed: number;
  readonly optimiser: Optimiser;
  readonly schedule: Schedule;
  readonly teacher?: Teacher;
  /** Makes the augmentation of an epoch from the epoch's stream. */
  readonly augment?: (stream: Stream) => Augment;
  /** After every step: constraints on the parameters. */
  readonly constrain?: (parameters: readonly Parameter[]) => void;
  /** About once a second, and at the end of every epoch. */
  readonly onProgress?: (progress: TrainProgress) => void;
  /** After every epoch. */
  readonly onEpoch?: (epochsDone: number) => void;
  readonly signal?: AbortSignal;
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

/** Milliseconds between progress reports, at which cancelling is noticed too. LOCAL */
const REPORT_EVERY = 1000;

/**
 * Trains a network in place. The last images of an epoch that fill no batch are left out (other ones each epoch).
 * @throws AbortError when `signal` is aborted; the network then stands after its last step.
 */
export async function train(
  network: Network,
  set: LabelledImages,
  options: TrainOptions,
): Promise<void> {
  const { batch, results } = network;
  const { epochs, done = 0, teacher } = options;
  const steps = Math.floor(set.labels.length / batch);
  if (steps === 0) {
    throw new RangeError(`${set.labels.length} images do not fill one batch of ${batch}`);
  }
  const gradient = new Float32Array(batch * results);
  const started = performance.now();
  let reported = started;
  for (let epoch = done; epoch < epochs; epoch++) {
    const stream = new Stream(options.seed, epoch);
    const order = stream.permutation(set.labels.length);
    const augment = options.augment?.(stream);
    let loss = 0;
    let right = 0;
    for (let step = 0; step < steps; step++) {
      const indices = order.subarray(step * batch, (step + 1) * batch);
      const { images, labels } = makeBatch(set, network.input, indices, augment);
      const scores = network.forward(images, 'train');
      gradient.fill(0);
      const share = teacher?.share ?? 0;
      loss += (1 - share) * crossEntropy(scores, labels, results, gradient, 1 - share);
      if (teacher !== undefined) {
        const wanted = teacher.network.forward(images, 'evaluate');
        const t = teacher.temperature;
        loss += share * distillation(scores, wanted, batch, results, t, gradient, share);
      }
      right += countRight(scores, labels, results);
      network.backward(gradient, 'train');
      options.optimiser.step(network.parameters, options.schedule((epoch + step / steps) / epochs));
      options.constrain?.(network.parameters);

      const now = performance.now();
      const last = step === steps - 1;
      if (now - reported < REPORT_EVERY && !last) continue;
      reported = now;
      const imagesDone = (step + 1) * batch;
      const rate = (((epoch - done) * steps + step + 1) * batch) / ((now - started) / 1000);
      options.onProgress?.({
        epoch: epoch + 1,
        epochs,
        images: imagesDone,
        of: steps * batch,
        imagesPerSecond: rate,
        loss: loss / (step + 1),
        accuracy: right / imagesDone,
        secondsLeft: ((epochs - epoch) * steps * batch - imagesDone) / rate,
      });
      // Lets timers and the caller's abort in.
      await new Promise((resume) => setTimeout(resume));
      if (options.signal?.aborted) throw abortError('training', options.signal.reason);
    }
    options.onEpoch?.(epoch + 1);
  }
}

function countRight(scores: Float32Array, labels: Uint8Array, classes: number): number {
  let right = 0;
  for (let b = 0; b < labels.length; b++) {
    if (argmax(scores.subarray(b * classes, (b + 1) * classes)) === labels[b]) right++;
  }
  return right;
}

/** Share of the images a network classifies rightly, 0..1. */
export function score(network: Network, set: LabelledImages): number {
  const count = set.labels.length;
  let right = 0;
  for (let from = 0; from < count; from += network.batch) {
    const length = Math.min(network.batch, count - from);
    const indices = Uint32Array.from({ length }, (_, i) => from + i);
    const { images, labels } = makeBatch(set, network.input, indices);
    right += countRight(network.forward(images, 'evaluate'), labels, network.results);
  }
  return right / count;
}

/** Progress as one line of text. */
export function progressLine(p: TrainProgress): string {
  const percent = (100 * p.accuracy).toFixed(2);
  const left = `${Math.floor(p.secondsLeft / 60)}:${String(Math.floor(p.secondsLeft % 60)).padStart(2, '0')}`;
  return `epoch ${p.epoch}/${p.epochs}  ${p.images}/${p.of} images  ${p.imagesPerSecond.toFixed(0)}/s  loss ${p.loss.toFixed(4)}  ${percent} % right  ${left} left`;
}
