/** What to do about operators that are not read: why, and the nearest thing that works. */

const SMOOTH =
  'Acos Acosh Asin Asinh Atan Atanh BiasGelu Celu Cos Cosh Elu Erf Exp FastGelu Gelu Log Mish QuickGelu Selu Silu Sin Sinh Softplus Softsign Swish Tan';
const JUMPS = 'Ceil Floor Round Sign IsNaN IsInf ThresholdedRelu';
const LOGIC =
  'And Equal Greater GreaterOrEqual Less LessOrEqual Mod Not Or Xor BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot';
const DIVISIONS = 'Reciprocal Sqrt';
const NORMS =
  'GroupNormalization InstanceNormalization LayerNormalization LpNormalization LRN MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization';
const ROOTS = 'ReduceL2 ReduceLogSum ReduceLogSumExp ReduceProd LpPool GlobalLpPool';
const CONTROL = 'If Loop Scan';
const RECURRENT = 'GRU LSTM RNN';
const CHOICES =
  'ArgMin Compress Hardmax NonMaxSuppression NonZero OneHot RoiAlign MaxRoiPool TopK Unique ScatterElements ScatterND Scatter GridSample';
const ATTENTION = 'Attention MultiHeadAttention GroupQueryAttention RotaryEmbedding';
const RANDOM =
  'Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike';

const REASONS: readonly (readonly [string, string])[] = [
  [
    SMOOTH,
    'it is a smooth function, which has no private counterpart here: replace it by Relu, LeakyRelu, HardSwish or a polynomial of degree 2 and fine-tune the network',
  ],
  [
    JUMPS,
    'it is a function with jumps, and only functions without can be read: replace it by Relu or Clip and fine-tune the network',
  ],
  [
    LOGIC,
    'it compares or combines private numbers, which is only supported inside of Relu, Max, Min and the like: write it with those, or read up to its input with --output-name',
  ],
  [
    DIVISIONS,
    'it takes a root or divides by a private number, which has no private counterpart here: use a constant, such as one measured on the training images, and fine-tune the network',
  ],
  [
    NORMS,
    'it divides by what it measures on the image: replace it by BatchNormalization and fine-tune the network',
  ],
  [
    ROOTS,
    'it takes roots, logarithms or products of private numbers: replace it by a mean, a sum or a maximum and fine-tune the network',
  ],
  [CONTROL, 'it is control flow: export the model for inference, traced, so that none is left'],
  [
    RECURRENT,
    'it multiplies gates that depend on the image with the state at every step, which takes private products and smooth functions: replace it by convolutions along the sequence and train the network again',
  ],
  [
    CHOICES,
    'it chooses or places elements by private numbers: read up to its input with --output-name, and do it with the result',
  ],
  [
    ATTENTION,
    'it multiplies values that depend on the image with each other, which takes private products: replace it by convolutions or by a multi-layer perceptron over tokens and train the network again',
  ],
  [RANDOM, 'it draws random numbers: export the model for inference'],
];

/** Whether an operator that is not read is a function of single elements. */
export function isFunction(op: string): boolean {
  return `${SMOOTH} ${JUMPS} ${DIVISIONS}`.split(' ').includes(op);
}

/** Why an operator is not read. */
export function adviceFor(op: string): string {
  const own = op.split('.').at(-1)!;
  const found = REASONS.find(([names]) => names.split(' ').includes(own));
  if (found !== undefined) return found[1];
  if (/[Qq]uantize|^QLinear|Integer$/.test(own)) {
    return 'it rounds values that depend on the image to the steps of a quantised network: export the float model, fixed point is chosen when it is compiled';
  }
  if (op.includes('.')) {
    return `it is no operator of ONNX but one of '${op.slice(0, op.lastIndexOf('.'))}': export the model with the standard operators alone`;
  }
  return 'it is not supported: OPERATORS.md lists the operators that are, rewrite it with those';
}
