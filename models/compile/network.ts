/**
 * The network between graph and program: what is left of a graph when affine maps are folded and reshapes forgotten.
 * Nearly every node becomes one step of the program. Every value has planes, a vector is [n, 1, 1].
 */

import { kindsIn, SQUARE } from '../../protocol/program/kinds.ts';
import type { Tables } from '../../protocol/ring/gather.ts';
import type { LinearShape, Shape } from '../../protocol/ring/shape.ts';
import { poolWeights } from '../../protocol/ring/tensor.ts';
import type { GraphInput } from '../graph/index.ts';

/** Numbers in terms of a value of the graph, which sample images tell the size of: factor * value + shift, per channel. */
export interface Reading {
  /** Id of the graph's value. */
  readonly id: string;
  /** One by default. */
  readonly factor?: Float64Array | undefined;
  /** Zero by default. */
  readonly shift?: Float64Array | undefined;
}

interface Layer {
  /** Id of the graph's value that this node makes, or of an inserted one; unique. */
  readonly id: string;
  /** Name of the program's step, for people. */
  readonly name: string;
  readonly shape: Shape;
  /** What it makes. */
  readonly of: Reading;
}

interface Unary extends Layer {
  readonly inputs: readonly [string];
}

export interface LinearNode extends Unary {
  readonly op: 'linear';
  readonly layer: LinearShape;
  /** Laid out as ring/shape.ts says. */
  readonly weight: Float64Array;
  /** One number per output channel, or one per output element. */
  readonly bias: Float64Array;
}

/** Means over windows, of which cells beyond the planes are no part. */
export interface PoolNode extends Unary {
  readonly op: 'pool';
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  /** [top, left, bottom, right] */
  readonly pads: readonly [number, number, number, number];
}

/** Largest values of windows; what lies beyond the planes never wins. */
export interface MaxPoolNode extends Unary {
  readonly op: 'maxPool';
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  /** [top, left, bottom, right] */
  readonly pads: readonly [number, number, number, number];
}

/** Elements moved, see ring/gather.ts. */
export interface GatherNode extends Unary {
  readonly op: 'gather';
  readonly tables: Tables;
}

/** Every channel times a positive number: the same integers at another scale, for which nothing is computed. */
export interface RescaleNode extends Unary {
  readonly op: 'rescale';
  readonly factor: Float64Array;
}

/** x + before, its kinds, and + after: both per channel, zero by default. */
export interface ActivationNode extends Unary {
  readonly op: 'activation';
  readonly kinds: Uint8Array;
  /** Rows (c0, c1, c2), one per channel; there when the layer has squares. */
  readonly coefficients: Float32Array | undefined;
  readonly before?: Float64Array | undefined;
  readonly after?: Float64Array | undefined;
}

export interface AddNode extends Layer {
  readonly op: 'add';
  readonly inputs: readonly [string, string];
  readonly subtract: boolean;
}

/** Tensors one behind the other along the channels. */
export interface ConcatNode extends Layer {
  readonly op: 'concat';
  readonly inputs: readonly [string, ...string[]];
}

export type NetworkNode =
  | LinearNode
  | AddNode
  | PoolNode
  | MaxPoolNode
  | GatherNode
  | RescaleNode
  | ConcatNode
  | ActivationNode;

export interface FixedNetwork {
  readonly input: GraphInput;
  /** In running order, each one read by another or the output. */
  readonly nodes: readonly NetworkNode[];
  /** Id of the value that is the result. */
  readonly output: string;
}

/** Shapes of all values by id. */
export function shapesOf({ input, nodes }: FixedNetwork): Map<string, Shape> {
  return new Map([[input.id, input.shape], ...nodes.map((n): [string, Shape] => [n.id, n.shape])]);
}

/** What all values are, by id. */
export function readingsOf({ input, nodes }: FixedNetwork): Map<string, Reading> {
  return new Map([
    [input.id, { id: input.id }],
    ...nodes.map((node): [string, Reading] => [node.id, node.of]),
  ]);
}

/** Nodes that read each value. */
export function readersOf({ nodes }: Pick<FixedNetwork, 'nodes'>): Map<string, NetworkNode[]> {
  const readers = new Map<string, NetworkNode[]>();
  for (const node of nodes) {
    for (const id of node.inputs) readers.set(id, [...(readers.get(id) ?? []), node]);
  }
  return readers;
}

/** The network without nodes that the output does not depend on. */
export function pruned<N extends Pick<FixedNetwork, 'nodes' | 'output'>>(network: N): N {
  const live = new Set([network.output]);
  const nodes = network.nodes.toReversed().filter((node) => {
    if (!live.has(node.id)) return false;
    for (const id of node.inputs) live.add(id);
    return true;
  });
  return { ...network, nodes: nodes.reverse() };
}

/**
 * How what a program sums stands for a mean: sum = mean * L = mean * factor * 2^bits, the power of two nearest to L being
 * counted as fractional bits and the rest, 1 for most windows, as a factor of the value's scale.
 * @param from shape of what is pooled
 */
export function poolScale(node: PoolNode, from: Shape): { bits: number; factor: number } {
  const { level } = poolWeights(from, node);
  const bits = Math.round(Math.log2(level));
  return { bits, factor: level / 2 ** bits };
}

export function hasSquares({ kinds }: ActivationNode): boolean {
  return kindsIn(kinds).includes(SQUARE);
}

/** Where a shift is added to an activation's input, or undefined where there is none. */
export function added(
  a: Float64Array | undefined,
  b: Float64Array | undefined,
): Float64Array | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.map((x, i) => x + b[i]!);
}

/** A reading of factor * x + shift, where `of` is the reading of x. */
export function affineReading(
  of: Reading,
  factor: Float64Array | undefined,
  shift: Float64Array | undefined,
): Reading {
  const times = (x: Float64Array | undefined) =>
    factor && x ? x.map((v, i) => v * factor[i]!) : x;
  return {
    id: of.id,
    factor: of.factor === undefined ? factor : times(of.factor),
    shift: added(times(of.shift), shift),
  };
}
