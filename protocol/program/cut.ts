/**
 * The fractional bits that logits lose before the client learns them.
 *
 * A linear layer's results have the fractional bits of what it reads and those of its weights. Behind an activation nobody
 * sees the latter, for it truncates; of logits they would tell more of the weights than an answer needs. So logits are
 * rounded to the fractional bits that activations have: what linear layers between the last activations and the output add is
 * cut off. Means keep the bits that their sums add.
 */

import { marginsOf, type ShapedSteps } from './margins.ts';
import { inputsOf, type OutputStep, type Program, type Step } from './program.ts';

type Numbers = Pick<Program, 'steps'> & { readonly input: Pick<Program['input'], 'fractionBits'> };

/**
 * Fractional bits of a value beyond those that activations, or the input, gave to what it is computed from.
 * @param program - its steps up to the one that makes the value
 * @param value - 0 is the input, i + 1 what step i makes
 */
export function bitsBeyond({ input, steps }: Numbers, value: number): number {
  const fractions = [input.fractionBits];
  const kept = [input.fractionBits];
  for (const step of steps.slice(0, value)) {
    kept.push(keptBits(step, fractions, kept));
    fractions.push(step.fractionBits);
  }
  return Math.max(0, fractions[value]! - kept[value]!);
}

function keptBits(step: Step, fractions: readonly number[], kept: readonly number[]): number {
  if (step.op === 'activation') return step.fractionBits;
  const most = Math.max(...inputsOf(step).map((value) => kept[value]!));
  return step.op === 'sumPool' ? most + step.fractionBits - fractions[step.input]! : most;
}

/** f: low bits of the output that are cut off before the client learns it; 0 where it learns the label alone. */
export function cutBits(program: Numbers): number {
  const { input, reveal } = program.steps.at(-1) as OutputStep;
  return reveal === 'label' ? 0 : bitsBeyond(program, input);
}

/** What cutting off `bits` bits takes of a range: a number at its end must not be rounded out of the ring. */
export function cutRoom(bits: number): number {
  return bits === 0 ? 0 : 2 ** bits;
}

/** Every logit keeps below this, in units of the output's last place: 2^(k-1), less its margin and what rounding takes. */
export function outputLimit(program: Numbers & ShapedSteps): number {
  const { input, rangeBits } = program.steps.at(-1) as OutputStep;
  return 2 ** (rangeBits - 1) - marginsOf(program)[input]! - cutRoom(cutBits(program));
}
