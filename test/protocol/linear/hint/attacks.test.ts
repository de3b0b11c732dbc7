import { describe, expect, it } from 'vitest';
import {
  clientShares,
  decodeExactCorrections,
  decodeHint,
  keyBytes,
  layerSecrets,
  maskInput,
} from '../../../../protocol/linear/hint/index.ts';
import { publicPolynomial } from '../../../../protocol/linear/hint/parameters.ts';
import { polynomialAt } from '../../../../protocol/linear/hint/polynomial.ts';
import { MODULUS } from '../../../../protocol/linear/lattice/parameters.ts';
import { Prg, randomRing } from '../../../../protocol/random/index.ts';
import type { ConvShape } from '../../../../protocol/ring/shape.ts';
import { plainLinear, randomWeights, testSeed } from '../layers.ts';
import {
  centred,
  centredModulus,
  coefficientsOf,
  planWith,
  productOf,
  publish,
  reconstruct,
  runBundle,
  testPublics,
} from './support.ts';

const whole = { rows: 99, columns: 99, planes: 99, outputs: 1 };
const Q = BigInt(MODULUS);

/** Least squares without intercept; the rows are features, of mean 0. */
function leastSquares(rows: number[][], values: number[]): number[] {
  const n = rows[0]!.length;
  const matrix = Array.from({ length: n }, (_, i) =>
    Array.from({ length: n + 1 }, (_, j) =>
      rows.reduce((sum, row, t) => sum + row[i]! * (j < n ? row[j]! : values[t]!), 0),
    ),
  );
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) {
      if (k === i) continue;
      const factor = matrix[k]![i]! / matrix[i]![i]!;
      for (let j = i; j <= n; j++) matrix[k]![j]! -= factor * matrix[i]![j]!;
    }
  }
  return matrix.map((row, i) => row[n]! / row[i]!);
}

describe('averaging over repeats of one input, where the client sees the sum', () => {
  const shape = { kind: 'dense', inputs: 4, outputs: 2 } as const;
  const weights = Int32Array.of(57, -38, 90, 3, -71, 22, 64, -15);
  const x = Int32Array.of(1000, -250, 40, 777);
  const ringBits = 20;
  const clear = plainLinear(shape, weights, x);

  /** The outputs' errors in the client's eyes, and what it knows that they might depend on, over many bundles. */
  function observe(masks: 'free' | 'exact', bundles: number) {
    const plan = planWith(shape, weights, whole, { ringBits, masks });
    const published = publish(plan, weights);
    const a = publicPolynomial(testPublics(2), 1);
    const rows: { rounding: number[]; error: number[] }[] = [];
    const errors: number[][] = [[], []];
    for (let t = 0; t < bundles; t++) {
      const seed = testSeed(`averaging ${masks}`, t);
      const given =
        masks === 'exact'
          ? randomRing(new Prg(testSeed('r', t)), 4).map((r) => r & (2 ** ringBits - 1))
          : undefined;
      const bundle = runBundle(plan, published, seed, given);
      // What the server adds: W (x - r), and the client its share.
      const online = plainLinear(
        shape,
        weights,
        x.map((v, i) => v - bundle.r[i]!),
      );
      reconstruct(plan, weights, bundle).forEach((sum, i) => {
        errors[i]!.push(centred(sum + online[i]! - clear[i]!, ringBits));
      });
      // The client's own: distance of each phase from its rounding, and the errors of its encryptions.
      const phases = productOf(a, bundle.secrets);
      const b =
        masks === 'exact'
          ? coefficientsOf(decodeExactCorrections(plan, bundle.message.subarray(keyBytes(plan))))
          : undefined;
      const { free, corrected } = plan.inputs[0]!;
      const positions = masks === 'exact' ? corrected : free;
      const units = 2 ** ringBits / MODULUS;
      rows.push({
        rounding: [...positions].map((at) => {
          const scaled = Number(phases[at]!) * units;
          return scaled - Math.round(scaled);
        }),
        error: [...positions].map((at, i) => {
          if (b === undefined) return 0;
          const encoded = (BigInt(bundle.r[i]!) * Q) >> BigInt(ringBits);
          return Number(centredModulus(b[at]! + phases[at]! - encoded)) * units;
        }),
      });
    }
    return { rows, errors };
  }

  it('gives the weights of a layer that is not exact', () => {
    const { rows, errors } = observe('free', 1500);
    const found = errors.flatMap((values) =>
      leastSquares(
        rows.map(({ rounding }) => rounding),
        values,
      ),
    );
    expect(found.map(Math.round)).toEqual([...weights]);
  });

  it('gives nothing of an exact layer', () => {
    const { rows, errors } = observe('exact', 1500);
    for (const [o, values] of errors.entries()) {
      const own = weights.subarray(4 * o, 4 * o + 4);
      // Roundings of phases do not enter: the coefficients are 0 up to the noise, whatever the weights are.
      const byRounding = leastSquares(
        rows.map(({ rounding }) => rounding),
        values,
      );
      const deviation = 60 / Math.sqrt(rows.length / 12);
      expect(byRounding.every((w) => Math.abs(w) < 5 * deviation)).toBe(true);
      expect(own.every((w, i) => Math.abs(byRounding[i]! - w) < 1)).toBe(false);
      // Errors do enter, some 2^-30 of a unit: the estimate is off by far more than any weight.
      const byError = leastSquares(
        rows.map(({ error }) => error),
        values,
      );
      expect(rows.every(({ error }) => error.every((e) => Math.abs(e) < 2 ** -25))).toBe(true);
      expect(own.every((w, i) => Math.abs(byError[i]! - w) > 2 ** 20)).toBe(true);
    }
  });
});

