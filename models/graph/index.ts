/**
 * A float network as data: what training produces, what the compiler takes.
 *
 * - A {@link Graph} is never changed in place: whoever changes a network makes a new graph that shares the tensors.
 * - `inferShapes` is the one check of a graph's soundness; every function here that walks a graph calls it first.
 * - `runFloat` is the float reference of a network's meaning.
 */

export { encodeGraph, loadGraph, saveGraph } from './file.ts';
export {
  type ActivationKind,
  type ActivationNode,
  type AddNode,
  type AveragePoolNode,
  type BatchNormNode,
  type ConcatNode,
  type ConvNode,
  type DenseNode,
  elements,
  type FlattenNode,
  type GatherNode,
  type GlobalAveragePoolNode,
  type Graph,
  type GraphInput,
  IDENTITY,
  type MaxPoolNode,
  type Node,
  type PadNode,
  type PiecewiseNode,
  RELU,
  type Readout,
  type ReshapeNode,
  type Result,
  resultsOf,
  type ScaleNode,
  type Shape,
  type SliceNode,
  SQUARE,
  type Tensor,
  type Triple,
  tensorOf,
} from './graph.ts';
export {
  countGraph,
  type GraphCounts,
  inferShapes,
  nodeShape,
  type Observer,
  preprocess,
  preprocessAll,
  runFloat,
} from './walk.ts';
