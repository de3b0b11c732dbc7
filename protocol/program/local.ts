/** The public linear operations of a program: one code for the clear value and for either party's share. */

import type { Shape } from '../ring/shape.ts';
import { sizeOf } from '../ring/shape.ts';
import { addInto, shiftLeft, subtract, sumPool, sumPoolOutput } from '../ring/tensor.ts';
import type { ConcatStep, LocalStep, PadStep, SliceStep } from './program.ts';
import { inputsOf } from './program.ts';

/**
 * Shape of what a local step makes.
 * @throws RangeError with what does not fit
 */
export function localShape(step: LocalStep, shapes: readonly Shape[]): Shape {
  const shape = shapes[0] as Shape;
  const fail = (what: string): never => {
    throw new RangeError(what);
  };
  switch (step.op) {
    case 'add': {
      const other = shapes[1] as Shape;
      return same(shape, other) ? shape : fail(`adds ${shape.join('x')} to ${other.join('x')}`);
    }
    case 'sumPool': {
      const out = sumPoolOutput(shape, step.kernel, step.stride);
      const fits = out[1] > 0 && out[2] > 0;
      return fits ? out : fail(`windows ${step.kernel.join('x')} exceed ${shape.join('x')}`);
    }
    case 'slice': {
      const inside = step.size.every((size, axis) => {
        return step.start[axis]! + (size - 1) * step.step[axis]! < shape[axis]!;
      });
      return inside ? step.size : fail(`reaches outside its input ${shape.join('x')}`);
    }
    case 'pad': {
      const [channels, height, width] = shape.map(
        (size, axis) => step.before[axis]! + size + step.after[axis]!,
      ) as [number, number, number];
      return [channels, height, width];
    }
    case 'concat': {
      const plane = shapes.every((other) => same([1, shape[1], shape[2]], [1, other[1], other[2]]));
      if (!plane) fail('joins tensors of different height or width');
      return [shapes.reduce((sum, [channels]) => sum + channels, 0), shape[1], shape[2]];
    }
  }
}

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
  const shape = shapes[0] as Shape;
  switch (step.op) {
    case 'add': {
      const sum = shiftLeft(x, step.shifts[0]);
      const other = shiftLeft(y, step.shifts[1]);
      if (step.subtract) return subtract(sum, other);
      addInto(sum, other);
      return sum;
    }
    case 'sumPool':
      return sumPool(x, shape, step.kernel, step.stride);
    case 'slice':
      return slice(step, x, shape);
    case 'pad':
      return pad(step, x, shape);
    case 'concat':
      return concat(step, inputs);
  }
}

/**
 * {@link runLocal} in a program.
 * @param shapes of all its values
 */
export function localOf(
  shapes: readonly Shape[],
  step: LocalStep,
  inputs: readonly Int32Array[],
): Int32Array {
  return runLocal(
    step,
    inputs,
    inputsOf(step).map((value) => shapes[value]!),
  );
}

function same(x: Shape, y: Shape): boolean {
  return x.every((size, axis) => size === y[axis]);
}

function slice({ start, step, size }: SliceStep, x: Int32Array, shape: Shape): Int32Array {
  const out = new Int32Array(sizeOf(size));
  let at = 0;
  for (let c = 0; c < size[0]; c++) {
    for (let i = 0; i < size[1]; i++) {
      const row = (start[0] + c * step[0]) * shape[1] + start[1] + i * step[1];
      const from = row * shape[2] + start[2];
      for (let j = 0; j < size[2]; j++) out[at++] = x[from + j * step[2]]!;
    }
  }
  return out;
}

function pad(step: PadStep, x: Int32Array, shape: Shape): Int32Array {
  const [, height, width] = localShape(step, [shape]);
  const out = new Int32Array(sizeOf(localShape(step, [shape])));
  for (let c = 0; c < shape[0]; c++) {
    for (let i = 0; i < shape[1]; i++) {
      const row = (step.before[0] + c) * height + step.before[1] + i;
      const from = (c * shape[1] + i) * shape[2];
      out.set(x.subarray(from, from + shape[2]), row * width + step.before[2]);
    }
  }
  return out;
}

function concat(_step: ConcatStep, inputs: readonly Int32Array[]): Int32Array {
  const out = new Int32Array(inputs.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const input of inputs) {
    out.set(input, at);
    at += input.length;
  }
  return out;
}