describe('averaging where the noise of an exact layer is known, or the same', () => {
  // So large that errors of encryptions, times weights, come to whole units of the output.
  const shape = { kind: 'dense', inputs: 4, outputs: 2 } as const;
  const weights = Int32Array.of(
    2 ** 21,
    -(2 ** 20),
    3 * 2 ** 19,
    0,
    -(2 ** 20),
    2 ** 19,
    0,
    2 ** 21,
  );
  const ringBits = 32;
  // Each output has a polynomial.
  const plan = planWith(shape, weights, whole, { ringBits, masks: 'exact', tolerance: 2 ** 20 });
  const published = publish(plan, weights);
  const a = publicPolynomial(testPublics(2), 1);
  const units = 2 ** ringBits / MODULUS;
  const positions = plan.inputs[0]!.correctedElements;
  const row = (output: number) => [...positions].map((at) => weights[4 * output + at]!);

  /** Weights by least squares over bundles of a plan: of the first output, and how the second ones differ from them. */
  function found(noise: number, seed?: Uint8Array): { first: number[]; difference: number[] } {
    const own = { ...plan, noise };
    const [rows, errors, differences]: [number[][], number[], number[]] = [[], [], []];
    for (let t = 0; t < 600; t++) {
      const given = randomRing(new Prg(testSeed('known noise r', t)), 4);
      const faults = seed === undefined ? {} : { noise: seed };
      const bundle = runBundle(
        own,
        published,
        testSeed('known noise', t),
        given,
        Number.POSITIVE_INFINITY,
        faults,
      );
      const exact = plainLinear(shape, weights, given);
      const [first, second] = [...reconstruct(own, weights, bundle)].map(
        (x, i) => (x - exact[i]!) | 0,
      );
      errors.push(first!);
      differences.push(second! - first!);
      const phases = productOf(a, bundle.secrets);
      const b = coefficientsOf(decodeExactCorrections(own, bundle.message.subarray(keyBytes(own))));
      rows.push(
        [...own.inputs[0]!.corrected].map((at, i) => {
          const encoded = (BigInt(given[positions[i]!]! >>> 0) * Q) >> BigInt(ringBits);
          return Number(centredModulus(b[at]! + phases[at]! - encoded)) * units;
        }),
      );
    }
    // What is the same in all bundles tells nothing, and hides nothing.
    const centre = (values: number[]) => {
      const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
      return values.map((x) => x - mean);
    };
    return {
      first: leastSquares(rows, centre(errors)),
      difference: leastSquares(rows, centre(differences)),
    };
  }

  const off = (values: number[], expected: number[]) =>
    Math.max(...values.map((w, i) => Math.abs(w - expected[i]!)));
  const difference = row(0).map((w, i) => row(1)[i]! - w);
  const built = found(plan.noise);

  it('gives the client the weights where there is none, and nothing as built', () => {
    expect(plan.noise).toBeGreaterThan(2 ** 19);
    expect(plan.packing.outTiles).toBe(2);
    // No noise is what a noise that is known comes to.
    const known = found(0);
    expect(off(known.first, row(0))).toBeLessThan(2 ** 17);
    expect(off(known.difference, difference)).toBeLessThan(2 ** 17);
    expect(off(built.first, row(0))).toBeGreaterThan(2 ** 24);
  });

  it('gives the client the weights where it is the same in all bundles: as built each bundle has another', () => {
    expect(off(found(plan.noise, testSeed('constant')).first, row(0))).toBeLessThan(2 ** 17);
    expect(off(built.first, row(0))).toBeGreaterThan(2 ** 24);
  });

  it('gives the client differences of rows where outputs of two polynomials have the same: as built they have not', () => {
    expect(off(built.difference, difference)).toBeGreaterThan(2 ** 24);
  });
});

