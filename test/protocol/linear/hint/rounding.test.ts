/**
 * From phases to masks, as the product rounds them: each phase carries an error, and is rounded after a secret uniform number is
 * added. That masks are uniform then is shown for small moduli in layout.test.ts.
 */

import { describe, expect, it } from 'vitest';
import { kernels } from '../../../../protocol/kernels/index.ts';
import {
  decodeCorrections,
  layerSecrets,
  maskInput,
} from '../../../../protocol/linear/hint/index.ts';
import { publicPolynomial } from '../../../../protocol/linear/hint/parameters.ts';
import { polynomialAt } from '../../../../protocol/linear/hint/polynomial.ts';
import { Prg } from '../../../../protocol/random/index.ts';
import type { ConvShape } from '../../../../protocol/ring/shape.ts';
import { linearInputSize, weightCount } from '../../../../protocol/ring/shape.ts';
import { hex } from '../../../support/bytes.ts';
import { CHI_SQUARE_LIMIT, chiSquare } from '../../../support/statistics.ts';
import { randomWeights, testSeed } from '../layers.ts';
import { centred, centredModulus, planWith, productOf, testPublics } from './support.ts';

const shape: ConvShape = {
  kind: 'conv',
  channels: 4,
  height: 16,
  width: 16,
  outChannels: 2,
  kernel: [3, 3],
  stride: [1, 1],
  pads: [1, 1, 1, 1],
  groups: 1,
};
const weights = randomWeights(new Prg(testSeed('rounding')), weightCount(shape), 50);
/** Two spatial tiles of two input polynomials each. */
const cut = { rows: 8, columns: 99, planes: 2, outputs: 1 };
const plan = planWith(shape, weights, cut, { ringBits: 27, masks: 'free' });
const publics = testPublics(3);
const BUNDLES = 4;

/** What is rounded of an input polynomial. */
interface Rounding {
  readonly phases: bigint[];
  readonly numbers: Uint8Array;
  /** Whether the errors came from bytes that the numbers are of too. */
  readonly overlaps: boolean;
}

/** All roundings of some bundles. */
function roundings(): Rounding[] {
  const { rlwe, arena } = kernels();
  const out: Rounding[] = [];
  let errors: [from: number, to: number] = [0, 0];
  Object.assign(kernels(), {
    rlwe: {
      ...rlwe,
      sampleBinomial(...args: Parameters<typeof rlwe.sampleBinomial>) {
        errors = [args[1], args[1] + 6 * args[2]];
        rlwe.sampleBinomial(...args);
      },
      roundUniform(...args: Parameters<typeof rlwe.roundUniform>) {
        const [, , phases, from, count] = args;
        out.push({
          phases: [...new BigUint64Array(arena.memory.buffer, phases, count)],
          numbers: arena.u8(from, 5 * count).slice(),
          overlaps: from < errors[1] && errors[0] < from + 5 * count,
        });
        rlwe.roundUniform(...args);
      },
    },
  });
  try {
    for (let bundle = 0; bundle < BUNDLES; bundle++) {
      const seed = testSeed('rounding', bundle);
      maskInput(plan, publics, { secrets: layerSecrets(plan, seed), seed }, [0, 2]);
    }
  } finally {
    Object.assign(kernels(), { rlwe });
  }
  return out;
}

describe('the masks of a layer', () => {
  const all = roundings();

  it('are rounded after a secret uniform number, other bytes for each coefficient: without it they are biased', () => {
    expect(all.length).toBe(4 * BUNDLES);
    expect(all.filter(({ overlaps }) => overlaps)).toEqual([]);
    const bytes = Buffer.concat(all.map(({ numbers }) => numbers));
    for (let byte = 0; byte < 5; byte++) {
      expect(chiSquare(bytes.filter((_, i) => i % 5 === byte))).toBeLessThan(CHI_SQUARE_LIMIT);
    }
    // Of 40 bits: two coefficients have the same one by chance once in 70,000 runs.
    const each = Array.from({ length: bytes.length / 5 }, (_, i) =>
      hex(bytes.subarray(5 * i, 5 * i + 5)),
    );
    expect(each.length).toBeGreaterThan(5000);
    expect(new Set(each).size).toBeGreaterThan(each.length - 3);
  });

  it('are of phases that err by a fresh error: without one, phases tell z by a division', () => {
    let [squares, count, largest] = [0, 0, 0];
    const seen = new Set<string>();
    all.forEach(({ phases }, i) => {
      const [bundle, index] = [i >> 2, i & 3];
      const { free, corrected } = plan.inputs[index]!;
      const secrets = layerSecrets(plan, testSeed('rounding', bundle));
      const exact = productOf(
        publicPolynomial(publics, 1 + (index >> 1)),
        polynomialAt(secrets, index & 1),
      );
      const errors = [...free, ...corrected].map((at, j) =>
        Number(centredModulus(phases[j]! - exact[at]!)),
      );
      for (const error of errors) {
        squares += error * error;
        largest = Math.max(largest, Math.abs(error));
        count++;
      }
      seen.add(errors.join());
    });
    expect(largest).toBeLessThanOrEqual(21);
    // Binomial of 21 + 21 bits, up to eight standard deviations.
    expect(Math.abs(squares / count - 10.5)).toBeLessThan(
      (8 * 10.5 * Math.sqrt(2)) / Math.sqrt(count),
    );
    expect(seen.size).toBe(all.length);
  });
});

describe('the corrections of a layer whose masks are given', () => {
  const fixed = planWith(shape, weights, cut, { ringBits: 27, masks: 'fixed' });

  it('hide the masks under phases with all bits of the ring: under short ones the server reads the high bits, and with them inputs', () => {
    const size = linearInputSize(shape);
    const seed = testSeed('corrections');
    const secrets = layerSecrets(fixed, seed);
    for (const given of [new Int32Array(size), new Int32Array(size).fill(0x5555555)]) {
      const made = maskInput(fixed, publics, { secrets, seed, given }, [0, 2]);
      const sent = decodeCorrections(fixed, made.corrections);
      // What stands where no element is must be 0, the rest the mask.
      const truths = fixed.inputs.flatMap(({ correctedElements }) =>
        [...correctedElements].map((element) => (element < 0 ? 0 : given[0]!)),
      );
      const read = (values: Int32Array) =>
        truths.filter((truth, i) => Math.abs(centred(values[i]! - truth, 27)) < 256).length /
        truths.length;
      expect(truths.length).toBe(sent.length);
      expect(sent.length).toBeGreaterThan(1000);
      expect(read(sent)).toBeLessThan(0.01);
      const bytes = Uint8Array.from(
        [...sent].flatMap((x) => [x & 255, (x >> 8) & 255, (x >> 19) & 255]),
      );
      expect(chiSquare(bytes)).toBeLessThan(CHI_SQUARE_LIMIT);
      const short = sent.map((x, i) => truths[i]! - ((truths[i]! - x) & 255));
      expect(read(short)).toBe(1);
    }
  });
});
