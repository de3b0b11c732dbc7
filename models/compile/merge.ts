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
 *   means             of windows without pads are a convolution too, one group a channel
 *   y = x + A(x)      A with 1 added where it multiplies the element that it makes
 */

import { IDENTITY } from '../../protocol/program/kinds.ts';
import type { ConvShape, LinearShape, Shape } from '../../protocol/ring/shape.ts';
import { linearInputSize, linearOutput, macsOf, weightCount } from '../../protocol/ring/shape.ts';
import { foldBefore } from './affine.ts';
import {
  type ActivationNode,
  type AddNode,
  type FixedNetwork,
  type LinearNode,
  type NetworkNode,
  type PoolNode,
  pruned,
  readersOf,
  shapesOf,
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
    if (node.op === 'add') return [(from) => summing(from, node.id)];
    return ['linear', 'pool'].includes(node.op) ? [(from) => merging(from, node.id)] : [];
  });
}

const isIdentity = (node: NetworkNode): node is ActivationNode =>
  node.op === 'activation' &&
  node.before === undefined &&
  node.after === undefined &&
  node.kinds.every((kind) => kind === IDENTITY);

/** A network, and how its nodes hang together. */
class Surroundings {
  readonly network: FixedNetwork;
  readonly #nodes: ReadonlyMap<string, NetworkNode>;
  readonly #readers: ReadonlyMap<string, readonly NetworkNode[]>;
  readonly #shapes: ReadonlyMap<string, Shape>;

  constructor(network: FixedNetwork) {
    this.network = network;
    this.#nodes = new Map(network.nodes.map((node) => [node.id, node]));
    this.#readers = readersOf(network);
    this.#shapes = shapesOf(network);
  }

  node(id: string): NetworkNode | undefined {
    return this.#nodes.get(id);
  }

  /** Whether one node alone reads a value, and nobody else gets it. */
  isReadOnce(id: string): boolean {
    return this.#readers.get(id)!.length === 1 && id !== this.network.output;
  }

  /** The value that another is, through identities that nobody else reads. */
  sourceOf(id: string): string {
    const node = this.#nodes.get(id);
    if (node === undefined || !isIdentity(node) || !this.isReadOnce(id)) return id;
    return this.sourceOf(node.inputs[0]);
  }

  /** A linear layer, or a node that can be one: means of windows, and a value to which a layer of it is added. */
  asLinear(node: NetworkNode | undefined): LinearNode | undefined {
    if (node?.op === 'pool') return meansAsLinear(node, this.#shapes.get(node.inputs[0])!);
    if (node?.op === 'add') return this.#sumAsLinear(node);
    return node?.op === 'linear' ? node : undefined;
  }

  #sumAsLinear({ id, name, shape, of, inputs, subtract }: AddNode): LinearNode | undefined {
    if (subtract) return undefined;
    for (const [value, other] of [inputs, inputs.toReversed()] as [string, string][]) {
      const layer = this.node(this.sourceOf(other));
      if (layer?.op !== 'linear' || !this.isReadOnce(layer.id)) continue;
      if (this.sourceOf(layer.inputs[0]) !== value) continue;
      const weight = withIdentity(layer);
      if (weight !== undefined) return { ...layer, id, name, shape, of, weight };
    }
    return undefined;
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

/** The network with a linear layer or means and the next layer above as one, means between them too; itself where they cannot be. */
function merging(network: FixedNetwork, id: string): FixedNetwork {
  const around = new Surroundings(network);
  const node = around.node(id);
  const last = around.asLinear(node);
  if (node === undefined || last === undefined) return network;
  const layers = nextAbove(around, last);
  const macs = [last, ...layers].reduce((sum, { layer }) => sum + macsOf(layer), 0);
  const shape = layers.reduce<LinearShape | undefined>(
    (below, { layer }) => below && mergedShape(layer, below),
    last.layer,
  );
  if (layers.length === 0 || shape === undefined || macsOf(shape) > MOST_MACS * macs) {
    return network;
  }
  const made = layers.reduce<LinearNode | undefined>(
    (below, layer) => below && merged(layer, below),
    last,
  );
  return made === undefined ? network : replaced(network, node, made);
}

/** The layer whose result a layer reads, the means between them first; none where another reads a result, or there is no layer. */
function nextAbove(around: Surroundings, { inputs }: LinearNode): LinearNode[] {
  const above = around.node(around.sourceOf(inputs[0]));
  const layer = around.asLinear(above);
  if (layer === undefined || !around.isReadOnce(layer.id)) return [];
  // Means alone are no layer to merge with.
  if (above!.op !== 'pool') return [layer];
  const next = nextAbove(around, layer);
  return next.length === 0 ? [] : [layer, ...next];
}

/** The network with the sum of a value and a linear layer of it as one layer; itself where it is no such sum. */
function summing(network: FixedNetwork, id: string): FixedNetwork {
  const around = new Surroundings(network);
  const node = around.node(id);
  const made = around.asLinear(node);
  return node === undefined || made === undefined ? network : replaced(network, node, made);
}

const replaced = (network: FixedNetwork, node: NetworkNode, made: NetworkNode): FixedNetwork =>
  pruned({ ...network, nodes: network.nodes.map((other) => (other === node ? made : other)) });

/** Means of windows as a convolution; undefined where windows reach beyond the planes. */
function meansAsLinear(node: PoolNode, [channels, height, width]: Shape): LinearNode | undefined {
  const { id, name, shape, of, inputs, kernel, stride, pads } = node;
  if (pads.some((pad) => pad > 0)) return undefined;
  const cells = kernel[0] * kernel[1];
  return {
    ...{ op: 'linear', id, name, shape, of, inputs },
    layer: {
      ...{ kind: 'conv', channels, height, width, outChannels: channels },
      ...{ kernel, stride, pads, groups: channels },
    },
    weight: new Float64Array(channels * cells).fill(1 / cells),
    bias: new Float64Array(channels),
  };
}

/** The weights of x + A(x); undefined where A makes another shape, or leaves out an element that it makes. */
function withIdentity({ layer, shape, weight }: LinearNode): Float64Array | undefined {
  const own = weight.slice();
  if (layer.kind === 'dense') {
    if (layer.inputs !== layer.outputs) return undefined;
    for (let i = 0; i < layer.inputs; i++) own[i * layer.inputs + i]! += 1;
    return own;
  }
  const { channels, height, width, kernel, stride, pads, groups } = layer;
  const same = `${shape}` === `${[channels, height, width]}` && stride[0] === 1 && stride[1] === 1;
  if (!same || pads[0] >= kernel[0] || pads[1] >= kernel[1]) return undefined;
  const inputs = channels / groups;
  for (let c = 0; c < channels; c++) {
    const filter = (c * inputs + (c % inputs)) * kernel[0] * kernel[1];
    own[filter + pads[0] * kernel[1] + pads[1]]! += 1;
  }
  return own;
}

/** The layer that does what two in a row do; undefined where there is none, or too much to compute. */
function merged(first: LinearNode, second: LinearNode): LinearNode | undefined {
  const layer = mergedShape(first.layer, second.layer);
  if (layer === undefined) return undefined;
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
