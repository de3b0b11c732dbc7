/**
 * What a receiver gets that does not follow the protocol: every deviation ends with the one error of all checks, or with a guess of
 * the offset that was right, as often as the guess has bits. test/attacks mounts the same on whole sessions.
 */

import { describe, expect, it } from 'vitest';
import { corrupted, ProtocolError } from '../../../protocol/errors.ts';
import { OT_KS, type OtK } from '../../../protocol/ot/groups.ts';
import {
  extendReceiver,
  extendSender,
  prepareReceiver,
  prepareSender,
} from '../../../protocol/ot/softspoken.ts';
import { blake3 } from '../../../protocol/random/blake3.ts';
import { deriveSeed, randomBytes } from '../../../protocol/random/index.ts';
import {
  bit,
  block,
  challengeOf,
  columnSums,
  dealtBase,
  dealtSeeds,
  fitted,
  stream,
  sumOf,
} from './support.ts';

const random = stream(400);

/** Bits of the first group: the widest. */
const WIDTH: Record<OtK, number> = { 4: 4, 6: 6, 8: 8 };

/** What the sender makes of a message: its blocks, or the code of its refusal. */
function outcome(work: () => Uint8Array): Uint8Array | string {
  try {
    return work();
  } catch (error) {
    return error instanceof ProtocolError ? `${error.code}: ${error.message}` : String(error);
  }
}

describe.each(OT_KS)('a receiver of correlated OTs that deviates, k = %i', (k) => {
  const refusal = `corrupted: ${corrupted().message}`;

  it('is refused at every bit of its message, with the same words', () => {
    const { receiver, sender } = dealtSeeds(stream(410 + k), k);
    const { message } = extendReceiver(receiver, 0, 200, randomBytes(random, 25));
    for (let at = 0; at < message.length; at++) {
      const changed = message.slice();
      changed[at]! ^= 1 << (at & 7);
      expect(outcome(() => extendSender(sender, 0, 200, changed))).toBe(refusal);
    }
  });

  it('who sends different choices to one group passes with the right guess of its offset bits, and no other', () => {
    const { receiver, sender } = dealtSeeds(stream(420 + k), k);
    let right = 0;
    for (let b = 0; b < WIDTH[k]; b++) right |= bit(sender.offset, b) << b;
    const passed: number[] = [];
    for (let guess = 0; guess < 1 << WIDTH[k]; guess++) {
      const choices = randomBytes(random, 16);
      const { blocks } = extendReceiver(receiver, guess, 128, choices);
      const chunk = { chunk: guess, count: 128, choices };
      const guessed = Uint8Array.of(guess, ...new Uint8Array(15));
      const message = fitted(receiver, chunk, [{ correlation: 5, group: 0 }], guessed);
      const q = outcome(() => extendSender(sender, guess, 128, message));
      if (typeof q === 'string') {
        expect(q).toBe(refusal);
        continue;
      }
      passed.push(guess);
      // And then it has what it asked for: a correlation that is off by the bits it guessed.
      const x = bit(choices, 5);
      const off = block(blocks, 5).map(
        (byte, i) => byte ^ block(q, 5)[i]! ^ (x * sender.offset[i]!),
      );
      expect(off[0]! & ((1 << WIDTH[k]) - 1)).toBe(right);
    }
    expect(passed).toEqual([right]);
  });

  it('who sends wrong trees is refused unless the offset misses what is wrong in them', () => {
    // One bit of a level's sum is wrong for senders with that bit of the offset, and for no others.
    let refused = 0;
    const runs = 60;
    for (let run = 0; run < runs; run++) {
      const own = stream(430 + 100 * k + run);
      const base = dealtBase(own);
      const context = randomBytes(own, 16);
      const { message, seeds } = prepareReceiver(context, base.sender, own, k);
      const trees = message.slice();
      trees[48]! ^= 1;
      const sender = prepareSender(context, base.receiver, trees, k);
      // The receiver binds its check to the trees that it sent.
      const bound = { ...seeds, check: sender.check };
      const part = extendReceiver(bound, 0, 128, randomBytes(own, 16));
      const q = outcome(() => extendSender(sender, 0, 128, part.message));
      const meets = bit(base.receiver.choices, 1) === 1;
      if (meets) expect(q).toBe(refusal);
      else expect(q).toBeInstanceOf(Uint8Array);
      refused += meets ? 1 : 0;
    }
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(runs);
  });
});

