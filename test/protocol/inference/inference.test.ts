import { describe, expect, it } from 'vitest';
import { runClear } from '../../../protocol/program/clear.ts';
import { errorBound } from '../../../protocol/program/error.ts';
import {
  inferBoth,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  seedOf,
} from '../../support/model.ts';

describe('private inference', () => {
  it('agrees with the clear interpreter within the bound', async () => {
    const model = residualModel();
    const sessions = await openSessions(model);
    const bound = errorBound(model.program);
    for (let i = 0; i < 3; i++) {
      await prepareBoth(sessions);
      const input = randomInput(model, seedOf(100 + i));
      const logits = await inferBoth(sessions, input);
      const exact = runClear(model, input);
      const worst = Math.max(...logits.map((value, j) => Math.abs(value - exact[j]!)));
      console.log(worst, bound);
      expect(worst).toBeLessThanOrEqual(bound);
    }
  });
});
