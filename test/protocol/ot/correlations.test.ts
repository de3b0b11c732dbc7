import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.ts';
import {
  type CotReceiver,
  type CotSender,
  cotBytes,
  ExtendedReceiver,
  ExtendedSender,
  redeemReceiver,
  redeemSender,
} from '../../../protocol/ot/correlations.ts';
import { IdealReceiver, IdealSender } from '../../../protocol/ot/ideal.ts';
import { PackedBits } from '../../../protocol/ot/ledger.ts';
import { COTS_PER_CHUNK } from '../../../protocol/ot/softspoken.ts';
import { randomBytes } from '../../../protocol/random/index.ts';
import { bit, broken, dealtSeeds, stream } from './support.ts';

const random = stream(100);
const packed = (count: number) => randomBytes(random, Math.ceil(count / 8));

/** What any pair of correlation ends must do. */
function describeCorrelations(
  name: string,
  make: () => { sender: CotSender; receiver: CotReceiver },
): void {
  describe(name, () => {
    it('hands out what was asked for, in order, across uneven allocs, flushes and takes', () => {
      const { sender, receiver } = make();
      expect(sender.offset.length).toBe(16);
      expect(sender.offset[0]! & 1).toBe(1);
      const allocs = [[5, 128, 0, 3], [1], [], [1000, 7]].map((counts) =>
        counts.map((count) => ({ count, choices: packed(count) })),
      );
      let total = 0;
      for (const round of allocs) {
        let pending = 0;
        for (const { count, choices } of round) {
          sender.alloc(count);
          receiver.alloc(choices, count);
          pending += count;
        }
        expect(sender.messageBytes).toBe(cotBytes(pending));
        const message = receiver.flush();
        expect(message.length).toBe(cotBytes(pending));
        sender.flush(message);
        total += pending;
        expect([sender.available, receiver.available]).toEqual([total, total]);
        expect(sender.messageBytes).toBe(0);
      }
      // Takes need not fall together with allocs: rebuild the choices as one string first.
      const all = allocs
        .flat()
        .flatMap(({ count, choices }) => Array.from({ length: count }, (_, i) => bit(choices, i)));
      let at = 0;
      for (const count of [2, 0, 4, 1000, total - 1006]) {
        const choices = new Uint8Array(Math.ceil(count / 8));
        all.slice(at, at + count).forEach((x, i) => {
          choices[i >> 3]! |= x << (i & 7);
        });
        const q = sender.take(count);
        const t = receiver.take(count);
        expect(q.length).toBe(16 * count);
        expect(broken(q, t, choices, sender.offset, count)).toBe(0);
        at += count;
      }
      expect([sender.available, receiver.available]).toEqual([0, 0]);
    });

    it('crosses chunk boundaries', () => {
      const { sender, receiver } = make();
      const count = COTS_PER_CHUNK + 131;
      const choices = packed(count);
      sender.alloc(count);
      receiver.alloc(choices, count);
      const message = receiver.flush();
      expect(message.length).toBe(cotBytes(COTS_PER_CHUNK) + cotBytes(131));
      sender.flush(message);
      expect(broken(sender.take(count), receiver.take(count), choices, sender.offset, count)).toBe(
        0,
      );
    });

    it('never hands out a block twice', () => {
      const { sender, receiver } = make();
      const seen = new Set<string>();
      for (let round = 0; round < 4; round++) {
        sender.alloc(100);
        receiver.alloc(new Uint8Array(13), 100);
        sender.flush(receiver.flush());
        const q = sender.take(100);
        for (let i = 0; i < 100; i++) seen.add(q.subarray(16 * i, 16 * i + 16).join());
        receiver.take(100);
      }
      expect(seen.size).toBe(400);
    });

    it('refuses to take what is not there, and then still works', () => {
      const { sender, receiver } = make();
      sender.alloc(10);
      receiver.alloc(new Uint8Array(2), 10);
      expect(() => sender.take(1)).toThrow('1 needed, 0 available');
      expect(() => receiver.take(1)).toThrow(RangeError);
      sender.flush(receiver.flush());
      expect(() => sender.take(11)).toThrow('11 needed, 10 available');
      expect(() => receiver.take(11)).toThrow('11 needed, 10 available');
      for (const count of [-1, 0.5, Number.NaN]) {
        expect(() => sender.take(count)).toThrow(RangeError);
        expect(() => sender.alloc(count)).toThrow(RangeError);
      }
      expect(sender.take(10)).toEqual(receiver.take(10));
      expect(() => sender.take(1)).toThrow(RangeError);
    });

    it('refuses a message of the wrong length and choices that do not fit', () => {
      const { sender, receiver } = make();
      sender.alloc(10);
      for (const bytes of [0, cotBytes(10) - 1, cotBytes(10) + 1, 2 * cotBytes(10)]) {
        expect(() => sender.flush(new Uint8Array(bytes))).toThrow(ProtocolError);
      }
      expect(() => receiver.alloc(new Uint8Array(1), 10)).toThrow(RangeError);
      expect(() => receiver.alloc(new Uint8Array(3), 10)).toThrow(RangeError);
    });
  });
}

