/**
 * Quadratics as squares of a scaled channel (protocol/README, "Activation layers").
 *
 *   c2 x^2 + c1 x + c0 = c2 (x + h)^2 + constant,   h = c1 / 2 c2,   constant = c0 - c1^2 / 4 c2
 *
 * With the channel scaled by alpha = c2 * 2^j its square is alpha^2 (x + h)^2 = 2^j * alpha * c2 (x + h)^2: the wanted
 * value at scale alpha, times a public power of two. In integers, X = alpha (x + h) * 2^g with 2g + j fractional bits of
 * the result; g follows from j.
 *
 * j trades. A larger one keeps more bits of X (g + j of them behind the point), but the weights of the layer after are
 * divided by alpha and lose as many. The mean alpha is kept near 1, and j lower where ranges would not fit.
 */

import {
  type ActivationKind,
  IDENTITY,
  kindOf,
  kindsIn,
  RELU,
  ROOT_BITS,
  SQUARE,
} from '../../protocol/program/kinds.ts';
import type { ActivationNode } from './network.ts';
import type { Settings } from './options.ts';
import { rangeBitsOf } from './options.ts';
import { followed, imageSizes, type Ranges } from './ranges.ts';

/** The squares of one activation layer. */
export interface SquarePlan {
  /** j. */
  readonly exponent: number;
  /** Per channel: the scale it must arrive with, NaN where it has no square and any scale serves. */
  readonly alpha: Float64Array;
  /** Power of two for channels without squares. */
  readonly free: number;
  /** h and the constant per channel, zero where there is no square. */
  readonly offset: Float64Array;
  readonly constant: Float64Array;
}

/** Largest geometric mean of alpha. LOCAL. */
const MAX_MEAN_ALPHA = 2;
/** Steps of two that j may go down before the layer is refused for its range. LOCAL. */
const MAX_STEPS = 4;

/** What scaling its channel by alpha does to an element: the result is scaled by alpha as well, or by its square. */
const SCALED_BY: Readonly<Record<ActivationKind, 'alpha' | 'alpha^2'>> = {
  [IDENTITY]: 'alpha',
  [RELU]: 'alpha',
  [SQUARE]: 'alpha^2',
};

/** Whether constants of a layer's squares are a kind's. */
export function isSquare(kind: ActivationKind): boolean {
  return SCALED_BY[kind] === 'alpha^2';
}

/** Whether each channel has an element that squares its scale. */
function squareChannels({ kinds, shape }: ActivationNode): boolean[] {
  const plane = shape[1] * shape[2];
  return Array.from({ length: shape[0] }, (_, channel) => {
    const own = kindsIn(kinds.subarray(channel * plane, (channel + 1) * plane));
    return own.some(isSquare);
  });
}

/**
 * Plans the squares of a layer, whose c2 are positive (a sound graph has no others); undefined when it has none.
 * @param arriving fractional bits of what it reads, at least
 * @param fractionBits fractional bits of what it makes
 */
export function planSquares(
  node: ActivationNode,
  arriving: number,
  fractionBits: number,
  ranges: Ranges,
  settings: Settings,
): SquarePlan | undefined {
  const square = squareChannels(node);
  if (!square.includes(true)) return undefined;
  const channels = node.shape[0];
  const leading = new Float64Array(channels).fill(Number.NaN);
  const offset = new Float64Array(channels);
  const constant = new Float64Array(channels);
  let logs = 0;
  for (let channel = 0; channel < channels; channel++) {
    if (!square[channel]) continue;
    const c0 = node.coefficients![3 * channel]!;
    const c1 = node.coefficients![3 * channel + 1]!;
    const c2 = node.coefficients![3 * channel + 2]!;
    leading[channel] = c2;
    offset[channel] = c1 / (2 * c2);
    constant[channel] = c0 - (c1 * c1) / (4 * c2);
    logs += Math.log2(c2);
  }
  const mean = logs / square.filter(Boolean).length;
  const free = 2 ** Math.round(mean);
  const scale = leading.map((c2) => (Number.isNaN(c2) ? free : c2));
  const largest = settings.margin * followed(imageSizes(ranges.read(node, offset), scale));

  // 2g + j = fractionBits: j has the parity of fractionBits, and g >= 0.
  const highest = Math.min(fractionBits, Math.floor(Math.log2(MAX_MEAN_ALPHA) - mean));
  let exponent = highest - (Math.abs(highest - fractionBits) % 2);
  const lowest = exponent - 2 * MAX_STEPS;
  const fitting = (j: number) => fits(largest, j, arriving, fractionBits, settings);
  while (exponent > lowest && !fitting(exponent)) exponent -= 2;
  return {
    exponent,
    alpha: leading.map((c2) => c2 * 2 ** exponent),
    free: free * 2 ** exponent,
    offset,
    constant,
  };
}

/** Whether a layer's range fits with this j: k, and X^2 in 31 bits. */
function fits(
  largest: number,
  exponent: number,
  arriving: number,
  fractionBits: number,
  settings: Settings,
): boolean {
  const dropBits = arriving - Math.min(settings.compareBits, fractionBits);
  const k = rangeBitsOf(largest * 2 ** (exponent + arriving), dropBits);
  const squareShift = arriving - (fractionBits - exponent) / 2;
  return k <= kindOf(SQUARE).maxRangeBits && k - 1 - squareShift <= ROOT_BITS;
}
