/**
 * The network of "94% on CIFAR-10 in 3.29 Seconds" (Jordan, 2024), with ReLUs, average pooling and a shortcut:
 *
 *   whitening (fixed) -> blocks of [conv, norm, ReLU, pool, x + (conv, norm, ReLU)] -> means -> dense -> scale (fixed)
 *
 * What differs from the paper:
 * - No activation stands behind the whitening convolution. The negated filters then compute nothing that the others do not:
 *   there are 12 channels, not 24, and the first block begins with both signs of each.
 * - The whitening convolution is padded and the one behind it is not, so that both are, exactly, one convolution of the image.
 * - Pooling is average pooling, the last one included: nothing is compared but for ReLUs. The first ReLU of a block stands before it, and a
 *   shortcut leads around the second convolution: 92.8 % of the validation images after 16 epochs, 91.0 % with pooling first and no
 *   shortcut. That is 160,896 ReLUs in place of 58,496; a reduction keeps those that matter, wherever they stand.
 */

import { elements, type Graph } from '../graph/graph.ts';
import { Stream } from '../random.ts';
import { Assembly, type BuilderOptions, type WeightSource } from './assemble.ts';

export interface AirOptions extends BuilderOptions {
  /** Channels of the three blocks; default: 64, 256 and 256. */
  readonly widths?: readonly [number, number, number];
  /** Weights of the first convolution, [filters, channels, 2, 2] (see whitening.ts); default: random ones. */
  readonly whitening?: Float32Array;
}

/** The norms of block k + 1. */
const normsOf = (k: number) => [`block${k + 1}.norm1`, `block${k + 1}.norm2`];

/** Tensors that training should leave as they are: whitening, scales of norms, the scale of the scores. */
export const AIR_FROZEN: readonly string[] = [
  'whiten.weight',
  ...[0, 1, 2].flatMap(normsOf).map((norm) => `${norm}.weight`),
  'scale.weight',
  'scale.bias',
];

/** Scores are scaled down, so that one learning rate fits all layers. */
const SCORE_SCALE = 1 / 9;

/** Weights as the paper starts from: the first filters of 3x3 convolutions are the identity, the others uniform. */
function airWeights(seed: number, whitening: Float32Array | undefined): WeightSource {
  const stream = new Stream(seed);
  return (name, shape) => {
    const out = new Float32Array(elements(shape));
    if (name === 'whiten.weight' && whitening !== undefined) return whitening;
    if (name === 'scale.weight') return out.fill(SCORE_SCALE);
    if (shape.length === 1) {
      return name.endsWith('bias') || name.endsWith('mean') ? out : out.fill(1);
    }
    const [outputs, inputs] = shape as [number, number];
    const bound = 1 / Math.sqrt(out.length / outputs);
    for (let i = 0; i < out.length; i++) out[i] = stream.symmetric(bound);
    if (!name.includes('.conv')) return out;
    // Whitened channels come without their negatives: these start as filters of their own.
    const signs = name === 'block1.conv1.weight' ? [1, -1] : [1];
    const cells = out.length / outputs / inputs;
    signs.forEach((sign, s) => {
      for (let c = 0; c < Math.min(inputs, outputs - s * inputs); c++) {
        const filter = (s * inputs + c) * inputs * cells;
        out.fill(0, filter, filter + inputs * cells);
        out[filter + c * cells + (cells - 1) / 2] = sign;
      }
    });
    return out;
  };
}

/** For 32x32 images 160,896 ReLUs and 111 million multiplications. */
export function airNet(options: AirOptions = {}): Graph {
  const { widths = [64, 256, 256], whitening, seed = 1 } = options;
  const net = new Assembly({ ...options, weights: options.weights ?? airWeights(seed, whitening) });
  const [channels] = net.shape(net.image);
  let x = net.conv('whiten', net.image, 4 * channels, { kernel: 2, pad: 1 });
  widths.forEach((width, k) => {
    const name = `block${k + 1}`;
    const [norm1, norm2] = normsOf(k) as [string, string];
    const first = net.conv(`${name}.conv1`, x, width, { kernel: 3, pad: k === 0 ? 0 : 1 });
    const active = net.activation(`${name}.relu1`, net.norm(norm1, first));
    const inner = net.pool(`${name}.pool`, active, 'average', { kernel: 2 });
    const second = net.conv(`${name}.conv2`, inner, width, { kernel: 3, pad: 1 });
    x = net.add(`${name}.add`, inner, net.activation(`${name}.relu2`, net.norm(norm2, second)));
  });
  const scores = net.dense('linear', net.means('pool', x), net.classes, { bias: false });
  return net.build(net.scale('scale', scores));
}
