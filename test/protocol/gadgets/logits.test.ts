import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LogitParams, logits } from '../../../protocol/gadgets/logits.ts';
import { Prg, randomRing } from '../../../protocol/random/index.ts';
import { packedBytes } from '../../../protocol/ring/packing.ts';
import { seedOf } from '../../support/model.ts';

/** What the client comes to for x where its share is c. */
function run(params: LogitParams, x: Int32Array, c: Int32Array): Int32Array {
  const message = logits.reveal(
    params,
    x.map((value, i) => value - c[i]!),
  );
  expect(message.length).toBe(logits.bytes(params));
  return logits.join(params, c, message);
}

describe('logits of two shares', () => {
  const shapes: [number, number][] = [
    [31, 10],
    [31, 0],
    [30, 10],
    [12, 9],
    [4, 2],
    [32, 8],
  ];

  it.each(shapes)('k = %i, f = %i: within a unit, to the ends of the range', (rangeBits, shift) => {
    const unit = 2 ** shift;
    const largest = 2 ** (rangeBits - 1) - (shift === 0 ? 1 : unit + 1);
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -largest, max: largest }), { minLength: 1, maxLength: 20 }),
        fc.integer(),
        (inner, seed) => {
          const x = Int32Array.of(largest, -largest, 0, ...inner);
          const c = randomRing(new Prg(seedOf(seed)), x.length);
          const y = run({ values: x.length, rangeBits, shift }, x, c);
          for (let i = 0; i < x.length; i++) {
            expect(y[i]! % unit, `${x[i]}`).toBe(y[i]! < 0 ? -0 : 0);
            expect(Math.abs(y[i]! - x[i]!), `${x[i]}`).toBeLessThanOrEqual(shift === 0 ? 0 : unit);
            expect(y[i], `${x[i]}`).toBeGreaterThan(-(2 ** (rangeBits - 1)));
          }
        },
      ),
    );
  });

  it('have no bias, and say no more than the neighbours of a number', () => {
    const [rangeBits, shift, n] = [20, 6, 100_000];
    for (const value of [0, 1, 31, 63, -1, -40, 12_345]) {
      const x = new Int32Array(n).fill(value);
      const y = run({ values: n, rangeBits, shift }, x, randomRing(new Prg(seedOf(520)), n));
      const below = 64 * Math.floor(value / 64);
      expect(y.every((logit) => logit === below || logit === below + 64)).toBe(true);
      // Exactly 2^-f of a unit too much; the deviation of a mean is at most 32 / sqrt(n) = 0.1.
      const mean = y.reduce((sum, logit) => sum + logit, 0) / n;
      expect(Math.abs(mean - value - 1)).toBeLessThan(0.6);
    }
  });

  it('move the bits that stay alone', () => {
    expect(logits.bytes({ values: 10, rangeBits: 31, shift: 10 })).toBe(packedBytes(10, 21));
    const params = { values: 1, rangeBits: 12, shift: 5 };
    // The message depends on nothing below 2^5, and on nothing beyond 2^12.
    const message = (a: number) => [...logits.reveal(params, Int32Array.of(a))];
    expect(message(0b1010_1110_0000)).toEqual(message(0b1010_1111_1111));
    expect(message(0b1010_1110_0000)).toEqual(message(0b0111_1010_1110_0000));
    expect(message(0b1010_1110_0000)).not.toEqual(message(0b1010_1100_0000));
  });
});
