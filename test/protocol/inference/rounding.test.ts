/** What roundings come to at the output of whole private inferences: once for a truncation and the masks of its result. */

import { describe, expect, it } from 'vitest';
import { linearErrorsOf } from '../../../protocol/inference/errors.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { IDENTITY } from '../../../protocol/program/kinds.ts';
import type { LinearWeights, Model } from '../../../protocol/program/model.ts';
import { runSimulated } from '../../../protocol/program/simulate.ts';
import { Prg } from '../../../protocol/random/index.ts';
import {
  inferBoth,
  ModelBuilder,
  openSessions,
  prepareBoth,
  randomInput,
  seedOf,
} from '../../support/model.ts';

const SIDE = 24;
const RUNS = 60;

/**
 * An identity of the input, and a convolution of it with weights so large that their errors are all one sees at the output.
 * With a second reader the identity is added to it as well.
 */
function model(second: boolean, scale = 64): Model {
  const net = new ModelBuilder([1, SIDE, SIDE], seedOf(450), 'encoded', 4096);
  net.scale(scale);
  const y = net.activation([IDENTITY]);
  const conv = net.conv(1, 3, 1, 1, y);
  net.activation([IDENTITY], second ? net.add(conv, y) : conv);
  return net.finish();
}

/**
 * Variance of the middle values as the convolution reads them: of the outputs that no padding meets, divided by its weights,
 * less all that simulated runs have from elsewhere.
 */
async function middleVariance(own: Model): Promise<number> {
  const input = randomInput(own, seedOf(451));
  const clear = runClear(own, input);
  const inner = (run: Int32Array): number => {
    let [sum, count] = [0, 0];
    for (let y = 1; y < SIDE - 1; y++) {
      for (let x = 1; x < SIDE - 1; x++, count++) {
        sum += (run[y * SIDE + x]! - clear[y * SIDE + x]!) ** 2;
      }
    }
    return sum / count;
  };
  const sessions = await openSessions(own, seedOf(452));
  let measured = 0;
  for (let run = 0; run < RUNS; run++) {
    await prepareBoth(sessions);
    measured += inner(await inferBoth(sessions, input)) / RUNS;
  }
  const { kernel } = own.weights[2] as LinearWeights;
  const squares = kernel.reduce((sum, w) => sum + w * w, 0);
  // Six bits are cut off the convolution's results.
  const gain = squares / 64 ** 2;
  const errors = linearErrorsOf(own.program);
  const without = new Map(errors).set(2, { ...errors.get(2)!, perSquare: 0 });
  const random = new Prg(seedOf(453));
  let simulated = 0;
  for (let run = 0; run < 200; run++) {
    simulated += inner(runSimulated(own, input, random, without)) / 200;
  }
  // Simulated runs have the truncations of the middle values, of variance 1/6.
  return 1 / 6 + (measured - simulated) / gain;
}

describe('the middle values of two convolutions', () => {
  it.each([
    [6, 64],
    [10, 1024],
  ])(
    'are rounded once where the second alone reads them, %i bits cut off: variance 1/6',
    async (_, scale) => {
      const own = model(false, scale);
      // What simulated runs add is of the frame of paddings alone.
      expect(linearErrorsOf(own.program).get(2)!.perSquare).toBeLessThan(0.01);
      const variance = await middleVariance(own);
      expect(variance).toBeGreaterThan(0.15);
      expect(variance).toBeLessThan(0.19);
    },
  );

  it('are rounded twice for it where an addition reads them too: variance 1/4', async () => {
    const own = model(true);
    expect(linearErrorsOf(own.program).get(2)!.perSquare).toBeCloseTo(1 / 12, 6);
    const variance = await middleVariance(own);
    expect(variance).toBeGreaterThan(0.22);
    expect(variance).toBeLessThan(0.28);
  });
});
