/**
 * Scales: every value v of the network is kept as v * scale[channel] * 2^bits, with public bits and secret positive scales.
 *
 * ReLUs and local operations pass scales on, linear layers make any that is asked of them. So scales are free wherever
 * nothing fixes them, and serve to make channels equally large: what is measured small gets a large scale, and all layers
 * work on numbers of one size, whatever the size of the network's weights.
 *
 * 1. Channels of values that pass scales on are tied (ties.ts). The input's scales are given, the output's, and those that
 *    squares ask for. An edge that would contradict what is given is cut: a 1x1 layer ("NAME.scale") goes in between. So is one
 *    that would take too many bits of a value that others read as well: x in x + f(x), where the sum is much larger.
 * 2. A set of tied channels takes the scale with which the largest of its compared numbers is as large as it may be: less
 *    where it counts little in the results, for such channels need no precision; where it is smaller than others of its layer,
 *    for such channels are exceeded more often; and where a linear layer would have to make much of little for it.
 */

import { channelsRead } from '../../protocol/ring/gather.ts';
import type { Shape } from '../../protocol/ring/shape.ts';
import { ModelError } from '../errors.ts';
import { weightPosition } from './affine.ts';
import type { FixedNetwork, LinearNode, NetworkNode } from './network.ts';
import { poolScale, readersOf, shapesOf } from './network.ts';
import { channelSizes, type Ranges } from './ranges.ts';
import type { SquarePlan } from './squares.ts';
import { Ties } from './ties.ts';

/**
 * Room for channels that are smaller than others of their layer, which are exceeded more often: the root of how much smaller
 * they are, at most. LOCAL.
 */
const MOST_ROOM = 2 ** 3;

/** The least part of a range for channels that count little: their precision counts as little. LOCAL. */
const LEAST_PART = 2 ** -6;

/** Part of a range of 2^(k-1) that samples and their margin fill; the rest is for what shares may err by. LOCAL. */
const FILLED = 0.97;

/**
 * Most that a linear layer's weights, between the scales, may multiply errors of what it reads by. A channel that needs more
 * is hardly moved by what it reads, as where that is a ReLU that never passes anything: its errors would need more room than
 * its values. LOCAL: at 14 bits of activations, errors of 2^6 units are at most a fiftieth of a range.
 */
const MOST_GAIN = 2 ** 6;

/** The same beside most other channels of the layer: errors of all follow from the largest weights. LOCAL. */
const MOST_BEYOND = 4;

/** The part of a layer's channels that are most. LOCAL. */
const MOST_CHANNELS = 3 / 4;

/**
 * How many times smaller an edge may make the scales of a value that other nodes read as well: it loses five of its 14
 * bits then. LOCAL.
 */
export const MOST_APART: number = 2 ** 5;

/** Of a value, by channel. */
export interface ChannelScales {
  readonly scale: Float64Array;
  /** The largest compared numbers of all channels that are tied to each, at its scale; zero where none are compared. */
  readonly largest: Float64Array;
}

/** Scales of all values, and of what nodes read where an edge is cut. */
export interface Scales {
  of(id: string): ChannelScales;
  /** Of input `at` of a node, where it is not the scale of the value it reads. */
  cut(node: NetworkNode, at: number): ChannelScales | undefined;
}

/** Thrown when the scales given to the output contradict each other. */
export class OutputScaleConflict extends ModelError {
  constructor() {
    super(
      'fixed-point',
      'the scales that its squares and outputs need contradict each other: squares should have one polynomial for all elements of a channel',
    );
  }
}

const edgeKey = ({ id }: NetworkNode, at: number) => `${at} ${id}`;

/** What scales are decided by. */
export interface ScaleGrounds {
  readonly plans: ReadonlyMap<string, SquarePlan>;
  readonly ranges: Ranges;
  /** Room beyond the largest samples, as a factor. */
  readonly margin: number;
}

