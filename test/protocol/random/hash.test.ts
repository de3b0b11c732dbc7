import { createCipheriv } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  hashBlocks,
  hashInstances,
  tweakKey,
  tweaksForInstances,
} from '../../../protocol/random/hash.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';

/** H straight from the paper, one block, on BigInt halves. */
function plainHash(block: Uint8Array, key: Uint8Array): Uint8Array {
  const low = block.slice(0, 8);
  const high = block.slice(8);
  const sigma = Uint8Array.from([...low.map((byte, i) => byte ^ high[i]!), ...low]);
  const encrypted = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(sigma);
  return sigma.map((byte, i) => byte ^ encrypted[i]!);
}

describe('re-keyed block hash', () => {
  const random = new Prg(new Uint8Array(16).fill(1));

  it('hashes the zero block to AES of zero: FIPS-197 key of zeros', () => {
    // AES-128 with an all-zero key and block is 66e94bd4ef8a2c3b884cfa59ca342b2e; sigma(0) = 0.
    const hash = hashBlocks(new Uint8Array(16), new Uint8Array(16));
    expect(Buffer.from(hash).toString('hex')).toBe('66e94bd4ef8a2c3b884cfa59ca342b2e');
  });

  it.each([0, 1, 2, 7, 1024])('equals the plain definition on %i blocks', (n) => {
    const blocks = randomBytes(random, 16 * n);
    const key = randomBytes(random, 16);
    const hash = hashBlocks(blocks, key);
    expect(hash.length).toBe(16 * n);
    for (let i = 0; i < n; i++) {
      expect(hash.slice(16 * i, 16 * i + 16)).toEqual(
        plainHash(blocks.slice(16 * i, 16 * i + 16), key),
      );
    }
  });

  it('takes another cipher engine and an unaligned view', () => {
    const bytes = randomBytes(random, 33);
    const key = randomBytes(random, 16);
    const identity = (_key: Uint8Array, input: Uint8Array) => input.slice();
    expect(hashBlocks(bytes.subarray(1), key, identity)).toEqual(new Uint8Array(32));
    expect(hashBlocks(bytes.subarray(1), key)).toEqual(hashBlocks(bytes.slice(1), key));
  });

  it('puts the tweak number into the low eight bytes, little-endian', () => {
    const start = randomBytes(random, 16);
    const difference = (index: number) => tweakKey(start, index).map((byte, i) => byte ^ start[i]!);
    expect([...difference(0)]).toEqual(new Array(16).fill(0));
    expect([...difference(0x0102)]).toEqual([2, 1, ...new Array(14).fill(0)]);
    expect([...difference(2 ** 52 + 3)]).toEqual([3, 0, 0, 0, 0, 0, 16, ...new Array(9).fill(0)]);
  });

  it.each([0, 1, 1024, 1025, 2048])('takes a new key for each 1,024 of %i blocks', (n) => {
    const blocks = randomBytes(random, 16 * n);
    const start = randomBytes(random, 16);
    const hash = hashInstances(blocks, { start, first: 5 });
    expect(tweaksForInstances(n)).toBe([0, 1, 2][Math.ceil(n / 1024)]);
    for (const i of [0, 1023, 1024, n - 1].filter((index) => index >= 0 && index < n)) {
      const key = tweakKey(start, i < 1024 ? 5 : 6);
      const block = (bytes: Uint8Array) => bytes.slice(16 * i, 16 * i + 16);
      expect(block(hash)).toEqual(plainHash(block(blocks), key));
    }
  });

  it('refuses what is not a block, a key or a tweak number', () => {
    expect(() => hashBlocks(new Uint8Array(15), new Uint8Array(16))).toThrow(RangeError);
    expect(() => hashBlocks(new Uint8Array(16), new Uint8Array(15))).toThrow(RangeError);
    expect(() => tweakKey(new Uint8Array(15), 0)).toThrow(RangeError);
    expect(() => tweakKey(new Uint8Array(16), -1)).toThrow(RangeError);
    expect(() => tweakKey(new Uint8Array(16), 2 ** 53)).toThrow(RangeError);
  });
});
