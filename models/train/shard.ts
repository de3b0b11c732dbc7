/**
 * Data-parallel training: what a worker thread does with its share of a step, and the pool tasks for it.
 *
 * A step's images are split into shards of one batch each. Every shard runs forward and backward on a replica of the
 * network, which computes with the network's own tensors in shared memory, and leaves its gradients and batch statistics
 * in its own slot. The trainer (loop.ts) adds the slots up in order and moves the tensors while nobody computes, so that
 * results depend on the number of shards, never on the number of workers. Batch norm sees a shard, not the whole step.
 */

import { indexOfLargest } from '../../protocol/ring/tensor.ts';
import type { Graph } from '../graph/index.ts';
import { type Augmentation, augmenter } from './data/augment.ts';
import { type LabelledImages, makeBatch } from './data/images.ts';
import { crossEntropy, distillation, Losses } from './loss.ts';
import { type Mode, Network, type NetworkOptions } from './network.ts';

/** A network as other threads find it: the same key means the same network. */
export interface Original {
  readonly key: string;
  /** Over shared memory. */
  readonly graph: Graph;
  readonly batch: number;
  readonly options: NetworkOptions;
}

/** What learning from a teacher's scores needs in a worker. */
export interface SharedTeacher {
  readonly share: number;
  readonly temperature: number;
  readonly network?: Original;
  /** [image of the set][class] */
  readonly logits?: Float32Array;
}

/** Groups of images whose losses should not differ, see {@link groupWeights}. */
export interface Groups {
  /** Group of each image of the set. */
  readonly of: Uint8Array;
  /** One number a group, read anew at every step. */
  readonly multipliers: Float64Array;
  /** Only groups that do worse than the mean count. */
  readonly oneSided: boolean;
}

/** One shard of a step. */
export interface ShardJob {
  readonly student: Original;
  readonly teacher?: SharedTeacher | undefined;
  /** Of the labels, see {@link crossEntropy}. */
  readonly smoothing: number;
  readonly groups?: Groups | undefined;
  readonly mode: Mode;
  readonly set: LabelledImages;
  readonly indices: Uint32Array;
  readonly augmentation?: Augmentation | undefined;
  /** Seeds of the shard's augmentation: the training's, the epoch, the step, the shard. */
  readonly seeds: readonly [number, number, number, number];
  /** Receives the gradients of all parameters, then the statistics of all batch norms. */
  readonly slot: Float32Array;
}

/** What came of a shard; means over its images. */
export interface ShardResult {
  readonly loss: number;
  readonly penalty: number;
  /** Images classified rightly. */
  readonly right: number;
  /** By group, sums over images of the loss; how many images; how much the multiplier's constraint was violated. */
  readonly groupLosses?: Float64Array;
  readonly groupCounts?: Float64Array;
  readonly violations?: Float64Array;
}

/** Most networks a thread keeps replicas of: a student, its teacher, and the pair before. LOCAL */
const MOST_REPLICAS = 4;

/** Replicas of this thread, least recently used first. */
const replicas = new Map<string, Network>();

/** Makes a network of this thread findable by its key, for jobs that run in the same thread. */
export function keep(key: string, network: Network): void {
  replicas.delete(key);
  replicas.set(key, network);
  for (const oldest of [...replicas.keys()].slice(0, -MOST_REPLICAS)) replicas.delete(oldest);
}

function replicaOf({ key, graph, batch, options }: Original): Network {
  const network = replicas.get(key) ?? Network.replica(graph, batch, options);
  keep(key, network);
  return network;
}

/**
 * The fairness loss of a shard, L + sum over groups g of multiplier_g * v_g with v_g = |L_g - L|, or max(0, L_g - L)
 * ("Disparate Impact of Linearization", ICML 2024): what each image's loss weighs in it, so that gradients flow through
 * the means of the groups too.
 * @param losses of each image
 * @returns weights that sum to 1, and v_g (0 for a group without images here)
 */
export function groupWeights(
  losses: Float64Array,
  group: Uint8Array,
  { multipliers, oneSided }: Pick<Groups, 'multipliers' | 'oneSided'>,
): { weights: Float64Array; violations: Float64Array; sums: Float64Array; counts: Float64Array } {
  const groups = multipliers.length;
  const sums = new Float64Array(groups);
  const counts = new Float64Array(groups);
  let mean = 0;
  for (let b = 0; b < losses.length; b++) {
    sums[group[b]!]! += losses[b]!;
    counts[group[b]!]!++;
    mean += losses[b]! / losses.length;
  }
  const weights = new Float64Array(losses.length).fill(1 / losses.length);
  const violations = new Float64Array(groups);
  for (let g = 0; g < groups; g++) {
    if (counts[g] === 0) continue;
    const gap = sums[g]! / counts[g]! - mean;
    if (oneSided && gap <= 0) continue;
    violations[g] = Math.abs(gap);
    const pull = multipliers[g]! * Math.sign(gap);
    for (let b = 0; b < losses.length; b++) {
      weights[b]! += pull * ((group[b] === g ? 1 / counts[g]! : 0) - 1 / losses.length);
    }
  }
  return { weights, violations, sums, counts };
}

