/** From float weights and constants to integers. */

import { weightNorms } from '../../protocol/linear/index.ts';
import type { ChannelConstants, LinearWeights } from '../../protocol/program/model.ts';
import { fanIn } from '../../protocol/ring/shape.ts';
import { weightPosition } from './affine.ts';
import type { LinearNode } from './network.ts';
import type { SquarePlan } from './squares.ts';

/** A number with `bits` fractional bits as a ring element; sums that fit the ring may have terms that do not. */
function fixed(value: number, bits: number): number {
  return Math.round(value * 2 ** bits) | 0;
}

/**
 * Weights of a linear layer between two scales: w * made / read * 2^weightBits, and the bias at the result's scale.
 * @param read scale per channel of the input
 * @param made scale per channel of the result
 * @throws RangeError when a weight does not fit 32 bits, naming the layer
 */
export function linearWeights(
  node: LinearNode,
  read: Float64Array,
  made: Float64Array,
  weightBits: number,
  fractionBits: number,
): LinearWeights {
  const { weight } = node;
  const kernel = new Int32Array(weight.length);
  for (let i = 0; i < weight.length; i++) {
    const { row, channel } = weightPosition(node, i, read.length);
    const value = ((weight[i]! * made[row]!) / read[channel]!) * 2 ** weightBits;
    if (!(Math.abs(value) < 2 ** 31 - 1)) {
      throw new RangeError(
        `layer "${node.name}": a weight of output ${row} does not fit 32 bits; scale the layer down`,
      );
    }
    kernel[i] = Math.round(value);
  }
  const bias = Int32Array.from(node.bias, (b, row) => fixed(b * made[row]!, fractionBits));
  return { kernel, bias };
}

/** Constants of the squares of a layer; zero for channels without one. */
export function squareConstants(
  plan: SquarePlan,
  readBits: number,
  madeBits: number,
): ChannelConstants {
  const scaled = (values: Float64Array, bits: number) =>
    Int32Array.from(values, (value, channel) =>
      Number.isNaN(plan.alpha[channel]) ? 0 : fixed(plan.alpha[channel]! * value, bits),
    );
  return { before: scaled(plan.offset, readBits), after: scaled(plan.constant, madeBits) };
}

/**
 * Public bounds on the weights of one output: sum of |w| and root of the sum of w^2, the largest over outputs. Rounded
 * up to three digits, so that they say little about any weight.
 */
export function norms(node: LinearNode, kernel: Int32Array): { norm1: number; norm2: number } {
  const { norm1, norm2 } = weightNorms(kernel, fanIn(node.layer));
  return { norm1: roundUp(norm1), norm2: roundUp(norm2) };
}

/** The smallest number of three significant digits that is not below `value`. */
function roundUp(value: number): number {
  if (value === 0) return 0;
  const unit = 10 ** (Math.floor(Math.log10(value)) - 2);
  const near = Math.floor(value / unit) - 1;
  for (let digits = near; ; digits++) {
    const rounded = Number((digits * unit).toPrecision(3));
    if (rounded >= value) return rounded;
  }
}
