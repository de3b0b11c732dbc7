/** Walking a graph: shapes, counts and the float interpreter. */

import { countKinds, type KindCounts } from '../../protocol/program/kinds.ts';
import { ModelError } from '../errors.ts';
import {
  elements,
  type Graph,
  type GraphInput,
  type Node,
  resultsOf,
  type Shape,
  type Tensor,
} from './graph.ts';
import { operatorOf, type Site } from './operators.ts';

/** Names the node in an error that one of its checks threw. */
function at<T>(node: Node, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ModelError('network', `node '${node.id}' (${node.op}): ${reason}`, { cause });
  }
}

/**
 * The shape of every value, by node id, the input's included; checks the whole graph on the way.
 * @throws ModelError `network` naming the first node that cannot stand where it does, and why.
 */
export function inferShapes(graph: Graph): Map<string, Shape> {
  const { input } = graph;
  if (input.shape.length !== 3 || input.shape.some((n) => !Number.isSafeInteger(n) || n < 1)) {
    throw new ModelError('network', `the input's shape should be [C, H, W], not [${input.shape}]`);
  }
  if (input.mean.length !== input.shape[0] || input.std.length !== input.shape[0]) {
    throw new ModelError(
      'network',
      `mean and std should have one number for each of ${input.shape[0]} channels`,
    );
  }
  if (input.std.some((s) => !(s > 0))) throw new ModelError('network', 'std should be positive');
  const shapes = new Map<string, Shape>([[input.id, input.shape]]);
  for (const node of graph.nodes) {
    at(node, () => {
      if (shapes.has(node.id)) throw new ModelError('network', 'another value has this name');
      const from = node.inputs.map((name) => {
        const shape = shapes.get(name);
        if (shape === undefined)
          throw new ModelError('network', `its input '${name}' is not made before it`);
        return shape;
      });
      shapes.set(node.id, operatorOf(node).shape(node, { graph, shapes: from }));
    });
  }
  if (!shapes.has(graph.output)) {
    throw new ModelError(
      'network',
      `the graph's output '${graph.output}' is not one of its values`,
    );
  }
  checkResults(graph, shapes.get(graph.output)!);
  return shapes;
}

/** @throws ModelError `network` when the results are not what the last value holds */
function checkResults(graph: Graph, shape: Shape): void {
  const results = resultsOf(graph, shape);
  const held = results.reduce((sum, result) => sum + elements(result.shape), 0);
  if (held !== elements(shape)) {
    throw new ModelError(
      'network',
      `the results hold ${held} numbers, the output has ${elements(shape)}`,
    );
  }
  for (const { name, shape: own, readout } of results) {
    if (readout !== undefined && 'axis' in readout && readout.axis >= own.length) {
      throw new ModelError(
        'network',
        `result '${name}' of shape [${own}] has no axis ${readout.axis}`,
      );
    }
  }
  if (new Set(results.map(({ name }) => name)).size < results.length) {
    throw new ModelError('network', 'two results have one name');
  }
}

/**
 * The shape of one node's value, from those of its inputs; checks the node on the way.
 * @throws ModelError `network` naming the node when it cannot stand on such inputs, and why.
 */
export function nodeShape(
  node: Node,
  inputs: readonly Shape[],
  tensors: ReadonlyMap<string, Tensor>,
): Shape {
  return at(node, () => operatorOf(node).shape(node, { graph: { tensors }, shapes: inputs }));
}

/** A node's surroundings, from the shapes of a whole graph. */
function siteOf(graph: Graph, shapes: ReadonlyMap<string, Shape>, node: Node): Site {
  return {
    graph,
    shapes: node.inputs.map((name) => shapes.get(name)!),
    shape: shapes.get(node.id)!,
  };
}

/** What one inference costs, in elements and multiplications. ReLUs: one for every pair that max pooling compares, too. */
export interface GraphCounts extends KindCounts {
  /** Multiply-accumulates of convolutions and dense layers. */
  readonly macs: number;
  /** Numbers in the graph's tensors. */
  readonly parameters: number;
}

/** Counts activation elements by kind, multiplications and parameters. */
export function countGraph(graph: Graph): GraphCounts {
  const shapes = inferShapes(graph);
  const maps: Uint8Array[] = [];
  let macs = 0;
  let maxima = 0;
  for (const node of graph.nodes) {
    const site = siteOf(graph, shapes, node);
    macs += operatorOf(node).macs?.(node, site) ?? 0;
    maxima += operatorOf(node).maxima?.(node, site) ?? 0;
    if (node.op === 'activation') maps.push(node.kinds);
  }
  let parameters = 0;
  for (const tensor of graph.tensors.values()) parameters += tensor.data.length;
  const counts = countKinds(...maps);
  return { ...counts, relus: counts.relus + maxima, macs, parameters };
}

/**
 * Pixels to what the network takes: (p/255 - mean) / std per channel; of a network that takes numbers, (x - mean) / std.
 * @param pixels 0..255, or the numbers, [C, H, W]
 * @throws ModelError `data` when the number of pixels is not the input's.
 */
export function preprocess(
  input: GraphInput,
  pixels: Uint8Array | Uint8ClampedArray | Float32Array,
): Float32Array {
  const size = elements(input.shape);
  if (pixels.length !== size) {
    throw new ModelError(
      'data',
      `an image of [${input.shape}] has ${size} pixels, not ${pixels.length}`,
    );
  }
  const plane = size / input.shape[0];
  const unit = input.numbers ? 1 : 255;
  const out = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const channel = Math.floor(i / plane);
    out[i] = (pixels[i]! / unit - input.mean[channel]!) / input.std[channel]!;
  }
  return out;
}

/** The first `count` images of many, each as {@link preprocess} makes it: what the compiler calibrates with. */
export function preprocessAll(
  input: GraphInput,
  pixels: Uint8Array | Float32Array,
  count: number,
): Float32Array[] {
  const size = elements(input.shape);
  return Array.from({ length: count }, (_, i) =>
    preprocess(input, pixels.subarray(i * size, (i + 1) * size)),
  );
}

/** Sees the value of every node, in running order; the input first, under its own id. */
export type Observer = (id: string, value: Float32Array, shape: Shape) => void;

/**
 * Runs the network on one preprocessed image (see {@link preprocess}), in float arithmetic.
 * @param image [C, H, W] of the graph's input
 * @param observe gets every intermediate value: calibration measures ranges with it
 * @returns the value of the graph's output node, fresh
 * @throws ModelError `network` when the graph is not sound, `data` when the image has the wrong size.
 */
export function runFloat(graph: Graph, image: Float32Array, observe?: Observer): Float32Array {
  const shapes = inferShapes(graph);
  const size = elements(graph.input.shape);
  if (image.length !== size) {
    throw new ModelError(
      'data',
      `an image of [${graph.input.shape}] has ${size} numbers, not ${image.length}`,
    );
  }
  const values = new Map<string, Float32Array>([[graph.input.id, image]]);
  observe?.(graph.input.id, image, graph.input.shape);
  for (const node of graph.nodes) {
    const site = siteOf(graph, shapes, node);
    const out = new Float32Array(elements(site.shape));
    const inputs = node.inputs.map((name) => values.get(name)!);
    operatorOf(node).run(node, inputs, out, site);
    values.set(node.id, out);
    observe?.(node.id, out, site.shape);
  }
  return values.get(graph.output)!.slice();
}
