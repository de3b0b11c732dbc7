/** The operators that are read, by their ONNX names. A new one is a function in this folder and a line here. */

import type { Operand, Operation } from '../operation.ts';
import * as bends from './bends.ts';
import { concat } from './concat.ts';
import { conv, convTranspose } from './conv.ts';
import { einsum, gemm, matMul } from './dense.ts';
import * as moves from './moves.ts';
import { batchNormalization } from './norm.ts';
import * as pointwise from './pointwise.ts';
import * as readout from './readout.ts';
import * as reduce from './reduce.ts';
import { resize } from './resize.ts';
import * as windows from './windows.ts';

export { adviceFor, isFunction } from './advice.ts';
export { folded } from './folded.ts';

/** Operators on values that depend on the image. */
export const onnxOperators: Readonly<Record<string, (op: Operation) => Operand | Operand[]>> = {
  Abs: bends.abs,
  Add: pointwise.add,
  ArgMax: readout.argMax,
  AveragePool: windows.averagePool,
  BatchNormalization: batchNormalization,
  Cast: moves.cast,
  CastLike: moves.castLike,
  Clip: bends.clip,
  Concat: concat,
  Conv: conv,
  ConvTranspose: convTranspose,
  DepthToSpace: moves.depthToSpace,
  Div: pointwise.div,
  Dropout: moves.dropout,
  Einsum: einsum,
  Expand: moves.expand,
  Flatten: moves.flatten,
  Gather: moves.gather,
  GatherElements: moves.gatherElements,
  GatherND: moves.gatherND,
  Gemm: gemm,
  GlobalAveragePool: reduce.globalAveragePool,
  GlobalMaxPool: reduce.globalMaxPool,
  HardSigmoid: bends.hardSigmoid,
  HardSwish: pointwise.hardSwish,
  Identity: moves.same,
  LeakyRelu: bends.leakyRelu,
  LogSoftmax: readout.logSoftmax,
  MatMul: matMul,
  Max: bends.max,
  MaxPool: windows.maxPool,
  Mean: pointwise.mean,
  Min: bends.min,
  Mul: pointwise.mul,
  Neg: pointwise.neg,
  PRelu: bends.pRelu,
  Pad: moves.pad,
  Pow: pointwise.pow,
  ReduceL1: reduce.reduceL1,
  ReduceMax: reduce.reduceMax,
  ReduceMean: reduce.reduceMean,
  ReduceMin: reduce.reduceMin,
  ReduceSum: reduce.reduceSum,
  ReduceSumSquare: reduce.reduceSumSquare,
  Relu: bends.relu,
  Reshape: moves.reshape,
  Resize: resize,
  Shape: moves.shape,
  Shrink: bends.shrink,
  Sigmoid: readout.sigmoid,
  Size: moves.size,
  Slice: moves.slice,
  Softmax: readout.softmax,
  SpaceToDepth: moves.spaceToDepth,
  Split: moves.split,
  Squeeze: moves.squeeze,
  Sub: pointwise.sub,
  Sum: pointwise.sum,
  Tanh: readout.tanh,
  Tile: moves.tile,
  Transpose: moves.transpose,
  Unsqueeze: moves.unsqueeze,
  Upsample: resize,
  Where: pointwise.where,
};
