import { describe, expect, it } from 'vitest';
import { effective, type MeasuredProgram, type Price } from '../../protocol/inference/price.ts';
import { type Capacity, capacityOf, formatCapacity } from '../../server/capacity.ts';
import { DEFAULT_SERVER_LIMITS } from '../../server/limits.ts';
import { memoryOf } from '../../server/memory.ts';
import { formatPlan } from '../../server/plan.ts';

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

describe('what serving many takes', () => {
  // 21 ms of a core an inference.
  const of = (clients: number, rate: number, cores = 2) =>
    capacityOf(measured(30e6), { clients, perSecond: rate, cores });

  it('is a process for as many sessions as one has, whatever they ask', () => {
    for (const [clients, processes, sessions] of [
      [1, 1, 1],
      [32, 1, 32],
      [33, 2, 17],
      [96, 3, 32],
    ] as const) {
      const capacity = of(clients, 1);
      expect(capacity).toMatchObject({ processes, sessions, cores: 1 });
      expect(capacity.memory).toBe(memoryOf({ ...DEFAULT_SERVER_LIMITS, sessions }, 4000));
    }
  });

  it('is cores, then processes, that are never busier than they should be', () => {
    expect(of(1, 30)).toMatchObject({ processes: 1, cores: 1, busy: 0.63 });
    expect(of(1, 40)).toMatchObject({ processes: 1, cores: 2 });
    expect(of(1, 200).processes).toBe(4);
    for (let rate = 1; rate < 300; rate += 7) {
      for (const most of [1, 2, 8]) {
        const { processes, cores, busy } = of(40, rate, most);
        expect(busy).toBeLessThanOrEqual(0.7);
        expect(cores).toBeLessThanOrEqual(most);
        expect(processes * effective(cores) * busy).toBeCloseTo(0.021 * rate);
        // Without the last core of each, or the last process, it would not do.
        const fewer =
          cores > 1 ? processes * effective(cores - 1) : (processes - 1) * effective(most);
        if (processes > 2 || cores > 1) expect(0.7 * fewer).toBeLessThan(0.021 * rate);
      }
    }
  });

  it('moves what its inferences move, and a core does what it takes', () => {
    const { up, down, prepared, answered } = of(10, 5);
    expect([up, down]).toEqual([8 * 5 * 3.5e6, 8 * 5 * 1.5e6]);
    expect([prepared, answered]).toEqual([50, 1000]);
  });

  it('is said in sentences', () => {
    const capacity: Capacity = {
      ...{ prepared: 50, answered: 1000, processes: 2, cores: 1, sessions: 20 },
      ...{ memory: 1.7e9, busy: 0.525, up: 1400e6, down: 6e6 },
    };
    const demand = { clients: 40, perSecond: 50, cores: 2 };
    expect(formatCapacity(demand, capacity).split('\n')).toEqual([
      'for 40 clients at a time and 3000 inferences a minute, at servers:',
      'a core prepares about 50 inferences a second, or answers about 1000',
      '2 processes, each with 1 core (about 53 % busy), 20 sessions and up to 1.7 GB',
      '1400 Mbit/s from clients, 6.0 Mbit/s to them, beside hints',
    ]);
  });
});
