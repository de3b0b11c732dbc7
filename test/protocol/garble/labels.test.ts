import { describe, expect, it } from 'vitest';
import {
  activateWords,
  activeLabels,
  colours,
  decodeBits,
} from '../../../protocol/garble/labels.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';
import { hex } from '../../support/bytes.ts';

const prg = new Prg(new Uint8Array(16).fill(6));

describe('labels', () => {
  it.each([0, 1, 17, 4096, 10_000])('encode and decode %i bits', (count) => {
    const delta = randomBytes(prg, 16);
    delta[0]! |= 1;
    // An odd offset: labels often are views into a message.
    const zero = randomBytes(prg, 16 * count + 1).subarray(1);
    const bits = randomBytes(prg, count).map((byte) => byte & 1);
    const active = activeLabels(zero, delta, bits);
    const slow = zero.map((byte, i) => byte ^ (bits[i >> 4]! * delta[i & 15]!));
    expect(hex(active)).toBe(hex(slow));
    expect(decodeBits(active, colours(zero))).toEqual(bits);
  });

  it.each([1, 5, 1024])('encode bits of %i words in place', (count) => {
    const delta = randomBytes(prg, 16);
    const words = new Int32Array(randomBytes(prg, 4 * count).buffer);
    const positions = [0, 7, 31];
    const zero = randomBytes(prg, 16 * 3 * count);
    const bits = positions.flatMap((p) => Array.from(words, (word) => (word >>> p) & 1));
    const active = zero.slice();
    activateWords(active, delta, words, positions);
    expect(hex(active)).toBe(hex(activeLabels(zero, delta, Uint8Array.from(bits))));
    expect(() => activateWords(active, delta, words, [0, 1])).toThrow(RangeError);
    expect(() => activateWords(active, delta.subarray(1), words, positions)).toThrow(RangeError);
  });

  it('have the lowest bit of byte 0 as their colour', () => {
    const labels = new Uint8Array(48).fill(0xfe);
    labels[16] = 1;
    labels[33] = 0xff;
    expect([...colours(labels)]).toEqual([0, 1, 0]);
  });

  it('refuse counts that do not match', () => {
    const delta = new Uint8Array(16).fill(1);
    expect(() => activeLabels(new Uint8Array(32), delta, new Uint8Array(3))).toThrow(RangeError);
    expect(() => activeLabels(new Uint8Array(16), delta.subarray(1), new Uint8Array(1))).toThrow(
      RangeError,
    );
    expect(() => colours(new Uint8Array(17))).toThrow(RangeError);
    expect(() => decodeBits(new Uint8Array(32), new Uint8Array(1))).toThrow(RangeError);
  });
});
