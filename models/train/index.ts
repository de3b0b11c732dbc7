/**
 * Training float networks: gradients, optimisers, data, the loop. Node only (data comes from files).
 *
 * - A {@link Network} is a graph made trainable at one batch size; it owns its kernel memory. `forward`, `backward`, then
 *   an optimiser's `step` over its `parameters`; `train` does that for whole epochs. `toGraph` takes the result out.
 * - The same seed gives the same network, bit by bit, on any machine with the same JavaScript engine; also across a stop
 *   and a resume from a checkpoint. After an abort the network is sound and stands after its last step.
 * - A new operator is a layer in layers/ and a line in its table; a method that changes activation maps makes a new graph
 *   and a new Network from it.
 */

export { loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
export type { Augmentation, Motions } from './data/augment.ts';
export { CIFAR10_LABELS, readCifar } from './data/cifar.ts';
export {
  type Augment,
  type Batch,
  concatenate,
  type LabelledImages,
  makeBatch,
  shareImages,
  slice,
} from './data/images.ts';
export { dataFolder, missing, readCifar10, readMnist } from './data/published.ts';
export { whiteningFilters } from './data/whitening.ts';
export type { Floats } from './kernels/index.ts';
export {
  accuracyOf,
  type EpochStats,
  measureStatistics,
  progressLine,
  score,
  scoresOf,
  type Teacher,
  type TrainingPool,
  type TrainOptions,
  type TrainProgress,
  train,
} from './loop.ts';
export { crossEntropy, distillation, Losses } from './loss.ts';
export {
  isSoft,
  type Mode,
  moveStatistics,
  Network,
  type NetworkOptions,
  type Parameter,
  type Statistic,
  softTensors,
  type Value,
} from './network.ts';
export {
  Adam,
  type AdamOptions,
  clipGradients,
  cosine,
  Lookahead,
  type Optimiser,
  type Rates,
  type Schedule,
  Sgd,
  type SgdOptions,
  steps,
  triangle,
} from './optimiser.ts';
export { createTrainingPool } from './pool.ts';
export {
  type Groups,
  groupWeights,
  type Original,
  type ScoresJob,
  type ShardJob,
  type ShardResult,
  type SharedTeacher,
  type StatisticsJob,
  scoreShard,
  statisticsShard,
  trainShard,
  trainTasks,
} from './shard.ts';
export { type StageOptions, trainStage } from './stage.ts';