describe('a server that publishes alpha a_x + 2^f a_y in place of a hint', () => {
  const f = 10;
  const alpha = 2 ** 13;
  const ringBits = 28;
  const layer = (channels: number): ConvShape => ({
    kind: 'conv',
    channels,
    height: 32,
    width: 32,
    outChannels: 1,
    kernel: [1, 1],
    stride: [1, 1],
    pads: [0, 0, 0, 0],
    groups: 1,
  });
  // The first layer reads x, the second y, the truncated result of the first, as its second channel.
  const planOf = (channels: number) =>
    planWith(layer(channels), new Int32Array(channels).fill(alpha), whole, {
      ringBits,
      masks: 'free',
      tolerance: 2 ** 20,
    });
  const [first, second] = [planOf(1), planOf(2)];
  const publics = testPublics(2);

  /** alpha a_1 + 2^f X^-1024 a_1: coefficient j of the latter is coefficient 1024 + j of a_1, where the second channel lies. */
  function crafted(): Uint8Array {
    const a = coefficientsOf(publicPolynomial(publics, 1));
    const drop = BigInt(52 - first.hintBits);
    const bytes = new Uint8Array((2048 * first.hintBits) / 8);
    a.forEach((value, j) => {
      const moved = j < 1024 ? a[j + 1024]! : -a[j - 1024]!;
      const sum = (((BigInt(alpha) * value + BigInt(2 ** f) * moved) % Q) + Q) % Q;
      const high = (sum + (1n << (drop - 1n))) >> drop;
      for (let b = 0; b < first.hintBits; b++) {
        const bit = j * first.hintBits + b;
        bytes[bit >> 3]! |= Number((high >> BigInt(b)) & 1n) << (bit & 7);
      }
    });
    return bytes;
  }

  /** Share of the inputs that the server reads to the last bit but one. */
  function read(seeds: readonly [Uint8Array, Uint8Array]): number {
    const secrets = [layerSecrets(first, seeds[0]), layerSecrets(second, seeds[1])] as const;
    const maskX = maskInput(first, publics, { secrets: secrets[0], seed: seeds[0] }, [0, 1]).masks;
    const maskY = maskInput(
      second,
      publics,
      { secrets: secrets[1], seed: seeds[1] },
      [0, 1],
    ).masks.subarray(1024);
    const c = clientShares(first, decodeHint(first, crafted(), [0, 1]), secrets[0], [0, 1]);
    const x = randomWeights(new Prg(testSeed('inputs')), 1024, 2047);
    let hits = 0;
    x.forEach((value, i) => {
      // The server's share is its own choice; an identity truncates the sum; the client sends y - r_y.
      const a = Math.imul(alpha, value - maskX[i]!);
      const y = centred((a + c[i]!) | 0, ringBits) >> f;
      const guess = centred(y - maskY[i]!, ringBits - f) / (alpha / 2 ** f);
      if (Math.abs(guess - value) <= 1) hits++;
    });
    return hits / x.length;
  }

  it('reads the inputs where two layers share a secret, and nothing as built', () => {
    expect(second.inputs[0]!.free[1024]).toBe(1024);
    const [one, other] = [testSeed('one'), testSeed('other')];
    expect(polynomialAt(layerSecrets(second, one), 0)).toEqual(layerSecrets(first, one));
    expect(read([one, one])).toBe(1);
    expect(read([one, other])).toBeLessThan(0.01);
  });
});
