/**
 * The types of a float network: nodes in running order, and named tensors they refer to.
 *
 * Layouts are those of ONNX and PyTorch: a value is [C, H, W] (one image, channel planes) or [N] after flattening.
 */

import type { Tables } from '../../protocol/ring/gather.ts';
import { ModelError } from '../errors.ts';

/** [C, H, W], or [N] for a flat vector. */
export type Shape = readonly number[];

/** A named array of the graph: weights, biases, batch-norm statistics, polynomial coefficients. */
export interface Tensor {
  readonly shape: readonly number[];
  /** Row-major, as many elements as the product of `shape`. */
  readonly data: Float32Array;
}

// Element kinds are those of programs; kinds.ts says what each is in float arithmetic.
export {
  type ActivationKind,
  IDENTITY,
  RELU,
  SQUARE,
} from '../../protocol/program/kinds.ts';

/** One number for each of the axes [C, H, W]. */
export type Triple = readonly [number, number, number];

interface Unary {
  /** Name of the value this node makes; unique in the graph. */
  readonly id: string;
  /** Names of earlier nodes, or of the graph's input. */
  readonly inputs: readonly [string];
}

/** Two-dimensional cross-correlation with zero padding. */
export interface ConvNode extends Unary {
  readonly op: 'conv';
  /** Tensor [out, in/groups, kernel height, kernel width]. */
  readonly weight: string;
  /** Tensor [out]. */
  readonly bias?: string;
  /** [height, width] */
  readonly kernel: readonly [number, number];
  /** [vertical, horizontal] */
  readonly stride: readonly [number, number];
  /** [top, left, bottom, right] */
  readonly pads: readonly [number, number, number, number];
  readonly groups: number;
}

/** y = scale * (x - mean) / sqrt(variance + epsilon) + shift, per channel. */
export interface BatchNormNode extends Unary {
  readonly op: 'batchNorm';
  /** Tensors [C]. */
  readonly scale: string;
  readonly shift: string;
  readonly mean: string;
  readonly variance: string;
  readonly epsilon: number;
}

/** y = weight * x + bias on a flat vector. */
export interface DenseNode extends Unary {
  readonly op: 'dense';
  /** Tensor [out, in]. */
  readonly weight: string;
  /** Tensor [out]. */
  readonly bias?: string;
}

/** y = scale * x + shift, per channel. */
export interface ScaleNode extends Unary {
  readonly op: 'scale';
  /** Tensors [C]. */
  readonly scale: string;
  readonly shift: string;
}

/** Maximum over each window; what is outside of the input never wins. Every window touches the input. */
export interface MaxPoolNode extends Unary {
  readonly op: 'maxPool';
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  /** [top, left, bottom, right], each smaller than the kernel. */
  readonly pads: readonly [number, number, number, number];
}

/** Mean of what each window finds inside of the input; windows that would stick out beyond the pads are left out. */
export interface AveragePoolNode extends Unary {
  readonly op: 'averagePool';
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  /** [top, left, bottom, right], each smaller than the kernel; none by default. Their cells are not counted. */
  readonly pads?: readonly [number, number, number, number];
}

/** Mean over each channel plane: [C, H, W] -> [C, 1, 1]. */
export interface GlobalAveragePoolNode extends Unary {
  readonly op: 'globalAveragePool';
}

/** [C, H, W] -> [C*H*W], channel planes one after the other. */
export interface FlattenNode extends Unary {
  readonly op: 'flatten';
}

/** The same elements in the same order, under another shape. */
export interface ReshapeNode extends Unary {
  readonly op: 'reshape';
  readonly shape: Shape;
}

/** Elements moved, repeated or left out, and zeros: protocol/ring/gather.ts says what tables mean. */
export interface GatherNode extends Unary {
  readonly op: 'gather';
  readonly shape: Shape;
  /** The product of their lengths is the number of elements of `shape`. */
  readonly tables: Tables;
}

