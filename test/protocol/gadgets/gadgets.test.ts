import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GadgetParams } from '../../../protocol/gadgets/gadget.ts';
import { gadgetOf, type Lane } from '../../../protocol/gadgets/index.ts';
import {
  type ActivationKind,
  IDENTITY,
  KINDS,
  kindOf,
  RELU,
  SQUARE,
} from '../../../protocol/program/kinds.ts';
import { COMPARISONS, type Comparison } from '../../../protocol/program/program.ts';
import { deriveSeed, Prg, randomRing } from '../../../protocol/random/index.ts';
import { signed } from '../../../protocol/ring/packing.ts';
import { CHI_SQUARE_LIMIT, chiSquare } from '../../support/statistics.ts';
import { type LaneRun, runLane, testSeed } from './lane.ts';

type Case = Pick<Lane, 'kind' | 'params'>;

const caseOf = (
  kind: ActivationKind,
  rangeBits: number,
  dropBits: number,
  shift: number,
  comparison: Comparison = 'encoded',
  outBits = 32,
): Case => ({ kind, params: { rangeBits, dropBits, shift, outBits, comparison } });

/** w of a case. */
const ringOf = ({ kind, params }: Case) => kindOf(kind).ringBits(params.rangeBits, params.shift);

/** The same with results in rings from the narrowest to the widest: carries matter in some, in others not. */
function ringsOut(own: Case): Case[] {
  const { params } = own;
  const width = ringOf(own);
  const cut = width - params.shift;
  const rings = [32, width, cut + 2, cut + 1, cut, cut - 1, 2];
  const fitting = new Set(rings.filter((bits) => bits >= 2 && bits <= 32));
  return [...fitting].map((outBits) => ({ ...own, params: { ...params, outBits } }));
}

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

/**
 * What an element may come to: every integer within one unit of the exact value, in the ring of the result. A comparison
 * that leaves out more than is cut off may take small values for either sign (encoded) or positive ones for zero (garbled).
 */
function isRight({ kind, params }: Case, x: number, y: number): boolean {
  const { dropBits, shift, outBits, comparison } = params;
  const exact = x / 2 ** shift;
  const same = (value: number) => signed(y - value, outBits) === 0;
  const near = (value: number) => {
    const [from, to] = [Math.ceil(value - 1), Math.floor(value + 1)];
    return Array.from({ length: to - from + 1 }, (_, i) => from + i).some(same);
  };
  switch (kind) {
    case SQUARE:
      // X is exact to one unit and its square is exact: y must be the square of a neighbour of x / 2^f.
      return [Math.floor(exact), Math.floor(exact) + 1].some((v) => same(v * v));
    case IDENTITY:
      return near(exact);
    case RELU: {
      if (near(Math.max(exact, 0))) return true;
      const coin = dropBits > shift && x >= -(2 ** dropBits) && x < 2 ** dropBits;
      if (comparison === 'garbled') return coin && x >= 0 && same(0);
      return coin && (same(0) || near(exact));
    }
  }
}

function run(own: Case, x: Int32Array, seed: Uint8Array, c?: Int32Array): LaneRun {
  const given = { ring: ringOf(own), ...(c === undefined ? {} : { c }) };
  return runLane(gadgetOf(own), own.params, x, seed, given);
}

/** The elements that came out wrong, as sentences. */
function wrong(own: Case, x: Int32Array, y: Int32Array): string[] {
  const found: string[] = [];
  x.forEach((value, i) => {
    if (!isRight(own, value, y[i]!)) found.push(`${y[i]} for ${value}`);
  });
  return found;
}

const relus = (comparison: Comparison): Case[] => [
  caseOf(RELU, 29, 11, 15, comparison),
  caseOf(RELU, 31, 13, 16, comparison),
  caseOf(RELU, 30, 9, 9, comparison),
  caseOf(RELU, 31, 1, 30, comparison),
  caseOf(RELU, 17, 15, 16, comparison),
  caseOf(RELU, 18, 15, 16, comparison),
  caseOf(RELU, 2, 0, 1, comparison),
  caseOf(RELU, 24, 0, 0, comparison),
  // Here more is left out than cut off.
  caseOf(RELU, 30, 15, 9, comparison),
  caseOf(RELU, 26, 15, 11, comparison),
];

