/** Stub until the rings of values are merged. */
import type { Program } from './program.ts';

export function ringsOf({ steps }: Pick<Program, 'steps'>): number[] {
  return new Array(steps.length + 1).fill(32);
}