describe('the point of the check', () => {
  /** Product in GF(2^128) of two blocks. */
  function times(a: Uint8Array, b: Uint8Array): Uint8Array {
    const number = (block: Uint8Array) =>
      block.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    let [x, y, product] = [number(a), number(b), 0n];
    for (; x > 0n; x >>= 1n, y = (y << 1n) ^ ((y >> 127n) * ((1n << 128n) | 0x87n))) {
      if (x & 1n) product ^= y;
    }
    return Uint8Array.from({ length: 16 }, (_, i) => Number((product >> BigInt(8 * i)) & 0xffn));
  }

  /** A chunk of two slices of choices, of which group 0 is sent others that R at `point` does not tell from the right ones. */
  function unseen(message: Uint8Array, point: Uint8Array): Uint8Array {
    const changed = message.slice();
    const difference = randomBytes(random, 16);
    // R is Horner's rule: point times the first and the second cancel.
    const second = times(point, difference);
    for (let i = 0; i < 16; i++) {
      changed[i]! ^= difference[i]!;
      changed[512 + i]! ^= second[i]!;
    }
    return changed;
  }

  it('is known when all choices are sent and not before: who knew it would choose differently in one group unseen, and learn bits of the offset', () => {
    const { receiver, sender } = dealtSeeds(stream(450));
    const choices = randomBytes(random, 32);
    const { message } = extendReceiver(receiver, 0, 256, choices);
    const corrections = message.subarray(0, 3 * 512);
    const challenge = blake3(corrections, blake3(new Uint8Array(4), receiver.check));
    const changed = unseen(message, challenge.subarray(0, 16));
    // At that point the sender would see nothing: R of its columns is what the receiver said.
    const both = Uint8Array.from([
      ...choices,
      ...deriveSeed(receiver.spare, 'softspoken spare', 0),
    ]);
    const { blocks: all } = extendReceiver(receiver, 0, 384, both);
    const wrong = all.slice();
    const bits = new Uint8Array(48);
    for (const at of [0, 512]) {
      for (let i = 0; i < 16; i++) bits[at / 32 + i] = changed[at + i]! ^ message[at + i]!;
    }
    for (let j = 0; j < 384; j++) {
      wrong[16 * j]! ^= bit(bits, j) * (sender.offset[0]! & 15);
      for (let i = 0; i < 16; i++) wrong[16 * j + i]! ^= bit(both, j) * sender.offset[i]!;
    }
    const sum = message.subarray(-48, -32);
    const seen = columnSums(challenge, wrong).map(
      (byte, i) => byte ^ (bit(sum, i >> 4) * sender.offset[i & 15]!),
    );
    expect(blake3(seen, challenge)).toEqual(message.slice(-32));
    // As built the point is another one for what was sent.
    expect(outcome(() => extendSender(sender, 0, 256, changed))).toMatch(/^corrupted/);
  });
});

describe('R x', () => {
  it('tells nothing of the choices: it changes with the seed of what is thrown away, over all its bits', () => {
    const { receiver } = dealtSeeds(stream(440));
    const choices = randomBytes(random, 16);
    const sums = [1, 2].map((fill) => {
      const own = { ...receiver, spare: new Uint8Array(16).fill(fill) };
      const { message } = extendReceiver(own, 0, 128, choices);
      return message.slice(-48, -32);
    });
    expect(sums[0]).not.toEqual(sums[1]);
  });

  it('planted fault: with choices thrown away that the sender knows, it is an equation in the choices', () => {
    // One slice: R x = point x ^ spare. A sender that knows the spare choices divides by the point.
    const { receiver } = dealtSeeds(stream(441));
    const known = { ...receiver, spare: new Uint8Array(16) };
    const choices = randomBytes(random, 16);
    const { message } = extendReceiver(known, 0, 128, choices);
    const d = message.subarray(0, 1024);
    const challenge = challengeOf(receiver, 0, d);
    const candidates = [choices, randomBytes(random, 16)];
    const fits = candidates.map((candidate) => {
      const both = Uint8Array.from([
        ...candidate,
        ...deriveSeed(known.spare, 'softspoken spare', 0),
      ]);
      return sumOf(challenge, both).join() === message.slice(-48, -32).join();
    });
    expect(fits).toEqual([true, false]);
    // As built the same test of the same candidates says nothing.
    const built = extendReceiver(receiver, 0, 128, choices).message;
    const own = challengeOf(receiver, 0, built.subarray(0, 1024));
    for (const candidate of candidates) {
      const both = Uint8Array.from([
        ...candidate,
        ...deriveSeed(known.spare, 'softspoken spare', 0),
      ]);
      expect(sumOf(own, both).join()).not.toBe(built.slice(-48, -32).join());
    }
  });
});
