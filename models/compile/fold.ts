/** From a graph to a network: folds affine maps into linear layers, drops reshapes and what nobody reads. */

import type { Shape } from '../../protocol/ring/shape.ts';
import type { Graph, Node } from '../graph/index.ts';
import { inferShapes, RELU } from '../graph/index.ts';
import { type Affine, affineOf, channelLayer, foldAfter, foldBefore } from './affine.ts';
import { lower, planesOf } from './lower.ts';
import type { LinearNode, Network, NetworkNode } from './network.ts';
import { readersOf } from './network.ts';

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

/** A linear layer with an affine map folded into it. */
function folded(linear: LinearNode, node: Node): LinearNode {
  if (!linear.weight.every(Number.isFinite) || !linear.bias.every(Number.isFinite)) {
    fail(node, `folding it into '${linear.name}' makes infinite weights: its variance is zero`);
  }
  return linear;
}

/**
 * The network of a graph.
 * @throws RangeError naming the first node that no step can stand for, and what to do about it
 */
export function fold(graph: Graph): Network {
  const shapes = inferShapes(graph);
  const live = liveNodes(graph);
  const liveOnes = graph.nodes.filter((node) => live.has(node.id));
  // A flattened value is the value itself: planes lie one after the other already.
  const unflattened = new Map<string, string>();
  const resolve = (id: string): string => unflattened.get(id) ?? id;
  const shapeOf = (id: string): Shape => planesOf(shapes.get(id)!);
  const readers = new Map<string, Node[]>();
  for (const node of liveOnes) {
    if (node.op === 'flatten') {
      unflattened.set(node.id, resolve(node.inputs[0]));
      continue;
    }
    for (const id of node.inputs) {
      readers.set(resolve(id), [...(readers.get(resolve(id)) ?? []), node]);
      const [, height, width] = shapeOf(resolve(id));
      if (node.op !== 'dense' && unflattened.has(id) && height * width > 1) {
        fail(node, `it reads the flattened '${id}': put the flatten right before a dense layer`);
      }
    }
  }
  const output = resolve(graph.output);
  /** The one node that reads a value. */
  const readerOf = (id: string): Node | undefined => {
    const [reader, ...others] = readers.get(id) ?? [];
    return others.length > 0 || id === output ? undefined : reader;
  };

  const nodes = new Map<string, NetworkNode>();
  // Maps that wait for the linear layer after them.
  const waiting = new Map<string, { source: string; affine: Affine; node: Node }>();
  for (const node of liveOnes) {
    if (node.op === 'flatten') continue;
    const sources = node.inputs.map(resolve);
    const [source] = sources as [string, ...string[]];
    if (node.op === 'batchNorm' || node.op === 'scale') {
      const affine = affineOf(graph, node);
      const before = nodes.get(source);
      if (before?.op === 'linear' && readerOf(source) === node) {
        nodes.delete(source);
        nodes.set(node.id, folded({ ...foldAfter(before, affine), id: node.id }, node));
        continue;
      }
      const after = readerOf(node.id);
      if ((after?.op === 'conv' || after?.op === 'dense') && foldsInto(after, affine)) {
        waiting.set(node.id, { source, affine, node });
        continue;
      }
      const layer = { id: node.id, name: node.id, shape: shapeOf(node.id) };
      nodes.set(node.id, folded(channelLayer(layer, source, affine), node));
      continue;
    }
    const read = sources.map((id) => waiting.get(id)?.source ?? id);
    const lowered = lower(graph, node, read, read.map(shapeOf), shapeOf(node.id));
    const map = waiting.get(source);
    if (map !== undefined && lowered.op === 'linear') {
      nodes.set(node.id, folded(foldBefore(lowered, map.affine), map.node));
    } else nodes.set(node.id, lowered);
  }
  const network = { input: graph.input, nodes: [...nodes.values()], output };
  checkMaxPools(network);
  return network;
}

/** Whether a convolution or dense layer can do an affine map of its input: zeros of a padding have to stay zeros. */
function foldsInto(node: Node, { shift }: Affine): boolean {
  const padded = node.op === 'conv' && node.pads.some((n) => n > 0);
  return !padded || shift.every((b) => b === 0);
}

/** Zeros around the planes of a max pool must not win where they should not. */
function checkMaxPools(network: Network): void {
  const isRelu = (node: NetworkNode) =>
    node.op === 'activation' && node.kinds.every((kind) => kind === RELU);
  // Values that are never below zero.
  const positive = new Set<string>();
  for (const node of network.nodes) {
    const passes = node.op !== 'linear' && node.op !== 'activation';
    if (isRelu(node) || (passes && node.inputs.every((id) => positive.has(id)))) {
      positive.add(node.id);
    }
  }
  // Values of which nobody tells zero from what is below it: ReLUs read them, perhaps through more max pools.
  const readers = readersOf(network);
  const clipped = new Set<string>();
  for (const { id } of network.nodes.toReversed()) {
    const seen = id === network.output ? undefined : readers.get(id);
    if (seen?.every((node) => isRelu(node) || (node.op === 'maxPool' && clipped.has(node.id)))) {
      clipped.add(id);
    }
  }
  for (const node of network.nodes) {
    if (node.op !== 'maxPool' || node.pads.every((n) => n === 0)) continue;
    if (!positive.has(node.inputs[0]) && !clipped.has(node.id)) {
      throw new RangeError(
        `node '${node.id}' (maxPool): its padding is computed as zeros, which may exceed the values it reads; put a ReLU before or right after it, or leave out its pads`,
      );
    }
  }
}