/** Zeros around [C, H, W]. */
export interface PadNode extends Unary {
  readonly op: 'pad';
  /** Zeros in front of each axis. */
  readonly before: Triple;
  /** Zeros behind each axis. */
  readonly after: Triple;
}

/** A strided part of [C, H, W]: x[start + i*step] for i < size, on each axis. */
export interface SliceNode extends Unary {
  readonly op: 'slice';
  readonly start: Triple;
  readonly step: Triple;
  readonly size: Triple;
}

/** One function per element. */
export interface ActivationNode extends Unary {
  readonly op: 'activation';
  /** Code of every element, in the order of the input's elements. */
  readonly kinds: Uint8Array;
  /** Tensor [C, 3]: rows (c0, c1, c2), c2 > 0 in channels with a square; needed when an element's kind reads it. */
  readonly coefficients?: string;
}

/**
 * A continuous function of straight pieces per channel, as ReLU6, LeakyReLU and Abs are:
 * y = offset + slope * x + the sum over j of bend[j] * ReLU(x - knot[j]).
 */
export interface PiecewiseNode extends Unary {
  readonly op: 'piecewise';
  /** Tensors [C]. */
  readonly offset: string;
  readonly slope: string;
  /** Tensors [C, number of knots]. A bend of 0 is no bend. */
  readonly knots: string;
  readonly bends: string;
}

/** Sum of two values of one shape (a residual connection), or their difference. */
export interface AddNode {
  readonly op: 'add';
  readonly id: string;
  readonly inputs: readonly [string, string];
  /** Takes the second away from the first instead. */
  readonly subtract?: true;
}

/** Values joined along their first axis: channels of one height and width, or flat vectors. */
export interface ConcatNode {
  readonly op: 'concat';
  readonly id: string;
  readonly inputs: readonly [string, string, ...string[]];
}

export type Node =
  | ConvNode
  | BatchNormNode
  | ScaleNode
  | DenseNode
  | MaxPoolNode
  | AveragePoolNode
  | GlobalAveragePoolNode
  | FlattenNode
  | ReshapeNode
  | GatherNode
  | PadNode
  | SliceNode
  | ActivationNode
  | PiecewiseNode
  | AddNode
  | ConcatNode;

/** What goes in: pixels 0..255 divided by 255, or any numbers; then (x - mean) / std per channel. */
export interface GraphInput {
  readonly id: string;
  readonly shape: readonly [number, number, number];
  /** One number per channel. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** The network takes numbers of any size, such as measurements; left out, it takes pixels. */
  readonly numbers?: true;
}

/** A function that whoever receives a result computes; softmax and its like along one axis of the result's shape. */
export type Readout =
  | { readonly kind: 'softmax' | 'logSoftmax' | 'argmax'; readonly axis: number }
  | { readonly kind: 'sigmoid' | 'tanh' };

/** One of the results that a network's last value holds, one after the other. */
export interface Result {
  readonly name: string;
  /** As the model's author has it, without the batch; row-major. */
  readonly shape: readonly number[];
  readonly readout?: Readout;
}

/** A float network. */
export interface Graph {
  readonly input: GraphInput;
  /** In running order: a node's inputs come before it. */
  readonly nodes: readonly Node[];
  /** Id of the node whose value is the result. */
  readonly output: string;
  /**
   * What the numbers of the result are. Left out, they are one result with the value's shape. Nothing here computes a
   * readout; a network with one result that ends in `argmax` need not reveal more than the label.
   */
  readonly results?: readonly Result[];
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** How many elements a shape has. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/**
 * Looks up a tensor.
 * @throws ModelError `network` when the graph has none of this name.
 */
export function tensorOf(graph: Pick<Graph, 'tensors'>, name: string): Tensor {
  const tensor = graph.tensors.get(name);
  if (tensor === undefined)
    throw new ModelError('network', `the graph has no tensor named '${name}'`);
  return tensor;
}

/** The results of a graph. */
export function resultsOf(graph: Graph, shape: Shape): readonly Result[] {
  return graph.results ?? [{ name: graph.output, shape }];
}
