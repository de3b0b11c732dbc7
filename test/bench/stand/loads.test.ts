import { describe, expect, it } from 'vitest';
import { poisson } from '../../../bench/stand/loads.ts';

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
