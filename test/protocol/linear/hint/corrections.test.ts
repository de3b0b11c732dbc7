import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { correctedLinear, type HintPlan } from '../../../../protocol/linear/hint/index.ts';
import {
  connectedTiles,
  weightPolynomial as packPolynomial,
  usedCoefficients,
} from '../../../../protocol/linear/hint/packing.ts';
import { Prg, randomRing } from '../../../../protocol/random/index.ts';
import { packWeights } from '../../../../protocol/ring/linear.ts';
import type { LinearShape } from '../../../../protocol/ring/shape.ts';
import { linearOutput, sizeOf, weightCount } from '../../../../protocol/ring/shape.ts';
import { convolutions, randomWeights, testSeed } from '../layers.ts';
import { cuts, planWith } from './support.ts';

const N = 2048;

/** W D by its definition: used coefficients of the products of weight polynomials with polynomials of corrections. */
function byPolynomials(plan: HintPlan, weights: Int32Array, corrections: Int32Array): Int32Array {
  const { packing } = plan;
  const out = new Int32Array(sizeOf(linearOutput(plan.shape)));
  const w = new Int32Array(N);
  let at = 0;
  const polynomials = plan.inputs.map(({ corrected }) => {
    const polynomial = new Int32Array(N);
    for (const coefficient of corrected) polynomial[coefficient] = corrections[at++]!;
    return polynomial;
  });
  for (let outTile = 0; outTile < packing.outTiles; outTile++) {
    const [first, last] = connectedTiles(packing, outTile);
    for (let inTile = first; inTile < last; inTile++) {
      packPolynomial(packing, weights, inTile, outTile, w);
      const terms = [...w.entries()].filter(([, weight]) => weight !== 0);
      for (let tile = 0; tile < packing.spatialTiles; tile++) {
        const d = polynomials[inTile * packing.spatialTiles + tile]!;
        const index = outTile * packing.spatialTiles + tile;
        const { positions, elements } = usedCoefficients(packing, index);
        positions.forEach((position, i) => {
          for (const [exponent, weight] of terms) {
            const from = position - exponent;
            const product = Math.imul(weight, d[from < 0 ? from + N : from]!);
            out[elements[i]!]! += from < 0 ? -product : product;
          }
        });
      }
    }
  }
  return out;
}

function countOf(plan: HintPlan): number {
  return plan.inputs.reduce((sum, { corrected }) => sum + corrected.length, 0);
}

describe('corrections', () => {
  it('are multiplied as polynomials would be, for any convolution and packing, in any range of channels', () => {
    fc.assert(
      fc.property(
        convolutions,
        cuts,
        fc.constantFrom('free', 'fixed'),
        fc.constantFrom(100, 2 ** 20),
        fc.nat(),
        (shape, cut, masks, bound, split) => {
          const random = new Prg(testSeed('corrections', split));
          const weights = randomWeights(random, weightCount(shape), bound);
          const plan = planWith(shape, weights, cut, { ringBits: 32, masks });
          const corrections = randomRing(random, countOf(plan));
          const expected = byPolynomials(plan, weights, corrections);
          expect(correctedLinear(plan, weights, corrections)).toEqual(expected);
          // In two parts, by weights packed where they fit.
          const packed = packWeights(shape, weights);
          const channels = plan.packing.conv.outChannels;
          const middle = split % (channels + 1);
          const parts = [
            { from: 0, to: middle },
            { from: middle, to: channels },
          ].flatMap((range) => [...correctedLinear(plan, packed, corrections, range)]);
          expect(parts).toEqual([...expected]);
        },
      ),
      { numRuns: 120, seed: 5, endOnFailure: true },
    );
  });

  it.each([
    ['a matrix, 4 outputs a polynomial', { kind: 'dense', inputs: 70, outputs: 50 }, 4, 'free'],
    ['more columns than fit at once', conv(40, 40, 10, 1), 1, 'fixed'],
    ['many channels, 3 outputs a polynomial', conv(6, 33, 9, 1), 3, 'free'],
    ['depthwise', conv(12, 12, 12, 12), 1, 'free'],
  ] as const)('of larger layers: %s', (_, shape, outputs, masks) => {
    const random = new Prg(testSeed('larger'));
    const weights = randomWeights(random, weightCount(shape), 2 ** 15 - 1);
    const cut = { rows: 99, columns: 99, planes: 99, outputs };
    const plan = planWith(shape, weights, fitting(shape, cut), { ringBits: 28, masks });
    const corrections = randomRing(random, countOf(plan));
    const packed = packWeights(shape, weights);
    const expected = byPolynomials(plan, weights, corrections);
    expect(correctedLinear(plan, packed, corrections)).toEqual(expected);
  });

  it('of another plan or range are refused', () => {
    const shape = conv(6, 2, 4, 1);
    const weights = new Int32Array(weightCount(shape));
    const cut = { rows: 99, columns: 99, planes: 99, outputs: 1 };
    const plan = planWith(shape, weights, cut, { ringBits: 28, masks: 'free' });
    const corrections = new Int32Array(countOf(plan));
    for (const misuse of [
      () => correctedLinear(plan, weights.subarray(1), corrections),
      () => correctedLinear(plan, new Int16Array(3), corrections),
      () => correctedLinear(plan, weights, corrections.subarray(1)),
      () => correctedLinear(plan, weights, corrections, { from: 2, to: 5 }),
      () => correctedLinear(plan, weights, corrections, { from: 3, to: 2 }),
    ]) {
      expect(misuse).toThrow(RangeError);
    }
  });
});

function conv(side: number, channels: number, outChannels: number, groups: number) {
  return {
    kind: 'conv',
    channels,
    height: side,
    width: side,
    outChannels,
    kernel: [3, 3],
    stride: [1, 1],
    pads: [1, 1, 1, 1],
    groups,
  } as const;
}

/** As many planes as fit beside the outputs. */
function fitting<T extends { outputs: number }>(
  shape: LinearShape,
  cut: T,
): T & { planes: number } {
  const side = shape.kind === 'dense' ? 0 : shape.height + 1;
  const block = shape.kind === 'dense' ? 1 : side * (side - 1) + side;
  return { ...cut, planes: Math.floor(N / block / cut.outputs) };
}