/** Forward and backward of one shard. */
export function trainShard(job: ShardJob): ShardResult {
  const { student, teacher, smoothing, groups, mode, set, indices, slot } = job;
  const network = replicaOf(student);
  const augment = job.augmentation && augmenter(job.augmentation, job.seeds);
  const { images, labels } = makeBatch(set, network.input, indices, augment);
  const scores = network.forward(images, mode);
  const classes = network.results;
  const losses = new Losses(indices.length, classes);
  const share = teacher?.share ?? 0;
  if (share < 1) crossEntropy(scores, labels, losses, 1 - share, smoothing);
  if (teacher !== undefined && share > 0) {
    const wanted = teacher.network
      ? replicaOf(teacher.network).forward(images, 'evaluate')
      : gatherRows(teacher.logits!, indices, classes);
    distillation(scores, wanted, teacher.temperature, losses, share);
  }
  let right = 0;
  for (let b = 0; b < labels.length; b++) {
    if (indexOfLargest(scores.subarray(b * classes, (b + 1) * classes)) === labels[b]) right++;
  }
  const loss = losses.values.reduce((sum, value) => sum + value, 0) / indices.length;
  const grouped =
    groups &&
    groupWeights(
      losses.values,
      Uint8Array.from(indices, (i) => groups.of[i]!),
      groups,
    );
  losses.weigh(grouped?.weights ?? new Float64Array(indices.length).fill(1 / indices.length));
  network.backward(losses.gradient, mode);

  let at = 0;
  for (const { gradient } of network.parameters) {
    slot.set(gradient, at);
    at += gradient.length;
  }
  for (const { batch } of network.statistics) {
    slot.set(batch, at);
    at += batch.length;
  }
  const result = { loss, penalty: network.penalty, right };
  if (grouped === undefined) return result;
  const { sums, counts, violations } = grouped;
  return { ...result, groupLosses: sums, groupCounts: counts, violations };
}

function gatherRows(rows: Float32Array, indices: Uint32Array, length: number): Float32Array {
  const out = new Float32Array(indices.length * length);
  indices.forEach((index, b) => {
    out.set(rows.subarray(index * length, (index + 1) * length), b * length);
  });
  return out;
}

/** Scores of some images of a set. */
export interface ScoresJob {
  readonly network: Original;
  readonly set: LabelledImages;
  readonly from: number;
  readonly to: number;
}

/** The scores of the images from `from` up to `to`, [image][class], in evaluation mode. */
export function scoreShard({ network: original, set, from, to }: ScoresJob): Float32Array {
  const network = replicaOf(original);
  const classes = network.results;
  const out = new Float32Array((to - from) * classes);
  for (let first = from; first < to; first += network.batch) {
    const length = Math.min(network.batch, to - first);
    const indices = Uint32Array.from({ length }, (_, i) => first + i);
    const { images } = makeBatch(set, network.input, indices);
    const scores = network.forward(images, 'evaluate');
    out.set(scores.subarray(0, length * classes), (first - from) * classes);
  }
  return out;
}

/** A batch whose statistics are wanted. */
export interface StatisticsJob {
  readonly network: Original;
  readonly set: LabelledImages;
  readonly indices: Uint32Array;
  readonly augmentation?: Augmentation | undefined;
  readonly seeds: ShardJob['seeds'];
}

/** The statistics of all batch norms over a batch, one after the other. */
export function statisticsShard(job: StatisticsJob): Float32Array {
  const network = replicaOf(job.network);
  const augment = job.augmentation && augmenter(job.augmentation, job.seeds);
  network.forward(makeBatch(job.set, network.input, job.indices, augment).images, 'train');
  return Float32Array.from(network.statistics.flatMap(({ batch }) => [...batch]));
}

/** Tasks of a pool that trains. */
export const trainTasks: {
  trainShard: typeof trainShard;
  scoreShard: typeof scoreShard;
  statisticsShard: typeof statisticsShard;
} = { trainShard, scoreShard, statisticsShard };
