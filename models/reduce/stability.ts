/**
 * Will a network with squares stay in range? Values of networks of polynomials escape (Garimella et al., "Sisyphus",
 * 2021): each layer multiplies what the one before let through, until numbers overflow. Measured before anything is
 * compiled, on images that nothing was fitted to:
 *
 *   growth     how much the largest value gains from layer to layer; where it compounds, deeper or other images escape
 *   outside    share of inputs beyond the interval that parabolas were fitted on
 *   headroom   bits between the largest values and what fixed point can hold, before a square and after it
 *   escaped    images whose values leave that: their private results would mean nothing
 *   lost       values that are no numbers any more, and images whose scores are none: counted, never averaged away
 *
 * Against it: training with a range penalty (rangeLimits in ranges.ts), or layer by layer (mimic.ts).
 */

import { countKinds } from '../../protocol/program/kinds.ts';
import { ModelError } from '../errors.ts';
import { type Graph, tensorOf } from '../graph/index.ts';
import { readsCoefficients } from '../graph/kinds.ts';
import { type LabelledImages, Network, scoresOf } from '../train/index.ts';
import { activationsOf } from './elements.ts';
import { type LayerRange, measureRanges } from './ranges.ts';
import type { Training } from './training.ts';

/**
 * Bits that the |x| of a layer with squares may have (others take any scale): a range of k = 30 bits has 29 beside its sign's, and the compiler gives fractions no
 * fewer than 8 bits of an activation and 9 of a weight.
 */
export const INPUT_BITS: number = 29 - 8 - 9;

/** Bits that a square's c2 (x + h)^2 may have: its root is squared within 30 bits, of which fractions take 8. */
export const SQUARE_BITS: number = 30 - 8;

/** Bits of headroom an image should have: the margin of 1.5 that the compiler leaves. */
export const LEAST_HEADROOM: number = Math.log2(1.5);

/** Part of the images that may escape: networks err far more often than that. LOCAL */
const MOST_ESCAPED = 1e-3;

const NONE = new Float32Array(0);

/** What was found of one activation layer. */
export interface LayerStability extends LayerRange {
  readonly squares: number;
  /** Largest |x| over that of the activation layer before; 1 for the first. */
  readonly growth: number;
  /** Bits left above the largest values; negative where they do not fit, infinite in a layer without squares. */
  readonly headroom: number;
  /** Images without a margin of headroom, `LEAST_HEADROOM`. */
  readonly escaped: number;
}

export interface Stability {
  readonly images: number;
  /** Images with a score that is no number. */
  readonly lostImages: number;
  /** In running order. */
  readonly layers: readonly LayerStability[];
}

/** Largest c2 (x + c1 / 2 c2)^2 for x in [min, max], over the channels of a layer that have squares. */
export function largestSquare(
  polynomials: Float32Array,
  channels: readonly number[],
  { min, max }: { readonly min: number; readonly max: number },
): number {
  const largest = channels.map((c) => {
    const [c1, c2] = [polynomials[3 * c + 1]!, polynomials[3 * c + 2]!];
    const h = c1 / (2 * c2);
    return c2 * Math.max((min + h) ** 2, (max + h) ** 2);
  });
  return Math.max(0, ...largest);
}

/** Bits left above the largest input and the largest square of a layer with squares. */
export function headroomOf(largest: number, square: number): number {
  return Math.min(INPUT_BITS - Math.log2(largest), SQUARE_BITS - Math.log2(square));
}

