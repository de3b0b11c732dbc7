import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.ts';
import {
  CorrelationTickets,
  cotBytes,
  redeemReceiver,
  redeemSender,
} from '../../../protocol/ot/correlations.ts';
import { COTS_PER_CHUNK, extensionBytes } from '../../../protocol/ot/softspoken.ts';
import { randomBytes } from '../../../protocol/random/index.ts';
import { block, broken, dealtSeeds, stream } from './support.ts';

const random = stream(100);
const packed = (count: number) => randomBytes(random, Math.ceil(count / 8));

function ends(seed: number) {
  const seeds = dealtSeeds(stream(seed));
  return {
    sender: new CorrelationTickets(seeds.sender),
    receiver: new CorrelationTickets(seeds.receiver),
  };
}

describe('tickets of correlations', () => {
  it('name every chunk once, as many as they need', () => {
    const { sender, receiver } = ends(120);
    const chunks = [10, COTS_PER_CHUNK, COTS_PER_CHUNK + 1, 0, 5].map((count) => {
      const own = receiver.take(count);
      expect(sender.take(count)).toMatchObject({ firstChunk: own.firstChunk, count });
      return own.firstChunk;
    });
    expect(chunks).toEqual([0, 1, 2, 4, 4]);
  });

  it('are redeemed anywhere, in any order, once', () => {
    const { sender, receiver } = ends(121);
    const counts = [COTS_PER_CHUNK + 131, 1, 130, 0];
    const tickets = counts.map((count) => [receiver.take(count), sender.take(count)] as const);
    const seen = new Set<string>();
    for (const [own, other] of tickets.reverse()) {
      const choices = packed(own.count);
      const { message, blocks } = redeemReceiver(structuredClone(own), choices);
      expect(message.length).toBe(cotBytes(own.count));
      const q = redeemSender(structuredClone(other), message);
      expect(broken(q, blocks, choices, sender.seeds.offset, own.count)).toBe(0);
      for (let i = 0; i < Math.min(own.count, 500); i++) seen.add(block(q, i).join());
    }
    expect(seen.size).toBe(500 + 1 + 130);
  });

  it('cost what their chunks cost', () => {
    expect(cotBytes(0)).toBe(0);
    expect(cotBytes(COTS_PER_CHUNK + 131)).toBe(
      extensionBytes(COTS_PER_CHUNK) + extensionBytes(131),
    );
    // Corrections of 130 correlations and of 128 that are thrown away, 32 groups; R x; the hash of R V.
    expect(cotBytes(130)).toBe(3 * 512 + 16 + 32);
    for (const count of [-1, 0.5, Number.NaN]) expect(() => cotBytes(count)).toThrow(RangeError);
  });

  it('refuse a message of the wrong length and choices that do not fit', () => {
    const { sender, receiver } = ends(122);
    const ticket = sender.take(10);
    for (const bytes of [0, cotBytes(10) - 1, cotBytes(10) + 1, 2 * cotBytes(10)]) {
      expect(() => redeemSender(ticket, new Uint8Array(bytes))).toThrow(ProtocolError);
    }
    const own = receiver.take(10);
    for (const bytes of [1, 3]) {
      expect(() => redeemReceiver(own, new Uint8Array(bytes))).toThrow(RangeError);
    }
  });
});