/**
 * Decides all scales.
 * @param input of the input's channels
 * @param output of the output's channels; the output gets a layer in front where it cannot have these
 */
export function decideScales(
  network: FixedNetwork,
  { plans, ranges, margin }: ScaleGrounds,
  input: Float64Array,
  output: Float64Array,
): Scales {
  const shapes = shapesOf(network);
  const ties = new Ties();
  const first = new Map<string, number>();
  for (const [id, shape] of shapes) first.set(id, ties.add(shape[0]));
  const member = (id: string, channel: number) => first.get(id)! + channel;

  input.forEach((scale, c) => {
    ties.give(member(network.input.id, c), scale);
  });
  for (const [id, { alpha }] of plans) {
    alpha.forEach((scale, c) => {
      if (!Number.isNaN(scale)) ties.give(member(id, c), scale);
    });
  }
  const surroundings = { network, plans, ranges, ties, member };
  const most = FILLED / margin;
  boundScales(surroundings, most);
  const tied = edgesOf(network, shapes);
  const readers = readersOf(network);
  /** Ties the channels of an edge, all or none. */
  const join = ({ node, pairs }: Edge, source: number): boolean => {
    const mark = ties.mark();
    const fits = pairs.every(({ to, from, ratio }) =>
      ties.tie(member(node.id, to), source + from, ratio),
    );
    if (!fits) ties.undo(mark);
    return fits;
  };
  // The output's scales first, so that they reach the linear layers that can make them.
  const isGiven = [...output].every((scale, c) => ties.give(member(network.output, c), scale));
  if (!isGiven && new Set(output).size > 1) throw new OutputScaleConflict();
  const cuts = new Map<string, { at: number; channels: number }>();
  for (const edge of tied.toReversed()) {
    const isShared = readers.get(edge.source)!.length > 1;
    const isFar = isShared && loweredBy(edge, surroundings) > MOST_APART;
    if (!isFar && join(edge, first.get(edge.source)!)) continue;
    const channels = shapes.get(edge.source)![0];
    const at = ties.add(channels);
    if (!join(edge, at)) throw new OutputScaleConflict();
    cuts.set(edgeKey(edge.node, edge.at), { at, channels });
  }

  const limits = limitsOf(surroundings, most);
  const scales = (at: number, channels: number): ChannelScales => {
    const scale = new Float64Array(channels);
    const largest = new Float64Array(channels);
    for (let c = 0; c < channels; c++) {
      const { root, ratio } = ties.find(at + c);
      const chosen = ties.given(root) ?? limits.get(root) ?? 1;
      scale[c] = ratio * chosen;
      largest[c] = (most * chosen) / (ties.most(root) ?? Number.POSITIVE_INFINITY);
    }
    return { scale, largest };
  };
  return {
    of: (id) => scales(first.get(id)!, shapes.get(id)![0]),
    cut(node, at) {
      const found = cuts.get(edgeKey(node, at));
      return found && scales(found.at, found.channels);
    },
  };
}

/** What scales are chosen by. */
interface Surroundings {
  readonly network: FixedNetwork;
  readonly plans: ReadonlyMap<string, SquarePlan>;
  readonly ranges: Ranges;
  readonly ties: Ties;
  readonly member: (id: string, channel: number) => number;
}

/** Bounds the scales of what is compared: with the largest, it is no larger than its part of `most`. */
function boundScales({ network, plans, ranges, ties, member }: Surroundings, most: number): void {
  const bound = (id: string, sizes: Float64Array) => {
    const largest = Math.max(...sizes);
    if (largest === 0) return;
    sizes.forEach((size, c) => {
      // A channel that was always zero is as large as any other when it is not.
      const reached = size || largest;
      const room = Math.min(MOST_ROOM, Math.sqrt(largest / reached));
      ties.bound(member(id, c), most / (room * reached));
    });
  };
  for (const node of network.nodes) {
    if (node.op === 'activation' || node.op === 'maxPool') {
      const sizes = channelSizes(
        node.op === 'activation'
          ? ranges.read(node, plans.get(node.id)?.offset)
          : ranges.differences(node.inputs[0]),
      );
      // Of both, for they are not tied yet.
      for (const id of [node.inputs[0], node.id]) bound(id, sizes);
    } else if (node.op === 'linear' && node.inputs[0] !== network.input.id) {
      // It may have to be truncated before it is read.
      bound(node.inputs[0], channelSizes(ranges.value(node.inputs[0])));
    }
  }
}

