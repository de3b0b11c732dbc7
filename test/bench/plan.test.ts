import { describe, expect, it } from 'vitest';
import { formatPlan } from '../../bench/plan.ts';
import type { MeasuredProgram, Price } from '../../protocol/inference/price.ts';

const none = { up: 0, down: 0 };

/** A program of one layer that the server prepares in 20 ms. */
function measured(hint: number): MeasuredProgram {
  const time = { clientOffline: 10, serverOffline: 20, clientOnline: 0, serverOnline: 1 };
  const step = { name: 'conv', op: 'linear', time, clientStored: 0, serverStored: 4000 } as const;
  return {
    cost: {
      hint,
      draw: { up: 0, down: 0 },
      offline: { up: 3e6, down: 1e6, rounds: 1 },
      online: { up: 5e5, down: 5e5, rounds: 7 },
      steps: [],
    },
    steps: [{ ...step, offline: { up: 3e6, down: 0 }, online: none }],
    hint: { make: 1700, decode: 330 },
    parallel: 1,
  };
}

const price: Price = {
  hint: { computeMs: 330, networkMs: 670, totalMs: 1000 },
  offline: { computeMs: 20, networkMs: 100, totalMs: 100 },
  online: { computeMs: 10, networkMs: 40, totalMs: 50 },
};

describe('a plan as text', () => {
  it('has the hint, offline and online apart, and what they come to', () => {
    const text = formatPlan(measured(30e6), price);
    expect(text).toMatch(/^hint {3}: 30\.0 MB down, .*about 1000 ms .*about 1700 ms of a core$/m);
    expect(text).toMatch(/^offline: 3\.0 MB up, 1\.0 MB down, 1 round trip; about 100 ms /m);
    expect(text).toMatch(/^online : 0\.500 MB up, 0\.500 MB down, 7 round trips; about 50 ms /m);
    expect(text).toMatch(/^a client's first inference: 35\.0 MB, about 1150 ms$/m);
    expect(text).toMatch(/^every further one +: 5\.0 MB, about 150 ms$/m);
    expect(text).toMatch(/^a server prepares about 50\.0 inferences a second and core$/m);
  });

  it('says when the hint is most of it', () => {
    expect(formatPlan(measured(30e6), price)).toMatch(/^the hint is 86 % of what the first/m);
    expect(formatPlan(measured(4e6), price)).not.toContain('% of what');
  });
});
