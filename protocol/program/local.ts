/** The public linear operations of a program: one code for the clear value and for either party's share. */

import { gather, gatheredSize, gatherFault } from '../ring/gather.ts';
import type { Shape } from '../ring/shape.ts';
import { sizeOf } from '../ring/shape.ts';
import {
  addInto,
  poolWeights,
  shiftLeft,
  subtract,
  sumPool,
  sumPoolOutput,
} from '../ring/tensor.ts';
import type { ConcatStep, GatherStep, LocalStep } from './program.ts';
import { inputsOf, MAX_TABLES } from './program.ts';

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
      const out = sumPoolOutput(shape, step);
      if (!(out[1] > 0 && out[2] > 0)) {
        fail(`windows ${step.kernel.join('x')} exceed ${shape.join('x')}`);
      }
      if (!step.pads.every((pad, side) => pad < step.kernel[side % 2]!)) {
        fail(`windows ${step.kernel.join('x')} may lie outside with pads ${step.pads.join(', ')}`);
      }
      if (poolWeights(shape, step).level === Number.POSITIVE_INFINITY) {
        fail('the cells of its windows have no common multiple below 2^31');
      }
      return out;
    }
    case 'gather': {
      const fault = tablesFault(step, shape);
      return fault === undefined ? step.size : fail(fault);
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
      return sumPool(x, shape, step);
    case 'gather':
      return gather(step.tables, x, new Int32Array(sizeOf(step.size)));
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

/** What is wrong with a gather that reads a tensor of this shape; undefined when nothing is. */
function tablesFault({ tables, size }: GatherStep, shape: Shape): string | undefined {
  if (tables.length > MAX_TABLES) {
    return `has ${tables.length} tables, at most ${MAX_TABLES} are read`;
  }
  const fault = gatherFault(tables, sizeOf(shape));
  if (fault !== undefined) return fault;
  const made = gatheredSize(tables);
  const fits = size.every((n) => Number.isInteger(n) && n > 0) && made === sizeOf(size);
  return fits ? undefined : `its tables make ${made} elements, no tensor ${size.join('x')}`;
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