/** How many times smaller an edge would make the scales of the value it reads, for most channels at most. */
function loweredBy({ node, source, pairs }: Edge, { ties, member }: Surroundings): number {
  const scaleOf = (id: string, channel: number) => {
    const { root, ratio } = ties.find(member(id, channel));
    const known = ties.given(root) ?? ties.most(root);
    return known === undefined ? Number.NaN : known * ratio;
  };
  const factors = pairs
    .map(({ to, from, ratio }) => (scaleOf(source, from) * ratio) / scaleOf(node.id, to))
    .filter((factor) => factor > 0)
    .toSorted((a, b) => a - b);
  return factors[Math.floor(MOST_CHANNELS * (factors.length - 1))] ?? 1;
}

/** The largest scale of each set of channels that is bounded, with what it counts in the results and with the gains of layers. */
function limitsOf(surroundings: Surroundings, most: number): Map<number, number> {
  const { ties } = surroundings;
  const limits = new Map(ties.bounds());
  const parts = importance(surroundings, limits);
  for (const [root, scale] of limits) {
    limits.set(root, scale * Math.max(LEAST_PART, Math.sqrt(parts.get(root) ?? 1)));
  }
  limitGains(surroundings, most, limits);
  return limits;
}

/**
 * Lowers limits of channels that a linear layer would make much of little for. What is tied to channels of other layers is
 * lowered as far as if it were as large as the largest channel of the layer: the others need their precision.
 */
function limitGains(
  { network, ranges, ties, member }: Surroundings,
  most: number,
  limits: Map<number, number>,
): void {
  const shapes = shapesOf(network);
  const linears = network.nodes.filter((node) => node.op === 'linear');
  const makers = new Map<number, number>();
  for (const { id, shape } of linears) {
    for (let row = 0; row < shape[0]; row++) {
      const { root } = ties.find(member(id, row));
      makers.set(root, (makers.get(root) ?? 0) + 1);
    }
  }
  const scaleOf = (id: string, channel: number) => {
    const { root, ratio } = ties.find(member(id, channel));
    return ratio * (ties.given(root) ?? limits.get(root) ?? 1);
  };
  for (const node of linears) {
    const [source] = node.inputs;
    const [channels] = shapes.get(source)!;
    const read = Float64Array.from({ length: channels }, (_, c) => scaleOf(source, c));
    const squares = new Float64Array(node.shape[0]);
    eachBlock(node, channels, (row, channel, norm) => {
      squares[row]! += (norm / read[channel]!) ** 2;
    });
    const norms = squares.map(Math.sqrt);
    const gains = norms.map((norm, row) => norm * scaleOf(node.id, row));
    const usual = gains.toSorted()[Math.floor(MOST_CHANNELS * (gains.length - 1))]!;
    const allowed = Math.min(MOST_GAIN, MOST_BEYOND * Math.max(1, usual));
    const largest = Math.max(...channelSizes(ranges.value(node.id)));
    norms.forEach((norm, row) => {
      const { root, ratio } = ties.find(member(node.id, row));
      const known = limits.get(root);
      if (norm === 0 || known === undefined) return;
      const least = makers.get(root) === 1 ? 0 : most / largest;
      limits.set(root, Math.min(known, Math.max(allowed / norm, least) / ratio));
    });
  }
}

