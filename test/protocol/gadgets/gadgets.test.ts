import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Gadget, GadgetParams } from '../../../protocol/gadgets/gadget.ts';
import { identity } from '../../../protocol/gadgets/identity.ts';
import { gadgetOf } from '../../../protocol/gadgets/index.ts';
import { relu } from '../../../protocol/gadgets/relu.ts';
import { square } from '../../../protocol/gadgets/square.ts';
import { KINDS, kindOf } from '../../../protocol/program/kinds.ts';
import { deriveSeed, Prg, randomRing } from '../../../protocol/random/index.ts';
import { CHI_SQUARE_LIMIT, chiSquare } from '../../support/statistics.ts';
import { runLane, testSeed } from './lane.ts';

/** The largest |x| a layer with these numbers may meet. */
const limitOf = ({ rangeBits, dropBits }: GadgetParams) => 2 ** (rangeBits - 1) - 2 ** dropBits - 1;

/** Values on every edge of the range, of the dropped bits and of the truncation. */
function boundaryValues(params: GadgetParams): number[] {
  const limit = limitOf(params);
  const edges = [0, 2 ** params.dropBits, 2 ** params.shift, 2 ** (params.rangeBits - 2), limit];
  const near = edges.flatMap((v) => [v - 1, v, v + 1]).flatMap((v) => [v, -v]);
  return near.filter((v) => Math.abs(v) <= limit);
}

/** Shares on every edge of the ring: where floors and carries go wrong if anywhere. */
const boundaryShares = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1, 2 ** 30, -(2 ** 30)];

function randomValues(params: GadgetParams, n: number, seed: Uint8Array): Int32Array {
  const limit = limitOf(params);
  return randomRing(new Prg(seed), n).map((word, i) => {
    const value = word % (limit + 1);
    // Half of the values are small: there the sign is decided by few bits.
    return i % 2 === 0 ? value : value >> (i % 24);
  });
}

/** Largest distance of y from the exact value, in units of the last place. */
function worstError(gadget: Gadget, params: GadgetParams, x: Int32Array, y: Int32Array): number {
  let worst = 0;
  for (let i = 0; i < x.length; i++) {
    const exact = x[i]! / 2 ** params.shift;
    if (gadget === square) {
      // X is exact to one unit and its square is exact: y must be the square of a neighbour of x / 2^f.
      const near = [Math.floor(exact), Math.floor(exact) + 1];
      const ok = near.some((v) => v * v === y[i]);
      worst = Math.max(worst, ok ? 0 : 2);
    } else {
      const target = gadget === relu ? Math.max(exact, 0) : exact;
      worst = Math.max(worst, Math.abs(y[i]! - target));
    }
  }
  return worst;
}

const cases: [Gadget, GadgetParams][] = [
  [relu, { rangeBits: 25, dropBits: 12, shift: 12 }],
  [relu, { rangeBits: 31, dropBits: 3, shift: 10 }],
  [relu, { rangeBits: 24, dropBits: 0, shift: 0 }],
  [relu, { rangeBits: 6, dropBits: 2, shift: 2 }],
  [identity, { rangeBits: 30, dropBits: 12, shift: 12 }],
  [identity, { rangeBits: 20, dropBits: 0, shift: 0 }],
  [identity, { rangeBits: 30, dropBits: 1, shift: 1 }],
  [square, { rangeBits: 30, dropBits: 12, shift: 16 }],
  [square, { rangeBits: 14, dropBits: 0, shift: 0 }],
  [square, { rangeBits: 17, dropBits: 0, shift: 1 }],
  [square, { rangeBits: 18, dropBits: 0, shift: 2 }],
  [square, { rangeBits: 30, dropBits: 0, shift: 29 }],
];

const kindTested = (gadget: Gadget) => KINDS.find((kind) => gadgetOf(kind) === gadget)!;

const titleOf = ([gadget, { rangeBits, dropBits, shift }]: [Gadget, GadgetParams]) =>
  `${kindOf(kindTested(gadget)).name} k=${rangeBits} t=${dropBits} f=${shift}`;

