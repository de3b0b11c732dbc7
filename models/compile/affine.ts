/**
 * Affine maps (batch norms, scales, what is added to single elements) inside the linear layer before them or after them.
 * A map that has neither, and cannot be had for nothing, becomes a layer: a 1x1 convolution with one weight per channel.
 */

import type { Shape } from '../../protocol/ring/shape.ts';
import { fanIn, linearOutput, sizeOf } from '../../protocol/ring/shape.ts';
import type { BatchNormNode, Graph, ScaleNode } from '../graph/index.ts';
import { tensorOf } from '../graph/index.ts';
import { affineReading, type LinearNode, type Reading } from './network.ts';

/** y = factor * x + shift, a number of both for each channel or for each element. */
export interface Affine {
  readonly factor: Float64Array;
  readonly shift: Float64Array;
}

/** The map of a node, per channel. */
export function affineOf(graph: Graph, node: BatchNormNode | ScaleNode): Affine {
  const of = (name: string) => Float64Array.from(tensorOf(graph, name).data);
  if (node.op === 'scale') return { factor: of(node.scale), shift: of(node.shift) };
  const variance = of(node.variance);
  // A channel that never varied, with no epsilon, makes what it is shifted to.
  const factor = of(node.scale).map((a, channel) => {
    const deviation = Math.sqrt(variance[channel]! + node.epsilon);
    return deviation === 0 ? 0 : a / deviation;
  });
  const mean = of(node.mean);
  return {
    factor,
    shift: of(node.shift).map((b, channel) => b - factor[channel]! * mean[channel]!),
  };
}

/** Numbers that repeat evenly, as fewer: a number for each of `count` parts; undefined when a part holds several. */
function perPart(values: Float64Array, count: number): Float64Array | undefined {
  if (values.length === count) return values;
  if (values.length < count) return repeated(values, count);
  const part = values.length / count;
  if (!Number.isInteger(part)) return undefined;
  const fewer = Float64Array.from({ length: count }, (_, i) => values[i * part]!);
  return values.every((v, i) => v === fewer[Math.floor(i / part)]) ? fewer : undefined;
}

/** Each number so often that there are `count`. */
function repeated(values: Float64Array, count: number): Float64Array | undefined {
  const times = count / values.length;
  if (!Number.isInteger(times)) return undefined;
  return Float64Array.from({ length: count }, (_, i) => values[Math.floor(i / times)]!);
}

/** The layer that does `affine` after `linear`; undefined when there is none, as its factor differs within a channel. */
export function foldAfter(linear: LinearNode, affine: Affine): LinearNode | undefined {
  const fan = fanIn(linear.layer);
  const [rows] = linear.shape;
  const size = sizeOf(linear.shape);
  const factor = perPart(affine.factor, rows);
  if (factor === undefined) return undefined;
  const perRow = perPart(affine.shift, rows);
  const length = perRow !== undefined && linear.bias.length === rows ? rows : size;
  const [bias, factors, shift] = [linear.bias, factor, affine.shift].map((values) =>
    perPart(values, length),
  ) as [Float64Array, Float64Array, Float64Array];
  return {
    ...linear,
    weight: linear.weight.map((w, i) => w * factor[Math.floor(i / fan)]!),
    bias: bias.map((b, i) => b * factors[i]! + shift[i]!),
    of: affineReading(linear.of, factor, perRow),
  };
}

/**
 * The layer that does `affine` before `linear`; undefined when there is none: a convolution has one weight for all elements
 * of a channel.
 * @param from shape of what the layer reads
 */
export function foldBefore(
  linear: LinearNode,
  affine: Affine,
  from: Shape,
): LinearNode | undefined {
  const { layer } = linear;
  if (layer.kind === 'dense') {
    const factor = repeated(affine.factor, layer.inputs)!;
    const shift = repeated(affine.shift, layer.inputs)!;
    const bias = linear.bias.slice();
    const weight = linear.weight.map((w, i) => {
      bias[Math.floor(i / layer.inputs)]! += w * shift[i % layer.inputs]!;
      return w * factor[i % layer.inputs]!;
    });
    return { ...linear, weight, bias };
  }
  const factor = perPart(affine.factor, from[0]);
  if (factor === undefined) return undefined;
  const weight = linear.weight.map(
    (w, i) => w * factor[weightPosition(linear, i, from[0]).channel]!,
  );
  if (affine.shift.every((b) => b === 0)) return { ...linear, weight };
  const perChannel = perPart(affine.shift, from[0]);
  const padded = layer.pads.some((n) => n > 0);
  if (perChannel !== undefined && !padded && linear.bias.length === linear.shape[0]) {
    const bias = linear.bias.slice();
    linear.weight.forEach((w, i) => {
      const { row, channel } = weightPosition(linear, i, from[0]);
      bias[row]! += w * perChannel[channel]!;
    });
    return { ...linear, weight, bias };
  }
  const shift = repeated(affine.shift, sizeOf(from))!;
  const constant = convolved(linear, shift);
  const bias = repeated(linear.bias, constant.length)!;
  return { ...linear, weight, bias: constant.map((b, i) => b + bias[i]!) };
}

/** What a convolution makes of some planes, without its bias. */
function convolved({ layer, weight, shape }: LinearNode, x: Float64Array): Float64Array {
  if (layer.kind === 'dense') throw new TypeError('not a convolution');
  const { channels, height, width, kernel, stride, pads, groups, outChannels } = layer;
  const [, rows, columns] = shape;
  const inputs = channels / groups;
  const outputs = outChannels / groups;
  const out = new Float64Array(sizeOf(shape));
  let at = 0;
  for (let row = 0; row < outChannels; row++) {
    const first = Math.floor(row / outputs) * inputs;
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        let sum = 0;
        let w = row * inputs * kernel[0] * kernel[1];
        for (let c = first; c < first + inputs; c++) {
          for (let ky = 0; ky < kernel[0]; ky++) {
            const y = i * stride[0] + ky - pads[0];
            for (let kx = 0; kx < kernel[1]; kx++, w++) {
              const col = j * stride[1] + kx - pads[1];
              if (y < 0 || y >= height || col < 0 || col >= width) continue;
              sum += weight[w]! * x[(c * height + y) * width + col]!;
            }
          }
        }
        out[at++] = sum;
      }
    }
  }
  return out;
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
  node: { readonly id: string; readonly name: string; readonly shape: Shape; readonly of: Reading },
  source: string,
  affine?: Affine,
): LinearNode {
  const { id, name, shape, of } = node;
  const [channels, height, width] = shape;
  const linear: LinearNode = {
    id,
    name,
    shape,
    of,
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
    weight: new Float64Array(channels).fill(1),
    bias: new Float64Array(channels),
  };
  if (affine === undefined) return linear;
  const { weight, bias } = foldAfter(linear, affine) ?? linear;
  return { ...linear, weight, bias };
}

/** Whether a layer has one bias for each of its output channels. */
export function hasChannelBias({ layer, bias }: LinearNode): boolean {
  return bias.length === linearOutput(layer)[0];
}
