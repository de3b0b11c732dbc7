/** The public linear operations of a program: one code for the clear value and for either party's share. */

import type { Shape } from '../ring/shape.ts';
import { addInto, shiftLeft, sumPool } from '../ring/tensor.ts';
import type { LocalStep } from './program.ts';

/**
 * Runs a local step on clear values or on shares, mod 2^32.
 * @param inputs one tensor for each value the step reads, in its order; not changed
 * @param shapes their shapes
 * @returns a fresh tensor
 * @throws RangeError when the inputs have not the sizes the step needs
 */
export function runLocal(
  step: LocalStep,
  inputs: readonly Int32Array[],
  shapes: readonly Shape[],
): Int32Array {
  const [x, y] = inputs as [Int32Array, Int32Array];
  if (step.op === 'sumPool') return sumPool(x, shapes[0] as Shape, step.kernel, step.stride);
  const sum = shiftLeft(x, step.shifts[0]);
  addInto(sum, shiftLeft(y, step.shifts[1]));
  return sum;
}
