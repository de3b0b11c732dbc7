/**
 * From a trained network to a model that a server offers. Node.
 *
 * - Read one (`readOnnx`, `readSafetensors` with a builder, `loadGraph`) or build one (`resNetCifar`, ...): a {@link Graph}.
 * - `compile` it with sample images: a program, its weights, and a report. `encodeModel` makes the `.sotto` file of it.
 * - `reduction.reduce` brings one to a budget of ReLUs, `training.train` trains one.
 * - `runFloat` is what the network means, `runClear` what the program computes, exactly; `scoreAll` compares the two.
 */

export type { Masks } from '../protocol/linear/index.ts';
export { type ClearObserver, runClear } from '../protocol/program/clear.ts';
export { decodeLogits, encodeInput } from '../protocol/program/input.ts';
export type { KindName } from '../protocol/program/kinds.ts';
export {
  type ChannelConstants,
  decodeModel,
  encodeModel,
  type LinearWeights,
  type Model,
  type StepWeights,
} from '../protocol/program/model.ts';
export type {
  ActivationStep,
  AddStep,
  ConcatStep,
  GatherStep,
  LinearStep,
  LocalStep,
  OutputStep,
  Program,
  ProgramInput,
  ProgramReadout,
  ProgramResult,
  Step,
  SumPoolStep,
} from '../protocol/program/program.ts';
export { decodeResults, type ResultTensor, readOut } from '../protocol/program/results.ts';
export type { Tables } from '../protocol/ring/gather.ts';
export type { ConvShape, DenseShape, LinearShape } from '../protocol/ring/shape.ts';
export type { ComparisonReport } from './compile/comparisons.ts';
export type { Fidelity } from './compile/fidelity.ts';
export {
  type Compiled,
  type CompileOptions,
  type CompileReport,
  compile,
  compileFile,
  formatReport,
  type LayerReport,
} from './compile/index.ts';
export {
  type Extents,
  type MeasureAllOptions,
  type Measured,
  type MeasuredShare,
  type MeasureJob,
  type MeasureProgress,
  measure,
  measureAll,
  measureTasks,
  runFast,
  type Wanted,
} from './compile/measure.ts';
export type { Preparation } from './compile/report.ts';
export {
  formatScore,
  type Score,
  type ScoreInput,
  score,
  scoreAll,
  scoreTasks,
} from './compile/score.ts';
export { isModelError, ModelError, type ModelErrorCode } from './errors.ts';
export type {
  ActivationNode,
  AddNode,
  AveragePoolNode,
  BatchNormNode,
  ConcatNode,
  ConvNode,
  DenseNode,
  FlattenNode,
  GatherNode,
  GlobalAveragePoolNode,
  MaxPoolNode,
  PadNode,
  PiecewiseNode,
  Readout,
  ReshapeNode,
  Result,
  ScaleNode,
  Shape,
  SliceNode,
  Triple,
} from './graph/graph.ts';
export {
  countGraph,
  type Graph,
  type GraphInput,
  IDENTITY,
  inferShapes,
  loadGraph,
  type Node,
  preprocess,
  preprocessAll,
  RELU,
  runFloat,
  SQUARE,
  saveGraph,
  type Tensor,
} from './graph/index.ts';
export type { GraphCounts, Observer } from './graph/walk.ts';
export * from './networks/index.ts';
export type { ExternalData } from './onnx/constant.ts';
export {
  type Check,
  checkOnnx,
  type GraphSummary,
  type OnnxOptions,
  type Refusal,
  readOnnx,
  readOnnxFile,
  readSafetensors,
} from './onnx/index.ts';
export * as reduction from './reduce/index.ts';
export {
  type Fit,
  type Images,
  type PixelImages,
  type ReadOptions,
  readImages,
  readPixels,
} from './samples/index.ts';
export { shippedNetwork } from './shipped.ts';
export { CIFAR10_LABELS, readCifar } from './train/data/cifar.ts';
export * as training from './train/index.ts';
