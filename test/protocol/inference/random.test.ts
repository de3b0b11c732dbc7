/**
 * Whole private inferences of random programs: the answer is the clear one's as far as the program says, and the errors
 * are those of simulated runs.
 */

import { describe, expect, it } from 'vitest';
import { linearErrorsOf } from '../../../protocol/inference/errors.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import type { Model } from '../../../protocol/program/model.ts';
import type { OutputStep } from '../../../protocol/program/program.ts';
import { revealing, runSimulated } from '../../../protocol/program/simulate.ts';
import { Prg } from '../../../protocol/random/index.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';
import { isLong } from '../../support/long.ts';
import { inferBoth, openSessions, prepareBoth, randomInput, seedOf } from '../../support/model.ts';
import { BLOCK_NAMES, randomProgram } from './programs.ts';

/** SOTTO_LONG=programs runs many more. */
const long = isLong('programs');
const TIMEOUT = 1_800_000;

const outputOf = ({ program }: Model) => program.steps.at(-1) as OutputStep;

const logitsOf = (model: Model, input: Int32Array) =>
  runClear({ ...model, program: revealing(model.program, { reveal: 'logits' }) }, input);

/** Root mean square of how far runs lie from the clear one. */
function spread(runs: readonly Int32Array[], clear: Int32Array): number {
  const squares = runs.flatMap((run) => Array.from(run, (value, i) => (value - clear[i]!) ** 2));
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / squares.length);
}

describe('private inferences of random programs', () => {
  const count = long ? 60 : 10;

  it(
    `${count} programs: within the tolerance they state, or the label where that is clear`,
    async () => {
      const seen = { blocks: new Set<string>(), ways: new Set<string>() };
      for (let seed = 0; seed < count; seed++) {
        const { model, blocks } = randomProgram(1000 + seed);
        const { reveal, tolerance } = outputOf(model);
        for (const block of blocks) seen.blocks.add(block);
        const sessions = await openSessions(model, seedOf(4000 + seed));
        for (let run = 0; run < 2; run++) {
          await prepareBoth(sessions);
          const input = randomInput(model, seedOf(5000 + 2 * seed + run));
          const result = await inferBoth(sessions, input);
          const clear = logitsOf(model, input);
          const what = `program ${seed} (${blocks.join(', ')}), run ${run}`;
          if (reveal === 'label') {
            const [first, second] = [...clear].sort((a, b) => b - a);
            // Each of two logits may be that far off.
            if (first! - second! <= 2 * tolerance) continue;
            expect([...result], what).toEqual([indexOfLargest(clear)]);
          } else {
            const worst = result.reduce((most, v, i) => Math.max(most, Math.abs(v - clear[i]!)), 0);
            expect(worst, what).toBeLessThanOrEqual(tolerance);
          }
          seen.ways.add(`${model.program.comparison} ${reveal}`);
        }
      }
      expect(seen.ways.size).toBe(4);
      expect(seen.blocks.size).toBe(BLOCK_NAMES.length);
    },
    TIMEOUT,
  );

  it.each(long ? [2, 5, 7, 9, 11, 14, 17, 21] : [2, 7, 11])(
    'program %i errs as much as its simulated runs do',
    async (seed) => {
      const { model } = randomProgram(2000 + seed, 'logits');
      const input = randomInput(model, seedOf(6000 + seed));
      const clear = logitsOf(model, input);
      const sessions = await openSessions(model, seedOf(6100 + seed));
      const own: Int32Array[] = [];
      for (let i = 0; i < 50; i++) {
        await prepareBoth(sessions);
        own.push(await inferBoth(sessions, input));
      }
      const random = new Prg(seedOf(6200 + seed));
      const errors = linearErrorsOf(model.program);
      const simulated = Array.from({ length: 300 }, () =>
        runSimulated(model, input, random, errors),
      );
      const ratio = spread(own, clear) / spread(simulated, clear);
      expect(ratio).toBeGreaterThan(0.7);
      expect(ratio).toBeLessThan(1.4);
    },
    TIMEOUT,
  );
});
