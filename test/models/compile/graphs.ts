import type { Graph } from '../../../models/graph/index.ts';
import { GraphBuilder, type Mix, numbers, tensor } from '../builder.ts';

/** A residual network of 2x8x8 images: stem, one block with an identity skip, one with a projection, head. */
export function residual(seed: number, mix: Mix): Graph {
  const b = new GraphBuilder(seed, [2, 8, 8]);
  const stem = b.activation(b.norm(b.conv('image', 6)), mix);
  const inner = b.activation(b.norm(b.conv(stem, 6)), mix);
  const first = b.activation(b.add(b.norm(b.conv(inner, 6)), stem), mix);
  const down = b.activation(b.norm(b.conv(first, 9, { stride: 2 })), mix);
  const skip = b.conv(b.pool(first, 2), 9, { kernel: 1, pad: 0, groups: 3 });
  const second = b.activation(b.add(b.conv(down, 9), skip), mix);
  return b.build(b.dense(b.flatten(b.mean(second)), 5));
}

/** A plain network of 2x8x8 images with a dense layer on planes. */
export function plain(seed: number, mix: Mix): Graph {
  const b = new GraphBuilder(seed, [2, 8, 8]);
  const one = b.activation(b.norm(b.conv('image', 4, { stride: 2 })), mix);
  const two = b.activation(b.conv(one, 6, { kernel: 2, pad: 0 }), mix);
  return b.build(b.dense(b.flatten(two), 5));
}

/** Random pixels in 0..1, as the client has them. */
export function randomPixels(graph: Graph, seed: number): Float32Array {
  return tensor(numbers(seed), graph.input.shape, 0.5, 0.5).data;
}
