/** From a graph to a network: folds batch norms into the linear layer before them, drops reshapes and what nobody reads. */

import type { Shape } from '../../protocol/ring/shape.ts';
import type { BatchNormNode, Graph, Node } from '../graph/index.ts';
import { inferShapes, tensorOf } from '../graph/index.ts';
import type { LinearNode, Network, NetworkNode } from './network.ts';

function fail(node: Node, what: string): never {
  throw new RangeError(`node '${node.id}' (${node.op}): ${what}`);
}

/** Ids of the nodes that the output depends on. */
function liveNodes(graph: Graph): Set<string> {
  const live = new Set([graph.output]);
  for (const node of graph.nodes.toReversed()) {
    if (live.has(node.id)) for (const id of node.inputs) live.add(id);
  }
  return live;
}

/** A graph's shape as planes. */
function planes(shape: readonly number[]): Shape {
  return [shape[0] as number, shape[1] ?? 1, shape[2] ?? 1];
}

/** y = a*x + b per channel of a batch norm. */
function affine(graph: Graph, node: BatchNormNode): { factor: Float64Array; shift: Float64Array } {
  const of = (name: string) => tensorOf(graph, name).data;
  const [scale, shift, mean, variance] = [node.scale, node.shift, node.mean, node.variance].map(of);
  const factor = Float64Array.from(
    scale!,
    (a, channel) => a / Math.sqrt(variance![channel]! + node.epsilon),
  );
  return {
    factor,
    shift: factor.map((a, channel) => shift![channel]! - a * mean![channel]!),
  };
}

function foldInto(linear: LinearNode, graph: Graph, node: BatchNormNode): LinearNode {
  const { factor, shift } = affine(graph, node);
  const fan = linear.weight.length / linear.bias.length;
  const weight = linear.weight.map((w, i) => w * factor[Math.floor(i / fan)]!);
  const bias = linear.bias.map((b, channel) => b * factor[channel]! + shift[channel]!);
  if (!weight.every(Number.isFinite) || !bias.every(Number.isFinite)) {
    fail(node, `folding it into '${linear.name}' makes infinite weights: its variance is zero`);
  }
  return { ...linear, id: node.id, weight, bias };
}

function numbers(graph: Graph, name: string): Float64Array {
  return Float64Array.from(tensorOf(graph, name).data);
}

/**
 * The network of a graph.
 * @throws RangeError naming the first node that no step can stand for, and what to do about it
 */
export function fold(graph: Graph): Network {
  const shapes = inferShapes(graph);
  const live = liveNodes(graph);
  const nodes = new Map<string, NetworkNode>();
  // A flattened value is the value itself: planes lie one after the other already.
  const unflattened = new Map<string, string>();
  const resolve = (id: string): string => unflattened.get(id) ?? id;
  const isFlattened = (id: string) =>
    planes(shapes.get(resolve(id))!)
      .slice(1)
      .join() !== '1,1';
  const readers = new Map<string, number>([[resolve(graph.output), 1]]);

  const liveOnes = graph.nodes.filter((node) => live.has(node.id));
  for (const node of liveOnes) {
    if (node.op === 'flatten') {
      unflattened.set(node.id, resolve(node.inputs[0]));
      continue;
    }
    for (const id of node.inputs) {
      readers.set(resolve(id), (readers.get(resolve(id)) ?? 0) + 1);
      if (node.op !== 'dense' && unflattened.has(id) && isFlattened(id)) {
        fail(node, `it reads the flattened '${id}': put the flatten right before a dense layer`);
      }
    }
  }
  for (const node of liveOnes) {
    if (node.op === 'flatten') continue;
    const source = resolve(node.inputs[0]);
    if (node.op === 'batchNorm') {
      const linear = nodes.get(source);
      if (linear?.op !== 'linear' || readers.get(source) !== 1) {
        fail(
          node,
          `only a batchNorm that alone reads a convolution or dense layer can be folded: put it right after one, or make it a 1x1 convolution with ${shapes.get(node.id)![0]} groups`,
        );
      }
      nodes.delete(source);
      nodes.set(node.id, foldInto(linear, graph, node));
      continue;
    }
    nodes.set(node.id, lower(graph, node, resolve, shapes));
  }
  return { input: graph.input, nodes: [...nodes.values()], output: resolve(graph.output) };
}

type Lowered = Exclude<Node, { op: 'flatten' } | BatchNormNode>;

function lower(
  graph: Graph,
  node: Lowered,
  resolve: (id: string) => string,
  shapes: ReadonlyMap<string, readonly number[]>,
): NetworkNode {
  const layer = { id: node.id, name: node.id, shape: planes(shapes.get(node.id)!) };
  const source = resolve(node.inputs[0]);
  const [channels, height, width] = planes(shapes.get(source)!);
  const bias = (name: string | undefined) =>
    name === undefined ? new Float64Array(layer.shape[0]) : numbers(graph, name);
  switch (node.op) {
    case 'conv': {
      const { kernel, stride, pads, groups } = node;
      const outChannels = layer.shape[0];
      return {
        ...layer,
        op: 'linear',
        inputs: [source],
        layer: { kind: 'conv', channels, height, width, outChannels, kernel, stride, pads, groups },
        weight: numbers(graph, node.weight),
        bias: bias(node.bias),
      };
    }
    case 'dense':
      return {
        ...layer,
        op: 'linear',
        inputs: [source],
        layer: { kind: 'dense', inputs: channels * height * width, outputs: layer.shape[0] },
        weight: numbers(graph, node.weight),
        bias: bias(node.bias),
      };
    case 'add':
      return { ...layer, op: 'add', inputs: [source, resolve(node.inputs[1])] };
    case 'averagePool': {
      const { kernel, stride } = node;
      if ((height - kernel[0]) % stride[0] !== 0 || (width - kernel[1]) % stride[1] !== 0) {
        fail(
          node,
          `windows ${kernel.join('x')} at stride ${stride.join('x')} do not tile ${height}x${width}: pad or crop the layer before it`,
        );
      }
      return { ...layer, op: 'pool', inputs: [source], kernel, stride };
    }
    case 'globalAveragePool':
      return {
        ...layer,
        op: 'pool',
        inputs: [source],
        kernel: [height, width],
        stride: [height, width],
      };
    case 'activation':
      return {
        ...layer,
        op: 'activation',
        inputs: [source],
        kinds: node.kinds,
        coefficients:
          node.coefficients === undefined ? undefined : tensorOf(graph, node.coefficients).data,
      };
    default:
      return fail(node, 'this operator cannot be compiled');
  }
}