const cases: Case[] = [
  ...COMPARISONS.flatMap(relus),
  caseOf(IDENTITY, 30, 12, 12),
  caseOf(IDENTITY, 20, 0, 0),
  caseOf(IDENTITY, 30, 1, 1),
  caseOf(SQUARE, 30, 12, 16),
  caseOf(SQUARE, 28, 12, 16),
  caseOf(SQUARE, 25, 12, 16),
  caseOf(SQUARE, 14, 0, 0),
  caseOf(SQUARE, 17, 0, 1),
  caseOf(SQUARE, 18, 0, 2),
  caseOf(SQUARE, 30, 0, 29),
  caseOf(SQUARE, 12, 0, 30),
];

const titleOf = ({ kind, params }: Case) =>
  `${kindOf(kind).name} k=${params.rangeBits} t=${params.dropBits} f=${params.shift}` +
  (kindOf(kind).compares ? `, ${params.comparison}` : '');

describe('activation gadgets', () => {
  for (const [index, own] of cases.entries()) {
    it(`${titleOf(own)}: right on 106,496 values, and on every boundary`, () => {
      const { params } = own;
      const narrower = ringsOut(own);
      for (let lane = 0; lane < 13; lane++) {
        const seed = deriveSeed(testSeed(index), 'lane', lane);
        const x = randomValues(params, 8192, seed);
        const out = narrower[lane % narrower.length]!;
        expect(wrong(out, x, run(out, x, seed).y), `o = ${out.params.outBits}`).toEqual([]);
      }
      const values = boundaryValues(params);
      const x = Int32Array.from(values.flatMap((v) => boundaryShares.map(() => v)));
      const c = Int32Array.from(values.flatMap(() => boundaryShares));
      // The random bits of a boundary are drawn several times.
      for (let i = 0; i < 16; i++) {
        const out = narrower[i % narrower.length]!;
        const { y } = run(out, x, deriveSeed(testSeed(index), 'boundary', i), c);
        expect(wrong(out, x, y), `o = ${out.params.outBits}`).toEqual([]);
      }
    });
  }

  /** Every value that a layer of these numbers may meet, with every share of w bits. */
  function everything(own: Case): { x: Int32Array; c: Int32Array } {
    const limit = limitOf(own.params);
    const shares = 2 ** ringOf(own);
    const all = Array.from({ length: (2 * limit + 1) * shares }, (_, i) => i);
    return {
      x: Int32Array.from(all, (i) => Math.floor(i / shares) - limit),
      c: Int32Array.from(all, (i) => i % shares),
    };
  }

  it.each(KINDS)(
    'kind %i: right for all shares of all values of small ranges, whatever f and o',
    (kind) => {
      const tried = COMPARISONS.filter((name) => name === 'encoded' || kindOf(kind).compares);
      for (const comparison of tried) {
        for (const rangeBits of [2, 3, 4]) {
          for (
            let dropBits = 0;
            dropBits <= (kindOf(kind).compares ? rangeBits - 2 : 0);
            dropBits++
          ) {
            for (let shift = 0; shift <= rangeBits + 1; shift++) {
              for (let outBits = 2; outBits <= 7; outBits++) {
                const own = caseOf(kind, rangeBits, dropBits, shift, comparison, outBits);
                const { x, c } = everything(own);
                const seed = deriveSeed(testSeed(73), comparison, 8 * shift + outBits);
                expect(wrong(own, x, run(own, x, seed, c).y), JSON.stringify(own)).toEqual([]);
              }
            }
          }
        }
      }
    },
  );

  for (const comparison of COMPARISONS) {
    it(`a ReLU compares any number of bits from 1 to 30, ${comparison}`, () => {
      for (let m = 1; m <= 30; m++) {
        for (const dropBits of [0, 3].filter((t) => m + 1 + t <= 31)) {
          const own = caseOf(
            RELU,
            m + 1 + dropBits,
            dropBits,
            Math.min(dropBits + 1, m),
            comparison,
          );
          const seed = deriveSeed(testSeed(70), 'width', 2 * m + dropBits);
          const x = randomValues(own.params, 777, seed);
          expect(wrong(own, x, run(own, x, seed).y), `m = ${m}, t = ${dropBits}`).toEqual([]);
          const edges = Int32Array.from(boundaryValues(own.params));
          expect(wrong(own, edges, run(own, edges, seed).y), `m = ${m}`).toEqual([]);
        }
      }
    });
  }

  it('an exact ReLU of whole numbers is exact: with f = t = 0 nothing is rounded', () => {
    for (const comparison of COMPARISONS) {
      const own = caseOf(RELU, 20, 0, 0, comparison);
      const x = Int32Array.from({ length: 4096 }, (_, i) => (i % 9) - 4);
      expect(run(own, x, testSeed(71)).y).toEqual(x.map((value) => Math.max(value, 0)));
    }
  });

  it('two bits of a share that are left out decide as the law says: (2^t + x + 1) / 2^(t+1) pass', () => {
    const own = caseOf(RELU, 30, 15, 9);
    const n = 16384;
    for (const value of [-32768, -24576, -16384, -512, 512, 8192, 16384, 32767]) {
      const { y } = run(own, new Int32Array(n).fill(value), testSeed(72));
      const passed = y.reduce((sum, v) => sum + (v === 0 ? 0 : 1), 0) / n;
      const law = (2 ** 15 + value + 1) / 2 ** 16;
      // Five standard deviations. A value of one unit may be rounded to 0 although it passed.
      const spread = 5 * Math.sqrt((law * (1 - law)) / n) + 1e-9;
      const unit = Math.abs(value) === 512 ? 0.5 * law : 0;
      expect(passed, `x = ${value}`).toBeGreaterThanOrEqual(law - spread - unit);
      expect(passed, `x = ${value}`).toBeLessThanOrEqual(law + spread);
    }
  });

  it('any size, any parameters: exact lengths, right values', () => {
    const params = fc
      .record({
        kind: fc.constantFrom(...KINDS),
        comparison: fc.constantFrom(...COMPARISONS),
        rangeBits: fc.integer({ min: 2, max: 30 }),
        drop: fc.nat(30),
        shift: fc.nat(20),
        outBits: fc.integer({ min: 2, max: 32 }),
        n: fc.integer({ min: 1, max: 1100 }),
        seed: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      })
      .map(({ kind, comparison, rangeBits, drop, shift, outBits, n, seed }) => {
        const f = kind === SQUARE ? Math.max(shift, rangeBits - 16) : shift;
        const dropBits = Math.min(drop, rangeBits - 2);
        return { own: caseOf(kind, rangeBits, dropBits, f, comparison, outBits), n, seed };
      });
    fc.assert(
      fc.property(params, ({ own, n, seed }) => {
        const x = randomValues(own.params, n, seed);
        const lane = run(own, x, seed);
        expect(wrong(own, x, lane.y)).toEqual([]);
        const { corrections, tables, material, result } = lane;
        expect({
          corrections: corrections.length,
          tables: tables.length,
          material: material.length,
          result: result.length,
        }).toEqual(gadgetOf(own).bytes(own.params, n));
      }),
      { numRuns: 100, seed: 1 },
    );
  });
});

