/** One operator of a graph as a node of the network. */

import { keeping, padding, slicing } from '../../protocol/ring/gather.ts';
import type { Shape } from '../../protocol/ring/shape.ts';
import type { BatchNormNode, Graph, Node, PiecewiseNode, ScaleNode } from '../graph/index.ts';
import { tensorOf } from '../graph/index.ts';
import type { NetworkNode } from './network.ts';

/** Operators that stand for one step; the others are folded into these, or become several. */
export type Lowered = Exclude<
  Node,
  { op: 'flatten' } | { op: 'reshape' } | PiecewiseNode | BatchNormNode | ScaleNode
>;

/** A graph's shape as planes. */
export function planeShape(shape: readonly number[]): Shape {
  return [shape[0] as number, shape[1] ?? 1, shape[2] ?? 1];
}

/** @param sources ids of the values it reads, and their shapes */
export function lower(
  graph: Graph,
  node: Lowered,
  sources: readonly string[],
  shapes: readonly Shape[],
  shape: Shape,
): NetworkNode {
  const numbers = (name: string) => Float64Array.from(tensorOf(graph, name).data);
  const bias = (name: string | undefined) =>
    name === undefined ? new Float64Array(shape[0]) : numbers(name);
  const [source] = sources as [string, ...string[]];
  const [channels, height, width] = shapes[0]!;
  const of = { id: node.id };
  const unary = { id: node.id, name: node.id, shape, of, inputs: [source] } as const;
  switch (node.op) {
    case 'conv': {
      const { kernel, stride, pads, groups } = node;
      const [outChannels] = shape;
      return {
        ...unary,
        op: 'linear',
        layer: { kind: 'conv', channels, height, width, outChannels, kernel, stride, pads, groups },
        weight: numbers(node.weight),
        bias: bias(node.bias),
      };
    }
    case 'dense':
      return {
        ...unary,
        op: 'linear',
        layer: { kind: 'dense', inputs: channels * height * width, outputs: shape[0] },
        weight: numbers(node.weight),
        bias: bias(node.bias),
      };
    case 'add':
      return {
        ...unary,
        op: 'add',
        inputs: [source, sources[1]!],
        subtract: node.subtract ?? false,
      };
    case 'concat':
      return { ...unary, op: 'concat', inputs: [source, ...sources.slice(1)] };
    case 'averagePool': {
      const { kernel, stride, pads = [0, 0, 0, 0] } = node;
      return { ...unary, op: 'pool', kernel, stride, pads };
    }
    case 'globalAveragePool': {
      const kernel = [height, width] as const;
      return { ...unary, op: 'pool', kernel, stride: kernel, pads: [0, 0, 0, 0] };
    }
    case 'maxPool': {
      const { kernel, stride, pads } = node;
      return { ...unary, op: 'maxPool', kernel, stride, pads };
    }
    case 'slice': {
      const tables = slicing(shapes[0]!, node.start, node.step, node.size);
      return { ...unary, op: 'gather', tables };
    }
    case 'pad':
      return { ...unary, op: 'gather', tables: padding(shapes[0]!, node.before, node.after) };
    case 'gather':
      return { ...unary, op: 'gather', tables: node.tables };
    case 'activation': {
      const { kinds, coefficients: name } = node;
      const coefficients = name === undefined ? undefined : tensorOf(graph, name).data;
      return { ...unary, op: 'activation', kinds, coefficients };
    }
  }
}

/** A value under another shape: its elements stay where they are. */
export function reshapeNode(
  id: string,
  source: string,
  shape: Shape,
  graphId: string,
): NetworkNode {
  const tables = keeping(shape);
  return { id, name: id, shape, of: { id: graphId }, op: 'gather', inputs: [source], tables };
}
