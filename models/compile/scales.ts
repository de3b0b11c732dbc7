/**
 * Scales: every value v of the network is kept as v * scale[channel] * 2^bits, with public bits and secret positive scales.
 *
 * Linear layers make any scale that is asked of them; an activation's result keeps the scale it was read with. Values
 * that additions and pooling tie together form a group with one scale (up to the factors of pooling). Slices and joins of
 * channels pass on what they get. A group takes, in this order, the scale its squares ask for, that of a finished value
 * it adds, or 1. Where an edge still disagrees, a 1x1 layer with one weight per channel goes in between ("NAME.scale");
 * where a linear layer would read what is no activation output, a truncation ("NAME.truncate").
 */

import type { Shape } from '../../protocol/ring/shape.ts';
import { sizeOf } from '../../protocol/ring/shape.ts';
import { IDENTITY } from '../graph/index.ts';
import { channelLayer } from './affine.ts';
import type { Network, NetworkNode } from './network.ts';
import { poolScale, shapesOf } from './network.ts';
import type { SquarePlan } from './squares.ts';

/** Values tied together; scales of members are the group's times a factor. */
interface Group {
  readonly factors: Map<string, number>;
  /** Scales asked of the group; NaN where any serves. With the scale for channels nobody asks for. */
  readonly demands: { scale: Float64Array; free: number }[];
  /** Finished values that members add. */
  readonly fixed: { id: string; factor: number }[];
  scale?: Float64Array | 'in progress';
}

/** Scales per channel of each value, before any edge is adapted. */
function groupScales(
  network: Network,
  plans: ReadonlyMap<string, SquarePlan>,
): (id: string) => Float64Array {
  const shapes = shapesOf(network);
  const nodes = new Map(network.nodes.map((node) => [node.id, node]));
  const groups = new Map<string, Group>();

  const join = (id: string, group: Group, factor: number) => {
    groups.set(id, group);
    group.factors.set(id, factor);
  };
  /** Ties operand `id` to `group` with factor 1: both operands of a sum have one scale. */
  const tie = (id: string, group: Group) => {
    const other = groups.get(id);
    if (other === undefined) {
      group.fixed.push({ id, factor: 1 });
      return;
    }
    if (other === group) return;
    const by = 1 / other.factors.get(id)!;
    for (const [member, factor] of other.factors) join(member, group, factor * by);
    for (const { id: fixed, factor } of other.fixed) {
      group.fixed.push({ id: fixed, factor: factor * by });
    }
    for (const { scale, free } of other.demands) {
      group.demands.push({ scale: scale.map((s) => s / by), free: free / by });
    }
  };

  const demand = (id: string, scale: Float64Array, free: number) => {
    const group = groups.get(id);
    if (group === undefined) return;
    const factor = group.factors.get(id)!;
    group.demands.push({ scale: scale.map((s) => s / factor), free: free / factor });
  };

  for (const node of network.nodes) {
    const [source] = node.inputs;
    if (node.op === 'linear' || node.op === 'add') {
      const group: Group = { factors: new Map(), demands: [], fixed: [] };
      join(node.id, group, 1);
      if (node.op === 'add') for (const id of node.inputs) tie(id, group);
    } else if (node.op !== 'activation') {
      // What keeps the channels keeps their group; a slice or a join of channels is finished.
      const group = groups.get(source);
      if (group === undefined || !keepsChannels(node)) continue;
      const factor = node.op === 'pool' ? poolScale(node).factor : 1;
      join(node.id, group, group.factors.get(source)! * factor);
    } else {
      const plan = plans.get(node.id);
      if (plan) demand(source, plan.alpha, plan.free);
    }
  }
  demand(network.output, ones(shapes.get(network.output)!), 1);

  /** The scale of a value; undefined when it hangs on a group that is being decided. */
  const scaleOf = (id: string): Float64Array | undefined => {
    const group = groups.get(id);
    if (group !== undefined) {
      const scale = decide(group, shapes.get(id)![0]);
      return scale?.map((s) => s * group.factors.get(id)!);
    }
    const node = nodes.get(id);
    if (node === undefined) return ones(shapes.get(id)!);
    const sources = node.inputs.map(scaleOf);
    if (!sources.every((scale) => scale !== undefined)) return undefined;
    return node.op === 'activation' ? readScale(sources[0]!, plans.get(id)) : passed(node, sources);
  };

  const decide = (group: Group, channels: number): Float64Array | undefined => {
    if (group.scale === 'in progress') return undefined;
    if (group.scale !== undefined) return group.scale;
    group.scale = 'in progress';
    const scale = asked(group, channels) ?? taken(group) ?? new Float64Array(channels).fill(1);
    group.scale = scale;
    return scale;
  };

  const asked = ({ demands }: Group, channels: number) => {
    const [first] = demands;
    if (first === undefined) return undefined;
    return Float64Array.from({ length: channels }, (_, channel) => {
      const of = demands.find(({ scale }) => !Number.isNaN(scale[channel]));
      return of?.scale[channel] ?? first.free;
    });
  };

  const taken = ({ fixed }: Group) => {
    for (const { id, factor } of fixed) {
      const scale = scaleOf(id)?.map((s) => s / factor);
      if (scale) return scale;
    }
    return undefined;
  };

  return (id) => scaleOf(id)!;
}

