/**
 * Networks for images of ImageNet's size, with the parameter names of torchvision. What differs from torchvision is said
 * with each network; defaults: `size` what the field measures them at, `classes` 1,000.
 */

import type { Graph } from '../graph/graph.ts';
import {
  Assembly,
  BRANCH_SCALE,
  type BuilderOptions,
  branchScale,
  randomWeights,
} from './assemble.ts';

const IMAGENET = { size: 224, classes: 1000 } as const;

/** Channels of SqueezeNet's fire modules: squeezed, and of either half of what they are expanded to. */
const FIRES = [
  [3, 16, 64],
  [4, 16, 64],
  [6, 32, 128],
  [7, 32, 128],
  [9, 48, 192],
  [10, 48, 192],
  [11, 64, 256],
  [12, 64, 256],
] as const;

/** Fire modules that a max pool stands before, and the number of that pool. */
const FIRE_POOLS: ReadonlyMap<number, number> = new Map([
  [3, 2],
  [6, 5],
  [9, 8],
]);

/**
 * SqueezeNet 1.1 (Iandola et al., 2016) for images of 227x227: RELUS_S, the 169,000 behind the last convolution
 * included. The two halves of an expansion are one layer of ReLUs, which is the same and one round trip less. Max pools
 * drop what does not fill a window, as the network was published; torchvision's keep it.
 */
export function squeezeNet(options: BuilderOptions = {}): Graph {
  const net = new Assembly({ ...IMAGENET, size: 227, ...options });
  const conv = (id: string, from: string, width: number, kernel: number, stride = 1) =>
    net.conv(id, from, width, {
      kernel,
      stride,
      pad: stride === 1 ? (kernel - 1) / 2 : 0,
      bias: true,
    });
  let x = net.activation('features.1', conv('features.0', net.image, 64, 3, 2));
  for (const [index, squeezed, expanded] of FIRES) {
    const name = `features.${index}`;
    const pool = FIRE_POOLS.get(index);
    if (pool !== undefined) x = net.pool(`features.${pool}`, x, 'max', { kernel: 3, stride: 2 });
    const inner = net.activation(
      `${name}.squeeze_activation`,
      conv(`${name}.squeeze`, x, squeezed, 1),
    );
    const halves = net.concat(
      `${name}.expand`,
      conv(`${name}.expand1x1`, inner, expanded, 1),
      conv(`${name}.expand3x3`, inner, expanded, 3),
    );
    x = net.activation(`${name}.expand_activation`, halves);
  }
  const scores = net.activation('classifier.2', conv('classifier.1', x, net.classes, 1));
  return net.build(net.means('classifier.3', scores));
}

/** MobileNetV2's stages: expansion, channels, blocks, stride of the first block. */
const BOTTLENECKS = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

/** Channels of MobileNetV2's first and last convolution. */
const MOBILE_STEM = 32;
const MOBILE_HEAD = 1280;

/** MobileNetV2 (Sandler et al., CVPR 2018) for images of 224x224, with ReLUs in place of ReLU6: 6,105,792 of them. */
export function mobileNetV2(options: BuilderOptions = {}): Graph {
  const weights = options.weights ?? randomWeights(options.seed ?? 1, options.gain, mobileScale);
  const net = new Assembly({ ...IMAGENET, ...options, weights });
  const layer = (name: string, from: string, width: number, kernel: number, more = {}) =>
    net.activation(
      `${name}.2`,
      net.normedConv([`${name}.0`, `${name}.1`], from, width, { kernel, ...more }),
    );
  let x = layer('features.0', net.image, MOBILE_STEM, 3, { stride: 2 });
  let number = 1;
  for (const [expansion, width, blocks, first] of BOTTLENECKS) {
    for (let block = 0; block < blocks; block++) {
      const name = `features.${number++}`;
      const stride = block === 0 ? first : 1;
      const [channels] = net.shape(x);
      const wide = expansion * channels;
      let inner = x;
      let part = 0;
      const next = () => `${name}.conv.${part++}`;
      if (expansion > 1) inner = layer(next(), inner, wide, 1);
      inner = layer(next(), inner, wide, 3, { stride, groups: wide });
      inner = net.normedConv([next(), next()], inner, width, { kernel: 1 });
      x = stride === 1 && channels === width ? net.add(`${name}.add`, x, inner) : inner;
    }
  }
  x = layer(`features.${number}`, x, MOBILE_HEAD, 1);
  return net.build(net.dense('classifier.1', net.means('pool', x), net.classes));
}

/** Blocks of MobileNetV2 without a shortcut: those that change the shape. */
const UNBRANCHED = [1, 2, 4, 7, 11, 14, 17];

/**
 * Scale of a norm in a random MobileNetV2. Those that end a block have no ReLU behind them, which would halve the squares
 * of what He's weights make: a shortcut takes a small part of it, the others take the root of the half.
 */
function mobileScale(name: string): number {
  const [, block, part] = /^features\.(\d+)\.conv\.(\d)\.weight$/.exec(name) ?? [];
  if (part !== (block === '1' ? '2' : '3')) return 1;
  return UNBRANCHED.includes(Number(block)) ? Math.SQRT1_2 : BRANCH_SCALE;
}

/** ResNet-50's stages: inner channels and blocks; blocks end in four times as many channels. */
const RESNET50 = [
  [64, 3],
  [128, 4],
  [256, 6],
  [512, 3],
] as const;

/**
 * ResNet-50 (He et al., CVPR 2016) for images of 224x224, strides in the 3x3 convolutions: 9,608,704 ReLUs, those in front
 * of the max pool included.
 */
export function resNet50(options: BuilderOptions = {}): Graph {
  const weights =
    options.weights ?? randomWeights(options.seed ?? 1, options.gain, branchScale('bn3.weight'));
  const net = new Assembly({ ...IMAGENET, ...options, weights });
  const stem = net.normedConv(['conv1', 'bn1'], net.image, 64, { kernel: 7, stride: 2 });
  let x = net.activation('relu', stem);
  x = net.pool('maxpool', x, 'max', { kernel: 3, stride: 2, pad: 1 });
  RESNET50.forEach(([width, blocks], stage) => {
    for (let block = 0; block < blocks; block++) {
      const name = `layer${stage + 1}.${block}`;
      const stride = stage > 0 && block === 0 ? 2 : 1;
      const part = (i: number, from: string, channels: number, kernel: number, step = 1) =>
        net.normedConv([`${name}.conv${i}`, `${name}.bn${i}`], from, channels, {
          kernel,
          stride: step,
        });
      const first = net.activation(`${name}.relu1`, part(1, x, width, 1));
      const second = net.activation(`${name}.relu2`, part(2, first, width, 3, stride));
      const branch = part(3, second, 4 * width, 1);
      const skip =
        block === 0
          ? net.normedConv([`${name}.downsample.0`, `${name}.downsample.1`], x, 4 * width, {
              kernel: 1,
              stride,
            })
          : x;
      x = net.activation(`${name}.relu3`, net.add(`${name}.add`, branch, skip));
    }
  });
  return net.build(net.dense('fc', net.means('avgpool', x), net.classes));
}
