import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernels } from '../../../protocol/kernels/index.ts';
import { MODULUS, PRIMES } from '../../../protocol/linear/lattice/parameters.ts';
import {
  constantQuotient,
  invert,
  transformOf,
} from '../../../protocol/linear/lattice/transform.ts';
import { Prg } from '../../../protocol/random/index.ts';
import { testSeed } from '../linear/layers.ts';

const { arena, rlwe } = kernels();
const [P1, P2] = PRIMES;
const Q = BigInt(MODULUS);

const mod = (x: bigint, q: bigint) => ((x % q) + q) % q;

/** floor((2 x + y) / (2 y)): x / y rounded half up. */
const divideRounded = (x: bigint, y: bigint) => {
  const numerator = 2n * x + y;
  return (numerator - mod(numerator, 2n * y)) / (2n * y);
};

const wide = (pointer: number, n: number) => new BigUint64Array(arena.memory.buffer, pointer, n);

/** n values below `bound`: uniform ones, the smallest and the largest. */
function below(bound: number, n: number, name: string): number[] {
  const random = new Prg(testSeed(name));
  const words = new BigUint64Array(n);
  random.fill(new Uint8Array(words.buffer));
  const values = Array.from(words, (x) => Number(x % BigInt(bound)));
  return [0, 1, bound - 1, bound - 2, Math.floor(bound / 2), ...values].slice(0, n);
}

const N = 256;

describe('encoding', () => {
  it.each(PRIMES)('is round(q m / 2^32) + error modulo %i', (prime) => {
    arena.scope(() => {
      const random = new Prg(testSeed('messages'));
      const message = new Int32Array(N);
      random.fill(new Uint8Array(message.buffer));
      message.set([0, 1, -1, 2, 0x7fffffff, -0x80000000, -0x7fffffff]);
      const error = message.map((x) => (x % 22) | 0);
      const out = arena.alloc(4 * N);
      const { negativeInverse } = transformOf(2048, prime);
      const scale = Number(mod(-Q, 1n << 32n));
      const pointers = [arena.put(message), arena.put(error)] as const;
      rlwe.encode(out, ...pointers, N, scale, prime, negativeInverse);
      arena.i32(out, N).forEach((x, i) => {
        // Half, at m = -2^31 only, rounds down.
        const exact = BigInt(error[i]!) - divideRounded(-Q * BigInt(message[i]!), 1n << 32n);
        expect(mod(BigInt(x), BigInt(prime))).toBe(mod(exact, BigInt(prime)));
        expect(x > -prime && x < 2 * prime).toBe(true);
      });
    });
  });
});

describe('residues', () => {
  it('compose to the value modulo q and split again', () => {
    arena.scope(() => {
      const values = below(MODULUS, N, 'compose');
      const x = arena.put(Uint32Array.from(values, (v) => v % P1));
      const y = arena.put(Uint32Array.from(values, (v) => v % P2));
      const out = arena.alloc(8 * N);
      const inverse = invert(P1, P2);
      rlwe.compose(out, x, y, N, P1, P2, inverse, constantQuotient(inverse, P2));
      expect([...wide(out, N)].map(Number)).toEqual(values);
      const back = arena.alloc(4 * N);
      for (const prime of [P1, P2]) {
        rlwe.split(back, out, N, prime);
        expect([...arena.u32(back, N)]).toEqual(values.map((v) => v % prime));
      }
    });
  });

  it('round to the ring at some positions', () => {
    arena.scope(() => {
      const values = below(MODULUS, N, 'round');
      const x = arena.put(Uint32Array.from(values, (v) => v % P1));
      const y = arena.put(Uint32Array.from(values, (v) => v % P2));
      const positions = Uint32Array.from({ length: 60 }, (_, i) => (i * 37) % N);
      const at = arena.put(positions);
      const out = arena.alloc(4 * 60);
      const inverse = invert(P1, P2);
      const constants = [P1, P2, inverse, constantQuotient(inverse, P2)] as const;
      for (const bits of [2, 20, 28, 32]) {
        rlwe.roundAt(out, x, y, at, 60, ...constants, bits, 2 ** bits / MODULUS);
        const expected = [...positions].map((at) =>
          Number(mod(divideRounded(BigInt(values[at]!) << BigInt(bits), Q), 1n << BigInt(bits))),
        );
        expect([...arena.u32(out, 60)]).toEqual(expected);
      }
    });
  });

  it('take small signed terms', () => {
    arena.scope(() => {
      const values = below(P1, N, 'small');
      const small = Int32Array.from(values, (v, i) => (i % 4 < 2 ? 1 : -1) * (v % 22));
      small.set([-21, -1, 1, 21]);
      const x = arena.put(Uint32Array.from(values));
      rlwe.addSmall(x, arena.put(small), N, P1);
      expect([...arena.u32(x, N)]).toEqual(values.map((v, i) => (v + small[i]! + P1) % P1));
    });
  });
});

