/** What a layer of a training network is, and what it is built from. */

import type { AveragePoolNode, Node, Shape } from '../../graph/index.ts';
import type { Floats, TrainingMemory } from '../kernels/index.ts';

/** A trainable tensor of the graph, in the graph's own layout, with its gradient. */
export interface Parameter {
  readonly name: string;
  /**
   * weight: matrices and kernels, which decay; vector: biases and norms; polynomial: rows (c0, c1, c2); mask: the part
   * of ReLU in each element of a soft activation layer.
   */
  readonly kind: 'weight' | 'vector' | 'polynomial' | 'mask';
  readonly value: Float32Array;
  /** Gradient of the last backward pass; layers add to it. */
  readonly gradient: Float32Array;
}

/** A running statistic of batch norm: moves after each step, without a gradient. */
export interface Statistic {
  readonly name: string;
  readonly value: Float32Array;
  /** Of the batch of the last pass in train mode; the running ones are left alone in others. */
  readonly batch: Float32Array;
}

/**
 * A wide range is punished: weight * mean over the batch of sum of max(0, |x| - limit)^2 joins the loss, x cut as {@link Mode}
 * says.
 */
export interface RangePenalty {
  readonly weight: number;
  /** By channel. */
  readonly limits: readonly number[];
}

/**
 * A node's value for a whole batch, channels last: [image][row][column][channel]. A flat vector [N] is one pixel of N
 * channels.
 */
export interface Value {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly value: Floats;
  /** Absent where no gradient is needed: at the input, and where all that was computed from is frozen. */
  readonly gradient?: Floats;
}

/**
 * How a pass treats what it meets. To train is to take the batch's statistics in batch norms; to settle is to train with the
 * running ones, as inference will be. Both cut the inputs of limited activations at `CUT` times the limit: of values that
 * escape, those of the layer where it began are pulled back, not those that it has become further on.
 */
export type Mode = 'train' | 'settle' | 'evaluate';

/** See {@link Mode}. LOCAL */
export const CUT = 2;

/** One node of a network being trained. */
export interface Layer {
  forward(mode: Mode): void;
  /** Adds to the gradients of its inputs and parameters; after a forward pass in the same mode. */
  backward(mode: Mode): void;
  /** What the layer itself added to the loss in the last backward pass. */
  readonly penalty?: number;
}

/** What layers are built from. */
export interface Builder<N extends Node> {
  readonly node: N;
  /** Average pooling of a convolution, whose result is then the layer's output. */
  readonly pool?: AveragePoolNode | undefined;
  readonly memory: TrainingMemory;
  /** Images in a batch. */
  readonly batch: number;
  readonly inputs: readonly Value[];
  readonly output: Value;
  /** Registers a tensor of the graph as trainable. */
  parameter(name: string, kind: Parameter['kind']): Parameter;
  /** The numbers of a tensor that no layer changes. */
  tensor(name: string): Float32Array;
  /** A tensor that training updates without gradients. */
  statistic(name: string): Statistic;
  /** Names of the mask and the polynomials of an activation layer that is soft. */
  readonly soft?: { readonly mask: string; readonly polynomial: string } | undefined;
  /** Limits the inputs of an activation layer. */
  readonly range?: RangePenalty | undefined;
}

/** Elements of one image of a value. */
export function valueSize(value: Pick<Value, 'channels' | 'height' | 'width'>): number {
  return value.channels * value.height * value.width;
}

/** A graph shape as channels, height and width. */
export function extents(shape: Shape): { channels: number; height: number; width: number } {
  const [channels, height = 1, width = 1] = shape;
  return { channels: channels!, height, width };
}

/**
 * Where each element of a channels-last image stands in the graph's order [C, H, W].
 * @returns index into [C, H, W], by position in [H, W, C]
 */
export function planeOrder(value: Pick<Value, 'channels' | 'height' | 'width'>): Int32Array {
  const plane = value.height * value.width;
  return Int32Array.from(
    { length: valueSize(value) },
    (_, i) => (i % value.channels) * plane + Math.floor(i / value.channels),
  );
}

/** Lengths of vectors that kernels take per channel or element: a multiple of four, zeros at the end. */
export function paddedLength(length: number): number {
  return (length + 3) & ~3;
}
