/** The operators that are read, by their ONNX names. A new one is a function in this folder and a line here. */

import type { Constant } from '../constant.ts';
import type { Operation, Traced } from '../operation.ts';
import { batchNormalization, gemm, matMul } from './dense.ts';
import * as layout from './layout.ts';
import * as pointwise from './pointwise.ts';
import { argMax, logSoftmax, softmax } from './readout.ts';
import * as windows from './windows.ts';

export { folded } from './folded.ts';

/** Operators on values that depend on the image. */
export const operators: Readonly<Record<string, (op: Operation) => Traced | Constant>> = {
  Add: pointwise.add,
  ArgMax: argMax,
  AveragePool: windows.averagePool,
  BatchNormalization: batchNormalization,
  Cast: layout.cast,
  Clip: pointwise.clip,
  Concat: layout.concat,
  Conv: windows.conv,
  Div: pointwise.div,
  Dropout: layout.dropout,
  Flatten: layout.flatten,
  Gemm: gemm,
  GlobalAveragePool: windows.globalAveragePool,
  GlobalMaxPool: windows.globalMaxPool,
  Identity: layout.same,
  LogSoftmax: logSoftmax,
  MatMul: matMul,
  MaxPool: windows.maxPool,
  Mul: pointwise.mul,
  Neg: pointwise.neg,
  Pad: layout.pad,
  Pow: pointwise.pow,
  ReduceMean: layout.reduceMean,
  Relu: pointwise.relu,
  Reshape: layout.reshape,
  Shape: layout.shape,
  Slice: layout.slice,
  Softmax: softmax,
  Squeeze: layout.squeeze,
  Sub: pointwise.sub,
  Sum: pointwise.sum,
  Transpose: layout.transpose,
  Unsqueeze: layout.unsqueeze,
};

const FUNCTIONS =
  'Celu Elu Erf Exp Gelu HardSigmoid HardSwish LeakyRelu Log Mish PRelu Selu Sigmoid Softplus Softsign Swish Tanh ThresholdedRelu';
const NORMS =
  'GroupNormalization InstanceNormalization LayerNormalization LpNormalization LRN MeanVarianceNormalization RMSNormalization';
const CONTROL = 'If Loop Scan';

/** What to do about an operator that is not read. */
export function adviceFor(op: string): string {
  const isOneOf = (names: string) => names.split(' ').includes(op);
  if (isOneOf(FUNCTIONS)) {
    return 'it is no function for private inference: replace it by Relu or by a polynomial of degree 2 and fine-tune the network';
  }
  if (isOneOf(NORMS)) {
    return 'it divides by what it measures on the image: replace it by BatchNormalization and fine-tune the network';
  }
  if (isOneOf(CONTROL)) return 'it is control flow: export the model for inference, traced';
  if (/Quantize|^QLinear|Integer$/.test(op)) {
    return 'it is quantised: export the float model, fixed point is chosen when it is compiled';
  }
  return `it is not supported: rewrite the model with ${Object.keys(operators).join(', ')}`;
}
