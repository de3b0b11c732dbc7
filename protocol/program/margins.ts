/**
 * How far the shares of each value may lie from the value: what linear layers' tolerances come to in what is computed from
 * their results, until an activation makes shares anew.
 */

import type { Program, Step } from './program.ts';

/** The margin of every value, in units of its last place: element 0 is the input's, element i + 1 is step i's. */
export function marginsOf({ steps }: Pick<Program, 'steps'>): number[] {
  const margins = [0];
  for (const step of steps) margins.push(marginOf(step, margins));
  return margins;
}

function marginOf(step: Step, margins: readonly number[]): number {
  switch (step.op) {
    case 'linear':
      return step.tolerance;
    case 'add':
      return step.inputs.reduce((sum, value, i) => sum + margins[value]! * 2 ** step.shifts[i]!, 0);
    case 'sumPool':
      return margins[step.input]! * step.kernel[0] * step.kernel[1];
    case 'concat':
      return Math.max(...step.inputs.map((value) => margins[value]!));
    case 'activation':
      return 0;
    default:
      return margins[step.input]!;
  }
}
