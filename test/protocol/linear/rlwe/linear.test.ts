import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { weightNorms } from '../../../../protocol/linear/backend.ts';
import type { LayerPlan } from '../../../../protocol/linear/rlwe/index.ts';
import {
  decodeUpload,
  decryptResponse,
  encryptUpload,
  evaluateLayer,
  placeShares,
  planLayer,
  responseBytes,
  uploadBytes,
  WeightCache,
  WeightCaches,
} from '../../../../protocol/linear/rlwe/index.ts';
import { Prg, randomRing } from '../../../../protocol/random/index.ts';
import type { ConvShape, LinearShape } from '../../../../protocol/ring/shape.ts';
import { fanIn } from '../../../../protocol/ring/shape.ts';
import {
  convolutions,
  plainLinear,
  randomLayer,
  runLayer,
  shareErrors,
  testKeys,
  testSeed,
} from './support.ts';

/** Runs a layer and holds it to its promise: exact lengths, errors in {-1, 0, 1}. Returns the share of errors. */
function holds(
  shape: LinearShape,
  weights: Int32Array,
  input: Int32Array,
  name: string,
  step?: number,
): { plan: LayerPlan; errorRate: number } {
  const plan = planLayer(shape, weightNorms(weights, fanIn(shape)));
  const run = runLayer(plan, weights, input, testSeed(name), step);
  expect(run.upload.length).toBe(uploadBytes(plan));
  expect(run.response.length).toBe(responseBytes(plan));
  const errors = shareErrors(run.client, run.server, plainLinear(shape, weights, input));
  expect(errors.every((e) => e >= -1 && e <= 1)).toBe(true);
  return { plan, errorRate: errors.filter((e) => e !== 0).length / errors.length };
}

const conv = (rest: Partial<ConvShape>): ConvShape => ({
  kind: 'conv',
  channels: 4,
  height: 8,
  width: 8,
  outChannels: 4,
  kernel: [3, 3],
  stride: [1, 1],
  pads: [1, 1, 1, 1],
  groups: 1,
  ...rest,
});

describe('shares of W r', () => {
  it('sum to it up to one unit, for any convolution, weights and partition', () => {
    fc.assert(
      fc.property(
        convolutions,
        fc.constantFrom(1, 50, 2000, 2 ** 17),
        fc.integer({ min: 1, max: 3 }),
        fc.nat({ max: 1000 }),
        (shape, bound, step, seed) => {
          const { input, weights } = randomLayer(shape, bound, testSeed('any', seed));
          holds(shape, weights, input, `any ${seed}`, step);
        },
      ),
      { numRuns: 60, seed: 11 },
    );
  });

  it.each([
    ['more channels than a polynomial', conv({ channels: 40, outChannels: 20 })],
    ['several spatial tiles', conv({ channels: 1, outChannels: 2, height: 70, width: 60 })],
    ['one wide row', conv({ channels: 2, outChannels: 1, height: 2, width: 2500 })],
    ['stride 2, 1x1', conv({ kernel: [1, 1], stride: [2, 2], pads: [0, 0, 0, 0], channels: 30 })],
    ['stride 2, 7x7', conv({ kernel: [7, 7], stride: [2, 2], pads: [3, 3, 3, 3], height: 40 })],
    ['depthwise', conv({ channels: 40, outChannels: 40, groups: 40 })],
    ['depthwise, stride 2', conv({ channels: 12, outChannels: 24, groups: 12, stride: [2, 2] })],
    ['dense', { kind: 'dense', inputs: 300, outputs: 70 } as const],
    ['dense, long', { kind: 'dense', inputs: 5000, outputs: 3 } as const],
    ['dense, one element', { kind: 'dense', inputs: 1, outputs: 1 } as const],
  ])('%s', (name, shape) => {
    const { input, weights } = randomLayer(shape, 200, testSeed(name));
    for (const step of [1, 1000]) holds(shape, weights, input, name, step);
  });

  it('degree 4096: large weights, every kind of layer', () => {
    for (const shape of [
      conv({ channels: 8, outChannels: 8, stride: [2, 1] }),
      conv({ channels: 2, outChannels: 2, height: 50, width: 90 }),
      { kind: 'dense', inputs: 400, outputs: 20 } as const,
    ]) {
      const { input, weights } = randomLayer(shape, 100_000, testSeed('large'));
      expect(holds(shape, weights, input, 'large').plan.degree).toBe(4096);
    }
    // The largest weights of all.
    const shape = { kind: 'dense', inputs: 1, outputs: 1 } as const;
    for (const weight of [2 ** 25 - 1, 1 - 2 ** 25]) {
      const input = randomRing(new Prg(testSeed('largest')), 1);
      expect(holds(shape, Int32Array.of(weight), input, 'largest').plan.degree).toBe(4096);
    }
  });

  it('zero, one-hot and all-max kernels, extreme inputs', () => {
    const shape = conv({ channels: 3, outChannels: 2 });
    const count = 2 * 3 * 9;
    const { input } = randomLayer(shape, 1, testSeed('extreme'));
    const oneHot = (at: number) => new Int32Array(count).fill(1, at, at + 1);
    for (const weights of [
      new Int32Array(count),
      oneHot(0),
      oneHot(count - 1),
      new Int32Array(count).fill(511),
      new Int32Array(count).fill(-512),
    ]) {
      holds(shape, weights, input, 'extreme');
      for (const value of [0, 1, -1, 0x7fffffff, -0x80000000]) {
        holds(shape, weights, new Int32Array(input.length).fill(value), 'extreme');
      }
    }
  });

  it('more products than one fold of the sums takes, more ciphertexts than kernel memory holds', () => {
    const shape = { kind: 'dense', inputs: 1100, outputs: 1 } as const;
    const { input, weights } = randomLayer(shape, 50, testSeed('fold'));
    const planned = planLayer(shape, weightNorms(weights, fanIn(shape)));
    // One input a polynomial, which no plan would choose.
    const packing = { ...planned.packing, planesPerTile: 1, inTiles: 1100 };
    const plan = { ...planned, packing, uploadPolynomials: 1100 };
    const { client, server } = runLayer(plan, weights, input, testSeed('fold'));
    const [error] = shareErrors(client, server, plainLinear(shape, weights, input));
    expect(Math.abs(error!)).toBeLessThanOrEqual(1);
  });

  it('rounds as rarely as two independent roundings and the noise allow', () => {
    const shape = conv({ channels: 16, outChannels: 16 });
    const { input, weights } = randomLayer(shape, 300, testSeed('rate'));
    // Two uniform roundings alone differ from the sum in 1 of 4; a third, part b's, makes it less than 1 of 3.
    expect(holds(shape, weights, input, 'rate').errorRate).toBeLessThan(1 / 3);
  });
});

