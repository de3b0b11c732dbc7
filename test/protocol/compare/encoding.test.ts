import { describe, expect, it } from 'vitest';
import {
  type ComparedBits,
  comparedBits,
  comparisonBytes,
  MAX_COMPARED_BITS,
} from '../../../protocol/compare/encoding.ts';
import { getBit } from '../../../protocol/gadgets/bits.ts';
import { deriveSeed, Prg, randomRing } from '../../../protocol/random/index.ts';
import { isLong } from '../../support/long.ts';
import { bitsFrom, lawOf } from './reference.ts';
import { comparisonOf, run, runReference, withoutStray } from './support.ts';

const seedOf = (m: number, i: number): Uint8Array =>
  deriveSeed(new Uint8Array(16), 'compare', m, i);

/** m bits compared, with as many left out as there is room for, three at most. */
const paramsOf = (m: number): ComparedBits => {
  const dropBits = Math.min(3, MAX_COMPARED_BITS - m);
  return { rangeBits: m + 1 + dropBits, dropBits };
};

/** Around the ends of bytes, of groups and of hash keys. */
const SIZES = [1, 7, 8, 127, 128, 129, 1025];
const MORE_SIZES = [1023, 1024, 2100];

const long = isLong('encodings');

/** The larger sizes take the longest and differ in no m: some are enough, of one block of pads, of two and of most. */
const sizesOf = (m: number): number[] =>
  long || [1, 2, 3, 11, 14, 31].includes(m) ? [...SIZES, ...MORE_SIZES] : SIZES;

const widths = Array.from({ length: MAX_COMPARED_BITS }, (_, i) => i + 1);

function randomComparison(m: number, n: number) {
  const random = new Prg(seedOf(m, n));
  const [a, c] = [randomRing(random, n), randomRing(random, n)];
  return comparisonOf(paramsOf(m), a, c, deriveSeed(seedOf(m, n), 'own'));
}

/** The bits of e below n, without those that mean nothing. */
const meaning = (e: Uint8Array, n: number): number[] =>
  Array.from({ length: n }, (_, i) => getBit(e, i));

describe('the encoded comparison', () => {
  it('sends bit for bit what the reference sends, for every m and around every boundary of n', () => {
    for (const m of widths) {
      for (const n of sizesOf(m)) {
        const own = randomComparison(m, n);
        const [module, reference] = [run(own), runReference(own)];
        const title = `m = ${m}, n = ${n}`;
        for (const sent of ['corrections', 'message'] as const) {
          const { bits } = withoutStray(module[sent], n);
          expect(Buffer.compare(bits, reference[sent]), `${title}, ${sent}`).toBe(0);
        }
        expect(meaning(module.e, n), title).toEqual(meaning(reference.e, n));
        const { corrections, message } = comparisonBytes(own.params, n);
        expect([module.corrections.length, module.message.length]).toEqual([corrections, message]);
      }
    }
  });

  it('sends in bits that stand for no element nothing that depends on a secret', () => {
    for (const m of [1, 2, 3, 10, 31]) {
      for (const n of [1, 7, 129, 1025]) {
        const random = new Prg(seedOf(m, n + 1));
        const [a, c] = [randomRing(random, n), randomRing(random, n)];
        const other = run(comparisonOf(paramsOf(m), a, c, deriveSeed(seedOf(m, n), 'other')));
        const one = run(randomComparison(m, n));
        for (const sent of ['corrections', 'message'] as const) {
          const title = `m = ${m}, n = ${n}, ${sent}`;
          expect(withoutStray(one[sent], n).stray, title).toEqual(
            withoutStray(other[sent], n).stray,
          );
        }
      }
    }
  });

  it('gives the client b xor pi with b as the law says, on random and on all boundary shares', () => {
    for (const m of widths) {
      const { rangeBits, dropBits } = paramsOf(m);
      const edges = [
        0,
        1,
        2,
        2 ** (m - 1),
        2 ** m - 2,
        2 ** m - 1,
        2 ** m,
        2 ** m + 1,
        2 ** (m + 1) - 1,
      ];
      const shares = edges.flatMap((edge) => {
        const share = (edge % 2 ** (m + 1)) * 2 ** dropBits;
        return [share | 0, (share + 2 ** dropBits - 1) | 0];
      });
      const pairs = shares.flatMap((a) => shares.map((c): [number, number] => [a, c]));
      // All compared bits of the sum are ones: there a bit of a decides.
      const random = randomRing(new Prg(seedOf(m, 0)), 3000);
      for (let i = 0; i < 1000; i++) pairs.push([random[i]!, ~random[i]!]);
      for (let i = 1000; i < 3000; i += 2) pairs.push([random[i]!, random[i + 1]!]);
      const [a, c] = [0, 1].map((side) => Int32Array.from(pairs, (pair) => pair[side]!));
      const own = comparisonOf({ rangeBits, dropBits }, a!, c!, seedOf(m, 1));
      const { e } = run(own);
      const wrong = pairs.filter((pair, i) => {
        const [ours, theirs] = pair.map((share) => bitsFrom(share, rangeBits - 1, m + 1));
        return (getBit(e, i) ^ getBit(own.pi, i)) !== lawOf(ours!, theirs!);
      });
      expect(wrong, `m = ${m}`).toEqual([]);
    }
  });

  it('says of x whether it is negative, except where the law leaves it to a coin', () => {
    const params = { rangeBits: 20, dropBits: 6 };
    const limit = 2 ** 19 - 2 ** 6;
    const random = new Prg(seedOf(0, 2));
    const x = randomRing(random, 4096).map((word, i) => (word % limit) >> (i % 15));
    const c = randomRing(random, 4096);
    const a = x.map((value, i) => value - c[i]!);
    const own = comparisonOf(params, a, c, seedOf(0, 3));
    const { e } = run(own);
    const wrong = x.filter((value, i) => {
      const b = getBit(e, i) ^ getBit(own.pi, i);
      return b !== (value >= 0 ? 1 : 0) && (value < -64 || value >= 64);
    });
    expect([...wrong]).toEqual([]);
  });

  it('takes 1 to 31 bits beside the sign', () => {
    expect(comparedBits({ rangeBits: 32, dropBits: 0 })).toBe(31);
    expect(comparedBits({ rangeBits: 9, dropBits: 7 })).toBe(1);
    for (const dropBits of [8, 9]) {
      expect(() => comparedBits({ rangeBits: 9, dropBits })).toThrow(RangeError);
    }
    expect(() => comparedBits({ rangeBits: 33, dropBits: 0 })).toThrow(RangeError);
  });
});
