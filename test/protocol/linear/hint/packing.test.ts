import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Packing } from '../../../../protocol/linear/hint/packing.ts';
import {
  connectedTiles,
  cutAxis,
  packInput,
  strides,
  usedCoefficients,
  weightPolynomial,
} from '../../../../protocol/linear/hint/packing.ts';
import type { ConvShape } from '../../../../protocol/ring/shape.ts';
import { linearOutput, sizeOf } from '../../../../protocol/ring/shape.ts';
import { convolutions, plainLinear, randomLayer, testSeed } from '../layers.ts';

/** x y mod X^n + 1 over Z_2^32, skipping zeros. */
function negacyclic(x: Int32Array, y: Int32Array, sums: Int32Array): void {
  const n = x.length;
  for (let j = 0; j < n; j++) {
    if (y[j] === 0) continue;
    for (let i = 0; i < n; i++) {
      const product = Math.imul(x[i]!, y[j]!);
      if (i + j < n) sums[i + j]! += product;
      else sums[i + j - n]! -= product;
    }
  }
}

/** The layer by plain polynomial products of any length n >= C M S. */
function byPolynomials(
  packing: Packing,
  n: number,
  weights: Int32Array,
  input: Int32Array,
): Int32Array {
  const out = new Int32Array(sizeOf(linearOutput(packing.conv)));
  const seen = new Uint8Array(out.length);
  const [x, w] = [new Int32Array(n), new Int32Array(n)];
  for (let outTile = 0; outTile < packing.outTiles; outTile++) {
    for (let spatial = 0; spatial < packing.spatialTiles; spatial++) {
      const sums = new Int32Array(n);
      const [from, to] = connectedTiles(packing, outTile);
      for (let inTile = from; inTile < to; inTile++) {
        packInput(packing, input, inTile, spatial, x);
        weightPolynomial(packing, weights, inTile, outTile, w);
        negacyclic(x, w, sums);
      }
      const used = usedCoefficients(packing, outTile * packing.spatialTiles + spatial);
      expect(new Set(used.positions).size).toBe(used.positions.length);
      used.elements.forEach((element, i) => {
        seen[element]!++;
        out[element] = sums[used.positions[i]!]!;
      });
    }
  }
  expect(seen.every((count) => count === 1)).toBe(true);
  return out;
}

describe('packing', () => {
  it('computes any convolution for any tiles, in the shortest polynomial it claims', () => {
    fc.assert(
      fc.property(
        convolutions,
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 4 }),
        (conv, rowCut, columnCut, planesAtMost, outputsAtMost) => {
          const [, height, width] = linearOutput(conv);
          const rows = cutAxis(conv, 0, height, (rowCut % height) + 1);
          const columns = cutAxis(conv, 1, width, (columnCut % width) + 1);
          const planes = conv.channels * rows.phases.length * columns.phases.length;
          const planesPerTile = Math.min(planes, planesAtMost);
          const outputsPerTile = Math.min(conv.outChannels, outputsAtMost);
          const { rowStride, blockStride } = strides(rows, columns);
          const packing: Packing = {
            conv,
            rows,
            columns,
            rowStride,
            blockStride,
            planes,
            planesPerTile,
            outputsPerTile,
            inTiles: Math.ceil(planes / planesPerTile),
            outTiles: Math.ceil(conv.outChannels / outputsPerTile),
            spatialTiles: rows.tiles * columns.tiles,
          };
          const { input, weights } = randomLayer(conv, 1000, testSeed('packing'));
          const n = planesPerTile * outputsPerTile * blockStride;
          expect(byPolynomials(packing, n, weights, input)).toEqual(
            plainLinear(conv, weights, input),
          );
        },
      ),
      { numRuns: 600, seed: 7 },
    );
  });

  it('shares padding between neighbours: a 3x3 kernel on 32x32 takes 33 x 33 coefficients', () => {
    const conv: ConvShape = {
      kind: 'conv',
      channels: 1,
      height: 32,
      width: 32,
      outChannels: 1,
      kernel: [3, 3],
      stride: [1, 1],
      pads: [1, 1, 1, 1],
      groups: 1,
    };
    expect(strides(cutAxis(conv, 0, 32, 32), cutAxis(conv, 1, 32, 32))).toEqual({
      rowStride: 33,
      blockStride: 33 * 33,
    });
  });

  it('leaves out the phases no tap reads', () => {
    const conv: ConvShape = {
      kind: 'conv',
      channels: 4,
      height: 8,
      width: 8,
      outChannels: 1,
      kernel: [1, 1],
      stride: [2, 2],
      pads: [0, 0, 0, 0],
      groups: 1,
    };
    expect(cutAxis(conv, 0, 4, 4).phases).toEqual([0]);
    expect(cutAxis({ ...conv, pads: [1, 1, 1, 1] }, 0, 5, 5).phases).toEqual([1]);
    expect(cutAxis({ ...conv, kernel: [3, 3] }, 0, 3, 3).phases).toEqual([0, 1]);
  });

  it('is caught by these tests when a stride is one too short', () => {
    const conv: ConvShape = {
      kind: 'conv',
      channels: 2,
      height: 4,
      width: 4,
      outChannels: 2,
      kernel: [3, 3],
      stride: [1, 1],
      pads: [1, 1, 1, 1],
      groups: 1,
    };
    const rows = cutAxis(conv, 0, 4, 4);
    const columns = cutAxis(conv, 1, 4, 4);
    const right = strides(rows, columns);
    const { input, weights } = randomLayer(conv, 1000, testSeed('fault'));
    const expected = plainLinear(conv, weights, input);
    const tiles = { planes: 2, planesPerTile: 2, outputsPerTile: 2, inTiles: 1, outTiles: 1 };
    const run = (rowStride: number, blockStride: number) => {
      const packing = { conv, rows, columns, rowStride, blockStride, ...tiles, spatialTiles: 1 };
      return byPolynomials(packing, 4 * blockStride, weights, input);
    };
    expect(run(right.rowStride, right.blockStride)).toEqual(expected);
    expect(run(right.rowStride - 1, right.blockStride)).not.toEqual(expected);
    expect(run(right.rowStride, right.blockStride - 1)).not.toEqual(expected);
  });
});

it('random layers of these tests are random', () => {
  const shape = { kind: 'dense', inputs: 50, outputs: 50 } as const;
  const { input, weights } = randomLayer(shape, 3, testSeed('layer'));
  expect(new Set(input).size).toBe(50);
  expect([...new Set(weights)].sort((a, b) => a - b)).toEqual([-3, -2, -1, 0, 1, 2, 3]);
});