/** Equal bytes; the matcher of the test framework takes seconds for a megabyte. */
const same = (x: ArrayBufferView, y: ArrayBufferView) =>
  Buffer.from(x.buffer, x.byteOffset, x.byteLength).equals(
    Buffer.from(y.buffer, y.byteOffset, y.byteLength),
  );

describe('jobs', () => {
  const shape = conv({ channels: 6, outChannels: 9, height: 33, width: 33 });
  const { input, weights } = randomLayer(shape, 100, testSeed('jobs'));
  const plan = planLayer(shape, weightNorms(weights, fanIn(shape)));

  it('make the same bytes and shares however they are split, and with a weight cache', () => {
    expect(plan.responsePolynomials).toBeGreaterThan(5);
    const whole = runLayer(plan, weights, input, testSeed('split'));
    for (const step of [1, 4]) {
      const split = runLayer(plan, weights, input, testSeed('split'), step);
      for (const part of ['upload', 'response', 'client', 'server'] as const) {
        expect(same(split[part], whole[part])).toBe(true);
      }
    }
    const { publicKey } = testKeys(plan.degree);
    const range = [0, plan.responsePolynomials] as const;
    const ciphertexts = decodeUpload(plan, whole.upload);
    const entry = 4 * 2 * plan.degree;
    const small = new WeightCache(2.5 * entry);
    const large = new WeightCache(1e9);
    const evaluate = (cache?: WeightCache) =>
      evaluateLayer(plan, publicKey, weights, ciphertexts, range, testSeed('cache'), cache);
    const expected = evaluate();
    for (const cache of [small, small, large, large]) {
      const { response, shares } = evaluate(cache);
      expect(same(response, expected.response) && same(shares, expected.shares)).toBe(true);
    }
    // Caches of one thread share their room, and each stands for its own weights.
    const caches = new WeightCaches(3 * entry);
    for (const cache of [caches.of(7), caches.of(8), caches.of(7)]) {
      expect(same(evaluate(cache).response, expected.response)).toBe(true);
    }
    expect(caches.of(7)).not.toBe(caches.of(8));
    expect(caches.of(7).bytes + caches.of(8).bytes).toBe(3 * entry);
    expect(small.bytes).toBe(2 * entry);
    expect(large.bytes).toBe(plan.packing.inTiles * plan.packing.outTiles * entry);
  });

  it('refuse what does not belong to the plan', () => {
    const { secretKey, publicKey } = testKeys(plan.degree);
    const other = testKeys(4096);
    const seed = testSeed('misuse');
    const ciphertexts = decodeUpload(plan, new Uint8Array(uploadBytes(plan)));
    const encrypt = (x = input, range: [number, number] = [0, 1], key = secretKey) =>
      encryptUpload(plan, key, x, range, seed);
    const evaluate = (w = weights, range: [number, number] = [0, 1], key = publicKey) =>
      evaluateLayer(plan, key, w, ciphertexts, range, seed);
    for (const misuse of [
      () => encrypt(input.subarray(1)),
      () => encrypt(input, [0, 0]),
      () => encrypt(input, [-1, 1]),
      () => encrypt(input, [0, plan.uploadPolynomials + 1]),
      () => encrypt(input, [0.5, 1]),
      () => encrypt(input, [0, 1], other.secretKey),
      () => evaluate(weights.subarray(1)),
      () => evaluate(weights, [3, 2]),
      () => evaluate(weights, [0, 1], other.publicKey),
      () => encryptUpload(plan, secretKey, input, [0, 1], seed.subarray(1)),
      () => decryptResponse(plan, other.secretKey, new Uint8Array(1), [0, 1]),
      () => placeShares(plan, new Int32Array(1), [0, 1], new Int32Array(9 * 33 * 33)),
    ]) {
      expect(misuse).toThrow(RangeError);
    }
  });
});
