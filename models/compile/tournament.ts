/**
 * Max pooling as steps: max(x, y) = y + ReLU(x - y), first along the columns of each window, then along the rows, in
 * rounds that halve what is left. Everything but the ReLUs is local.
 *
 *   part i of a window of w   slice      part 0  part 1 | part 2      w slices of the planes
 *   a round                   concat     [0]     [1]    |  [2]        left halves, right halves, one may be left over
 *                             subtract, ReLU, add                     one activation step: a round trip
 *                             slice      max(0,1)       |  part 2
 *
 * Window w takes ceil(log2 w) rounds in each direction, and w - 1 comparisons for each element that is left.
 */

import { RELU } from '../../protocol/program/kinds.ts';
import type { ActivationStep, Step } from '../../protocol/program/program.ts';
import type { Shape } from '../../protocol/ring/shape.ts';
import { sizeOf } from '../../protocol/ring/shape.ts';
import type { MaxPoolNode } from './network.ts';

/** Numbers of the compared differences, see ActivationStep. */
export type Comparison = Pick<ActivationStep, 'rangeBits' | 'dropBits' | 'fractionBits'>;

/**
 * Emits the steps of a max pool.
 * @param source number of the value it reads, of shape `from`
 * @param push appends a step and returns the number of the value it makes
 * @returns number of the result
 */
export function tournament(
  node: MaxPoolNode,
  source: number,
  from: Shape,
  comparison: Comparison,
  push: (step: Step) => number,
): number {
  const { fractionBits } = comparison;
  const [top, left, bottom, right] = node.pads;
  let value = source;
  let shape = from;
  if (node.pads.some((n) => n > 0)) {
    const before: Shape = [0, top, left];
    const after: Shape = [0, bottom, right];
    value = push({
      op: 'pad',
      name: `${node.name}.pad`,
      fractionBits,
      input: value,
      before,
      after,
    });
    shape = [shape[0], shape[1] + top + bottom, shape[2] + left + right];
  }
  for (const axis of [1, 2] as const) {
    const window = node.kernel[axis - 1]!;
    const name = `${node.name}.${axis === 1 ? 'column' : 'row'}`;
    const size = replaced(shape, axis, node.shape[axis]);
    const step = replaced([1, 1, 1], axis, node.stride[axis - 1]!);
    const same = `${size}` === `${shape}`;
    if (window === 1 && same) continue;
    let parts = Array.from({ length: window }, (_, i) =>
      push({
        op: 'slice',
        name: `${name}.part${i}`,
        fractionBits,
        input: value,
        start: replaced([0, 0, 0], axis, i),
        step,
        size,
      }),
    );
    for (let round = 1; parts.length > 1; round++) {
      parts = playRound(`${name}.round${round}`, parts, size, comparison, push);
    }
    value = parts[0]!;
    shape = size;
  }
  return value;
}

function replaced(shape: Shape, axis: 1 | 2, n: number): Shape {
  return axis === 1 ? [shape[0], n, shape[2]] : [shape[0], shape[1], n];
}

/** Larger ones of pairs of parts, then the part that is left over. */
function playRound(
  name: string,
  parts: readonly number[],
  size: Shape,
  comparison: Comparison,
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
    shift: 0,
    squareShift: 0,
  });
  const larger = push({ ...sum, inputs: [excess, right], subtract: false });
  if (half === 1) return [larger, ...parts.slice(2)];
  const winners = Array.from({ length: half }, (_, i) =>
    push({
      ...base,
      op: 'slice',
      input: larger,
      start: [i * size[0], 0, 0],
      step: [1, 1, 1],
      size,
    }),
  );
  return [...winners, ...parts.slice(2 * half)];
}
