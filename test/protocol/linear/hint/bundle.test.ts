import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../protocol/errors.ts';
import { weightNorms } from '../../../../protocol/linear/bound.ts';
import {
  correctedLinear,
  decodeCorrections,
  decodeExactCorrections,
  decodeKeys,
  type HintPlan,
  keyBytes,
  layerKeys,
  layerSecrets,
  maskInput,
  serverShares,
} from '../../../../protocol/linear/hint/index.ts';
import { errorVariance, publicPolynomial } from '../../../../protocol/linear/hint/parameters.ts';
import { polynomialAt } from '../../../../protocol/linear/hint/polynomial.ts';
import { MODULUS } from '../../../../protocol/linear/lattice/parameters.ts';
import { Prg, randomRing } from '../../../../protocol/random/index.ts';
import { lowBits } from '../../../../protocol/ring/packing.ts';
import type { ConvShape, LinearShape } from '../../../../protocol/ring/shape.ts';
import { fanIn, linearInputSize, weightCount } from '../../../../protocol/ring/shape.ts';
import { CHI_SQUARE_LIMIT, chiSquare } from '../../../support/statistics.ts';
import { convolutions, plainLinear, randomWeights, testSeed } from '../layers.ts';
import {
  type Bundle,
  centred,
  coefficientsOf,
  cuts,
  planWith,
  productOf,
  publish,
  reconstruct,
  runBundle,
  testPublics,
} from './support.ts';

