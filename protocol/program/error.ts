/**
 * How far a private run can be from the clear one (clear.ts), from public data alone.
 *
 * Errors are whole units in the last place (ULP). Two steps make some; all steps carry on what they are given, e:
 *
 *   linear      e * norm1 + 1       the two rounded shares of the encrypted product miss the exact one by 1 at most
 *   add         e0 * 2^shift0 + e1 * 2^shift1
 *   sumPool     e * window
 *   truncation  e / 2^f + 1 + 1/2   cutting two shares lands within 1 of x / 2^f, the clear rounding within 1/2; their
 *                                   difference is whole, so that the sum is rounded down. Nothing is cut when f = 0
 *   ReLU        as a truncation, but a positive input below 2^t may count as negative: 2^(t - f) in place of 1 if larger
 *   square      (|X| + eX)^2 - |X|^2, X the truncated root with its error eX, |X| <= 2^(k - 1 - squareShift)
 *
 * An activation layer takes the largest error of the kinds it has. The clear run must keep the program's ranges, and so
 * must the private one: the ranges leave 2^t and the compiler's margin for that.
 */

import type { ActivationStep, LocalStep, Program } from './program.ts';
import { IDENTITY, RELU, SQUARE } from './program.ts';
import { walk } from './walk.ts';

/** Error after cutting `bits` bits; a comparison that ignores inputs below 2^ignored may set those to zero. */
function afterTruncation(e: number, bits: number, ignored = 0): number {
  if (bits === 0) return ignored === 0 ? e : e + 2 ** ignored;
  return Math.floor(e / 2 ** bits + Math.max(1, 2 ** (ignored - bits)) + 0.5);
}

function afterActivation(step: ActivationStep, e: number): number {
  const present = new Set(step.kinds);
  const errors: number[] = [];
  if (present.has(IDENTITY)) errors.push(afterTruncation(e, step.shift));
  if (present.has(RELU)) errors.push(afterTruncation(e, step.shift, step.dropBits));
  if (present.has(SQUARE)) {
    const root = afterTruncation(e, step.squareShift);
    errors.push(root * (2 * 2 ** (step.rangeBits - 1 - step.squareShift) + root));
  }
  return Math.max(...errors);
}

function afterLocal(step: LocalStep, [e0, e1]: readonly number[]): number {
  if (step.op === 'sumPool') return (e0 as number) * step.kernel[0] * step.kernel[1];
  return (e0 as number) * 2 ** step.shifts[0] + (e1 as number) * 2 ** step.shifts[1];
}

/**
 * The largest difference between the logits of a private run and of runClear, in ULP of the output (divide by
 * 2^fractionBits for the logits' unit). A bound for the worst case: typical differences are far smaller, and squares in
 * several layers, each of which multiplies the error by its largest slope, make it say nothing.
 */
export function errorBound(program: Program): number {
  return walk<number>(program, {
    input: () => 0,
    linear: (step, e) => e * step.norm1 + 1,
    local: (step, errors) => afterLocal(step, errors),
    activation: (step, e) => afterActivation(step, e),
    output: (_step, e) => e,
  });
}
