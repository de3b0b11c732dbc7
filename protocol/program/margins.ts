/**
 * How far the shares of each value may lie from the value: what linear layers' tolerances come to in what is computed from
 * their results, until an activation makes shares anew.
 */

import type { Shape } from '../ring/shape.ts';
import { linearOutput } from '../ring/shape.ts';
import { poolWeights } from '../ring/tensor.ts';
import { localShape } from './local.ts';
import { inputsOf, type Program, type Step } from './program.ts';

/** The steps of a program, or the first of them, and the shape of its input. */
export type ShapedSteps = Pick<Program, 'steps'> & {
  readonly input: Pick<Program['input'], 'shape'>;
};

/**
 * The margin of every value, in units of its last place: element 0 is the input's, element i + 1 is step i's.
 * @param program - whose shapes fit
 */
export function marginsOf({ steps, input }: ShapedSteps): number[] {
  const margins = [0];
  const shapes = [input.shape];
  for (const step of steps) {
    margins.push(marginOf(step, margins, shapes));
    shapes.push(shapeOf(step, shapes));
  }
  return margins;
}

/** The margin of what a step makes of values with these margins and shapes. */
export function marginOf(step: Step, margins: readonly number[], shapes: readonly Shape[]): number {
  switch (step.op) {
    case 'linear':
      return step.tolerance;
    case 'add':
      // A share less itself is zero, whatever it errs by.
      if (step.subtract && step.inputs[0] === step.inputs[1] && step.shifts[0] === step.shifts[1]) {
        return 0;
      }
      return step.inputs.reduce((sum, value, i) => sum + margins[value]! * 2 ** step.shifts[i]!, 0);
    case 'sumPool':
      return margins[step.input]! * poolWeights(shapes[step.input]!, step).level;
    case 'concat':
      return Math.max(...step.inputs.map((value) => margins[value]!));
    case 'activation':
      return 0;
    default:
      return margins[step.input]!;
  }
}

function shapeOf(step: Step, shapes: readonly Shape[]): Shape {
  switch (step.op) {
    case 'linear':
      return linearOutput(step.shape);
    case 'activation':
    case 'output':
      return shapes[step.input]!;
    case 'gather':
      return step.size;
    default:
      return localShape(
        step,
        inputsOf(step).map((value) => shapes[value]!),
      );
  }
}
