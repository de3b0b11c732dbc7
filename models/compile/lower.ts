/** One operator of a graph as a node of the network. */

import type { Shape } from '../../protocol/ring/shape.ts';
import type { BatchNormNode, Graph, Node, ScaleNode } from '../graph/index.ts';
import { tensorOf } from '../graph/index.ts';
import type { NetworkNode } from './network.ts';

/** Operators that stand for steps of their own; the others are folded into these. */
export type Lowered = Exclude<Node, { op: 'flatten' } | BatchNormNode | ScaleNode>;

/** A graph's shape as planes. */
export function planesOf(shape: readonly number[]): Shape {
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
  const unary = { id: node.id, name: node.id, shape, inputs: [source] } as const;
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
      return { ...unary, op: 'add', inputs: [source, sources[1]!] };
    case 'concat':
      return { ...unary, op: 'concat', inputs: [source, ...sources.slice(1)] };
    case 'averagePool':
      return { ...unary, op: 'pool', kernel: node.kernel, stride: node.stride };
    case 'globalAveragePool':
      return { ...unary, op: 'pool', kernel: [height, width], stride: [height, width] };
    case 'maxPool': {
      const { kernel, stride, pads } = node;
      return { ...unary, op: 'maxPool', kernel, stride, pads };
    }
    case 'slice':
      return { ...unary, op: 'slice', start: node.start, step: node.step };
    case 'pad':
      return { ...unary, op: 'pad', before: node.before, after: node.after };
    case 'activation': {
      const { kinds, coefficients: name } = node;
      const coefficients = name === undefined ? undefined : tensorOf(graph, name).data;
      return { ...unary, op: 'activation', kinds, coefficients };
    }
  }
}