describe('activation gadgets', () => {
  it('are tested for every kind', () => {
    expect(new Set(cases.map(([gadget]) => kindTested(gadget)))).toEqual(new Set(KINDS));
  });

  for (const [index, testCase] of cases.entries()) {
    const [gadget, params] = testCase;
    it(`${titleOf(testCase)}: at most one unit off on 106,496 values, and on every boundary`, () => {
      for (let lane = 0; lane < 13; lane++) {
        const seed = deriveSeed(testSeed(index), 'lane', lane);
        const x = randomValues(params, 8192, seed);
        expect(
          worstError(gadget, params, x, runLane(gadget, params, x, seed).y),
        ).toBeLessThanOrEqual(1);
      }
      const values = boundaryValues(params);
      const x = Int32Array.from(values.flatMap((v) => boundaryShares.map(() => v)));
      const c = Int32Array.from(values.flatMap(() => boundaryShares));
      const run = runLane(gadget, params, x, testSeed(index), { c });
      expect(worstError(gadget, params, x, run.y)).toBeLessThanOrEqual(1);
    });
  }

  it('a square: what crosses the wire is uniform for every value and every share', () => {
    const params = { rangeBits: 30, dropBits: 12, shift: 16 };
    for (const [index, value] of [0, 1, -1, limitOf(params), -limitOf(params)].entries()) {
      for (const share of boundaryShares) {
        const x = new Int32Array(8192).fill(value);
        const c = new Int32Array(8192).fill(share);
        const run = runLane(square, params, x, testSeed(100 + index), { c });
        for (const bytes of [run.corrections, run.tables, run.material, run.result]) {
          expect(chiSquare(bytes)).toBeLessThan(CHI_SQUARE_LIMIT);
        }
      }
    }
  });

  it('a square: two bundles mask the same value with bits that have nothing in common', () => {
    const params = { rangeBits: 30, dropBits: 12, shift: 16 };
    const x = new Int32Array(8192).fill(12345);
    const c = new Int32Array(8192).fill(-1);
    const [one, other] = [110, 111].map((seed) =>
      runLane(square, params, x, testSeed(seed), { c }),
    );
    for (const message of ['corrections', 'tables', 'material'] as const) {
      const difference = one![message].map((byte, i) => byte ^ other![message][i]!);
      expect(chiSquare(difference)).toBeLessThan(CHI_SQUARE_LIMIT);
    }
  });

  it('a comparison that leaves out more than is cut off: small positive inputs may become zero, nothing else', () => {
    const params = { rangeBits: 26, dropBits: 15, shift: 11 };
    let zeroed = 0;
    for (let lane = 0; lane < 3; lane++) {
      const seed = deriveSeed(testSeed(50), 'lane', lane);
      const x = randomValues(params, 8192, seed);
      const { y } = runLane(relu, params, x, seed);
      x.forEach((value, i) => {
        if (y[i] === 0 && value > 2 ** params.shift && value < 2 ** params.dropBits) zeroed++;
        else if (Math.abs(y[i]! - Math.max(value, 0) / 2 ** params.shift) > 1) {
          throw new Error(`${y[i]} for ${value}`);
        }
      });
    }
    expect(zeroed).toBeGreaterThan(100);
  });

  it('any size, any parameters: exact lengths, at most one unit off', () => {
    const params = fc
      .record({
        gadget: fc.constantFrom(relu, identity, square),
        rangeBits: fc.integer({ min: 2, max: 30 }),
        drop: fc.nat(30),
        shift: fc.nat(20),
        n: fc.integer({ min: 1, max: 1100 }),
        seed: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      })
      .map(({ gadget, rangeBits, drop, shift, n, seed }) => {
        const f = gadget === square ? Math.max(shift, rangeBits - 16) : shift;
        const dropBits = Math.min(drop, f, rangeBits - 2);
        return { gadget, params: { rangeBits, dropBits, shift: f }, n, seed };
      });
    fc.assert(
      fc.property(params, ({ gadget, params, n, seed }) => {
        const x = randomValues(params, n, seed);
        const run = runLane(gadget, params, x, seed);
        expect(worstError(gadget, params, x, run.y)).toBeLessThanOrEqual(1);
        const { corrections, tables, material, result } = run;
        expect({
          corrections: corrections.length,
          tables: tables.length,
          material: material.length,
          result: result.length,
        }).toEqual(gadget.bytes(params, n));
      }),
      { numRuns: 60, seed: 1 },
    );
  });
});
