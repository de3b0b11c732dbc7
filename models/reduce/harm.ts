/**
 * First-order removal, without a search: an element goes when the network's own gradients say that it is missed least.
 *
 * An element's harm under a replacement f is E[(dz/dy * (f(x) - ReLU(x)))^2] with z = r . scores for random signs r: to
 * first order the expected squared change of all scores.
 */

import type { Graph } from '../graph/index.ts';
import { Stream } from '../random.ts';
import { type LabelledImages, makeBatch, Network } from '../train/index.ts';
import { planeOrder } from '../train/layers/layer.ts';
import { activationsOf, keepLargest, reluCount, removeRelus, type Scores } from './elements.ts';
import { startingPolynomials } from './parabola.ts';
import { type MeasureOptions, measureRanges } from './ranges.ts';

/** Harm of every element of every activation layer. */
export interface Harm {
  readonly identity: Scores;
  readonly square: Scores;
}

/**
 * Measures what the removal of each element would do, in evaluation mode.
 * @param polynomials of the squares, [C, 3] by layer
 */
export function measureHarm(
  graph: Graph,
  set: LabelledImages,
  polynomials: ReadonlyMap<string, Float32Array>,
  { images = set.labels.length, batch, seed }: MeasureOptions,
): Harm {
  const network = new Network(graph, batch);
  const stream = new Stream(seed);
  const chosen = stream.permutation(set.labels.length).subarray(0, images);
  const layers = activationsOf(graph).map(({ id, inputs, kinds }) => {
    const value = network.value(id);
    return {
      id,
      from: inputs[0],
      channels: value.channels,
      order: planeOrder(value),
      rows: polynomials.get(id)!,
      identity: new Float64Array(kinds.length),
      square: new Float64Array(kinds.length),
    };
  });
  for (let from = 0; from + batch <= chosen.length; from += batch) {
    const { images } = makeBatch(set, network.input, chosen.subarray(from, from + batch));
    const scores = network.forward(images, 'evaluate');
    network.backward(
      Float32Array.from(scores, () => (stream.uniform() < 0.5 ? -1 : 1)),
      'evaluate',
    );
    for (const { id, from, channels, order, rows, identity, square } of layers) {
      const x = network.value(from).value.data;
      const slope = network.value(id).gradient!.data;
      for (let i = 0; i < x.length; i++) {
        const e = order[i % order.length]!;
        const row = 3 * (i % channels);
        const v = x[i]!;
        const y = rows[row]! + v * (rows[row + 1]! + v * rows[row + 2]!);
        identity[e]! += (slope[i]! * Math.min(v, 0)) ** 2;
        square[e]! += (slope[i]! * (y - Math.max(v, 0))) ** 2;
      }
    }
  }
  return {
    identity: new Map(layers.map(({ id, identity }) => [id, identity])),
    square: new Map(layers.map(({ id, square }) => [id, square])),
  };
}

export interface MapOptions extends MeasureOptions {
  /** Shares of all ReLUs, 0..1; the rest become squares. */
  readonly relus: number;
  readonly identities: number;
}

/**
 * Chooses the map of a trained network: the ReLUs that the identity harms least become identities; of the others, those
 * that a square harms most stay. The ranking goes over all layers at once.
 * @returns the network with its maps and starting polynomials; its weights want fine-tuning
 */
export function replaceRelus(graph: Graph, set: LabelledImages, options: MapOptions): Graph {
  const total = reluCount(graph);
  const polynomials = new Map(
    measureRanges(graph, set, options).map(({ id, channels }) => [
      id,
      startingPolynomials(channels),
    ]),
  );
  const harm = measureHarm(graph, set, polynomials, options);
  const notLinear = total - Math.round(options.identities * total);
  const linear = removeRelus(graph, keepLargest(graph, harm.identity, notLinear));
  const kept = keepLargest(linear, harm.square, Math.round(options.relus * total));
  return removeRelus(linear, kept, polynomials);
}
