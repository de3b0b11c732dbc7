/** How many fractional bits each value has, or may have. */

import { kindOf, kindsIn } from '../../protocol/program/kinds.ts';
import type { ActivationNode, FixedNetwork, MaxPoolNode, NetworkNode } from './network.ts';
import { poolScale, readersOf, shapesOf } from './network.ts';
import type { Settings } from './options.ts';
import { rangeBitsOf } from './options.ts';
import { followed, imageSizes, type Ranges, type Sizes } from './ranges.ts';
import type { SquarePlan } from './squares.ts';

/** Fewest bits of an activation that has to leave some to pooling or to a range. LOCAL. */
const LEAST_BITS = 11;

/** Most bits that a value which is pooled may have beyond those of an activation. LOCAL. */
const POOLED_EXTRA = 3;

/**
 * Fractional bits that each activation layer makes. A layer whose every reader sums over windows makes as many bits less
 * as the sums add: rounding errors average out in a mean, and the bits are needed for the weights after it. Where readers
 * differ, the most that sums add leaves room for those weights. Squares
 * lose half a bit of their roots with each, and a mean gains as much.
 * @param lowered bits to make less, by id of the layer
 */
export function activationBits(
  network: FixedNetwork,
  settings: Settings,
  lowered: ReadonlyMap<string, number> = new Map(),
): Map<string, number> {
  const readers = readersOf(network);
  const shapes = shapesOf(network);
  /** Bits that the ways from a value to its readers add. */
  const added = (id: string): number[] => {
    if (id === network.output) return [0];
    return readers.get(id)!.flatMap((reader: NetworkNode) => {
      if (reader.op === 'linear' || reader.op === 'activation') return [0];
      const own = reader.op === 'pool' ? poolScale(reader, shapes.get(reader.inputs[0])!).bits : 0;
      return added(reader.id).map((bits) => own + bits);
    });
  };
  const all = settings.activationBits;
  const bits = new Map<string, number>();
  for (const node of network.nodes) {
    if (node.op !== 'activation') continue;
    const ways = added(node.id);
    const wanted = Math.min(all - Math.min(...ways), all + POOLED_EXTRA - Math.max(...ways));
    const less = lowered.get(node.id) ?? 0;
    bits.set(node.id, Math.max(Math.min(all, LEAST_BITS), wanted - less));
  }
  return bits;
}

/** Fractional bits of weights that a square can count on before scales are known. LOCAL. */
const LEAST_WEIGHT_BITS = 7;

/** Fractional bits of every value with short weights, before scales are known. */
export function leastBits(
  network: FixedNetwork,
  made: ReadonlyMap<string, number>,
  settings: Settings,
): Map<string, number> {
  const shapes = shapesOf(network);
  const bits = new Map<string, number>([[network.input.id, settings.activationBits]]);
  const fresh = new Set([network.input.id]);
  for (const node of network.nodes) {
    const read = Math.max(...node.inputs.map((id) => bits.get(id)!));
    const isFresh = node.inputs.every((id) => fresh.has(id));
    if (node.op === 'activation' || (node.op !== 'linear' && isFresh)) fresh.add(node.id);
    if (node.op === 'activation') bits.set(node.id, made.get(node.id)!);
    else if (node.op === 'linear') {
      // What is not fresh is going to be truncated first.
      bits.set(node.id, (isFresh ? read : settings.activationBits) + LEAST_WEIGHT_BITS);
    } else if (node.op === 'pool') {
      bits.set(node.id, read + poolScale(node, shapes.get(node.inputs[0])!).bits);
    } else bits.set(node.id, read);
  }
  return bits;
}

/** What one layer needs of its range: an activation layer, a max pool, or the output. */
export interface Reach {
  /** The largest number the layer works on, on each sample image, at its scale and without fractional bits. */
  readonly sizes: Float64Array;
  /** The largest of them that the range follows. */
  readonly calibrated: number;
  /** The same with the margin. */
  readonly largest: number;
  /** Widest k the layer may have. */
  readonly limit: number;
  /** t for an input with this many fractional bits. */
  dropBits(fractionBits: number): number;
}

