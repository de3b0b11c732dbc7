import { describe, expect, it } from 'vitest';
import { aesCounterStream } from '../../../protocol/random/aes.ts';
import { BLAKE3_BYTES, blake3 } from '../../../protocol/random/blake3.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';
import { RunningDigest } from '../../../protocol/random/running.ts';
import { hex, unhex } from '../../support/bytes.ts';
import { integers } from '../../support/damage.ts';

const BLOCK = 4096;

/** What a long message becomes, in plain TypeScript: NH of RFC 4418 on each block, with sums of even and of odd words. */
function condensed(message: Uint8Array): Uint8Array {
  const key = new Uint8Array(BLOCK + 16);
  aesCounterStream(new Uint8Array(16), 0, key);
  const keys = new Uint32Array(key.buffer);
  const blocks = Math.ceil(message.length / BLOCK);
  const padded = new Uint8Array(32 * Math.ceil(message.length / 32));
  padded.set(message);
  const words = new Uint32Array(padded.buffer);
  const out = new BigUint64Array(4 * blocks);
  for (let block = 0; block < blocks; block++) {
    const end = Math.min(BLOCK / 4, words.length - (BLOCK / 4) * block);
    for (let i = 0; i < end; i += 8) {
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
const zeros = new Uint8Array(BLAKE3_BYTES);

function digestOf(...messages: Uint8Array[]): string {
  const running = new RunningDigest();
  for (const message of messages) running.add(message);
  return hex(running.take());
}

describe('a running digest', () => {
  it.each([0, 1, 64, 1023])('of %i bytes is their keyed BLAKE3', (length) => {
    const message = randomBytes(random, length);
    expect(digestOf(message)).toBe(hex(blake3(message, zeros)));
  });

  it.each([1024, 1025, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 135_000, 300_001])(
    'of %i bytes is that of what they are condensed to',
    (length) => {
      const message = randomBytes(random, length);
      expect(digestOf(message)).toBe(hex(blake3(condensed(message), zeros)));
      const ones = new Uint8Array(length).fill(255);
      expect(digestOf(ones)).toBe(hex(blake3(condensed(ones), zeros)));
    },
  );

  it('changes with each bit of a message', () => {
    const next = integers(11);
    for (const length of [1, 100, 1500, 9000]) {
      const message = randomBytes(random, length);
      const seen = new Set([digestOf(message)]);
      for (let i = 0; i < 200; i++) {
        const bit = i < 8 ? i : next(8 * length);
        message[bit >> 3]! ^= 1 << (bit & 7);
        seen.add(digestOf(message));
        message[bit >> 3]! ^= 1 << (bit & 7);
      }
      expect(seen.size).toBeGreaterThan(Math.min(8 * length, 150));
    }
  });

  it('is of all messages, those before the last digest too', () => {
    const messages = [700, 5000, 0, 900, 40_000, 1023].map((n) => randomBytes(random, n));
    const parts = messages.map((m) => (m.length < 1024 ? m : condensed(m)));
    const running = new RunningDigest();
    for (const message of messages.slice(0, 5)) running.add(message);
    const first = hex(running.take());
    expect(first).toBe(hex(blake3(Buffer.concat(parts.slice(0, 5)), zeros)));
    running.add(messages[5]!);
    const second = hex(running.take());
    expect(second).toBe(hex(blake3(parts[5]!, unhex(first))));
    expect(hex(running.take())).toBe(hex(blake3(new Uint8Array(0), unhex(second))));
  });
});
