/**
 * From a network and what its values were on sample images to a model: squares, scales, the layers between them, bits.
 * Settings are tried in turn until all ranges fit.
 */

import type { Program } from '../../protocol/program/program.ts';
import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/index.ts';
import { elements, inferShapes, resultsOf } from '../graph/index.ts';
import { type Emitted, emit } from './emit.ts';
import { type FixedNetwork, shapesOf } from './network.ts';
import { RangeMisfit, type Settings } from './options.ts';
import { activationBits, leastBits } from './precision.ts';
import { channelSizes, followed, imageSizes, median, type Ranges } from './ranges.ts';
import { decideScales, OutputScaleConflict } from './scales.ts';
import { settle } from './settle.ts';
import { planSquares, type SquarePlan } from './squares.ts';

/** Bits that one activation layer may give to a range before all give one. LOCAL. */
const MOST_LOWERED = 3;

/** How much larger than on half of the images a value of a network with squares may be on any. LOCAL. */
const MOST_GROWTH = 1000;

/**
 * The model of the first settings with which all ranges fit. Where there is a choice of settings, activation layers in
 * front of a range that does not fit give it their bits first.
 */
export function build(
  graph: Graph,
  network: FixedNetwork,
  ranges: Ranges,
  candidates: readonly Settings[],
): Emitted {
  if (!candidates[0]!.force) refuseGrowth(network, ranges);
  let misfit: unknown;
  for (const settings of candidates) {
    const lowered = new Map<string, number>();
    for (;;) {
      try {
        return attempt(graph, network, ranges, settings, lowered);
      } catch (error) {
        if (!(error instanceof RangeMisfit)) throw error;
        misfit = error;
        const able = error.sources.filter((id) => (lowered.get(id) ?? 0) < MOST_LOWERED);
        if (candidates.length === 1 || able.length === 0) break;
        for (const id of able) lowered.set(id, (lowered.get(id) ?? 0) + 1);
      }
    }
  }
  throw misfit;
}

/**
 * Squares can let a value grow without bound on a few images, whatever it is on the others.
 * @throws ModelError `fixed-point` naming the layer, and on how many images
 */
function refuseGrowth(network: FixedNetwork, ranges: Ranges): void {
  const isSquare = network.nodes.some(
    (node) => node.op === 'activation' && node.coefficients !== undefined,
  );
  if (!isSquare) return;
  for (const node of network.nodes) {
    if (node.op !== 'activation' && node.id !== network.output) continue;
    const sizes = node.op === 'activation' ? ranges.read(node) : ranges.value(node.id);
    const largest = imageSizes(sizes, new Float64Array(sizes.channels).fill(1));
    const half = median(largest);
    const beyond = largest.filter((size) => size > MOST_GROWTH * half);
    if (half === 0 || beyond.length === 0) continue;
    throw new ModelError(
      'fixed-point',
      `layer "${node.name}" reaches ${Math.max(...beyond).toPrecision(2)} on ${beyond.length} of ${largest.length} sample images, where half of them stay below ${half.toPrecision(2)}: its squares let values grow without bound; train with a range penalty, or keep ReLUs there (--force compiles it all the same)`,
    );
  }
}

/** Chooses scales and bits for a network, and makes its model. */
function attempt(
  graph: Graph,
  network: FixedNetwork,
  ranges: Ranges,
  settings: Settings,
  lowered: ReadonlyMap<string, number>,
) {
  const made = activationBits(network, settings, lowered);
  const least = leastBits(network, made, settings);
  const squares = new Map<string, SquarePlan>();
  for (const node of network.nodes) {
    if (node.op !== 'activation') continue;
    const arriving = least.get(node.inputs[0])!;
    const plan = planSquares(node, arriving, made.get(node.id)!, ranges, settings);
    if (plan !== undefined) squares.set(node.id, plan);
  }
  const { program, scale } = inputOf(graph, ranges, settings);
  const decide = (exponents: readonly number[]) => {
    const output = outputScales(graph, network, exponents);
    return settle(
      network,
      decideScales(network, { plans: squares, ranges, margin: settings.margin }, scale, output),
      output,
    );
  };
  let exponents = exponentsOf(graph, ranges, network);
  let settled: ReturnType<typeof decide>;
  try {
    settled = decide(exponents);
  } catch (error) {
    if (!(error instanceof OutputScaleConflict)) throw error;
    exponents = exponents.map(() => Math.min(...exponents));
    settled = decide(exponents);
  }
  const results = resultsIn(graph).map(({ name, shape, readout }, i) => ({
    name,
    shape,
    bits: exponents[i]!,
    ...(readout && { readout: { axis: 0, ...readout } }),
  }));
  return emit(settled, { squares, ranges, settings, lowered, input: program, results });
}

function resultsIn(graph: Graph) {
  return resultsOf(graph, inferShapes(graph).get(graph.output)!);
}

/**
 * What the client does to its input, and the scale that gives each channel: pixels less the mean, in 0..1 of a pixel's
 * range, or numbers in units of the largest of their channel's samples, rounded up to two digits.
 */
function inputOf(graph: Graph, ranges: Ranges, { margin }: Settings) {
  const { mean, std, numbers, id } = graph.input;
  const deviations = Float64Array.from(std);
  if (numbers === undefined) {
    return { program: { mean, std: std.map(() => 1) }, scale: deviations };
  }
  const units = channelSizes(ranges.value(id)).map((size, c) => roundedUp(size || 1) * std[c]!);
  const program: Omit<Program['input'], 'shape' | 'fractionBits'> = {
    mean,
    std: [...units],
    limit: 2 * margin,
  };
  return { program, scale: deviations.map((deviation, c) => deviation / units[c]!) };
}

/** The smallest number of two significant digits that is not below `value`. */
function roundedUp(value: number): number {
  const unit = 10 ** (Math.floor(Math.log10(value)) - 1);
  return Math.ceil(value / unit - 1e-9) * unit;
}

/** For each result, the power of two that makes its largest sample about 1. */
function exponentsOf(graph: Graph, ranges: Ranges, network: FixedNetwork): number[] {
  const sizes = ranges.value(network.output);
  const images = sizes.values.length / sizes.channels;
  const total = shapesOf(network).get(network.output)!;
  // Elements of one channel of the output, all of one size.
  const plane = total[1] * total[2];
  let first = 0;
  return resultsIn(graph).map(({ shape }) => {
    const count = elements(shape);
    const largest = new Float64Array(images);
    for (let i = 0; i < images; i++) {
      for (let at = first; at < first + count; at += 1) {
        const channel = Math.floor(at / plane);
        largest[i] = Math.max(largest[i]!, sizes.values[i * sizes.channels + channel]!);
      }
    }
    first += count;
    const size = followed(largest);
    return size === 0 ? 0 : -Math.round(Math.log2(size));
  });
}

/** The scale of each channel of the output. */
function outputScales(
  graph: Graph,
  network: FixedNetwork,
  exponents: readonly number[],
): Float64Array {
  const [channels, height, width] = shapesOf(network).get(network.output)!;
  const scales = new Float64Array(channels);
  let at = 0;
  resultsIn(graph).forEach(({ shape }, i) => {
    const end = at + elements(shape);
    for (; at < end; at++) scales[Math.floor(at / (height * width))] = 2 ** exponents[i]!;
  });
  return scales;
}
