/** Networks and images that many tests use. */

import { type Graph, IDENTITY, RELU, SQUARE } from '../../models/graph/index.ts';
import { Stream } from '../../models/random.ts';
import type { LabelledImages } from '../../models/train/index.ts';
import { GraphBuilder, numbers, tensor } from './builder.ts';

/**
 * A network of 2x9x7 inputs with uneven strides and pads, groups and every kind of activation.
 * Shapes: 2x9x7 -> conv 6x5x4 -> ... -> add -> pool 6x2x2 -> grouped conv 9x2x2 -> mean -> flat 9 -> dense 5.
 */
export function everyOperator(seed = 1): Graph {
  const b = new GraphBuilder(seed, [2, 9, 7], [0.5, 0.4], [0.25, 0.5]);
  const mix = [RELU, SQUARE, IDENTITY, RELU, SQUARE];
  const quadratic = [
    [0, 0.3],
    [0, 0.3],
    [0.25, 0.1],
  ] as const;
  const conv1 = b.conv('image', 6, { id: 'conv1', stride: 2, weights: 0.5, bias: false });
  const norm1 = b.norm(conv1, { id: 'norm1', shift: 0.5 });
  const act1 = b.activation(norm1, mix, { id: 'act1', quadratic });
  const uneven = { kernel: [2, 3], pad: [1, 0, 0, 2] } as const;
  const conv2 = b.conv(act1, 6, { id: 'conv2', ...uneven, weights: 0.3, bias: 0.3 });
  const act2 = b.activation(b.add(conv2, act1, { id: 'sum' }), mix, { id: 'act2', quadratic });
  const pool = b.pool(act2, 2, { id: 'pool' });
  const conv3 = b.conv(pool, 9, { id: 'conv3', groups: 3, weights: 0.5, bias: false });
  const act3 = b.activation(conv3, 'relu', { id: 'act3', quadratic: false });
  const flat = b.flatten(b.mean(act3, { id: 'mean' }), { id: 'flat' });
  return b.build(b.dense(flat, 5, { id: 'head', weights: 1, bias: 0.5 }));
}

/** A random preprocessed image for a graph. */
export function randomImage(graph: Graph, seed: number): Float32Array {
  return tensor(numbers(seed), graph.input.shape).data;
}

/** Images of {@link everyOperator}'s shape whose class is the place of a bright bar. */
export function bars(count: number): LabelledImages {
  const shape = [2, 9, 7] as const;
  const stream = new Stream(5);
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 5);
  const pixels = new Uint8Array(count * 126);
  for (let i = 0; i < pixels.length; i++) {
    const image = Math.floor(i / 126);
    const row = Math.floor((i % 63) / 7);
    const bright = row - 2 === labels[image] || row - 3 === labels[image];
    pixels[i] = 40 + 80 * stream.uniform() + (bright ? 100 : 0);
  }
  return { shape, pixels, labels };
}