describe('what crosses the wire of a gadget', () => {
  const kinds = [
    caseOf(RELU, 30, 15, 9, 'encoded', 27),
    caseOf(IDENTITY, 30, 12, 12, 'encoded', 27),
    caseOf(SQUARE, 28, 12, 16, 'encoded', 27),
  ];
  const messages = ['corrections', 'tables', 'material', 'result'] as const;

  for (const own of kinds) {
    it(`${titleOf(own)}: is uniform for every value and every share`, () => {
      const values = [0, 1, -1, limitOf(own.params), -limitOf(own.params)];
      for (const [index, value] of values.entries()) {
        for (const [place, share] of boundaryShares.entries()) {
          const x = new Int32Array(8192).fill(value);
          const c = new Int32Array(8192).fill(share);
          const seed = deriveSeed(testSeed(100), `${own.kind} ${index}`, place);
          const lane = run(own, x, seed, c);
          for (const message of messages.filter((name) => lane[name].length > 0)) {
            expect(chiSquare(lane[message]), `${message}, x = ${value}, c = ${share}`).toBeLessThan(
              CHI_SQUARE_LIMIT,
            );
          }
        }
      }
    });

    it(`${titleOf(own)}: two bundles mask the same value with bits that have nothing in common`, () => {
      const x = new Int32Array(8192).fill(12345);
      const c = new Int32Array(8192).fill(-1);
      const [one, other] = [110, 111].map((seed) => run(own, x, testSeed(seed), c));
      for (const message of messages.filter((name) => one![name].length > 0)) {
        const difference = one![message].map((byte, i) => byte ^ other![message][i]!);
        expect(chiSquare(difference), message).toBeLessThan(CHI_SQUARE_LIMIT);
      }
    });
  }
});
