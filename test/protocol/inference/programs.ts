/** Random programs for both parties: the joints of known networks, in random order and of random sizes. */

import { IDENTITY, RELU, SQUARE } from '../../../protocol/program/kinds.ts';
import type { Model } from '../../../protocol/program/model.ts';
import type { Comparison } from '../../../protocol/program/program.ts';
import { integers } from '../../support/damage.ts';
import { ModelBuilder, seedOf } from '../../support/model.ts';

type Next = (limit: number) => number;

const MIXES = [[IDENTITY], [RELU], [IDENTITY, RELU], [IDENTITY, RELU, SQUARE]];

/** What a block of a network is given: a builder, the value it goes on from, which an activation made, and choices. */
interface Place {
  readonly net: ModelBuilder;
  readonly from: number;
  readonly next: Next;
  /** An activation of random kinds; default: the latest value. */
  readonly activate: (value?: number) => number;
}

/** Adds a block that reads `from`; its last value is one that a linear layer may read. */
type Block = (place: Place) => number;

const strideFor = ({ net, from, next }: Place): number =>
  net.shapeOf(from)[1] > 4 ? 1 + next(2) : 1;

const BLOCKS: Readonly<Record<string, Block>> = {
  plain(place) {
    const { net, from, next, activate } = place;
    const kernel = 1 + next(3);
    net.conv(1 + next(4), kernel, strideFor(place), kernel >> 1, from);
    return activate();
  },
  grouped(place) {
    const { net, from, next, activate } = place;
    const [channels] = net.shapeOf(from);
    const groups = channels % 2 === 0 && next(2) === 0 ? 2 : channels;
    net.conv(channels * (1 + next(2)), 3, strideFor(place), 1, from, groups);
    return activate();
  },
  /** The shortcut is a 1x1 beside a 3x3 of its stride, or the value itself. */
  residual(place) {
    const { net, from, next, activate } = place;
    const stride = strideFor(place);
    const [channels] = net.shapeOf(from);
    const projected = stride > 1 || next(2) === 0;
    const out = projected ? 1 + next(4) : channels;
    net.conv(out, 3, stride, 1, from);
    const second = net.conv(out, 3, 1, 1, activate());
    const shortcut = projected ? net.conv(out, 1, stride, 0, from) : from;
    return activate(net.add(second, shortcut));
  },
  /** Both halves read one value; they are joined before their activation or after it. */
  fire({ net, from, next, activate }) {
    const squeezed = next(2) === 0 ? from : activate(net.conv(2, 1, 1, 0, from));
    const [one, three] = [
      net.conv(1 + next(3), 1, 1, 0, squeezed),
      net.conv(1 + next(3), 3, 1, 1, squeezed),
    ];
    if (next(2) === 0) return activate(net.concat(one, three));
    const [left, right] = [activate(one), activate(three)];
    return net.concat(left, right);
  },
  /** Each layer reads all values before it, what another has decided behind something new or before it; then the new alone. */
  dense({ net, from, next, activate }) {
    const first = activate(net.conv(1 + next(2), 3, 1, 1, from));
    const both = next(2) === 0 ? [from, first] : [first, from];
    const second = activate(net.conv(1 + next(2), 1, 1, 0, net.concat(...both)));
    const third = activate(net.conv(1, 3, 1, 1, first));
    return net.concat(...both, second, third);
  },
  /** Halves of the channels, one of which goes on as it is. */
  split({ net, from, activate }) {
    const [channels, height, width] = net.shapeOf(from);
    if (channels < 2) return from;
    const half = channels >> 1;
    const part = (start: number, size: number) =>
      net.slice([start, 0, 0], [1, 1, 1], [size, height, width], from);
    const own = activate(net.conv(half, 3, 1, 1, part(0, half)));
    return net.concat(own, part(half, channels - half));
  },
  /** Every other row and column, read beside the whole. */
  strided({ net, from, activate }) {
    const [channels, height, width] = net.shapeOf(from);
    if (height < 2 || width < 2) return from;
    const size = [channels, height >> 1, width >> 1] as const;
    const sliced = net.slice([0, 1, 1], [1, 2, 2], size, from);
    const small = net.conv(2, 1, 1, 0, sliced);
    const whole = net.conv(2, 2, 2, 0, from);
    return activate(net.add(small, whole));
  },
  padded({ net, from, next, activate }) {
    const wide = net.pad(1, from);
    net.conv(1 + next(3), 3, 1, 0, wide);
    return activate();
  },
  /** Sums of masked values have masks of their own, which nobody is free to choose. */
  pooled({ net, from, next, activate }) {
    const [, height, width] = net.shapeOf(from);
    if (height % 2 > 0 || width % 2 > 0 || height < 4) return from;
    const pooled = next(2) === 0 ? net.pool(2, from) : net.pool(3, from, 2, 1);
    return activate(net.conv(2, 1, 1, 0, pooled));
  },
  /** Three readers, two of which fit in one layer. */
  readers({ net, from, activate }) {
    const [channels] = net.shapeOf(from);
    const sum = net.add(net.conv(channels, 1, 1, 0, from), net.conv(channels, 3, 1, 1, from));
    return activate(net.add(sum, net.conv(channels, 3, 1, 1, from, channels)));
  },
};

export const BLOCK_NAMES: readonly string[] = Object.keys(BLOCKS);

export interface RandomProgram {
  readonly model: Model;
  readonly blocks: readonly string[];
}

/** The random program of a number: another comparison, output, input and other blocks for each. */
export function randomProgram(seed: number, reveal?: 'logits' | 'label'): RandomProgram {
  const next = integers(7919 * seed + 13);
  const comparison: Comparison = next(2) === 0 ? 'encoded' : 'garbled';
  const side = 4 + next(6);
  const net = new ModelBuilder(
    [1 + next(3), side, 4 + next(6)],
    seedOf(50_000 + seed),
    comparison,
    96,
  );
  const activate = (value?: number) =>
    net.activation(MIXES[next(MIXES.length)], value, next(2) === 0);
  const blocks: string[] = [];
  // The first block takes the input as it is; one that finds nothing to do in it leaves no value that nobody reads.
  let from = 0;
  for (let count = 1 + next(4); count > 0; count--) {
    const name = BLOCK_NAMES[next(BLOCK_NAMES.length)]!;
    blocks.push(name);
    from = BLOCKS[name]!({ net, from, next, activate });
  }
  const end = next(5);
  // A square errs by twice its root: alone it is far from normal, as tolerances have it (program/simulate.ts).
  const squares = net.steps.some((step) => step.op === 'activation' && step.kinds.includes(SQUARE));
  if (end > 1 || from === 0 || (end === 0 && squares)) net.dense(2 + next(5), from);
  else if (end > 0) {
    // A layer that reaches the output beside one that does not: they read one value and are no layer together.
    const hidden = activate(net.conv(2, 3, 1, 1, from));
    const straight = net.conv(2, 1, 1, 0, from);
    net.add(straight, net.conv(2, 1, 1, 0, hidden));
  }
  return { model: net.finish(reveal ?? (next(3) === 0 ? 'label' : 'logits')), blocks };
}