/** Errors c + S + W D - W r of a bundle. */
function errorsOf(plan: HintPlan, weights: Int32Array, bundle: Bundle): number[] {
  const expected = plainLinear(plan.shape, weights, bundle.r);
  const sums = reconstruct(plan, weights, bundle);
  return Array.from(sums, (x, i) => centred(x - expected[i]!, plan.ringBits));
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

const whole = { rows: 99, columns: 99, planes: 99, outputs: 1 };

/** Masks for a layer that does not choose them. */
const givenMasks = (plan: { masks: string }, shape: LinearShape, ringBits: number, seed: number) =>
  plan.masks === 'free'
    ? undefined
    : randomRing(new Prg(testSeed('given', seed)), linearInputSize(shape)).map(
        (x) => x & lowBits(ringBits),
      );

describe('shares of W r', () => {
  it('sum to it within the error bound, for any convolution, packing and partition', () => {
    fc.assert(
      fc.property(
        convolutions,
        cuts,
        fc.constantFrom('free', 'fixed', 'exact'),
        fc.integer({ min: 24, max: 32 }),
        fc.integer({ min: 1, max: 3 }),
        (shape, cut, masks, ringBits, step) => {
          const random = new Prg(testSeed('any', step));
          const weights = randomWeights(random, weightCount(shape), 100);
          const plan = planWith(shape, weights, cut, { ringBits, masks });
          const given = givenMasks(plan, shape, ringBits, step);
          const bundle = runBundle(
            plan,
            publish(plan, weights, 0, step),
            testSeed('any'),
            given,
            step,
          );
          const { norm2 } = weightNorms(weights, fanIn(shape));
          const { outputsPerTile } = plan.packing;
          const exact = masks === 'exact';
          const { total } = errorVariance(norm2, outputsPerTile, ringBits, plan.hintBits, exact);
          const bound = 8 * Math.sqrt(total) + plan.noise + 1;
          const largest = Math.max(...errorsOf(plan, weights, bundle).map(Math.abs));
          expect(largest).toBeLessThan(bound);
          // Against a fault that hides in a wide bound: the ring is wider.
          expect(bound).toBeLessThan(2 ** (ringBits - 2));
        },
      ),
      { numRuns: 80, seed: 3, endOnFailure: true },
    );
  });

  it.each([
    // Name, layer, cut, k, largest weight, masks; the part of the variance that dominates.
    ['one output', conv({}), whole, 28, 100, 'free', 'masks'],
    ['masks given', conv({}), whole, 28, 100, 'fixed', 'masks'],
    ['3 outputs', conv({ outChannels: 6 }), { ...whole, outputs: 3 }, 28, 500, 'free', 'masks'],
    ['4 tiles', conv({}), { ...whole, rows: 4, columns: 4 }, 28, 100, 'free', 'masks'],
    ['stride 2', conv({ stride: [2, 2], height: 16, width: 16 }), whole, 26, 100, 'free', 'masks'],
    ['4 groups', conv({ groups: 4 }), { ...whole, outputs: 2 }, 24, 100, 'free', 'masks'],
    [
      'a matrix',
      { kind: 'dense', inputs: 70, outputs: 50 },
      { ...whole, outputs: 4 },
      24,
      50,
      'free',
      'masks',
    ],
    ['the hint', conv({}), whole, 30, 1, 'free', 'hint'],
    ['no weights', conv({}), whole, 20, 0, 'free', 'roundings'],
    ['exact', conv({}), { ...whole, outputs: 2 }, 32, 2 ** 17, 'exact', 'errors'],
  ] as const)(
    'err by the variance of the formula: %s',
    (_, shape, cut, ringBits, bound, masks, part) => {
      const weights = randomWeights(new Prg(testSeed('variance')), weightCount(shape), bound);
      const tolerance = masks === 'exact' ? { tolerance: 1000 } : {};
      const planned = planWith(shape, weights, cut, { ringBits, masks, ...tolerance });
      // Without the noise, which is known and would hide the rest.
      const plan = { ...planned, noise: 0 };
      const published = publish(plan, weights);
      // An output meets the weights of all outputs of its tile.
      const { outputsPerTile, outTiles } = plan.packing;
      const perTile = outputsPerTile * fanIn(shape);
      let predicted = 0;
      for (let tile = 0; tile < outTiles; tile++) {
        const row = weights.slice(tile * perTile, (tile + 1) * perTile);
        const norm = weightNorms(row, row.length).norm2;
        const parts = errorVariance(norm, 1, ringBits, plan.hintBits, masks === 'exact');
        predicted += (parts.total * row.length) / weights.length;
        expect(parts[part]).toBeGreaterThan(parts.total / 3);
      }
      let [squares, sum, count] = [0, 0, 0];
      for (let bundle = 0; count < 12_000; bundle++) {
        const given = givenMasks(plan, shape, ringBits, bundle);
        const run = runBundle(plan, published, testSeed('variance', bundle), given);
        for (const error of errorsOf(plan, weights, run)) {
          squares += error * error;
          sum += error;
          count++;
        }
      }
      expect(squares / count / predicted).toBeGreaterThan(0.9);
      expect(squares / count / predicted).toBeLessThan(1.1);
      expect(Math.abs(sum / count)).toBeLessThan(0.1 * Math.sqrt(predicted));
    },
  );

  it('kernel elements that meet padding alone do no harm, two of them at one coefficient', () => {
    for (const [side, kernel, pad] of [
      [1, 3, 1],
      [2, 5, 2],
    ] as const) {
      const shape = conv({
        height: side,
        width: side,
        kernel: [kernel, kernel],
        pads: [pad, pad, pad, pad],
      });
      const weights = randomWeights(new Prg(testSeed('padding')), weightCount(shape), 100);
      const plan = planWith(shape, weights, whole, { ringBits: 28, masks: 'free' });
      const bundle = runBundle(plan, publish(plan, weights), testSeed('padding'));
      const bound = 300 * kernel;
      expect(errorsOf(plan, weights, bundle).every((error) => Math.abs(error) < bound)).toBe(true);
    }
  });

  it('an exact layer carries fresh noise of its whole width: a narrower one would give the client the weights sooner', () => {
    const shape = { kind: 'dense', inputs: 30, outputs: 500 } as const;
    const weights = randomWeights(new Prg(testSeed('noise')), 15_000, 20);
    const plan = planWith(
      shape,
      weights,
      { ...whole, outputs: 8 },
      { ringBits: 24, masks: 'exact' },
    );
    expect(plan.noise).toBe(100);
    const published = publish(plan, weights);
    const given = givenMasks(plan, shape, 24, 0);
    const errors = [0, 1, 2, 3].flatMap((i) =>
      errorsOf(plan, weights, runBundle(plan, published, testSeed('noise', i), given)),
    );
    const measured = errors.reduce((sum, e) => sum + e * e, 0) / errors.length;
    expect(measured / plan.variance).toBeGreaterThan(0.9);
    expect(measured / plan.variance).toBeLessThan(1.1);
    expect(Math.max(...errors.map(Math.abs))).toBeLessThanOrEqual(102);
  });
});

describe('fractions', () => {
  it('let a truncation and the rounding of the next masks be one: variance 1/6 instead of 1/4', () => {
    const ringBits = 28;
    const t = 10;
    const shape = conv({ channels: 32, height: 7, width: 7 });
    const weights = new Int32Array(weightCount(shape)).fill(1);
    const plan = planWith(shape, weights, whole, { ringBits, masks: 'free' });
    const publics = testPublics(plan.packing.inTiles + 1);
    const [apart, merged]: [number[], number[]] = [[], []];
    for (let bundle = 0; bundle < 10; bundle++) {
      const seed = testSeed('merged', bundle);
      const secrets = layerSecrets(plan, seed);
      const inTiles = plan.packing.inTiles;
      const { masks, fractions } = maskInput(plan, publics, { secrets, seed }, [0, inTiles]);
      const y = randomRing(new Prg(testSeed('y', bundle)), masks.length).map((x) => x >> 14);
      const shares = randomRing(new Prg(testSeed('c', bundle)), masks.length).map((x) => x >> 6);
      let at = 0;
      plan.inputs.forEach(({ free }, inTile) => {
        const phases = productOf(publicPolynomial(publics, inTile + 1), secrets);
        for (const position of free) {
          const c = shares[at]!;
          // eps: how far the phase is above the mask.
          const phase = (Number(phases[position]!) * 2 ** ringBits) / MODULUS;
          const eps = centred(Math.floor(phase) - masks[at]!, ringBits) + (phase % 1);
          expect(Math.abs(eps - (fractions[at]! + 0.5) / 256)).toBeLessThan(0.003);
          // What the next layer computes on: the sum of both truncated shares, with the phase in place of the mask.
          const server = Math.floor((y[at]! - c) / 2 ** t + 0.5);
          const error = (client: number) => server + client + eps - y[at]! / 2 ** t;
          const exact = c - ((2 * fractions[at]! + 1) * 2 ** t) / 512;
          apart.push(error(Math.floor(c / 2 ** t + 0.5)));
          merged.push(error(Math.floor(exact / 2 ** t + 0.5)));
          at++;
        }
      });
    }
    const variance = (values: number[]) =>
      values.reduce((sum, x) => sum + x * x, 0) / values.length;
    expect(merged.length).toBeGreaterThan(15_000);
    expect(variance(apart) * 4).toBeCloseTo(1, 1);
    expect(variance(merged) * 6).toBeCloseTo(1, 1);
    const mean = merged.reduce((sum, x) => sum + x, 0) / merged.length;
    expect(Math.abs(mean)).toBeLessThan(0.015);
  });
});

describe('messages', () => {
  const shape = conv({ height: 16, width: 16 });
  const weights = randomWeights(new Prg(testSeed('messages')), weightCount(shape), 50);
  const cut = { ...whole, rows: 8, planes: 3 };
  const plan = planWith(shape, weights, cut, { ringBits: 27, masks: 'free' });
  const published = publish(plan, weights);
  const { message } = runBundle(plan, published, testSeed('messages'));
  const keys = message.subarray(0, keyBytes(plan));
  const corrections = message.subarray(keyBytes(plan));

  it('do not depend on the partition', () => {
    const split = runBundle(plan, published, testSeed('messages'), undefined, 1);
    const joint = runBundle(plan, published, testSeed('messages'));
    expect(split).toEqual(joint);
  });

  it('carry keys of full width: rounded ones would give the client u (secrets.test.ts)', () => {
    const low = Uint8Array.from(
      [0, 1].flatMap((tile) =>
        coefficientsOf(polynomialAt(decodeKeys(plan, keys), tile)).map((x) => Number(x & 0xffn)),
      ),
    );
    expect(chiSquare(low)).toBeLessThan(CHI_SQUARE_LIMIT);
    // Rounded to 26 bits, as a hint may be.
    expect(chiSquare(low.map((x) => x & 0x80))).toBeGreaterThan(CHI_SQUARE_LIMIT);
    expect(keys.length).toBe((2 * 2048 * 52) / 8);
  });

  it('secrets z are of one spatial tile, one layer, one bundle: one for two would tell the server differences of inputs', () => {
    const publics = testPublics(1);
    const secrets = ['a', 'b'].map((name) => layerSecrets(plan, testSeed(name)));
    const distinct = new Set(
      secrets.flatMap((s) => [0, 1].map((tile) => polynomialAt(s, tile).slice(0, 64).join())),
    );
    expect(distinct.size).toBe(4);
    // Nor do two keys share an error: under equal secrets they would be equal.
    const [one, other] = ['a', 'b'].map((name) =>
      layerKeys(plan, publics, secrets[0]!, testSeed(name)),
    );
    expect(one).not.toEqual(other);
    // A seed that serves twice gives the same secrets: what this test must see.
    expect(layerSecrets(plan, testSeed('a'))).toEqual(secrets[0]);
  });

  it('are refused when they are not well formed', () => {
    const wrong = keys.slice();
    wrong.fill(255, 0, 8);
    const exact = planWith(shape, weights, cut, { ringBits: 27, masks: 'exact' });
    for (const decode of [
      () => decodeKeys(plan, keys.subarray(1)),
      () => decodeKeys(plan, wrong),
      () => decodeCorrections(plan, corrections.subarray(1)),
      () => decodeExactCorrections(exact, corrections),
    ]) {
      expect(decode).toThrow(ProtocolError);
    }
    const last = corrections.slice();
    const bits =
      plan.inputs.slice(-2).reduce((sum, { corrected }) => sum + corrected.length, 0) * 27;
    expect(bits % 8).not.toBe(0);
    last[last.length - 1]! |= 0x80;
    expect(() => decodeCorrections(plan, last)).toThrow('padding');
  });

  it('misuse is refused', () => {
    const exact = planWith(shape, weights, cut, { ringBits: 27, masks: 'exact' });
    const rows = new Uint32Array(4096 * 4);
    const decoded = decodeKeys(plan, keys);
    for (const misuse of [
      () => serverShares(plan, rows, decoded, [0, 3]),
      () => serverShares(plan, rows, decoded, [0, 5]),
      () => serverShares(plan, rows, decoded.subarray(1), [0, 4]),
      () => serverShares(exact, rows, decoded, [0, 4]),
      () => correctedLinear(exact, weights, new Int32Array(0)),
      () => correctedLinear(plan, weights, new Int32Array(1)),
      () => runBundle(plan, published, testSeed('x'), new Int32Array(4 * 256)),
      () => runBundle(exact, published, testSeed('x'), new Int32Array(3)),
    ]) {
      expect(misuse).toThrow(RangeError);
    }
    expect(MODULUS).toBeLessThan(2 ** 52);
  });
});
