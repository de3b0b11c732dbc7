/**
 * The online pass of a linear layer: the server's W x + b on integers, its output channels spread over a pool. What it
 * needs of the offline phase is one addition, of its share s.
 */

import type { ChannelRange } from '../ring/linear.ts';
import { linear, packWeights } from '../ring/linear.ts';
import type { LinearShape } from '../ring/shape.ts';
import { linearOutput, macsOf } from '../ring/shape.ts';

/** Multiply-accumulates of one task, 1 to 2 ms; a layer of a quarter of that is not worth a task. LOCAL. */
const TASK_MACS = 1 << 24;

/** Kernels as they are multiplied with, packed at their first use and kept as long as the kernel itself. */
const packedKernels = new WeakMap<Int32Array, Int32Array | Int16Array>();

/** A layer's weights as {@link linearOnline} takes them: packed once for all inferences. */
export function packedOf(shape: LinearShape, kernel: Int32Array): Int32Array | Int16Array {
  let packed = packedKernels.get(kernel);
  if (packed === undefined) packedKernels.set(kernel, (packed = packWeights(shape, kernel)));
  return packed;
}

/** The ranges of output channels that are a task each; none when the layer is not worth a task. */
export function onlineRanges(shape: LinearShape): ChannelRange[] {
  const macs = macsOf(shape);
  if (macs < TASK_MACS / 4) return [];
  const [channels] = linearOutput(shape);
  // Four channels at a time are computed together (ring/linear.ts).
  const step = 4 * Math.max(1, Math.floor((channels * TASK_MACS) / macs / 4));
  return Array.from({ length: Math.ceil(channels / step) }, (_, i) => ({
    from: i * step,
    to: Math.min((i + 1) * step, channels),
  }));
}

/** Output channels of W x + b mod 2^32, all of them unless there is a range: a task of the pool. */
export function linearOnline(input: {
  shape: LinearShape;
  x: Int32Array;
  /** As they are, or as packedOf gives them. */
  kernel: Int32Array | Int16Array;
  bias: Int32Array;
  range?: ChannelRange;
}): Int32Array {
  return linear(input.shape, input.x, input.kernel, input.bias, input.range);
}
