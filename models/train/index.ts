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

export { CURVATURE, clampCurvature, parabolaOfRelu, replaceRelus } from './activation-map.ts';
export { loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
export { type Motions, smallMotions } from './data/augment.ts';
export {
  type Augment,
  type Batch,
  dataFolder,
  type LabelledImages,
  makeBatch,
  missing,
  readMnist,
  slice,
} from './data/images.ts';
export {
  progressLine,
  score,
  type Teacher,
  type TrainOptions,
  type TrainProgress,
  train,
} from './loop.ts';
export { crossEntropy, distillation } from './loss.ts';
export { type Mode, Network, type Parameter, type Value } from './network.ts';
export { Adam, cosine, type Optimiser, type Schedule, Sgd } from './optimiser.ts';
export { Stream } from './random.ts';