/** k of a layer that reads `fractionBits` fractional bits, from shares that may err by `shareError` units. */
export function bitsOf(reach: Reach, fractionBits: number, shareError = 0): number {
  return rangeBitsOf(reach.largest * 2 ** fractionBits, reach.dropBits(fractionBits), shareError);
}

function reachOf(
  sizes: Sizes,
  scale: Float64Array,
  { margin }: Settings,
  rest: Pick<Reach, 'limit' | 'dropBits'>,
): Reach {
  const largest = imageSizes(sizes, scale);
  const calibrated = followed(largest);
  return { sizes: largest, calibrated, largest: margin * calibrated, ...rest };
}

/** What arrives at an activation layer. */
export interface Arriving {
  /** Fractional bits. */
  readonly made: number;
  /** By channel. */
  readonly scale: Float64Array;
  /** Where the layer has squares. */
  readonly plan: SquarePlan | undefined;
}

export function activationReach(
  node: ActivationNode,
  { made, scale, plan }: Arriving,
  ranges: Ranges,
  settings: Settings,
): Reach {
  const kinds = kindsIn(node.kinds).map(kindOf);
  const compared = Math.min(settings.compareBits, made);
  const compares = kinds.some((kind) => kind.compares);
  return reachOf(ranges.read(node, plan?.offset), scale, settings, {
    limit: Math.min(...kinds.map(({ maxRangeBits }) => maxRangeBits)),
    dropBits: (fractionBits) => (compares ? Math.max(0, fractionBits - compared) : 0),
  });
}

/** The differences that a max pool compares: of two values of one channel. */
export function maxPoolReach(
  node: MaxPoolNode,
  scale: Float64Array,
  ranges: Ranges,
  settings: Settings,
): Reach {
  return reachOf(ranges.differences(node.inputs[0]), scale, settings, {
    limit: 31,
    dropBits: (fractionBits) => Math.max(0, fractionBits - settings.compareBits),
  });
}

/** The output promises |x| < 2^(k-1), nothing is compared: t = 0 costs it one unit. */
export function outputReach(
  output: string,
  scale: Float64Array,
  ranges: Ranges,
  settings: Settings,
): Reach {
  return reachOf(ranges.value(output), scale, settings, { limit: 31, dropBits: () => 0 });
}

/**
 * The most fractional bits each value may have so that whatever reads it keeps its range.
 * @param reaches by id of the activation layer or max pool
 */
export function bitLimits(
  network: FixedNetwork,
  reaches: ReadonlyMap<string, Reach>,
  output: Reach,
): Map<string, number> {
  const limits = new Map<string, number>();
  const shapes = shapesOf(network);
  const limit = (id: string, bits: number) => {
    limits.set(id, Math.min(limits.get(id) ?? 31, bits));
  };
  const most = (reach: Reach) => {
    let bits = 31;
    while (bits > 0 && bitsOf(reach, bits) > reach.limit) bits--;
    return bits;
  };
  limit(network.output, most(output));
  for (const node of network.nodes.toReversed()) {
    const own = limits.get(node.id);
    const reach = reaches.get(node.id);
    if (reach !== undefined) limit(node.inputs[0], most(reach));
    if (node.op === 'pool') {
      const { bits } = poolScale(node, shapes.get(node.inputs[0])!);
      limit(node.inputs[0], own! - bits);
    } else if (node.op !== 'linear' && node.op !== 'activation') {
      for (const id of node.inputs) limit(id, own!);
    }
  }
  return limits;
}

/** Activation layers whose fractional bits a value has, at first hand or through the linear layer that made it. */
export function bitSources(network: FixedNetwork, value: string): string[] {
  const nodes = new Map(network.nodes.map((node) => [node.id, node]));
  const sources = new Set<string>();
  const visit = (id: string) => {
    const node = nodes.get(id);
    if (node?.op === 'activation') sources.add(id);
    else node?.inputs.forEach(visit);
  };
  visit(value);
  return [...sources];
}
