/**
 * Replacing ReLUs: which elements may become squares or the identity, and with what polynomial they start.
 *
 * The polynomial of a channel is the least-squares parabola for a ReLU whose input is normal with the channel's measured
 * mean and standard deviation (the closed form behind "distribution-aware polynomial approximation", AutoReP, ICCV 2023).
 *
 * An element's harm under a replacement f is E[(dz/dy * (f(x) - ReLU(x)))^2] with z = r . scores for random signs r: to
 * first order the expected squared change of all scores. It is measured over images with the network's own gradients.
 */

import {
  elements,
  type Graph,
  IDENTITY,
  inferShapes,
  type Node,
  RELU,
  SQUARE,
  type Tensor,
} from '../graph/index.ts';
import { type LabelledImages, makeBatch } from './data/images.ts';
import { planeOrder, sizeOf } from './layers/layer.ts';
import { Network, type Parameter } from './network.ts';
import { Stream } from './random.ts';

/** Bounds of the leading coefficient: squares stay convex and tame. AGREEMENT of training and compiler. */
export const CURVATURE = { least: 0.02, most: 1 } as const;

/** The error function to 1.2e-7 (Numerical Recipes' Chebyshev fit of erfc), enough for starting values. */
function erf(x: number): number {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const series = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398,
    1.48851587, -0.82215223, 0.17087277,
  ].reduceRight((sum, c) => c + t * sum, 0);
  const tail = t * Math.exp(-x * x + series);
  return x >= 0 ? 1 - tail : tail - 1;
}

/**
 * Least-squares parabola c0 + c1*x + c2*x^2 of ReLU(x) for normal x.
 * @returns [c0, c1, c2]; mean 0, std 1 gives [.19947, .5, .19947]
 */
export function parabolaOfRelu(mean: number, std: number): [number, number, number] {
  const a = mean / std;
  const density = Math.exp((-a * a) / 2) / Math.sqrt(2 * Math.PI);
  const below = (1 + erf(a / Math.SQRT2)) / 2;
  return [
    (std * density) / 2 + (mean * mean * density) / (2 * std),
    below - a * density,
    density / (2 * std),
  ];
}

/** Keeps the leading coefficients of all polynomials inside {@link CURVATURE}. */
export function clampCurvature(parameters: readonly Parameter[]): void {
  for (const { kind, value } of parameters) {
    if (kind !== 'polynomial') continue;
    for (let i = 2; i < value.length; i += 3) {
      value[i] = Math.min(CURVATURE.most, Math.max(CURVATURE.least, value[i]!));
    }
  }
}

/** What was measured of one activation node, elements in the graph's order. */
interface Measured {
  readonly id: string;
  /** [C, 3] */
  readonly coefficients: Float32Array;
  readonly identityHarm: Float64Array;
  readonly squareHarm: Float64Array;
}

export interface MapOptions {
  /** Shares of all activation elements, 0..1; the rest become squares. */
  readonly relus: number;
  readonly identities: number;
  /** Images to measure with, a whole number of batches. */
  readonly images: number;
  readonly batch: number;
  readonly seed: number;
}

/**
 * Chooses the map of a trained all-ReLU network: the elements that the identity harms least become identities; of the
 * others, those that a square harms most stay ReLUs. The ranking goes over all layers at once.
 * @returns the network with its maps and starting polynomials; its weights want fine-tuning
 */
