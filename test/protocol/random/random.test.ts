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
