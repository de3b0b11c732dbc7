import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  deriveSeed,
  freshSeed,
  Prg,
  randomBytes,
  randomRing,
  SEED_BYTES,
  systemRandom,
} from '../../../protocol/random/index.ts';
import { hex } from '../../support/bytes.ts';

const seed = new Uint8Array(16).fill(7);

describe('Prg', () => {
  it('is AES-128-CTR of zeros under its seed', () => {
    // AES of the zero block under the zero key (also the hash key of GCM with the zero key, its test case 1).
    expect(hex(randomBytes(new Prg(new Uint8Array(16)), 16))).toBe(
      '66e94bd4ef8a2c3b884cfa59ca342b2e',
    );
  });

  it('gives one stream however whole blocks are asked for', () => {
    const whole = randomBytes(new Prg(seed), 96);
    const parts = new Prg(seed);
    const pieces = [16, 48, 32].map((length) => hex(randomBytes(parts, length))).join('');
    expect(pieces).toBe(hex(whole));
    expect(hex(randomBytes(new Prg(seed, 2), 64))).toBe(hex(whole.subarray(32)));
  });

  it('never hands out a byte twice after a partial block', () => {
    const prg = new Prg(seed);
    randomBytes(prg, 17);
    expect(hex(randomBytes(prg, 16))).toBe(hex(randomBytes(new Prg(seed, 2), 16)));
  });

  it('keeps its own copy of the seed', () => {
    const mine = seed.slice();
    const prg = new Prg(mine);
    mine.fill(0);
    expect(hex(randomBytes(prg, 16))).toBe(hex(randomBytes(new Prg(seed), 16)));
  });

  it('refuses seeds of another length', () => {
    expect(() => new Prg(new Uint8Array(15))).toThrow(RangeError);
    expect(() => new Prg(new Uint8Array(32))).toThrow(RangeError);
  });
});

describe('deriveSeed', () => {
  it('is SHA-256 of parent, lengths, label and indices, cut to 16 bytes', () => {
    const message = Buffer.concat([
      seed,
      Buffer.from([4, 0, 0, 0, 2, 0, 0, 0]),
      Buffer.from('mask'),
      Buffer.from([5, 0, 0, 0, 0, 1, 0, 0]),
    ]);
    const expected = createHash('sha256').update(message).digest().subarray(0, SEED_BYTES);
    expect(hex(deriveSeed(seed, 'mask', 5, 256))).toBe(hex(expected));
  });

  it('separates labels, indices and their lengths', () => {
    const seeds = [
      deriveSeed(seed, 'a'),
      deriveSeed(seed, 'b'),
      deriveSeed(seed, 'a', 0),
      deriveSeed(seed, 'a', 0, 0),
      deriveSeed(seed, 'a', 1),
      deriveSeed(seed, 'a\0\0\0\0'),
      deriveSeed(deriveSeed(seed, 'a'), 'a'),
    ].map(hex);
    expect(new Set(seeds).size).toBe(seeds.length);
  });

  it('refuses parents that are not seeds', () => {
    expect(() => deriveSeed(new Uint8Array(8), 'a')).toThrow(RangeError);
  });
});

/** Which bits of a seed change nothing of what is made of it. */
function idleBits(make: (from: Uint8Array) => Uint8Array): number[] {
  const base = hex(make(seed));
  return Array.from({ length: 8 * SEED_BYTES }, (_, bit) => bit).filter((bit) => {
    const flipped = seed.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    return hex(make(flipped)) === base;
  });
}

/** Dimension over GF(2) of 16-byte strings: 256 uniform ones have 128, but once in 2^128 times. */
function dimension(strings: readonly Uint8Array[]): number {
  const rows = strings.map((bytes) => BigInt(`0x${hex(bytes)}`));
  let rank = 0;
  for (let bit = 127n; bit >= 0n; bit--) {
    const pivot = rows.findIndex((row, i) => i >= rank && (row >> bit) & 1n);
    if (pivot < 0) continue;
    [rows[rank], rows[pivot]] = [rows[pivot]!, rows[rank]!];
    for (let i = rank + 1; i < rows.length; i++)
      if ((rows[i]! >> bit) & 1n) rows[i]! ^= rows[rank]!;
    rank++;
  }
  return rank;
}

describe('a seed', () => {
  /** A generator that gives some bytes, then a stream of them. */
  const giving = (bytes: Uint8Array) => ({
    fill: (out: Uint8Array) => out.set(bytes.subarray(0, out.length)),
  });
  const makers: Record<string, (from: Uint8Array) => Uint8Array> = {
    'one that is derived': (from) => deriveSeed(from, 'a', 1),
    'a fresh one': (from) => freshSeed(giving(from)),
    'a stream': (from) => randomBytes(new Prg(from), 16),
  };

  it.each(Object.entries(makers))(
    'all bits count, those of its origin and its own, so that nobody can try all: %s',
    (_, make) => {
      expect(idleBits(make)).toEqual([]);
      const source = new Prg(seed);
      expect(dimension(Array.from({ length: 256 }, () => make(randomBytes(source, 16))))).toBe(128);
      // Cut to 32 bits on either side it is caught.
      const short = (bytes: Uint8Array) => bytes.slice().fill(0, 4);
      expect(idleBits((from) => make(short(from))).length).toBe(96);
      const ends = Array.from({ length: 256 }, () => short(make(randomBytes(source, 16))));
      expect(dimension(ends)).toBe(32);
    },
  );

  it('of 12 bits gives the server the input: it tries all until what is left is small; none fits a whole one', () => {
    const input = Int32Array.from({ length: 64 }, (_, i) => (i * 37) % 1000);
    const read = (own: Uint8Array): Int32Array | undefined => {
      const masks = (from: Uint8Array) => randomRing(new Prg(deriveSeed(from, 'mask', 0)), 64);
      const r = masks(own);
      const masked = input.map((x, i) => x - r[i]!);
      for (let candidate = 0; candidate < 2 ** 12; candidate++) {
        const guess = new Uint8Array(16);
        guess.set([candidate & 255, candidate >> 8]);
        const tried = masks(guess);
        const values = masked.map((x, i) => x + tried[i]!);
        if (values.every((x) => Math.abs(x) < 1024)) return values;
      }
      return undefined;
    };
    const short = new Uint8Array(16);
    short.set([0xa7, 0x0c]);
    expect(read(short)).toEqual(input);
    expect(read(deriveSeed(short, 'whole'))).toBeUndefined();
  });
});

describe('system randomness', () => {
  it('fills long buffers to their end, differently each time', () => {
    const out = randomBytes(systemRandom, 3 * 65536 + 5);
    for (let start = 0; start < out.length; start += 65536) {
      expect(out.subarray(start, start + 65536).some((byte) => byte !== 0)).toBe(true);
    }
    expect(hex(freshSeed())).not.toBe(hex(freshSeed()));
    expect(randomRing(systemRandom, 64).some((x) => x < 0)).toBe(true);
  });
});
