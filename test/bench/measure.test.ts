import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { isFlat, perSecond, sample, summarise, timed } from '../../bench/measure.ts';

describe('summaries', () => {
  it('are the median and the quartiles', () => {
    const expected = { lower: 2, median: 3, upper: 4, samples: 5 };
    expect(summarise([5, 1, 4, 2, 3])).toEqual(expected);
    expect(summarise([1, 2, 3, 4])).toEqual({ lower: 1.75, median: 2.5, upper: 3.25, samples: 4 });
    expect(summarise([7])).toEqual({ lower: 7, median: 7, upper: 7, samples: 1 });
  });

  it('sort numbers as numbers and leave the samples alone', () => {
    const samples = [100, 9, 20];
    expect(summarise(samples).median).toBe(20);
    expect(samples).toEqual([100, 9, 20]);
  });

  it('split the samples: half on either side of the median, a quarter beyond each quartile', () => {
    const numbers = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(numbers, (samples) => {
        const { lower, median, upper } = summarise(samples);
        const share = (test: (x: number) => boolean) => samples.filter(test).length;
        expect(share((x) => x <= median)).toBeGreaterThanOrEqual(samples.length / 2);
        expect(share((x) => x >= median)).toBeGreaterThanOrEqual(samples.length / 2);
        expect(share((x) => x <= lower)).toBeGreaterThanOrEqual(samples.length / 4);
        expect(share((x) => x >= upper)).toBeGreaterThanOrEqual(samples.length / 4);
        expect(lower).toBeLessThanOrEqual(median);
        expect(median).toBeLessThanOrEqual(upper);
      }),
    );
  });

  it('need a sample', () => {
    expect(() => summarise([])).toThrow(/at least one/);
  });

  it('turn into rates with their quartiles in order', () => {
    const rate = perSecond({ lower: 10, median: 20, upper: 50, samples: 3 }, 4);
    expect(rate).toEqual({ lower: 80, median: 200, upper: 400, samples: 3 });
  });
});

describe('times that have stopped falling', () => {
  it('take six samples, and a median of the last three that is no longer below that of the three before', () => {
    expect(isFlat([9, 9, 9, 9, 9])).toBe(false);
    expect(isFlat([9, 9, 9, 9, 9, 9])).toBe(true);
    expect(isFlat([20, 20, 20, 18, 19, 20])).toBe(true);
    expect(isFlat([20, 20, 20, 18, 18, 20])).toBe(false);
  });

  it('go by the last six alone, and by no single sample', () => {
    expect(isFlat([90, 50, 30, 10, 10, 10, 10, 10, 10])).toBe(true);
    expect(isFlat([10, 10, 10, 10, 10, 1])).toBe(true);
    expect(isFlat([100, 60, 30, 20, 15, 12])).toBe(false);
  });
});

describe('measuring', () => {
  it('takes a round to warm up, then the samples of all parts in turn', async () => {
    const order: string[] = [];
    const parts = ['a', 'b'].map((name) => () => order.push(name));
    const times = await sample({ repetitions: 2, sampleMs: 0 }, parts);
    expect(order).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
    expect(times.map(({ length }) => length)).toEqual([2, 2]);
  });

  it('fills a sample with as many calls as it needs and counts one; the first round does not count', async () => {
    let now = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now);
    let calls = 0;
    const call = () => {
      // Three calls warm up.
      now += ++calls > 3 ? 2 : 100;
    };
    const [ms] = await sample({ repetitions: 2, sampleMs: 250 }, [call]);
    clock.mockRestore();
    expect(calls).toBe(3 + 2 * 125);
    expect(ms).toEqual([2, 2]);
  });

  it('counts by another clock where it is given one', async () => {
    let now = 0;
    const call = () => void (now += 3);
    const [ms] = await sample({ repetitions: 2, sampleMs: 5 }, [call], () => now);
    expect(ms).toEqual([3, 3]);
  });

  it('waits for what is asynchronous and lets errors through', async () => {
    const order: string[] = [];
    const slow = async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      order.push('done');
    };
    await sample({ repetitions: 1, sampleMs: 0 }, [slow]);
    expect(order).toEqual(['done', 'done']);
    const fail = () => Promise.reject(new Error('no'));
    await expect(sample({ repetitions: 1, sampleMs: 0 }, [fail])).rejects.toThrow('no');
    expect((await timed(() => 42)).result).toBe(42);
  });
});
