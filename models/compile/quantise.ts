/** From float weights and constants to integers. */

import { weightNorms } from '../../protocol/linear/index.ts';
import { kindsIn } from '../../protocol/program/kinds.ts';
import type { ChannelConstants, LinearWeights } from '../../protocol/program/model.ts';
import { WEIGHT_RESIDUE_BITS } from '../../protocol/program/simulate.ts';
import { fanIn } from '../../protocol/ring/shape.ts';
import { ModelError } from '../errors.ts';
import { weightPosition } from './affine.ts';
import type { ActivationNode, LinearNode } from './network.ts';
import { isSquare, type SquarePlan } from './squares.ts';

/** A number with `bits` fractional bits as a ring element; sums that fit the ring may have terms that do not. */
function fixed(value: number, bits: number): number {
  return Math.round(value * 2 ** bits) | 0;
}

/** What a linear layer stands between. */
export interface LinearScales {
  /** Scale per channel of the input. */
  readonly read: Float64Array;
  /** Scale per channel of the result. */
  readonly made: Float64Array;
  readonly weightBits: number;
  /** Of the result. */
  readonly fractionBits: number;
}

/**
 * Weights of a linear layer between two scales: w * made / read * 2^weightBits, and the bias at the result's scale.
 * @param residue takes what rounding takes off each weight, in 2^-WEIGHT_RESIDUE_BITS of its unit
 * @throws ModelError `fixed-point` when a weight does not fit 32 bits, naming the layer
 */
export function linearWeights(
  node: LinearNode,
  { read, made, weightBits, fractionBits }: LinearScales,
  residue?: Int32Array,
): LinearWeights {
  const { weight } = node;
  const kernel = new Int32Array(weight.length);
  for (let i = 0; i < weight.length; i++) {
    const { row, channel } = weightPosition(node, i, read.length);
    const value = ((weight[i]! * made[row]!) / read[channel]!) * 2 ** weightBits;
    if (!(Math.abs(value) < 2 ** 31 - 1)) {
      throw new ModelError(
        'fixed-point',
        `layer "${node.name}": a weight of output ${row} does not fit 32 bits; scale the layer down`,
      );
    }
    kernel[i] = Math.round(value);
    if (residue) residue[i] = Math.round((value - kernel[i]!) * 2 ** WEIGHT_RESIDUE_BITS);
  }
  const each = node.bias.length / made.length;
  const bias = Int32Array.from(node.bias, (b, i) =>
    fixed(b * made[Math.floor(i / each)]!, fractionBits),
  );
  return { kernel, bias };
}

/** The part of a layer's rows whose weights may be less precise than is asked for. LOCAL. */
const COARSER_ROWS = 1 / 4;

/**
 * Fractional bits of weights with which rounding them errs most results by at most 2^-weightBits of their size: a rounding
 * error has 1/sqrt(12) of a unit's deviation, and comes with the number that the weight is for.
 * @param read largest numbers of the input's channels, at their scale
 * @param made largest numbers of the result's channels, at their scale
 */
export function weightBitsOf(
  node: LinearNode,
  read: Float64Array,
  made: Float64Array,
  weightBits: number,
): number {
  const squares = new Float64Array(made.length);
  node.weight.forEach((w, i) => {
    if (w === 0) return;
    const { row, channel } = weightPosition(node, i, read.length);
    squares[row]! += read[channel]! ** 2;
  });
  const errors = squares
    .map((sum, row) => (made[row] === 0 ? 0 : Math.sqrt(sum / 12) / made[row]!))
    .filter((error) => error > 0);
  if (errors.length === 0) return weightBits;
  const error = errors.toSorted()[Math.floor((1 - COARSER_ROWS) * errors.length)]!;
  return Math.max(0, Math.ceil(weightBits + Math.log2(error)));
}

/** Constants that a layer adds before and after its functions, at its scale: the same for all of its kinds. */
export function addedConstants(
  { before, after }: ActivationNode,
  scale: Float64Array,
  readBits: number,
  madeBits: number,
): ChannelConstants {
  const scaled = (values: Float64Array | undefined, bits: number) =>
    Int32Array.from(scale, (s, c) => fixed(s * (values?.[c] ?? 0), bits));
  return { before: scaled(before, readBits), after: scaled(after, madeBits) };
}

/** Constants of a layer with squares: zero for other kinds, and for channels without a square. */
export function squareConstants(
  map: Uint8Array,
  plan: SquarePlan,
  readBits: number,
  madeBits: number,
): ChannelConstants {
  const scaled = (values: Float64Array, bits: number) =>
    Int32Array.from(
      kindsIn(map).flatMap((kind) =>
        Array.from(values, (value, channel) =>
          isSquare(kind) && !Number.isNaN(plan.alpha[channel])
            ? fixed(plan.alpha[channel]! * value, bits)
            : 0,
        ),
      ),
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
