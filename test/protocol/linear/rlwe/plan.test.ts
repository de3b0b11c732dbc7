import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { weightNorms } from '../../../../protocol/linear/backend.ts';
import { NOISE_BUDGET, noiseBound } from '../../../../protocol/linear/rlwe/noise.ts';
import { PARAMETER_SETS, RESPONSE_MODULUS } from '../../../../protocol/linear/rlwe/parameters.ts';
import type { LayerPlan } from '../../../../protocol/linear/rlwe/plan.ts';
import {
  planLayer,
  products,
  responseBytes,
  uploadBytes,
} from '../../../../protocol/linear/rlwe/plan.ts';
import type { ConvShape } from '../../../../protocol/ring/shape.ts';
import { linearOutput, sizeOf } from '../../../../protocol/ring/shape.ts';
import { convolutions } from './support.ts';

const square = (channels: number, size: number, outChannels: number, kernel = 3): ConvShape => ({
  kind: 'conv',
  channels,
  height: size,
  width: size,
  outChannels,
  kernel: [kernel, kernel],
  stride: [1, 1],
  pads: [kernel >> 1, kernel >> 1, kernel >> 1, kernel >> 1],
  groups: 1,
});

const bound = (norm2: number) => ({ norm1: 20 * norm2, norm2 });

/** What every plan promises, from its own numbers. */
function checkPlan(plan: LayerPlan, norm2: number): void {
  const { packing, degree, drops } = plan;
  const { planesPerTile, outputsPerTile, blockStride } = packing;
  expect(planesPerTile * outputsPerTile * blockStride).toBeLessThanOrEqual(degree);
  const elements = sizeOf(linearOutput(packing.conv));
  const set = PARAMETER_SETS[degree];
  const noise = noiseBound(set, bound(norm2), outputsPerTile, elements, drops);
  expect(noise).toBeLessThan(NOISE_BUDGET);
  expect(plan.noiseBits).toBe(Math.log2(noise));
}

describe('parameters', () => {
  it('are primes that both degrees can transform with, and a modulus doubles hold exactly', () => {
    for (const { degree, primes } of Object.values(PARAMETER_SETS)) {
      for (const prime of primes) {
        expect(prime % (2 * degree)).toBe(1);
        expect(prime).toBeLessThan(2 ** 26);
        // What the kernels' reduction needs.
        expect(prime).toBeGreaterThan(2 ** 26 - 2 ** 20);
        const isPrime = (d = 3): boolean => {
          for (; d * d <= prime; d += 2) if (prime % d === 0) return false;
          return true;
        };
        expect(isPrime()).toBe(true);
      }
      expect(new Set(primes).size).toBe(primes.length);
    }
    expect(BigInt(RESPONSE_MODULUS)).toBe(
      PARAMETER_SETS[2048].primes.reduce((product, p) => product * BigInt(p), 1n),
    );
    expect(RESPONSE_MODULUS).toBeLessThan(2 ** 52 - 2 ** 20);
  });
});

describe('planLayer', () => {
  it('fits any convolution and is the same on both sides', () => {
    fc.assert(
      fc.property(convolutions, fc.integer({ min: 1, max: 2 ** 20 }), (shape, norm2) => {
        const plan = planLayer(shape, bound(norm2));
        checkPlan(plan, norm2);
        expect(structuredClone(plan)).toEqual(planLayer(structuredClone(shape), bound(norm2)));
      }),
      { numRuns: 100, seed: 3 },
    );
  });

  it('meets its byte target for the reference layer', () => {
    const plan = planLayer(square(64, 32, 64), bound(6000));
    checkPlan(plan, 6000);
    expect(plan.degree).toBe(2048);
    expect(products(plan)).toBe(64 * 64);
    expect(uploadBytes(plan)).toBe(16 + 64 * 2 * 6656);
    expect(uploadBytes(plan) + responseBytes(plan)).toBeLessThan(2.5e6);
    expect(responseBytes(plan, 0, 20) + responseBytes(plan, 20)).toBe(responseBytes(plan));
  });

  it('takes degree 4096 only when the noise of 2048 does not fit', () => {
    expect(planLayer(square(64, 8, 64), bound(30_000)).degree).toBe(2048);
    expect(planLayer(square(64, 8, 64), bound(60_000)).degree).toBe(4096);
    // Fewer outputs a polynomial when all that fit would be too noisy.
    const quiet = planLayer(square(64, 8, 64), bound(100)).packing;
    const loud = planLayer(square(64, 8, 64), bound(30_000)).packing;
    expect(loud.outputsPerTile).toBeLessThan(quiet.outputsPerTile);
  });

  it('pays no product without weights: depthwise tiles meet one tile each', () => {
    const plan = planLayer({ ...square(64, 8, 64), groups: 64 }, bound(500));
    expect(products(plan)).toBe(plan.packing.outTiles);
    const grouped = planLayer({ ...square(64, 8, 64), groups: 2 }, bound(500));
    expect(products(grouped)).toBeLessThan(grouped.packing.outTiles * grouped.packing.inTiles);
  });

  it('cuts large planes, and finds the plan quickly', () => {
    const start = performance.now();
    const plan = planLayer(
      { ...square(3, 224, 64, 7), stride: [2, 2] },
      { norm1: 40_000, norm2: 3000 },
    );
    expect(performance.now() - start).toBeLessThan(5000);
    expect(plan.packing.spatialTiles).toBeGreaterThan(1);
    const vector = planLayer({ kind: 'dense', inputs: 25_088, outputs: 4096 }, bound(10_000));
    checkPlan(vector, 10_000);
    checkPlan(planLayer(square(1, 3000, 1), bound(10)), 10);
  });

  it('names what does not fit', () => {
    const shape = square(4, 8, 4);
    expect(() => planLayer(shape, bound(2 ** 26))).toThrow(/norms .* 67108864/);
    expect(() => planLayer(shape, bound(Number.NaN))).toThrow(RangeError);
    expect(() => planLayer({ ...shape, groups: 3 }, bound(1))).toThrow(/3 groups/);
    expect(() => planLayer({ ...shape, kernel: [11, 3] }, bound(1))).toThrow(/output/);
    expect(() => planLayer({ ...shape, stride: [0, 1] }, bound(1))).toThrow(RangeError);
    expect(() => planLayer({ ...shape, channels: 1.5 }, bound(1))).toThrow(RangeError);
    expect(() => planLayer(square(1, 90, 1, 71), bound(1))).toThrow(/71x71/);
  });
});

it('weightNorms takes the worst output', () => {
  expect(weightNorms(Int32Array.of(3, -4, 0, 0, 5, 1, 0, 0, 0), 3)).toEqual({
    norm1: 7,
    norm2: Math.sqrt(26),
  });
});
