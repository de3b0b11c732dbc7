/**
 * How methods train: in stages, each of which survives an interruption.
 *
 * - A stage leaves a checkpoint after every epoch under its own name, and goes on from it when it is run again with the
 *   same network, data and settings; one that is done does nothing. Its result depends on seeds alone, not on stops or on
 *   the number of workers.
 * - A method's own numbers (multipliers, states of schedules) are part of its checkpoints.
 * - After an abort, or an error, the last checkpoint stays.
 */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { makeFolder } from '../../protocol/files.ts';
import { ModelError } from '../errors.ts';
import { elements, encodeGraph, type Graph } from '../graph/index.ts';
import {
  Adam,
  type Augmentation,
  accuracyOf,
  cosine,
  type EpochStats,
  type LabelledImages,
  Network,
  type NetworkOptions,
  type Optimiser,
  scoresOf,
  type Teacher,
  type TrainingPool,
  type TrainOptions,
  type TrainProgress,
  train,
  trainStage,
} from '../train/index.ts';
import { clampCurvature } from './parabola.ts';

/** What all stages of a reduction share. */
export interface Training {
  readonly training: LabelledImages;
  /** Never trained on. */
  readonly validation: LabelledImages;
  /** Images of a shard, and shards of a step; see TrainOptions. Default of shards: 1. */
  readonly batch: number;
  readonly shards?: number;
  readonly seed: number;
  readonly augmentation?: Augmentation | undefined;
  /** Of every stage, usually the network of all ReLUs. */
  readonly teacher?: Teacher | undefined;
  readonly pool?: TrainingPool | undefined;
  readonly signal?: AbortSignal | undefined;
  /** The folder of checkpoints. Default: none are kept. */
  readonly checkpoints?: string | undefined;
  readonly onProgress?: ((stage: string, progress: TrainProgress) => void) | undefined;
  /** After every epoch, with the accuracy on the validation images. */
  readonly onEpoch?: ((stage: string, epoch: StageEpoch) => void) | undefined;
}

export interface StageEpoch extends EpochStats {
  readonly epoch: number;
  readonly epochs: number;
  readonly validation: number;
  /** What the method has to say. */
  readonly note?: string | undefined;
}

/** One stage. */
export interface TuningStage
  extends Pick<
    TrainOptions,
    'epochs' | 'schedule' | 'groups' | 'mode' | 'beforeStep' | 'afterStep'
  > {
  /** Of its checkpoint; the same name means the same stage. */
  readonly name: string;
  readonly optimiser: Optimiser;
  /** What decides the result beside the network and {@link Training}: hyper-parameters. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Numbers of the method, exact in single precision, restored in place. */
  readonly memory?: Readonly<Record<string, Float32Array | Float64Array>>;
  /** After every epoch, before its checkpoint; 'stop' ends the stage. */
  readonly onEpoch?: (epochsDone: number, stats: EpochStats) => 'stop' | undefined;
  readonly note?: () => string;
}

/** Largest norm of a step's gradient: squares can make steps that destroy a network. LOCAL */
const CLIP = 5;

/**
 * Is this a set of images a network can learn?
 * @throws ModelError `data` in one sentence when shapes or labels do not fit the network
 */
export function checkImages(
  set: LabelledImages,
  network: Pick<Network, 'input' | 'results'>,
): void {
  const { shape, pixels, labels } = set;
  if (`${shape}` !== `${network.input.shape}`) {
    throw new ModelError(
      'data',
      `the images are ${shape.join('x')}, the network takes ${network.input.shape.join('x')}`,
    );
  }
  if (labels.length === 0 || pixels.length !== labels.length * elements(shape)) {
    throw new ModelError(
      'data',
      `${labels.length} labels and ${pixels.length} pixels are no set of ${shape.join('x')} images`,
    );
  }
  const wrong = labels.findIndex((label) => label >= network.results);
  if (wrong >= 0) {
    throw new ModelError(
      'data',
      `image ${wrong} has label ${labels[wrong]}, but the network knows classes 0 to ${network.results - 1}`,
    );
  }
}

/** Sixteen bytes, as numbers, that tell runs apart which would give different results. */
function fingerprintOf(network: Network, training: Training, stage: TuningStage): Float32Array {
  const { batch, shards = 1, seed, augmentation, teacher } = training;
  const { name, epochs, settings, groups } = stage;
  const kept = [batch, shards, seed, augmentation, name, epochs, settings, network.options];
  const hash = createHash('sha256')
    .update(JSON.stringify([...kept, groups?.oneSided, teacher?.share, teacher?.temperature]))
    .update(encodeGraph(network.toGraph()))
    .update(training.training.labels)
    .update(groups?.of ?? '');
  if (teacher !== undefined) {
    hash.update('logits' in teacher ? bytesOf(teacher.logits) : encodeGraph(teacher.graph));
  }
  return Float32Array.from(hash.digest().subarray(0, 16));
}

