/**
 * Affine maps per channel (batch norms, scales) inside the linear layer before them or after them. A map that has
 * neither becomes a layer of its own: a 1x1 convolution with one weight per channel.
 */

import type { Shape } from '../../protocol/ring/shape.ts';
import { fanIn } from '../../protocol/ring/shape.ts';
import type { BatchNormNode, Graph, ScaleNode } from '../graph/index.ts';
import { tensorOf } from '../graph/index.ts';
import type { LinearNode } from './network.ts';

/** y = factor * x + shift, per channel. */
export interface Affine {
  readonly factor: Float64Array;
  readonly shift: Float64Array;
}

/** The map of a node. */
export function affineOf(graph: Graph, node: BatchNormNode | ScaleNode): Affine {
  const of = (name: string) => Float64Array.from(tensorOf(graph, name).data);
  if (node.op === 'scale') return { factor: of(node.scale), shift: of(node.shift) };
  const variance = of(node.variance);
  const factor = of(node.scale).map(
    (a, channel) => a / Math.sqrt(variance[channel]! + node.epsilon),
  );
  const mean = of(node.mean);
  return {
    factor,
    shift: of(node.shift).map((b, channel) => b - factor[channel]! * mean[channel]!),
  };
}

/** The layer that does `affine` after `linear`. */
export function foldAfter(linear: LinearNode, { factor, shift }: Affine): LinearNode {
  const fan = fanIn(linear.layer);
  return {
    ...linear,
    weight: linear.weight.map((w, i) => w * factor[Math.floor(i / fan)]!),
    bias: linear.bias.map((b, channel) => b * factor[channel]! + shift[channel]!),
  };
}

/** The layer that does `affine` before `linear`. */
export function foldBefore(linear: LinearNode, { factor, shift }: Affine): LinearNode {
  const bias = linear.bias.slice();
  const weight = linear.weight.map((w, i) => {
    const { row, channel } = weightPosition(linear, i, factor.length);
    bias[row]! += w * shift[channel]!;
    return w * factor[channel]!;
  });
  return { ...linear, weight, bias };
}

/** Output row and input channel of weight `i` of a layer that reads `channels` channels. */
export function weightPosition(
  { layer }: Pick<LinearNode, 'layer'>,
  i: number,
  channels: number,
): { row: number; channel: number } {
  const fan = fanIn(layer);
  const row = Math.floor(i / fan);
  if (layer.kind === 'dense') return { row, channel: Math.floor(((i % fan) * channels) / fan) };
  const rows = layer.outChannels / layer.groups;
  const inputs = layer.channels / layer.groups;
  const taps = layer.kernel[0] * layer.kernel[1];
  return { row, channel: Math.floor(row / rows) * inputs + Math.floor((i % fan) / taps) };
}

/** A 1x1 convolution with one weight per channel, 1 unless `affine` says otherwise. */
export function channelLayer(
  node: { readonly id: string; readonly name: string; readonly shape: Shape },
  source: string,
  affine?: Affine,
): LinearNode {
  const { id, name, shape } = node;
  const [channels, height, width] = shape;
  return {
    id,
    name,
    shape,
    op: 'linear',
    inputs: [source],
    layer: {
      kind: 'conv',
      channels,
      height,
      width,
      outChannels: channels,
      kernel: [1, 1],
      stride: [1, 1],
      pads: [0, 0, 0, 0],
      groups: channels,
    },
    weight: affine?.factor ?? new Float64Array(channels).fill(1),
    bias: affine?.shift ?? new Float64Array(channels),
  };
}