let pair = 0;
describeCorrelations('extended correlations', () => {
  const seeds = dealtSeeds(stream(110 + pair++));
  return {
    sender: new ExtendedSender(seeds.sender),
    receiver: new ExtendedReceiver(seeds.receiver),
  };
});
describeCorrelations('ideal correlations', () => {
  const seed = randomBytes(random, 16);
  return { sender: new IdealSender(seed), receiver: new IdealReceiver(seed) };
});

describe('extended correlations', () => {
  it('number every chunk once, in flushes and tickets alike', () => {
    const seeds = dealtSeeds(stream(120));
    const receiver = new ExtendedReceiver(seeds.receiver);
    const sender = new ExtendedSender(seeds.sender);
    const chunks: number[] = [];
    for (const count of [10, COTS_PER_CHUNK + 1, 0, 5]) {
      const own = receiver.ticket(count);
      expect(sender.ticket(count).firstChunk).toBe(own.firstChunk);
      chunks.push(own.firstChunk);
      receiver.alloc(packed(3), 3);
      sender.alloc(3);
      sender.flush(receiver.flush());
    }
    // Two chunks for the second ticket, one for each flush between them.
    expect(chunks).toEqual([0, 2, 5, 6]);
  });

  it('tickets are redeemed anywhere, in any order, for what a flush would have made', () => {
    const seeds = dealtSeeds(stream(121));
    const receiver = new ExtendedReceiver(seeds.receiver);
    const sender = new ExtendedSender(seeds.sender);
    const counts = [2 * COTS_PER_CHUNK + 5, 1, 130];
    const tickets = counts.map((count) => [receiver.ticket(count), sender.ticket(count)] as const);
    for (const [own, other] of tickets.reverse()) {
      const choices = packed(own.count);
      const { message, blocks } = redeemReceiver(structuredClone(own), choices);
      expect(message.length).toBe(cotBytes(own.count));
      const q = redeemSender(structuredClone(other), message);
      expect(broken(q, blocks, choices, sender.offset, own.count)).toBe(0);
      expect(() => redeemSender(other, message.subarray(1))).toThrow(ProtocolError);
    }
  });
});

describe('packed bits', () => {
  it('append at any bit position and ignore stray bits', () => {
    const bits = new PackedBits();
    const expected: number[] = [];
    for (let count = 0; count < 200; count++) {
      const more = packed(count);
      bits.append(more, count);
      for (let i = 0; i < count; i++) expected.push(bit(more, i));
    }
    const out = bits.drain();
    expect(out.length).toBe(Math.ceil(expected.length / 8));
    expect(expected.every((x, i) => bit(out, i) === x)).toBe(true);
    expect(bits.drain().length).toBe(0);
  });
});
