/**
 * Shorter networks that compute the same: activation layers of identities alone go, and linear layers in a row become one.
 * Which of them is worth it is a matter of price (cheapest.ts).
 *
 *   y = B(A(x))       A a convolution of kernel k and stride s, B one of kernel l: a kernel of k + (l - 1)*s, their strides
 *                     multiplied; the groups are those that both have
 *   borders           B pads with zeros what A makes. One kernel can do so only where A itself would make zeros there, of
 *                     padding alone and without its bias, which becomes a bias for each element: with pads of B, where A's
 *                     kernel is too short to reach the image from outside (1x1, or as long as its stride and pads)
 *   B a matrix        A is one as well, of all its inputs; borders are as A has them
 */

import { IDENTITY } from '../../protocol/program/kinds.ts';
import type { ConvShape, LinearShape } from '../../protocol/ring/shape.ts';
import { linearInputSize, linearOutput, macsOf, weightCount } from '../../protocol/ring/shape.ts';
import { foldBefore } from './affine.ts';
import {
  type FixedNetwork,
  type LinearNode,
  type NetworkNode,
  pruned,
  readersOf,
} from './network.ts';

/** How many times as many multiplications one layer may have as the two it was: they are the server's time online. LOCAL */
const MOST_MACS = 4;

/** Most products that computing merged weights may take. LOCAL */
const MOST_PRODUCTS = 2e9;

/** A step towards a shorter network: the network without a node, which others read in place of it. */
export type Shortening = (network: FixedNetwork) => FixedNetwork;

/** What can be left out or merged, each alone, in running order. */
export function shortenings(network: FixedNetwork): Shortening[] {
  const readers = readersOf(network);
  // What linear layers read has to be truncated anyway (settle.ts).
  const truncates = ({ id }: NetworkNode) =>
    id !== network.output && readers.get(id)!.every(({ op }) => op === 'linear');
  return network.nodes.flatMap((node): Shortening[] => {
    if (isIdentity(node)) return truncates(node) ? [] : [(from) => without(from, node.id)];
    if (node.op !== 'linear' || alone(network, node) === undefined) return [];
    return [(from) => merging(from, node.id)];
  });
}

const isIdentity = (node: NetworkNode): boolean =>
  node.op === 'activation' &&
  node.before === undefined &&
  node.after === undefined &&
  node.kinds.every((kind) => kind === IDENTITY);

/** The linear layer whose result a linear layer alone reads, through identities that nobody else reads. */
function alone(network: FixedNetwork, { inputs }: LinearNode): LinearNode | undefined {
  const readers = readersOf(network);
  const nodes = new Map(network.nodes.map((node) => [node.id, node]));
  for (let id: string = inputs[0]; ; ) {
    const node = nodes.get(id);
    if (node === undefined || readers.get(id)!.length > 1 || id === network.output)
      return undefined;
    if (node.op === 'linear') return node;
    if (!isIdentity(node)) return undefined;
    id = node.inputs[0];
  }
}

/** The network whose nodes read what a node reads in place of it. */
function without(network: FixedNetwork, id: string): FixedNetwork {
  const [source] = network.nodes.find((node) => node.id === id)!.inputs as [string];
  const nodes = network.nodes
    .filter((node) => node.id !== id)
    .map((node) => {
      const inputs = node.inputs.map((read) => (read === id ? source : read));
      return { ...node, inputs } as unknown as NetworkNode;
    });
  return { ...network, nodes, output: network.output === id ? source : network.output };
}

/** The network with a linear layer and the one that it alone reads as one layer; itself where they cannot be. */
function merging(network: FixedNetwork, id: string): FixedNetwork {
  const second = network.nodes.find((node) => node.id === id);
  const first = second?.op === 'linear' ? alone(network, second) : undefined;
  if (second?.op !== 'linear' || first === undefined) return network;
  const made = merged(first, second);
  if (made === undefined) return network;
  return pruned({
    ...network,
    nodes: network.nodes.map((node) => (node === second ? made : node)),
  });
}

/**
 * The layer that does what two in a row do; undefined where there is none, or where it has {@link MOST_MACS} times their
 * multiplications.
 */
export function merged(first: LinearNode, second: LinearNode): LinearNode | undefined {
  const layer = mergedShape(first.layer, second.layer);
  if (layer === undefined) return undefined;
  if (macsOf(layer) > MOST_MACS * (macsOf(first.layer) + macsOf(second.layer))) return undefined;
  const products = second.layer.kind === 'dense' ? macsOf(first.layer) : weightCount(first.layer);
  const rows = second.layer.kind === 'dense' ? second.layer.outputs : weightCount(second.layer);
  if (rows * products > MOST_PRODUCTS) return undefined;
  const factor = new Float64Array(first.shape[0]).fill(1);
  const biased = foldBefore(second, { factor, shift: first.bias }, first.shape)!;
  const weight =
    second.layer.kind === 'dense'
      ? denseWeights(first, second)
      : convWeights(first, second, layer as ConvShape);
  return { ...biased, inputs: first.inputs, layer, weight };
}