function bytesOf(numbers: Float32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}

/**
 * Runs a stage to its end, in place, from its checkpoint if there is one.
 * @throws ModelError `data` when images or labels do not fit the network, `checkpoint` when the checkpoint is of another run
 */
export async function runStage(
  network: Network,
  training: Training,
  stage: TuningStage,
): Promise<void> {
  const { name, epochs, memory = {}, optimiser } = stage;
  const { checkpoints, pool, signal } = training;
  checkImages(training.training, network);
  checkImages(training.validation, network);
  const options: TrainOptions = {
    epochs,
    seed: training.seed,
    shards: training.shards ?? 1,
    optimiser,
    schedule: stage.schedule,
    teacher: training.teacher,
    groups: stage.groups,
    augmentation: training.augmentation,
    clip: CLIP,
    mode: stage.mode ?? 'train',
    ...(stage.beforeStep && { beforeStep: stage.beforeStep }),
    ...(stage.afterStep && { afterStep: stage.afterStep }),
    onProgress: (progress) => training.onProgress?.(name, progress),
    async onEpoch(epoch, stats) {
      const verdict = stage.onEpoch?.(epoch, stats);
      if (training.onEpoch !== undefined) {
        const validation = await accuracy(network, training);
        training.onEpoch(name, { ...stats, epoch, epochs, validation, note: stage.note?.() });
      }
      return verdict;
    },
    signal,
    pool,
  };
  if (checkpoints === undefined) return train(network, training.training, options);
  const fingerprint = fingerprintOf(network, training, stage);
  makeFolder(checkpoints);
  await trainStage(network, training.training, {
    ...options,
    checkpoint: join(checkpoints, `${name}.checkpoint`),
    extra: () => {
      const own = Object.entries(memory).map(([key, value]) => [key, Float32Array.from(value)]);
      return { fingerprint, ...Object.fromEntries(own) };
    },
    resume(extra) {
      if (`${extra['fingerprint']}` !== `${fingerprint}`) {
        throw new ModelError(
          'checkpoint',
          `the checkpoint '${name}' in ${checkpoints} is of a run with another network, other data or other settings: remove it, or use another folder`,
        );
      }
      for (const [key, numbers] of Object.entries(memory)) numbers.set(extra[key]!);
    },
  });
}

/** Accuracy on the validation images, 0..1. */
export async function accuracy(
  network: Network,
  { validation, pool, signal }: Pick<Training, 'validation' | 'pool' | 'signal'>,
): Promise<number> {
  return accuracyOf(await scoresOf(network, validation, { pool, signal }), validation.labels);
}

/** How a network with removed ReLUs learns to do without them. */
export interface Tuning {
  /** Default: 20. */
  readonly epochs?: number;
  /** Highest learning rate of Adam. It falls to zero by half a cosine. Default: 1e-3. */
  readonly rate?: number;
  /** Decay of weights. Default: 0.02. */
  readonly decay?: number;
  /** Ranges to keep, see NetworkOptions. Default: none. */
  readonly ranges?: NetworkOptions['ranges'];
  /**
   * Epochs behind those, at three tenths of the rate, that settle (see TrainOptions.mode): ranges are then kept of what
   * inference computes, where norms of a batch divide a value that escapes by itself. Default: 0.
   */
  readonly settleEpochs?: number;
}

/** Rate of the epochs that settle, as a part of the highest before. LOCAL */
const SETTLE_RATE = 0.3;

/**
 * Trains a network whose kinds are decided: weights, norms and polynomials.
 * @param more what a method adds to the stage
 */
export async function fineTune(
  graph: Graph,
  training: Training,
  {
    name,
    epochs = 20,
    rate = 1e-3,
    decay = 0.02,
    ranges,
    settleEpochs = 0,
  }: Tuning & { readonly name: string },
  more: Partial<TuningStage> = {},
): Promise<Graph> {
  const network = new Network(graph, training.batch, ranges ? { ranges } : {});
  const stage = (name: string, epochs: number, rate: number): TuningStage => ({
    name,
    epochs,
    optimiser: new Adam({ decay }),
    schedule: cosine(rate, 0, 0.05),
    afterStep: clampCurvature,
    ...more,
    settings: { rate, decay, ...more.settings },
  });
  await runStage(network, training, stage(name, epochs, rate));
  if (settleEpochs > 0) {
    const settle = stage(`${name}-settle`, settleEpochs, SETTLE_RATE * rate);
    await runStage(network, training, { ...settle, mode: 'settle' });
  }
  return network.toGraph();
}
