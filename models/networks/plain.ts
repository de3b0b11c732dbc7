/** Networks without shortcuts: VGG-16 and the CIFAR-10 network of MiniONN. */

import type { Graph } from '../graph/graph.ts';
import { Assembly, type BuilderOptions } from './assemble.ts';

/** Channels of VGG-16's convolutions, by stage; each stage ends in 2x2 pooling. */
const VGG16 = [
  [64, 64],
  [128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [512, 512, 512],
] as const;

export interface VggOptions extends BuilderOptions {
  /** How stages end; default: max pooling. */
  readonly pooling?: 'max' | 'average';
}

/**
 * VGG-16 for 32x32 images, with batch norms and one dense layer (Simonyan and Zisserman, ICLR 2015, configuration D as
 * usual for CIFAR): 276,480 ReLUs before pooling. Parameter names are torchvision's features, and `classifier`.
 */
export function vgg16(options: VggOptions = {}): Graph {
  const net = new Assembly(options);
  let x = net.image;
  let layers = 0;
  const name = () => `features.${layers++}`;
  for (const stage of VGG16) {
    for (const width of stage) {
      const conv = net.conv(name(), x, width, { kernel: 3, pad: 1, bias: true });
      const norm = net.norm(name(), conv);
      x = net.activation(name(), norm);
    }
    x = net.pool(name(), x, options.pooling ?? 'max', { kernel: 2 });
  }
  return net.build(net.dense('classifier', net.flatten('flat', x), net.classes));
}

/** Activation layers of MiniONN's network, in order. */
export const MINIONN_RELUS = [
  'relu1',
  'relu2',
  'relu3',
  'relu4',
  'relu5',
  'relu6',
  'relu7',
] as const;

/**
 * The CIFAR-10 network of MiniONN (Liu et al., CCS 2017, figure 13), as Delphi trains it: average pooling, 7 activation
 * layers, 181,248 elements.
 */
export function miniOnn(options: BuilderOptions = {}): Graph {
  const net = new Assembly(options);
  let x = net.image;
  const layers = [
    { width: 64, kernel: 3 },
    { width: 64, kernel: 3, pooled: true },
    { width: 64, kernel: 3 },
    { width: 64, kernel: 3, pooled: true },
    { width: 64, kernel: 3 },
    { width: 64, kernel: 1 },
    { width: 16, kernel: 1 },
  ];
  layers.forEach(({ width, kernel, pooled }, i) => {
    const pad = Math.floor(kernel / 2);
    const conv = net.conv(`conv${i + 1}`, x, width, { kernel, pad, bias: true });
    x = net.activation(MINIONN_RELUS[i]!, conv);
    if (pooled) x = net.pool(`pool${i + 1}`, x, 'average', { kernel: 2 });
  });
  return net.build(net.dense('dense', net.flatten('flat', x), net.classes));
}
