/**
 * Residual networks for small images: those of He et al. (CVPR 2016, section 4.2: depth 6n + 2), ResNet-18 with a 3x3
 * stem, and HybReNets, which are ResNet-18s of other widths (DeepReShape, TMLR 2024).
 *
 *   stem conv, norm, ReLU -> stages of blocks [conv, norm, ReLU, conv, norm, + shortcut, ReLU] -> means -> dense
 */

import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/graph.ts';
import { Assembly, type BuilderOptions } from './assemble.ts';

/**
 * How a block's input reaches its end where the shape changes. `zeros` (option A): every second row and column, and
 * channels of zeros; `projection` (option B): a 1x1 convolution with a norm.
 */
type Shortcut = 'zeros' | 'projection';

/** A network of stages; all but the first halve the plane. */
function residualNetwork(
  widths: readonly number[],
  blocks: number,
  shortcut: Shortcut,
  options: BuilderOptions,
  stem: { readonly kernel: number; readonly stride: number } = { kernel: 3, stride: 1 },
): Graph {
  const net = new Assembly(options);
  const relu = (id: string, conv: string, norm: string) => net.activation(id, net.norm(norm, conv));
  const window = { ...stem, pad: (stem.kernel - 1) / 2 };
  let x = relu('relu1', net.conv('conv1', net.image, widths[0]!, window), 'bn1');
  widths.forEach((width, stage) => {
    for (let block = 0; block < blocks; block++) {
      const name = `layer${stage + 1}.${block}`;
      const stride = stage > 0 && block === 0 ? 2 : 1;
      const first = net.conv(`${name}.conv1`, x, width, { kernel: 3, stride, pad: 1 });
      const inner = relu(`${name}.relu1`, first, `${name}.bn1`);
      const second = net.conv(`${name}.conv2`, inner, width, { kernel: 3, pad: 1 });
      const branch = net.norm(`${name}.bn2`, second);
      const skip = shortcutOf(net, `${name}.shortcut`, x, { width, stride, shortcut });
      x = net.activation(`${name}.relu2`, net.add(`${name}.add`, branch, skip));
    }
  });
  return net.build(net.dense('linear', net.means('pool', x), net.classes));
}

function shortcutOf(
  net: Assembly,
  name: string,
  x: string,
  to: { readonly width: number; readonly stride: number; readonly shortcut: Shortcut },
): string {
  const { width, stride, shortcut } = to;
  const [channels] = net.shape(x);
  if (stride === 1 && channels === width) return x;
  if (shortcut === 'projection') {
    return net.norm(`${name}.1`, net.conv(`${name}.0`, x, width, { kernel: 1, stride }));
  }
  const sampled = stride === 1 ? x : net.subsample(`${name}.sample`, x, stride);
  return net.padChannels(`${name}.pad`, sampled, (width - channels) / 2);
}

/**
 * A CIFAR ResNet of depth 6n + 2 with option A shortcuts: 16, 32 and 64 channels. 188,416 ReLUs at depth 20, 303,104 at
 * depth 32. Parameter names are those of akamaster/pytorch_resnet_cifar10.
 * @param depth 20, 32, 44, 56, ...
 * @throws ModelError `argument` when the depth is not 6n + 2
 */
export function resNetCifar(depth: number, options: BuilderOptions = {}): Graph {
  const blocks = (depth - 2) / 6;
  if (!(Number.isInteger(blocks) && blocks >= 1)) {
    throw new ModelError(
      'argument',
      `a CIFAR ResNet has 6n + 2 layers, such as 20 or 32, not ${depth}`,
    );
  }
  return residualNetwork([16, 32, 64], blocks, 'zeros', options);
}

/** ResNet-18 with a 3x3 stem and projections, 64 to 512 channels: 557,056 ReLUs, the stem's 65,536 included. */
export function resNet18(options: BuilderOptions = {}): Graph {
  return residualNetwork([64, 128, 256, 512], 2, 'projection', options);
}

/**
 * HybReNet-(alpha x beta x gamma x): ResNet-18 whose stages have `base` channels, then alpha, beta and gamma times those
 * of the stage before. 343,040 ReLUs for 5, 5, 3 and base 16.
 */
export function hybReNet(
  [alpha, beta, gamma]: readonly [number, number, number],
  base = 16,
  options: BuilderOptions = {},
): Graph {
  const widths = [base, base * alpha, base * alpha * beta, base * alpha * beta * gamma];
  return residualNetwork(widths, 2, 'projection', options);
}

/**
 * A small residual network with one block a stage and projections: what two cores train in an hour, and a private
 * inference answers in a fraction of a second.
 * @param widths channels of the stages; each but the first halves the plane
 * @param stem of the first convolution; a stride of 2 halves the plane before the first ReLU
 */
export function compactResNet(
  widths: readonly number[],
  stem: { readonly kernel: number; readonly stride: number },
  options: BuilderOptions = {},
): Graph {
  return residualNetwork(widths, 1, 'projection', options, stem);
}