function ones(shape: Shape): Float64Array {
  return new Float64Array(shape[0]).fill(1);
}

/** Whether a local node's channels are those of its one input. */
function keepsChannels(node: NetworkNode): boolean {
  if (node.op === 'slice') return node.start[0] === 0 && node.step[0] === 1;
  if (node.op === 'pad') return node.before[0] === 0 && node.after[0] === 0;
  return node.op === 'pool' || node.op === 'maxPool';
}

/** The scale of what a local node makes of values with these scales. */
function passed(node: NetworkNode, scales: readonly Float64Array[]): Float64Array {
  const [source] = scales as [Float64Array, ...Float64Array[]];
  switch (node.op) {
    case 'pool':
      return source.map((s) => s * poolScale(node).factor);
    case 'slice':
      return Float64Array.from(
        { length: node.shape[0] },
        (_, channel) => source[node.start[0] + channel * node.step[0]]!,
      );
    case 'pad': {
      // Zeros have any scale.
      const scale = ones(node.shape);
      scale.set(source, node.before[0]);
      return scale;
    }
    case 'concat':
      return Float64Array.from(scales.flatMap((scale) => [...scale]));
    default:
      return source;
  }
}

/** The scale an activation layer reads its input with, given the scale the input has. */
function readScale(source: Float64Array, plan: SquarePlan | undefined): Float64Array {
  if (plan === undefined) return source;
  return source.map((s, channel) => (Number.isNaN(plan.alpha[channel]) ? s : plan.alpha[channel]!));
}

function same(a: Float64Array, b: Float64Array): boolean {
  return a.every((s, channel) => Math.abs(s - b[channel]!) <= 1e-9 * s);
}

/** A network whose edges agree: scales of all values by id, and only activation outputs before linear layers. */
export interface ScaledNetwork extends Network {
  readonly scales: ReadonlyMap<string, Float64Array>;
}

/** Decides all scales and inserts the layers that make them agree. */
export function scaleNetwork(
  network: Network,
  plans: ReadonlyMap<string, SquarePlan>,
): ScaledNetwork {
  const natural = groupScales(network, plans);
  const nodes: NetworkNode[] = [];
  const scales = new Map<string, Float64Array>([[network.input.id, ones(network.input.shape)]]);
  // Fresh: the client knows its share of the value before the server's first answer.
  const fresh = new Set<string>([network.input.id]);
  const made = new Map<string, NetworkNode>();
  const emit = (node: NetworkNode, scale: Float64Array, isFresh: boolean): string => {
    nodes.push(node);
    made.set(node.id, node);
    scales.set(node.id, scale);
    if (isFresh) fresh.add(node.id);
    return node.id;
  };
  const nameOf = (id: string) => made.get(id)?.name ?? id;
  const shapeOf = (id: string) => made.get(id)?.shape ?? network.input.shape;

  const truncated = (source: string): string => {
    const id = `${source}.truncate`;
    if (fresh.has(source) || made.has(id)) return fresh.has(source) ? source : id;
    const shape = shapeOf(source);
    const kinds = new Uint8Array(sizeOf(shape)).fill(IDENTITY);
    const name = `${nameOf(source)}.truncate`;
    return emit(
      { op: 'activation', id, name, shape, inputs: [source], kinds, coefficients: undefined },
      scales.get(source)!,
      true,
    );
  };
  const adapted = (source: string, wanted: Float64Array, reader: string): string => {
    if (same(scales.get(source)!, wanted)) return source;
    const from = truncated(source);
    const id = `${source}.scale.${reader}.${nodes.length}`;
    const layer = { id, name: `${nameOf(source)}.scale`, shape: shapeOf(from) };
    return emit(channelLayer(layer, from), wanted, false);
  };

  for (const node of network.nodes) {
    const [source] = node.inputs;
    switch (node.op) {
      case 'linear':
        emit({ ...node, inputs: [truncated(source)] }, natural(node.id), false);
        break;
      case 'add': {
        const scale = natural(node.id);
        const [x, y] = node.inputs.map((id) => adapted(id, scale, node.id)) as [string, string];
        emit({ ...node, inputs: [x, y] }, scale, fresh.has(x) && fresh.has(y));
        break;
      }
      case 'activation': {
        const scale = readScale(scales.get(source)!, plans.get(node.id));
        emit({ ...node, inputs: [adapted(source, scale, node.id)] }, scale, true);
        break;
      }
      default:
        emit(
          node,
          passed(
            node,
            node.inputs.map((id) => scales.get(id)!),
          ),
          node.inputs.every((id) => fresh.has(id)),
        );
    }
  }
  const output = adapted(network.output, ones(shapeOf(network.output)), 'output');
  return { ...network, nodes, output, scales };
}
