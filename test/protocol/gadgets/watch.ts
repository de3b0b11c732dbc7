/**
 * What the gadgets of whole sessions are called with, wherever the session calls them from: seeds, masks, OTs and tweaks of
 * every lane, and what AES was used for. For sessions whose pool has no threads.
 */

import { argmax } from '../../../protocol/gadgets/argmax.ts';
import { gadgetOf } from '../../../protocol/gadgets/index.ts';
import { KINDS } from '../../../protocol/program/kinds.ts';
import { COMPARISONS } from '../../../protocol/program/program.ts';
import { type AesUse, watchAes } from '../../support/aes.ts';

/** Which party takes a step. */
const STEPS = {
  draw: 'server',
  choose: 'client',
  correct: 'client',
  prepare: 'server',
  store: 'client',
  reveal: 'server',
  evaluate: 'client',
  finish: 'server',
} as const;

export type Step = keyof typeof STEPS;

/** A step of a gadget. */
export interface Call {
  readonly gadget: object;
  readonly step: Step;
  readonly party: 'client' | 'server';
  readonly args: readonly unknown[];
  readonly result: unknown;
  readonly use: AesUse;
}

const gadgets = new Set<object>([
  argmax,
  ...COMPARISONS.flatMap((comparison) =>
    KINDS.map((kind) => {
      const params = { rangeBits: 20, dropBits: 0, shift: 0, outBits: 20, comparison };
      return gadgetOf({ kind, params });
    }),
  ),
]);

/** All steps that gadgets take while `work` runs, in their order. */
export async function watchGadgets(work: () => Promise<unknown>): Promise<Call[]> {
  const calls: Call[] = [];
  const restores = [...gadgets].map((gadget) => {
    const steps = Object.entries(gadget).filter(([name]) => name in STEPS) as [
      Step,
      (...args: unknown[]) => unknown,
    ][];
    const watched = steps.map(([step, run]) => [
      step,
      (...args: unknown[]) => {
        const [result, use] = watchAes(() => run(...args));
        calls.push({ gadget, step, party: STEPS[step], args, result, use });
        return result;
      },
    ]);
    Object.assign(gadget, Object.fromEntries(watched));
    return () => Object.assign(gadget, Object.fromEntries(steps));
  });
  try {
    await work();
  } finally {
    for (const restore of restores) restore();
  }
  return calls;
}

/** The calls of one step, those of the argmax apart. */
export function stepsOf(calls: readonly Call[], step: Step): Call[] {
  return calls.filter((call) => call.step === step && call.gadget !== argmax);
}

/** The calls of one step of the argmax. */
export function argmaxSteps(calls: readonly Call[], step: Step): Call[] {
  return calls.filter((call) => call.step === step && call.gadget === argmax);
}