function mergedShape(first: LinearShape, second: LinearShape): LinearShape | undefined {
  if (second.kind === 'dense') {
    return { kind: 'dense', inputs: linearInputSize(first), outputs: second.outputs };
  }
  if (first.kind === 'dense' || !zeroAround(first, second)) return undefined;
  const axis = (i: 0 | 1) => first.kernel[i] + (second.kernel[i] - 1) * first.stride[i];
  const pad = (i: 0 | 1 | 2 | 3) => first.pads[i] + second.pads[i] * first.stride[i % 2]!;
  return {
    ...first,
    outChannels: second.outChannels,
    kernel: [axis(0), axis(1)],
    stride: [first.stride[0] * second.stride[0], first.stride[1] * second.stride[1]],
    pads: [pad(0), pad(1), pad(2), pad(3)],
    groups: commonDivisor(first.groups, second.groups),
  };
}

const commonDivisor = (a: number, b: number): number => (b === 0 ? a : commonDivisor(b, a % b));

/** Whether a convolution would make zeros, its bias apart, where the next one pads. */
function zeroAround(first: ConvShape, { pads }: ConvShape): boolean {
  const [, ...made] = linearOutput(first);
  const extents = [first.height, first.width];
  return ([0, 1] as const).every((axis) => {
    const [kernel, stride, before] = [first.kernel[axis], first.stride[axis], first.pads[axis]];
    // The last row read for the one before the first, and the first one read for the one behind the last.
    const last = kernel - 1 - before - stride;
    const next = made[axis] * stride - before;
    return (pads[axis] === 0 || last < 0) && (pads[axis + 2] === 0 || next >= extents[axis]!);
  });
}

function convWeights(first: LinearNode, second: LinearNode, layer: ConvShape): Float64Array {
  const [a, b] = [first.layer as ConvShape, second.layer as ConvShape];
  const weight = new Float64Array(weightCount(layer));
  const [inputs, between] = [a.channels / a.groups, b.channels / b.groups];
  const wide = layer.channels / layer.groups;
  for (let m = 0; m < b.outChannels; m++) {
    const group = Math.floor((m * b.groups) / b.outChannels);
    // The merged layer's group of this output begins with this channel.
    const begins = Math.floor((m * layer.groups) / b.outChannels) * wide;
    for (let d = 0; d < between; d++) {
      const middle = group * between + d;
      const from = Math.floor((middle * a.groups) / a.outChannels) * inputs - begins;
      for (let tap = 0; tap < b.kernel[0] * b.kernel[1]; tap++) {
        const w = second.weight[(m * between + d) * b.kernel[0] * b.kernel[1] + tap]!;
        const y = Math.floor(tap / b.kernel[1]) * a.stride[0];
        const x = (tap % b.kernel[1]) * a.stride[1];
        for (let c = 0; c < inputs; c++) {
          for (let ky = 0; ky < a.kernel[0]; ky++) {
            const read = ((middle * inputs + c) * a.kernel[0] + ky) * a.kernel[1];
            const put = ((m * wide + from + c) * layer.kernel[0] + y + ky) * layer.kernel[1] + x;
            for (let kx = 0; kx < a.kernel[1]; kx++) {
              weight[put + kx]! += w * first.weight[read + kx]!;
            }
          }
        }
      }
    }
  }
  return weight;
}

/** Rows of a matrix times the layer before. */
function denseWeights(first: LinearNode, second: LinearNode): Float64Array {
  const size = linearInputSize(first.layer);
  const outputs = second.weight.length / second.shape[0];
  const weight = new Float64Array(second.shape[0] * size);
  for (let row = 0; row < second.shape[0]; row++) {
    const own = second.weight.subarray(row * outputs, (row + 1) * outputs);
    transposed(first, own, weight.subarray(row * size, (row + 1) * size));
  }
  return weight;
}

/** Adds to `x` what the transposed layer makes of `y`. */
function transposed({ layer, weight, shape }: LinearNode, y: Float64Array, x: Float64Array): void {
  if (layer.kind === 'dense') {
    weight.forEach((w, i) => {
      x[i % layer.inputs]! += w * y[Math.floor(i / layer.inputs)]!;
    });
    return;
  }
  const { channels, height, width, kernel, stride, pads, groups, outChannels } = layer;
  const [, rows, columns] = shape;
  const inputs = channels / groups;
  for (let at = 0; at < y.length; at++) {
    const m = Math.floor(at / (rows * columns));
    const top = Math.floor((at % (rows * columns)) / columns) * stride[0] - pads[0];
    const left = (at % columns) * stride[1] - pads[1];
    const from = Math.floor((m * groups) / outChannels) * inputs;
    for (let c = 0; c < inputs; c++) {
      for (let ky = 0; ky < kernel[0]; ky++) {
        if (top + ky < 0 || top + ky >= height) continue;
        for (let kx = 0; kx < kernel[1]; kx++) {
          if (left + kx < 0 || left + kx >= width) continue;
          const w = weight[((m * inputs + c) * kernel[0] + ky) * kernel[1] + kx]!;
          x[((from + c) * height + top + ky) * width + left + kx]! += w * y[at]!;
        }
      }
    }
  }
}