describe('values modulo q', () => {
  it('lose only their low bits on the wire', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 1, max: 67 }), (drop, n) => {
        arena.scope(() => {
          const values = below(MODULUS, n, `pack ${drop}`);
          const width = 52 - drop;
          const bytes = Math.ceil((n * width) / 8);
          const src = arena.put(BigUint64Array.from(values, BigInt));
          const packed = arena.alloc(bytes + 8);
          arena.u8(packed, bytes + 8).fill(0xff);
          rlwe.packRounded(packed, src, n, drop, width);
          const out = arena.alloc(8 * n);
          expect(rlwe.unpackRounded(out, packed, n, drop, width, MODULUS)).toBe(0);
          const expected = values.map(
            (v) => (divideRounded(BigInt(v), 1n << BigInt(drop)) << BigInt(drop)) % Q,
          );
          // A rounding up to 2^52 or above wraps once.
          expect([...wide(out, n)].map((v) => v % Q)).toEqual(expected);
        });
      }),
      { numRuns: 60, seed: 2 },
    );
  });

  it('are refused above the largest rounded value', () => {
    for (const drop of [0, 8, 20]) {
      arena.scope(() => {
        const largest = divideRounded(Q - 1n, 1n << BigInt(drop));
        const width = 52 - drop;
        const packed = arena.alloc(64);
        const out = arena.alloc(16);
        const put = (value: bigint) => {
          arena.u8(packed, 64).fill(0);
          new DataView(arena.memory.buffer).setBigUint64(packed, value, true);
        };
        put(largest);
        expect(rlwe.unpackRounded(out, packed, 1, drop, width, MODULUS)).toBe(0);
        put(largest + 1n);
        expect(rlwe.unpackRounded(out, packed, 1, drop, width, MODULUS)).toBe(1);
      });
    }
  });
});

describe('packed residues', () => {
  it('come back and are refused from the prime on', () => {
    arena.scope(() => {
      const values = Uint32Array.from(below(P2, N, 'residues'));
      const packed = arena.alloc((N * 26) / 8 + 8);
      const out = arena.alloc(4 * N);
      rlwe.packResidues(packed, arena.put(values), N, 26);
      expect(rlwe.unpackResidues(out, packed, N, 26, P2)).toBe(0);
      expect(arena.u32(out, N)).toEqual(values);
      expect(rlwe.unpackResidues(out, packed, N, 26, P2 - 1)).toBe(
        values.filter((v) => v >= P2 - 1).length,
      );
    });
  });
});

describe('samplers', () => {
  it('keep exactly the words below the bound, in order', () => {
    arena.scope(() => {
      const out = arena.alloc(8 * 8);
      const words = arena.put(Uint32Array.of(P1 - 1, P1, 0, 0x3ffffff, P1 + 1, 0xfc000005, 7, 8));
      expect(rlwe.sampleResidues(out, 4, words, 8, P1)).toBe(4);
      expect([...arena.u32(out, 4)]).toEqual([P1 - 1, 0, 5, 7]);
      expect(rlwe.sampleResidues(out, 8, words, 3, P1)).toBe(2);
      const long = arena.put(BigUint64Array.of(Q - 1n, Q, (1n << 52n) - 1n, (7n << 52n) + 3n));
      expect(rlwe.sampleBelow(out, 4, long, 4, MODULUS)).toBe(2);
      expect([...wide(out, 2)]).toEqual([Q - 1n, 3n]);
    });
  });

  it('make every ternary value from exactly 85 bytes and refuse byte 255', () => {
    arena.scope(() => {
      const all = arena.put(Uint8Array.from({ length: 256 }, (_, i) => i));
      const out = arena.alloc(4 * 256);
      expect(rlwe.sampleTernary(out, 256, all, 256)).toBe(255);
      const values = [...arena.i32(out, 255)];
      for (const value of [-1, 0, 1]) expect(values.filter((v) => v === value)).toHaveLength(85);
    });
  });

  it('count the bits of the centred binomial', () => {
    arena.scope(() => {
      const bytes = new Uint8Array(6 * 32);
      new Prg(testSeed('binomial')).fill(bytes);
      // Lanes of one kind of bits each.
      for (let vector = 0; vector < 6; vector++) {
        bytes.set([0, 0xff, vector < 3 ? 0xff : 0, vector < 3 ? 0 : 0xff, 0xe0, 1], 16 * vector);
      }
      const out = arena.alloc(4 * 32);
      rlwe.sampleBinomial(out, arena.put(bytes), 32);
      const ones = (x: number) => [...x.toString(2)].filter((bit) => bit === '1').length;
      const expected = Array.from({ length: 32 }, (_, i) => {
        const at = 96 * (i >> 4) + (i & 15);
        const half = (from: number) =>
          ones(bytes[from]!) + ones(bytes[from + 16]!) + ones(bytes[from + 32]! & 31);
        return half(at) - half(at + 48);
      });
      expect([...arena.i32(out, 32)]).toEqual(expected);
      expect(expected.slice(0, 6)).toEqual([0, 0, 21, -21, 0, 0]);
    });
  });
});