export function replaceRelus(graph: Graph, set: LabelledImages, options: MapOptions): Graph {
  const measured = measure(graph, set, options);
  const all = measured.flatMap((layer) =>
    Array.from(layer.identityHarm, (identity, e) => ({
      layer,
      e,
      identity,
      square: layer.squareHarm[e]!,
    })),
  );
  const maps = new Map(
    measured.map((layer) => [layer.id, new Uint8Array(layer.identityHarm.length).fill(SQUARE)]),
  );
  all.sort((p, q) => p.identity - q.identity);
  const identities = Math.round(options.identities * all.length);
  const rest = all.splice(identities);
  for (const { layer, e } of all) maps.get(layer.id)![e] = IDENTITY;
  rest.sort((p, q) => q.square - p.square);
  const relus = Math.round(options.relus * (all.length + rest.length));
  for (const { layer, e } of rest.slice(0, relus)) maps.get(layer.id)![e] = RELU;

  const tensors = new Map<string, Tensor>(graph.tensors);
  const nodes = graph.nodes.map((node): Node => {
    if (node.op !== 'activation') return node;
    const { coefficients } = measured.find(({ id }) => id === node.id)!;
    const name = node.coefficients ?? `${node.id}.coefficients`;
    tensors.set(name, { shape: [coefficients.length / 3, 3], data: coefficients });
    return { ...node, kinds: maps.get(node.id)!, coefficients: name };
  });
  return { ...graph, nodes, tensors };
}

function measure(graph: Graph, set: LabelledImages, options: MapOptions): Measured[] {
  const { batch } = options;
  const network = new Network(graph, batch);
  const shapes = inferShapes(graph);
  const stream = new Stream(options.seed);
  const chosen = stream.permutation(set.labels.length).subarray(0, options.images);
  const layers = graph.nodes
    .filter((node) => node.op === 'activation')
    .map((node) => {
      const size = elements(shapes.get(node.id)!);
      const channels = shapes.get(node.id)![0]!;
      return {
        id: node.id,
        from: node.inputs[0],
        order: planeOrder(network.value(node.id)),
        channels,
        sums: new Float64Array(2 * channels),
        coefficients: new Float32Array(3 * channels),
        identityHarm: new Float64Array(size),
        squareHarm: new Float64Array(size),
      };
    });
  const overImages = (visit: () => void, backward: boolean) => {
    for (let from = 0; from + batch <= chosen.length; from += batch) {
      const { images } = makeBatch(set, network.input, chosen.subarray(from, from + batch));
      const scores = network.forward(images, 'evaluate');
      if (backward) {
        const signs = Float32Array.from(scores, () => (stream.uniform() < 0.5 ? -1 : 1));
        network.backward(signs, 'evaluate');
      }
      visit();
    }
  };

  overImages(() => {
    for (const { from, channels, sums } of layers) {
      const x = network.value(from).value.data;
      for (let i = 0; i < x.length; i++) {
        sums[2 * (i % channels)]! += x[i]!;
        sums[2 * (i % channels) + 1]! += x[i]! ** 2;
      }
    }
  }, false);
  for (const { id, channels, sums, coefficients } of layers) {
    const count = (sizeOf(network.value(id)) / channels) * chosen.length;
    for (let c = 0; c < channels; c++) {
      const mean = sums[2 * c]! / count;
      const std = Math.sqrt(Math.max(1e-6, sums[2 * c + 1]! / count - mean * mean));
      coefficients.set(parabolaOfRelu(mean, std), 3 * c);
      const c2 = coefficients[3 * c + 2]!;
      coefficients[3 * c + 2] = Math.min(CURVATURE.most, Math.max(CURVATURE.least, c2));
    }
  }

  overImages(() => {
    for (const { id, from, order, channels, coefficients, ...layer } of layers) {
      const x = network.value(from).value.data;
      const slope = network.value(id).gradient!.data;
      for (let i = 0; i < x.length; i++) {
        const e = order[i % order.length]!;
        const row = 3 * (i % channels);
        const v = x[i]!;
        const square =
          coefficients[row]! + v * (coefficients[row + 1]! + v * coefficients[row + 2]!);
        layer.identityHarm[e]! += (slope[i]! * Math.min(v, 0)) ** 2;
        layer.squareHarm[e]! += (slope[i]! * (square - Math.max(v, 0))) ** 2;
      }
    }
  }, true);
  return layers;
}
