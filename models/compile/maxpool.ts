/**
 * Max pooling as steps: max(x, y) = y + ReLU(x - y), first along the columns of each window, then along the rows, in
 * rounds that halve what is left. Everything but the ReLUs is local.
 *
 *   part i of a window of w   gather     part 0  part 1 | part 2      w slices of the planes
 *   a round                   concat     [0]     [1]    |  [2]        left halves, right halves, one may be left over
 *                             subtract, ReLU, add                     one activation step: a round trip
 *                             gather     max(0,1)       |  part 2
 *
 * Window w takes ceil(log2 w) rounds in each direction, and w - 1 comparisons for each element that is left.
 */

import { RELU } from '../../protocol/program/kinds.ts';
import type { ActivationStep, Step } from '../../protocol/program/program.ts';
import { progression, slicing } from '../../protocol/ring/gather.ts';
import type { Shape } from '../../protocol/ring/shape.ts';
import { sizeOf } from '../../protocol/ring/shape.ts';
import type { MaxPoolNode } from './network.ts';

/** Numbers of the compared differences, see ActivationStep. */
export type ComparisonBits = Pick<ActivationStep, 'rangeBits' | 'dropBits' | 'fractionBits'>;

/**
 * Emits the steps of a max pool.
 * @param source number of the value it reads, of shape `from`
 * @param push appends a step and returns the number of the value it makes
 * @returns number of the result
 */
export function emitMaxPool(
  node: MaxPoolNode,
  source: number,
  from: Shape,
  comparison: ComparisonBits,
  push: (step: Step) => number,
): number {
  const { fractionBits } = comparison;
  let value = source;
  let shape = from;
  for (const axis of [1, 2] as const) {
    const window = node.kernel[axis - 1]!;
    const stride = node.stride[axis - 1]!;
    const pad = node.pads[axis - 1]!;
    const name = `${node.name}.${axis === 1 ? 'column' : 'row'}`;
    const size = replaced(shape, axis, node.shape[axis]);
    const extent = shape[axis];
    if (window === 1 && `${size}` === `${shape}`) continue;
    const others = keeping(shape, axis);
    let parts = Array.from({ length: window }, (_, i) => {
      // Every window has elements of the planes: the nearest of them stands for what lies beyond.
      const table = Int32Array.from({ length: size[axis] }, (_, o) => {
        return others.step * Math.min(Math.max(o * stride + i - pad, 0), extent - 1);
      });
      const tables = axis === 1 ? [others.outer, table, others.inner] : [others.outer, table];
      return push({
        op: 'gather',
        name: `${name}.part${i}`,
        fractionBits,
        input: value,
        size,
        tables,
      });
    });
    for (let round = 1; parts.length > 1; round++) {
      parts = emitRound(`${name}.round${round}`, parts, size, comparison, push);
    }
    value = parts[0]!;
    shape = size;
  }
  return value;
}

/** Tables of the axes in front of one and behind it, and the step of that axis. */
function keeping([channels, height, width]: Shape, axis: 1 | 2) {
  return axis === 1
    ? {
        outer: progression(0, height * width, channels),
        step: width,
        inner: progression(0, 1, width),
      }
    : {
        outer: progression(0, width, channels * height),
        step: 1,
        inner: new Int32Array(1),
      };
}

function replaced(shape: Shape, axis: 1 | 2, n: number): Shape {
  return axis === 1 ? [shape[0], n, shape[2]] : [shape[0], shape[1], n];
}

/** Emits a round: the larger ones of pairs of parts, then the part that is left over. */
function emitRound(
  name: string,
  parts: readonly number[],
  size: Shape,
  comparison: ComparisonBits,
  push: (step: Step) => number,
): number[] {
  const { fractionBits } = comparison;
  const half = Math.floor(parts.length / 2);
  const base = { name, fractionBits };
  const joined = (inputs: readonly number[]) =>
    inputs.length === 1 ? inputs[0]! : push({ ...base, op: 'concat', inputs });
  const left = joined(parts.slice(0, half));
  const right = joined(parts.slice(half, 2 * half));
  const sum = { ...base, op: 'add', shifts: [0, 0] } as const;
  const difference = push({ ...sum, inputs: [left, right], subtract: true });
  const excess = push({
    ...base,
    ...comparison,
    op: 'activation',
    input: difference,
    kinds: new Uint8Array(half * sizeOf(size)).fill(RELU),
    constants: false,
    shift: 0,
    squareShift: 0,
  });
  const larger = push({ ...sum, inputs: [excess, right], subtract: false });
  if (half === 1) return [larger, ...parts.slice(2)];
  const all: Shape = [half * size[0], size[1], size[2]];
  const parted = Array.from({ length: half }, (_, i) =>
    push({
      ...base,
      op: 'gather',
      input: larger,
      size,
      tables: slicing(all, [i * size[0], 0, 0], [1, 1, 1], size),
    }),
  );
  return [...parted, ...parts.slice(2 * half)];
}
