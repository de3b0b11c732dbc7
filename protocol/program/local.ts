/** The public linear operations of a program: one code for the clear value and for either party's share. */

import type { Shape } from '../ring/shape.ts';
import { sizeOf } from '../ring/shape.ts';
import type { AddStep, LocalStep, SumPoolStep } from './program.ts';

/**
 * Runs a local step on clear values or on shares, mod 2^32.
 * @param inputs one tensor for each value the step reads, in its order; not changed
 * @param shapes their shapes
 * @throws RangeError when an input has not the size of its shape
 */
export function runLocal(
  step: LocalStep,
  inputs: readonly Int32Array[],
  shapes: readonly Shape[],
): Int32Array {
  inputs.forEach((values, i) => {
    const size = sizeOf(shapes[i] as Shape);
    if (values.length !== size) {
      throw new RangeError(
        `"${step.name}": an input has ${values.length} elements, expected ${size}`,
      );
    }
  });
  const [x, y] = inputs as [Int32Array, Int32Array];
  return step.op === 'add' ? add(step, x, y) : sumPool(step, x, shapes[0] as Shape);
}

function add({ shifts }: AddStep, x: Int32Array, y: Int32Array): Int32Array {
  const [left, right] = shifts;
  // Int32Array wraps on assignment, which is the ring's sum.
  return x.map((value, i) => (value << left) + ((y[i] as number) << right));
}

function sumPool({ kernel, stride }: SumPoolStep, x: Int32Array, shape: Shape): Int32Array {
  const [channels, height, width] = shape;
  const rows = (height - kernel[0]) / stride[0] + 1;
  const columns = (width - kernel[1]) / stride[1] + 1;
  const out = new Int32Array(channels * rows * columns);
  let at = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const first = (channel * height + row * stride[0]) * width + column * stride[1];
        let sum = 0;
        for (let i = 0; i < kernel[0]; i++) {
          for (let j = 0; j < kernel[1]; j++)
            sum = (sum + (x[first + i * width + j] as number)) | 0;
        }
        out[at++] = sum;
      }
    }
  }
  return out;
}
