import { describe, expect, it } from 'vitest';
import { aesCounterStream } from '../../../protocol/random/aes.ts';
import { BLAKE3_BYTES, blake3 } from '../../../protocol/random/blake3.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';
import { nextDigest } from '../../../protocol/random/running.ts';
import { hex } from '../../support/bytes.ts';
import { integers } from '../../support/damage.ts';

const BLOCK = 4096;

/** What a long message becomes, in plain TypeScript: NH of RFC 4418 on each block, with sums of even and of odd words. */
function condensed(message: Uint8Array): Uint8Array {
  const key = new Uint8Array(BLOCK + 16);
  aesCounterStream(new Uint8Array(16), 0, key);
  const keys = new Uint32Array(key.buffer);
  const blocks = Math.ceil(message.length / BLOCK);
  const padded = new Uint8Array(blocks * BLOCK);
  padded.set(message);
  const words = new Uint32Array(padded.buffer);
  const out = new BigUint64Array(4 * blocks);
  for (let block = 0; block < blocks; block++) {
    for (let i = 0; i < BLOCK / 4; i += 8) {
      for (let j = 0; j < 8; j++) {
        // Two passes, the second under the key 4 words on; words j and j + 4 are a pair.
        const [pass, pair] = [j >> 2, j & 3];
        const at = (BLOCK / 4) * block + i + pair;
        const k = i + pair + 4 * pass;
        const a = BigInt((words[at]! + keys[k]!) >>> 0);
        const b = BigInt((words[at + 4]! + keys[k + 4]!) >>> 0);
        out[4 * block + 2 * pass + (pair & 1)]! += a * b;
      }
    }
  }
  return new Uint8Array(out.buffer);
}

const random = new Prg(new Uint8Array(16).fill(4));
const running = randomBytes(random, BLAKE3_BYTES);

describe('a running digest', () => {
  it.each([0, 1, 64, 1023])('of %i bytes is their keyed BLAKE3', (length) => {
    const message = randomBytes(random, length);
    expect(hex(nextDigest(running, message))).toBe(hex(blake3(message, running)));
  });

  it.each([1024, 1025, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 135_000, 300_001])(
    'of %i bytes is that of what they are condensed to',
    (length) => {
      const message = randomBytes(random, length);
      expect(hex(nextDigest(running, message))).toBe(hex(blake3(condensed(message), running)));
      const ones = new Uint8Array(length).fill(255);
      expect(hex(nextDigest(running, ones))).toBe(hex(blake3(condensed(ones), running)));
    },
  );

  it('changes with each bit of a message and of the digest before', () => {
    const next = integers(11);
    for (const length of [1, 100, 1500, 9000]) {
      const message = randomBytes(random, length);
      const seen = new Set([hex(nextDigest(running, message))]);
      for (let i = 0; i < 200; i++) {
        const bit = i < 8 ? i : next(8 * length);
        message[bit >> 3]! ^= 1 << (bit & 7);
        seen.add(hex(nextDigest(running, message)));
        message[bit >> 3]! ^= 1 << (bit & 7);
      }
      expect(seen.size).toBeGreaterThan(Math.min(8 * length, 150));
      const other = running.slice();
      other[7]! ^= 1;
      expect(seen.has(hex(nextDigest(other, message)))).toBe(false);
    }
  });

  it('refuses a digest that is none', () => {
    expect(() => nextDigest(new Uint8Array(31), new Uint8Array(5))).toThrow(RangeError);
  });
});
