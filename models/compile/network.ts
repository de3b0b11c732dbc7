/**
 * The network between graph and program: what is left of a graph when batch norms are folded and reshapes forgotten.
 * Every node becomes one step of the program, but for max pooling, which becomes a tournament of them. Every value has
 * planes, a vector is [n, 1, 1].
 */

import type { LinearShape, Shape } from '../../protocol/ring/shape.ts';
import type { GraphInput } from '../graph/index.ts';

interface Layer {
  /** Id of the graph's value that this node makes, or of an inserted one; unique. */
  readonly id: string;
  /** Name of the program's step, for people. */
  readonly name: string;
  readonly shape: Shape;
}

export interface LinearNode extends Layer {
  readonly op: 'linear';
  readonly inputs: readonly [string];
  readonly layer: LinearShape;
  /** Laid out as ring/shape.ts says. */
  readonly weight: Float64Array;
  /** One per output channel. */
  readonly bias: Float64Array;
}

export interface AddNode extends Layer {
  readonly op: 'add';
  readonly inputs: readonly [string, string];
}

/** Means over windows. */
export interface PoolNode extends Layer {
  readonly op: 'pool';
  readonly inputs: readonly [string];
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
}

/** Largest values of windows; zeros around the planes take part. */
export interface MaxPoolNode extends Layer {
  readonly op: 'maxPool';
  readonly inputs: readonly [string];
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  /** [top, left, bottom, right] */
  readonly pads: readonly [number, number, number, number];
}

/** Every step-th element from start on, size of them, along [channels, height, width]. */
export interface SliceNode extends Layer {
  readonly op: 'slice';
  readonly inputs: readonly [string];
  readonly start: Shape;
  readonly step: Shape;
}

/** Zeros around a tensor, along [channels, height, width]. */
export interface PadNode extends Layer {
  readonly op: 'pad';
  readonly inputs: readonly [string];
  readonly before: Shape;
  readonly after: Shape;
}

/** Tensors one behind the other along the channels. */
export interface ConcatNode extends Layer {
  readonly op: 'concat';
  readonly inputs: readonly [string, ...string[]];
}

export interface ActivationNode extends Layer {
  readonly op: 'activation';
  readonly inputs: readonly [string];
  readonly kinds: Uint8Array;
  /** Rows (c0, c1, c2), one per channel; there when the layer has squares. */
  readonly coefficients: Float32Array | undefined;
}

export type NetworkNode =
  | LinearNode
  | AddNode
  | PoolNode
  | MaxPoolNode
  | SliceNode
  | PadNode
  | ConcatNode
  | ActivationNode;

export interface Network {
  readonly input: GraphInput;
  /** In running order, each one read by another or the output. */
  readonly nodes: readonly NetworkNode[];
  /** Id of the value that is the result. */
  readonly output: string;
}

/** Shapes of all values by id. */
export function shapesOf({ input, nodes }: Network): Map<string, Shape> {
  return new Map([[input.id, input.shape], ...nodes.map((n): [string, Shape] => [n.id, n.shape])]);
}

/** Nodes that read each value. */
export function readersOf({ nodes }: Network): Map<string, NetworkNode[]> {
  const readers = new Map<string, NetworkNode[]>();
  for (const node of nodes) {
    for (const id of node.inputs) readers.set(id, [...(readers.get(id) ?? []), node]);
  }
  return readers;
}

/**
 * How a sum stands for a mean of w values: sum = mean * w = mean * factor * 2^bits, the power of two nearest to w being
 * counted as fractional bits and the rest, 1 for most windows, as a factor of the value's scale.
 */
export function poolScale({ kernel }: PoolNode): { bits: number; factor: number } {
  const window = kernel[0] * kernel[1];
  const bits = Math.round(Math.log2(window));
  return { bits, factor: window / 2 ** bits };
}