/** Looks at a network before it is compiled. */
export async function assess(
  graph: Graph,
  set: LabelledImages,
  options: Pick<Training, 'batch' | 'seed' | 'pool' | 'signal'> & {
    /** What was measured on the images that polynomials were fitted to. */
    readonly fitted?: readonly LayerRange[];
  },
): Promise<Stability> {
  const ranges = measureRanges(graph, set, options);
  const nodes = activationsOf(graph);
  const largest = ranges.map(({ min, max }) => Math.max(Math.abs(min), Math.abs(max)));
  const layers = ranges.map((range, i): LayerStability => {
    const { kinds, coefficients } = nodes[i]!;
    const channels = range.channels.mean.length;
    const plane = kinds.length / channels;
    const squared = Array.from({ length: channels }, (_, c) => c).filter((c) =>
      readsCoefficients(kinds.subarray(c * plane, (c + 1) * plane)),
    );
    const rows = squared.length === 0 ? NONE : tensorOf(graph, coefficients!).data;
    const left = range.extremes.map((image) =>
      squared.length === 0
        ? Number.POSITIVE_INFINITY
        : headroomOf(Math.max(-image.min, image.max), largestSquare(rows, squared, image)),
    );
    return {
      ...range,
      squares: countKinds(kinds).squares,
      growth: i === 0 ? 1 : largest[i]! / largest[i - 1]!,
      headroom: Math.min(...left),
      escaped: left.filter((bits) => bits < LEAST_HEADROOM).length,
    };
  });
  const network = new Network(graph, options.batch);
  const scores = await scoresOf(network, set, options);
  return { images: set.labels.length, lostImages: lostRows(scores, network.results), layers };
}

/** Rows with a number that is none. */
export function lostRows(scores: Float32Array, classes: number): number {
  let lost = 0;
  for (let row = 0; row < scores.length; row += classes) {
    if (!scores.subarray(row, row + classes).every(Number.isFinite)) lost++;
  }
  return lost;
}

/**
 * Refuses a network that cannot be compiled safely.
 * @throws ModelError `fixed-point` naming the first layer that fails, and what would help
 */
export function refuseUnstable({ layers, lostImages, images }: Stability): void {
  const help = 'train it with a range penalty, or keep more ReLUs';
  for (const { id, lost, escaped, min, max } of layers) {
    if (lost > 0) {
      throw new ModelError(
        'fixed-point',
        `layer '${id}' cannot be compiled safely: ${lost} of its values are no numbers any more; ${help}`,
      );
    }
    if (escaped > MOST_ESCAPED * images) {
      throw new ModelError(
        'fixed-point',
        `layer '${id}' cannot be compiled safely: of ${escaped} of ${images} images its values, from ${min.toPrecision(3)} to ${max.toPrecision(3)}, are beyond what fixed point holds; ${help}`,
      );
    }
  }
  if (lostImages > 0) {
    throw new ModelError(
      'fixed-point',
      `the network cannot be compiled safely: ${lostImages} of ${images} images have scores that are no numbers; ${help}`,
    );
  }
}

/** Growth of a layer, and share of values outside the fitted interval, that deserve a word. LOCAL */
const NOTED_GROWTH = 3;
const NOTED_OUTSIDE = 0.02;

/** What escapes, or may with other images though it fits with these, one sentence a layer. */
export function warningsOf({ layers, images }: Stability): string[] {
  return layers.flatMap(({ id, squares, growth, outside, escaped }) => {
    if (squares === 0) return [];
    const reasons = [
      escaped > 0 &&
        `${escaped} of ${images} images leave what fixed point holds, and their private results mean nothing`,
      growth > NOTED_GROWTH &&
        `its values are ${growth.toFixed(1)} times those of the layer before`,
      outside > NOTED_OUTSIDE &&
        `${(100 * outside).toFixed(1)} % of its inputs are outside of the interval its squares were fitted on`,
    ].filter((reason) => reason !== false);
    return reasons.length === 0 ? [] : [`layer '${id}': ${reasons.join(', and ')}`];
  });
}

/** One line a layer. */
export function formatStability({ layers, images, lostImages }: Stability): string {
  const rows = layers.map((l) =>
    [
      l.id.padEnd(20),
      `${l.min.toFixed(2)} .. ${l.max.toFixed(2)}`.padStart(20),
      `99.9 % below ${l.quantiles.at(-1)!.toFixed(2)}`.padStart(22),
      `growth ${l.growth.toFixed(2)}`.padStart(13),
      `outside ${(100 * l.outside).toFixed(2)} %`.padStart(16),
      (l.squares === 0 ? '' : `headroom ${l.headroom.toFixed(1)} bits`).padStart(19),
      `${l.escaped} escaped`.padStart(12),
      `${l.squares} squares`.padStart(14),
    ].join('  '),
  );
  return [...rows, `${images} images, ${lostImages} without scores`].join('\n');
}
