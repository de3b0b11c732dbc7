/**
 * Linear steps whose results reach the output without an activation between. Nothing truncates their errors before the
 * client sees what comes of them, so that they are prepared without errors that depend on the weights (linear/hint).
 */

import { inputsOf, type Program } from './program.ts';

/** Indices of these steps, ascending. */
export function revealedLinears({ steps }: Pick<Program, 'steps'>): Set<number> {
  const revealed = new Set<number>();
  const found = new Set<number>();
  for (let index = steps.length - 1; index >= 0; index--) {
    const step = steps[index]!;
    if (step.op !== 'output' && !revealed.has(index + 1)) continue;
    if (step.op === 'activation') continue;
    if (step.op === 'linear') found.add(index);
    else for (const value of inputsOf(step)) revealed.add(value);
  }
  return new Set([...found].sort((x, y) => x - y));
}
