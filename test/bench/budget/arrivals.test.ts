import { describe, expect, it } from 'vitest';
import { poisson, simulate } from '../../../bench/budget/arrivals.ts';

describe('arrivals', () => {
  it('come at the rate that is asked for, in order, at every client, the same for the same seed', () => {
    const arrivals = poisson(120, 3, 1_000_000, 7);
    // 2000 are expected, with a standard deviation of 45.
    expect(Math.abs(arrivals.length - 2000)).toBeLessThan(200);
    expect(arrivals.every(({ at }, i) => i === 0 || at >= arrivals[i - 1]!.at)).toBe(true);
    for (const client of [0, 1, 2]) {
      const share = arrivals.filter((arrival) => arrival.client === client).length;
      expect(Math.abs(share - 667)).toBeLessThan(120);
    }
    expect(poisson(120, 3, 1_000_000, 7)).toEqual(arrivals);
    expect(poisson(120, 3, 1_000_000, 8)).not.toEqual(arrivals);
  });
});

describe('a simulation', () => {
  const work = { offlineMs: 100, onlineMs: 20 };
  const at = (...times: number[]) => times.map((time) => ({ at: time, client: 0 }));

  it('answers at once while there are bundles, and makes the missing ones in between', () => {
    const served = simulate(at(0, 1000, 2000), 1, 1, work);
    expect(served).toEqual([0, 1000, 2000].map((time) => ({ at: time, ms: 20, ready: true })));
  });

  it('lets an inference without a bundle wait for its offline phase', () => {
    // The first takes the bundle until 20; the second is in the middle of 20..120, when a bundle is made.
    expect(simulate(at(0, 50), 1, 1, work)).toEqual([
      { at: 0, ms: 20, ready: true },
      { at: 50, ms: 70 + 20, ready: false },
    ]);
    expect(simulate(at(0, 50), 1, 2, work).map(({ ready }) => ready)).toEqual([true, true]);
  });

  it('shares the machine among clients', () => {
    const two = [0, 1].map((client) => ({ at: 0, client }));
    expect(simulate(two, 2, 1, work).map(({ ms }) => ms)).toEqual([40, 40]);
  });

  it('answers everything, and never faster than the machine', () => {
    const arrivals = poisson(900, 3, 60_000);
    const served = simulate(arrivals, 3, 2, work);
    expect(served.length).toBe(arrivals.length);
    const last = Math.max(...served.map(({ at: arrival, ms }) => arrival + ms));
    // Six bundles were there; all others had to be made.
    expect(last).toBeGreaterThanOrEqual(arrivals.length * 20 + (arrivals.length - 6) * 100);
  });
});
