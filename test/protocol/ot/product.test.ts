import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.ts';
import { padWords, senderPads, senderPadWords } from '../../../protocol/ot/pads.ts';
import {
  bitProductBytes,
  bitProductReceive,
  bitProductSend,
  bitProductTweaks,
} from '../../../protocol/ot/product.ts';
import { hashInstances } from '../../../protocol/random/hash.ts';
import { randomBytes, randomRing } from '../../../protocol/random/index.ts';
import { bit, dealtCots, stream } from './support.ts';

const EDGES = [0, 1, -1, 2, -2, 0x7fffffff, -0x80000000, -0x7fffffff, 0x40000000, 0x12345678];
const random = stream(300);
const tweaks = { start: randomBytes(random, 16), first: 40 };

function bitProduct(y: Int32Array, choices: Uint8Array, bits: number) {
  const n = y.length;
  const { q, t, offset } = dealtCots(random, choices, n);
  const sender = { blocks: q, offset, tweaks };
  const { message, shares } = bitProductSend([{ y, width: bits }], sender);
  expect(message.length).toBe(bitProductBytes(n, bits));
  const theirs = bitProductReceive([bits], { choices, blocks: t, tweaks }, message);
  return { mine: shares[0]!, theirs: theirs[0]!, message };
}

describe('bit product', () => {
  it.each([1, 2, 7, 8, 19, 31, 32])('is exact modulo 2^%i', (bits) => {
    const modulus = 2 ** bits;
    const y = Int32Array.from([...EDGES, ...EDGES, ...randomRing(random, 1100)]);
    const choices = randomBytes(random, Math.ceil(y.length / 8));
    for (let i = 0; i < EDGES.length; i++) choices[i >> 3]! &= ~(1 << (i & 7));
    for (let i = EDGES.length; i < 2 * EDGES.length; i++) choices[i >> 3]! |= 1 << (i & 7);
    const { mine, theirs, message } = bitProduct(y, choices, bits);
    for (let i = 0; i < y.length; i++) {
      const sum = (((mine[i]! + theirs[i]!) % modulus) + modulus) % modulus;
      const product = bit(choices, i) * (((y[i]! % modulus) + modulus) % modulus);
      expect(sum).toBe(product);
    }
    expect(message.length).toBe(Math.ceil((y.length * bits) / 8));
    if (bits < 32) {
      for (const share of [...mine, ...theirs]) {
        expect(share).toBeGreaterThanOrEqual(0);
        expect(share).toBeLessThan(modulus);
      }
    }
  });

  it('one bit with several numbers: each product is exact, and takes its own word of the pad', () => {
    const choices = randomBytes(random, 16);
    const { q, t, offset } = dealtCots(random, choices, 128);
    const factors = [32, 17, 1, 32].map((width) => ({ y: randomRing(random, 128), width }));
    const sender = { blocks: q, offset, tweaks };
    const { message, shares } = bitProductSend(factors, sender);
    const widths = factors.map(({ width }) => width);
    const theirs = bitProductReceive(widths, { choices, blocks: t, tweaks }, message);
    factors.forEach(({ y, width }, f) => {
      for (let i = 0; i < 128; i++) {
        const sum = (shares[f]![i]! + theirs[f]![i]!) << (32 - width);
        expect(sum).toBe(bit(choices, i) === 1 ? y[i]! << (32 - width) : 0);
      }
    });
    expect(shares[0]).not.toEqual(shares[3]);
  });

  it('is exact for any batch (property)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer(), fc.boolean()), { maxLength: 70 }),
        fc.integer({ min: 1, max: 32 }),
        (items, bits) => {
          const choices = new Uint8Array(Math.ceil(items.length / 8));
          items.forEach(([, x], i) => {
            choices[i >> 3]! |= Number(x) << (i & 7);
          });
          const { mine, theirs } = bitProduct(
            Int32Array.from(items.map(([y]) => y)),
            choices,
            bits,
          );
          const shift = 32 - bits;
          items.forEach(([y, x], i) => {
            expect((mine[i]! + theirs[i]!) << shift).toBe(x ? y << shift : 0);
          });
        },
      ),
      { numRuns: 60, seed: 1 },
    );
  });

  it('planted fault: the shares do not fit when the parties hash under different tweaks', () => {
    const y = randomRing(random, 64);
    const choices = randomBytes(random, 8);
    const { q, t, offset } = dealtCots(random, choices, 64);
    const sender = { blocks: q, offset, tweaks };
    const { message, shares } = bitProductSend([{ y, width: 32 }], sender);
    const other = { choices, blocks: t, tweaks: { ...tweaks, first: 41 } };
    const theirs = bitProductReceive([32], other, message)[0]!;
    const right = shares[0]!.filter(
      (share, i) => ((share + theirs[i]!) | 0) === bit(choices, i) * y[i]!,
    );
    expect(right.length).toBe(0);
  });

  it('hashes with the block hash: words of pads are the first words of whole pads', () => {
    const blocks = randomBytes(random, 16 * 1500);
    const offset = randomBytes(random, 16);
    const pads = senderPads(blocks, offset, tweaks);
    const words = (bytes: Uint8Array, count: number) =>
      Array.from({ length: count }, (_, word) =>
        new Int32Array(bytes.slice().buffer).filter((_, i) => i % 4 === word),
      );
    for (const count of [1, 2, 4]) {
      expect(padWords(blocks, tweaks, count)).toEqual(words(pads.zero, count));
      expect(senderPadWords(blocks, offset, tweaks, count)).toEqual({
        zero: words(pads.zero, count),
        one: words(pads.one, count),
      });
    }
    expect(pads.zero).toEqual(hashInstances(blocks, tweaks));
  });

  it('the message hides y: equal inputs, different bytes', () => {
    const { message } = bitProduct(new Int32Array(64), new Uint8Array(8), 32);
    const words = new Set(new Int32Array(message.slice().buffer));
    expect(words.size).toBe(64);
  });

  it('refuses what does not fit', () => {
    const { q, t, offset } = dealtCots(random, new Uint8Array(2), 10);
    const y = new Int32Array(10);
    const sender = { blocks: q, offset, tweaks };
    expect(() => bitProductSend([{ y: new Int32Array(9), width: 8 }], sender)).toThrow(RangeError);
    const { message } = bitProductSend([{ y, width: 19 }], sender);
    const receiver = (choices: Uint8Array) => ({ choices, blocks: t, tweaks });
    for (const bytes of [0, message.length - 1, message.length + 1]) {
      const wrong = new Uint8Array(bytes);
      const work = () => bitProductReceive([19], receiver(new Uint8Array(2)), wrong);
      expect(work).toThrow(ProtocolError);
    }
    const short = () => bitProductReceive([19], receiver(new Uint8Array(1)), message);
    expect(short).toThrow(RangeError);
    expect(() => bitProductSend([{ y, width: 33 }], sender)).toThrow(RangeError);
    expect([0, 1, 1024, 1025].map(bitProductTweaks)).toEqual([0, 1, 1, 2]);
  });
});
