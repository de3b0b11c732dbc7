import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Stream } from '../../models/random.ts';

it('streams are repeatable, apart, and uniform', () => {
  const draw = (...seed: number[]) => {
    const stream = new Stream(...seed);
    return Array.from({ length: 4 }, () => stream.bits());
  };
  expect(draw(1, 2)).toEqual(draw(1, 2));
  expect(draw(1, 2)).not.toEqual(draw(2, 1));
  expect(draw(1)).not.toEqual(draw(1, 0));
  const stream = new Stream(8);
  const n = 20000;
  const normals = Array.from({ length: n }, () => stream.normal());
  expect(normals.reduce((s, v) => s + v) / n).toBeCloseTo(0, 1);
  expect(normals.reduce((s, v) => s + v * v) / n).toBeCloseTo(1, 1);
  fc.assert(
    fc.property(fc.nat(200), fc.nat(), (length, seed) => {
      const order = new Stream(seed).permutation(length);
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
    }),
    { seed: 1, numRuns: 50 },
  );
});