/**
 * How much a unit of each set of channels counts in the results, from 0 to 1: the largest part that it has in a channel of the
 * linear layers that read it, times how much that channel counts. The largest of a layer is 1.
 *
 * The unit is that of the scale the channels may have, whatever passes: behind a ReLU that passes little the errors are those
 * of what it compares.
 * @param limits the largest scales, by root
 */
function importance(
  { network, ranges, ties, member }: Surroundings,
  limits: ReadonlyMap<number, number>,
): Map<number, number> {
  const parts = new Map<number, number>();
  for (const node of network.nodes.toReversed()) {
    if (node.op !== 'linear') continue;
    const [source] = node.inputs;
    const units = channelSizes(ranges.value(source)).map((size, c) => {
      const { root, ratio } = ties.find(member(source, c));
      const scale = ties.given(root) ?? limits.get(root);
      return scale === undefined ? size : 1 / (scale * ratio);
    });
    const made = channelSizes(ranges.value(node.id));
    const counted = Float64Array.from(made, (size, row) => {
      const part = parts.get(ties.find(member(node.id, row)).root) ?? 1;
      return size === 0 ? 0 : part / size;
    });
    const own = new Float64Array(units.length);
    eachBlock(node, units.length, (row, channel, norm) => {
      own[channel] = Math.max(own[channel]!, counted[row]! * norm * units[channel]!);
    });
    const largest = Math.max(...own);
    if (largest === 0) continue;
    own.forEach((part, channel) => {
      const { root } = ties.find(member(source, channel));
      parts.set(root, Math.max(parts.get(root) ?? 0, part / largest));
    });
  }
  return parts;
}

/** The norms of a layer's weights between each output row and each input channel that have any. */
function eachBlock(
  node: LinearNode,
  channels: number,
  visit: (row: number, channel: number, norm: number) => void,
): void {
  let squares = 0;
  let at = weightPosition(node, 0, channels);
  for (let i = 0; i < node.weight.length; i++) {
    const here = weightPosition(node, i, channels);
    if (here.row !== at.row || here.channel !== at.channel) {
      visit(at.row, at.channel, Math.sqrt(squares));
      squares = 0;
      at = here;
    }
    squares += node.weight[i]! ** 2;
  }
  visit(at.row, at.channel, Math.sqrt(squares));
}

/** Channel `to` of a node's value has `ratio` times the scale of channel `from` of what it reads. */
interface Pair {
  readonly to: number;
  readonly from: number;
  readonly ratio: number;
}

interface Edge {
  readonly node: NetworkNode;
  readonly at: number;
  readonly source: string;
  readonly pairs: readonly Pair[];
}

/** All edges that pass scales on: those of all nodes but linear layers. */
function edgesOf(network: FixedNetwork, shapes: ReadonlyMap<string, Shape>): Edge[] {
  return network.nodes.flatMap((node) => {
    if (node.op === 'linear') return [];
    return node.inputs.map((source, at) => ({
      ...{ node, at, source },
      pairs: pairsOf(node, at, shapes),
    }));
  });
}

function pairsOf(node: NetworkNode, at: number, shapes: ReadonlyMap<string, Shape>): Pair[] {
  const from = shapes.get(node.inputs[at]!)!;
  const [channels] = from;
  const each = (ratio: (channel: number) => number, first = 0): Pair[] =>
    Array.from({ length: channels }, (_, c) => ({ to: first + c, from: c, ratio: ratio(c) }));
  switch (node.op) {
    case 'linear':
      return [];
    case 'rescale':
      return each((c) => 1 / node.factor[c]!);
    case 'pool': {
      const { factor } = poolScale(node, from);
      return each(() => factor);
    }
    case 'gather':
      return channelsRead(node.tables, from, node.shape).flatMap((read, to) =>
        read.map((channel) => ({ to, from: channel, ratio: 1 })),
      );
    case 'concat': {
      const before = node.inputs.slice(0, at).reduce((sum, id) => sum + shapes.get(id)![0], 0);
      return each(() => 1, before);
    }
    default:
      return each(() => 1);
  }
}
