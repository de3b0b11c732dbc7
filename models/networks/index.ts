/**
 * The networks of the field as graphs, for any weights.
 *
 * - A builder takes {@link BuilderOptions}: where its parameters come from (default: random ones of a seed), and the
 *   map of its activations (default: all ReLUs). What it returns is a graph like any other.
 * - ReLU counts that are stated include the stem's and leave out what max pooling compares.
 */

export { AIR_FROZEN, type AirOptions, airNet } from './air.ts';
export { type BuilderOptions, randomWeights, type WeightSource } from './assemble.ts';
export { mobileNetV2, resNet50, squeezeNet } from './imagenet.ts';
export { delphiMap, loadMiniOnn, loadResNetCifar, weightsFrom } from './load.ts';
export {
  type ActivationLayer,
  allRelus,
  type ReluMap,
  type RestKind,
  randomMap,
  squaresAt,
} from './maps.ts';
export { loadNamed, NETWORK_NAMES } from './named.ts';
export { MINIONN_RELUS, miniOnn, type VggOptions, vgg16 } from './plain.ts';
export { compactResNet, hybReNet, resNet18, resNetCifar } from './resnet.ts';
