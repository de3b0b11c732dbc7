import { blake3 as reference } from '@noble/hashes/blake3.js';
import { describe, expect, it } from 'vitest';
import { kernels } from '../../../protocol/kernels/index.ts';
import { BLAKE3_BYTES, blake3 } from '../../../protocol/random/blake3.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';
import { hex } from '../../support/bytes.ts';
import { integers } from '../../support/damage.ts';

/** Messages and key of the official test vectors. */
const counted = (length: number) => Uint8Array.from({ length }, (_, i) => i % 251);
const officialKey = new TextEncoder().encode('whats the Elvish word for friend');

/** What another implementation says, without and with the key. */
function both(message: Uint8Array, key: Uint8Array) {
  return [hex(reference(message)), hex(reference(message, { key }))];
}

const random = new Prg(new Uint8Array(16).fill(9));
const key = randomBytes(random, BLAKE3_BYTES);

/** Around blocks, chunks, groups of four chunks, and the pieces that are hashed at a time. */
const lengths = [
  0, 1, 3, 4, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 2047, 2048, 2049, 3071, 3072, 3073, 4095,
  4096, 4097, 5120, 6145, 7168, 8191, 8192, 8193, 16384, 31744, 65535, 65536, 65537, 66560, 131071,
  131072, 131073, 196608, 196609, 262144, 327681,
];

describe('BLAKE3', () => {
  it.each([
    [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
    [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
    [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
    [1025, 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444'],
  ])('is the official hash of %i bytes', (length, digest) => {
    expect(hex(blake3(counted(length)))).toBe(digest);
  });

  it.each([
    [0, '92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26'],
    [1, '6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b'],
  ])('is the official keyed hash of %i bytes', (length, digest) => {
    expect(hex(blake3(counted(length), officialKey))).toBe(digest);
  });

  it.each(lengths)('of %i bytes, without and with a key', (length) => {
    const message = randomBytes(random, length);
    expect([hex(blake3(message)), hex(blake3(message, key))]).toEqual(both(message, key));
  });

  it('of random lengths up to some MB', () => {
    const next = integers(3);
    for (const limit of [300, 5_000, 5_000, 70_000, 70_000, 500_000, 3_000_000]) {
      const message = randomBytes(random, next(limit));
      expect([hex(blake3(message)), hex(blake3(message, key))]).toEqual(both(message, key));
    }
  });

  it('of a view that does not begin where its buffer does', () => {
    const message = randomBytes(random, 5_003).subarray(3, 4_999);
    expect(hex(blake3(message, key.subarray()))).toBe(hex(reference(message, { key })));
  });

  it('changes neither message nor key, and gives back what it borrowed', () => {
    const { arena } = kernels();
    const message = randomBytes(random, 70_001);
    const before = [hex(message), hex(key)];
    const top = arena.scope(() => arena.alloc(0));
    const digest = blake3(message, key);
    expect(arena.scope(() => arena.alloc(0))).toBe(top);
    expect([hex(message), hex(key)]).toEqual(before);
    expect(digest.buffer.byteLength).toBe(BLAKE3_BYTES);
  });

  it('does not depend on what lies in kernel memory', () => {
    const { arena } = kernels();
    for (const length of [0, 70, 1030, 3_100, 66_000]) {
      const message = randomBytes(random, length);
      const digests = [0, 255].map((byte) => {
        arena.scope(() => arena.u8(arena.alloc(1 << 18), 1 << 18).fill(byte));
        return hex(blake3(message));
      });
      expect(digests).toEqual([hex(reference(message)), hex(reference(message))]);
    }
  });

  it.each([0, 16, 31, 33, 64])('refuses a key of %i bytes', (length) => {
    expect(() => blake3(counted(5), new Uint8Array(length))).toThrow(
      `BLAKE3 key: expected 32 bytes, got ${length}`,
    );
  });
});
