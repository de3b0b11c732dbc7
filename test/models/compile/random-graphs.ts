/** Random networks of everything the compiler takes. */

import type { Graph } from '../../../models/graph/index.ts';
import { GraphBuilder, type Mix } from '../builder.ts';

const MIXES: readonly Mix[] = ['relu', 'relu', 'square', 'identity', 'mixed', 'channels'];

/** The network number `seed`: an input of 8x8 to 12x12, three to five blocks, a head. */
export function randomGraph(seed: number): Graph {
  // The builder's own stream draws the weights; its first numbers say what is built.
  const first = new GraphBuilder(seed, [1, 1, 1]);
  const draw = (n: number) => Math.floor(((first.next() + 1) / 2) * n);
  const size = 8 + 2 * draw(3);
  const b = new GraphBuilder(seed + 1, [1 + draw(3), size, size]);
  const mix = () => MIXES[draw(MIXES.length)]!;
  const linear = (x: string, out: number, options = {}) => {
    const conv = b.conv(x, out, options);
    return [conv, b.norm(conv), b.scale(conv)][draw(3)]!;
  };
  const blocks: readonly ((x: string) => string)[] = [
    (x) => b.activation(linear(x, 2 * (1 + draw(4)), { stride: 1 + draw(2) }), mix()),
    (x) => b.activation(linear(x, 4, { kernel: 1, pad: 0, stride: 1 + draw(2) }), mix()),
    // Depthwise, then grouped.
    (x) => {
      const [c] = b.shape(x);
      const deep = b.activation(linear(x, c, { groups: c }), mix());
      return b.activation(linear(deep, 2 * c, { groups: c % 2 === 0 ? 2 : 1 }), mix());
    },
    (x) => {
      const inner = b.activation(linear(x, b.shape(x)[0]), mix());
      return b.activation(b.add(linear(inner, b.shape(x)[0]), x), mix());
    },
    // The shortcut of CIFAR's ResNets.
    (x) => {
      const [c, h, w] = b.shape(x);
      const half = [c, Math.ceil(h / 2), Math.ceil(w / 2)] as const;
      const skip = b.pad(b.slice(x, [0, 0, 0], [1, 2, 2], half), [c, 0, 0], [c, 0, 0]);
      return b.activation(b.add(linear(x, 3 * c, { stride: 2 }), skip), mix());
    },
    (x) => b.pool(x, 1 + draw(3)),
    (x) => b.maxPool(x, 2 + draw(2), { stride: 1 + draw(2) }),
    (x) => {
      const relu = b.activation(linear(x, 3), 'relu');
      return b.maxPool(relu, 3, { stride: 1 + draw(2), pad: 1 });
    },
    (x) => b.activation(b.maxPool(linear(x, 3), 3, { stride: 2, pad: 1 }), 'relu'),
    (x) => b.concat(x, b.activation(linear(x, 1 + draw(3)), mix())),
    (x) => b.concat(b.pool(b.activation(linear(x, 3), mix()), 2), b.maxPool(x, 2)),
    (x) => b.scale(x),
  ];
  let x = b.activation(linear('image', 4), mix());
  for (let count = 3 + draw(3); count > 0; count--) {
    // Windows of up to 3 need as much.
    if (b.shape(x)[1] < 4) break;
    x = blocks[draw(blocks.length)]!(x);
  }
  const flat = b.flatten(draw(2) === 0 ? b.mean(x) : x);
  return b.build(b.dense(flat, 4));
}
