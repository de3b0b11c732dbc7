import { describe, expect, it } from 'vitest';
import { kernels } from '../../../protocol/kernels/index.ts';
import { DEGREE, PRIMES } from '../../../protocol/linear/lattice/parameters.ts';
import { transformOf } from '../../../protocol/linear/lattice/transform.ts';
import { Prg } from '../../../protocol/random/index.ts';
import { testSeed } from '../linear/layers.ts';

/** x y mod (X^n + 1, p) by the definition. */
function schoolbook(x: Int32Array, y: Int32Array, p: number): Uint32Array {
  const n = x.length;
  const sums = new Array<bigint>(n).fill(0n);
  for (let i = 0; i < n; i++) {
    if (x[i] === 0) continue;
    for (let j = 0; j < n; j++) {
      const product = BigInt(x[i]!) * BigInt(y[j]!);
      sums[(i + j) % n]! += i + j < n ? product : -product;
    }
  }
  const q = BigInt(p);
  return Uint32Array.from(sums, (s) => Number(((s % q) + q) % q));
}

/** Uniform signed integers of `bits` bits. */
function signed(random: Prg, n: number, bits: number): Int32Array {
  const out = new Int32Array(n);
  random.fill(new Uint8Array(out.buffer));
  return out.map((x) => x >> (32 - bits));
}

const rings = PRIMES.map((prime) => ({ degree: DEGREE, prime }));

describe.each(rings)('transform of degree $degree modulo $prime', ({ degree, prime }) => {
  const { arena, ntt } = kernels();
  const ring = transformOf(degree, prime);

  it('comes back, for values in the whole range it promises', () => {
    arena.scope(() => {
      const random = new Prg(testSeed('round trip'));
      for (const values of [
        signed(random, degree, 27).map((x) => Math.max(x, 1 - prime)),
        new Int32Array(degree).fill(1 - prime),
        new Int32Array(degree).fill(2 * prime - 1),
        new Int32Array(degree).fill(prime - 1),
        new Int32Array(degree),
      ]) {
        const x = arena.put(values);
        ring.forward(x, x);
        expect(arena.u32(x, degree).every((y) => y < prime)).toBe(true);
        ring.inverse(x);
        const residues = Uint32Array.from(values, (y) => ((y % prime) + prime) % prime);
        expect(arena.u32(x, degree)).toEqual(residues);
      }
    });
  });

  it('turns the negacyclic product into pointwise products', () => {
    arena.scope(() => {
      const random = new Prg(testSeed('product'));
      // A few dense rows of the schoolbook product, so that BigInt stays quick; both ends of the index range.
      const x = new Int32Array(degree);
      for (const i of [0, 1, 2, 3, 5, 8, 513, degree / 2, degree - 2, degree - 1]) {
        x[i] = signed(random, 1, 26)[0]!;
      }
      const y = signed(random, degree, 26);
      const expected = schoolbook(x, y, prime);
      const px = arena.put(x);
      const py = arena.put(y);
      ring.forward(px, px);
      ring.forward(py, py);
      const factors = [arena.u32(px, degree).slice(), arena.u32(py, degree).slice()] as const;

      // As one product ...
      const montgomery = arena.put(factors[0]);
      ring.toMontgomery(montgomery);
      const product = arena.put(factors[1]);
      ring.multiply(product, montgomery);
      ring.inverse(product);
      expect(arena.u32(product, degree)).toEqual(expected);

      // ... subtracted from zero ...
      const difference = arena.put(new Uint32Array(degree));
      ring.subtractProduct(difference, py, montgomery);
      ring.inverse(difference);
      expect(arena.u32(difference, degree)).toEqual(expected.map((v) => (prime - v) % prime));

      // ... and as a sum of products.
      const sums = arena.put(new Uint8Array(8 * degree));
      const factor = arena.put(factors[1]);
      for (let i = 0; i < 3; i++) ntt.accumulateProduct(sums, factor, px, degree);
      const out = arena.alloc(4 * degree);
      ring.inverseOfSums(out, sums);
      expect(arena.u32(out, degree)).toEqual(expected.map((v) => (3 * v) % prime));
    });
  });

  it('folds and reduces the largest sums', () => {
    arena.scope(() => {
      const sums = arena.alloc(8 * degree);
      const lanes = new BigUint64Array(arena.memory.buffer, sums, degree);
      const largest = 1024n * BigInt(prime - 1) ** 2n + (1n << 59n);
      for (let i = 0; i < degree; i++) lanes[i] = largest - BigInt(i);
      const before = lanes.map((x) => x % BigInt(prime));
      ntt.foldSums(sums, degree, ring.radix);
      expect(lanes.every((x) => x < 1n << 59n)).toBe(true);
      expect(lanes.map((x) => x % BigInt(prime))).toEqual(before);
      for (let i = 0; i < degree; i++) lanes[i] = (1n << 63n) - 1n - BigInt(i);
      const wanted = lanes.map((x) => x % BigInt(prime));
      const reduced = arena.alloc(4 * degree);
      ntt.reduceSums(reduced, sums, degree, prime, ring.negativeInverse);
      const back = BigUint64Array.from(
        arena.u32(reduced, degree),
        (x) => (BigInt(x) << 32n) % BigInt(prime),
      );
      expect(back).toEqual(wanted);
    });
  });
});

describe('permanent kernel memory', () => {
  const { arena } = kernels();

  it('outlives the scope it was made in and is never handed out again', () => {
    const table = arena.scope(() => {
      const pointer = arena.permanent(20);
      arena.u8(pointer, 20).fill(7);
      return pointer;
    });
    expect(table % 16).toBe(0);
    expect(arena.permanent(16)).toBe(table - 16);
    arena.scope(() => {
      const free = table - 16 - arena.alloc(0);
      const all = arena.alloc(free);
      arena.u8(all, free).fill(1);
      expect(() => arena.alloc(1)).toThrow(RangeError);
      expect(() => arena.permanent(1)).toThrow(RangeError);
    });
    expect(arena.u8(table, 20).every((x) => x === 7)).toBe(true);
    expect(() => arena.permanent(-1)).toThrow(RangeError);
  });
});
