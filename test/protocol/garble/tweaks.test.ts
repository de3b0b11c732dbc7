import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TWEAK_LIMIT, TweakCounter } from '../../../protocol/garble/tweaks.ts';

describe('TweakCounter', () => {
  it('never hands out a number twice', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { maxLength: 50 }), (counts) => {
        const counter = new TweakCounter();
        const numbers = counts.flatMap((count) => {
          const first = counter.take(count);
          return Array.from({ length: count }, (_, i) => first + i);
        });
        expect(new Set(numbers).size).toBe(numbers.length);
      }),
      { seed: 1 },
    );
  });

  it('stops at 2^48, exactly, and stays usable', () => {
    const counter = new TweakCounter();
    expect(counter.take(TWEAK_LIMIT - 1)).toBe(0);
    expect(() => counter.take(2)).toThrow(RangeError);
    expect(counter.take(1)).toBe(TWEAK_LIMIT - 1);
    expect(() => counter.take(1)).toThrow(/expected a count of 0 to 0, got 1/);
    expect(counter.take(0)).toBe(TWEAK_LIMIT);
  });

  it('refuses counts that are none', () => {
    const counter = new TweakCounter();
    for (const count of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => counter.take(count)).toThrow(RangeError);
    }
    expect(counter.take(1)).toBe(0);
  });
});
