import { elements, type Graph } from '../../../models/graph/index.ts';
import { padding, transposing } from '../../../protocol/ring/gather.ts';
import { GraphBuilder, numbers, tensor } from '../builder.ts';

/**
 * A network of 16x9x8 inputs with the operators that move elements, bend them and take them apart, padded means,
 * depthwise and grouped convolutions, and one that Winograd's algorithm suits.
 */
export function moving(seed: number): Graph {
  const b = new GraphBuilder(seed, [16, 9, 8], 0, 1);
  const conv = (source: string, out: number, options = {}) =>
    b.conv(source, out, { weights: 0.2, ...options });
  const bent = b.piecewise(conv('image', 16), 2, { id: 'bent' });
  const less = b.subtract(bent, conv(bent, 16, { groups: 16 }));
  const parts = conv(less, 6, { groups: 2, stride: 2 });
  const other = b.reshape(b.concat(parts, parts), [5, 12, 4]);
  const turned = b.gather(other, [12, 4, 5], transposing([5, 12, 4], [1, 2, 0]));
  const wide = b.gather(turned, [13, 5, 5], padding([12, 4, 5], [0, 1, 0], [1, 0, 0]));
  const window = { id: 'means', stride: [2, 1], pad: [1, 0, 1, 1] } as const;
  const means = b.pool(conv(wide, 7), [3, 2], window);
  const flat = b.reshape(b.activation(means, 'relu', { quadratic: false }), [105]);
  return b.build(b.piecewise(flat, 0, { id: 'last' }));
}

/** Some random preprocessed images for a graph, one after the other. */
export function randomBatch(graph: Graph, images: number, seed = 100): Float32Array {
  return tensor(numbers(seed), [images, elements(graph.input.shape)]).data;
}
