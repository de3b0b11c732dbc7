/** What every channel must do, whatever carries its frames. */

import { describe, expect, it } from 'vitest';
import type { Channel } from '../../../protocol/channel/index.ts';
import { MAX_PAYLOAD_BYTES } from '../../../protocol/channel/index.ts';
import { abortError, ProtocolError } from '../../../protocol/errors.ts';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

const pattern = (length: number, salt: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + salt) & 255);

/** The error a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected a rejection');
}

/** Runs the suite on connected pairs that `makePair` makes. */
export function describeChannel(name: string, makePair: () => Promise<[Channel, Channel]>): void {
  describe(`${name} as a channel`, () => {
    it('carries payloads of any size both ways in order', async () => {
      const [a, b] = await makePair();
      const lengths = [0, 1, 15, 16, 17, 125, 126, 65535, 65536, 300_000];
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        const sent = lengths.map((length, i) => from.send(i, pattern(length, i)));
        for (const [i, length] of lengths.entries()) {
          expect(Buffer.compare(await to.receive(i, length), pattern(length, i))).toBe(0);
        }
        await Promise.all(sent);
      }
      a.close();
    });

    it('hands out aligned payloads that the receiver owns', async () => {
      const [a, b] = await makePair();
      const payload = bytes(1, 2, 3, 4, 5, 6, 7, 8);
      const sent = [a.send(1, payload), a.send(2, payload)];
      await Promise.all(sent);
      const first = await b.receive(1, 8);
      expect(first.byteOffset % 16).toBe(0);
      expect(new Int32Array(first.buffer, first.byteOffset, 2)).toEqual(
        Int32Array.of(0x04030201, 0x08070605),
      );
      first.fill(77);
      expect(await b.receive(2, 8)).toEqual(bytes(1, 2, 3, 4, 5, 6, 7, 8));
      a.close();
    });

    it('accepts control frames up to their limit', async () => {
      const [a, b] = await makePair();
      await a.send(7, bytes(1, 2, 3));
      expect(await b.receiveUpTo(7, 3)).toEqual(bytes(1, 2, 3));
      await a.send(7, bytes(1, 2, 3, 4));
      expect(await failure(b.receiveUpTo(7, 3))).toMatchObject({
        code: 'bad-message',
        message: 'expected a frame of kind 7 with at most 3 bytes, got kind 7 with 4 bytes',
      });
    });

    it.each([
      ['kind', 4, 5],
      ['length', 3, 6],
    ])('dies on an unexpected %s: both sides, one error for ever', async (_, kind, length) => {
      const [a, b] = await makePair();
      await a.send(kind, new Uint8Array(length));
      await a.send(3, new Uint8Array(5));
      const error = await failure(b.receive(3, 5));
      expect(error).toBeInstanceOf(ProtocolError);
      expect(error).toMatchObject({
        code: 'bad-message',
        message: `expected a frame of kind 3 with 5 bytes, got kind ${kind} with ${length} bytes`,
      });
      expect(await failure(b.receive(3, 5))).toBe(error);
      expect(await failure(b.send(3, bytes(1)))).toBe(error);
      expect(await b.closed).toBe(error);
      const told = await failure(a.receive(1, 1));
      expect(told).toMatchObject({ code: 'bad-message' });
      expect(told.message).toContain(error.message);
      expect(await failure(a.send(1, bytes()))).toBe(told);
      expect(await a.closed).toBe(told);
    });

    it('delivers what was sent before an orderly end', async () => {
      const [a, b] = await makePair();
      await a.send(1, bytes(1));
      await a.send(2, bytes(2));
      a.close();
      a.close(new Error('too late'));
      expect(await a.closed).toBeUndefined();
      expect(await failure(a.send(1, bytes()))).toMatchObject({ code: 'closed' });
      expect(await failure(a.receive(1, 1))).toMatchObject({ code: 'closed' });
      expect(await b.receive(1, 1)).toEqual(bytes(1));
      expect(await b.receive(2, 1)).toEqual(bytes(2));
      const end = await failure(b.receive(3, 1));
      expect(end).toMatchObject({ code: 'lost' });
      expect(await b.closed).toBe(end);
    });

    it('rejects what waits when it is closed on either side', async () => {
      const [a, b] = await makePair();
      const waiting = [failure(a.receive(1, 1)), failure(b.receive(1, 1))];
      const reason = abortError('the inference');
      a.close(reason);
      expect(await waiting[0]).toBe(reason);
      expect(await waiting[1]).toMatchObject({
        code: 'lost',
        message: 'the peer gave up: the other side cancelled',
      });
    });

    it('tells the peer nothing of an inner failure', async () => {
      const [a, b] = await makePair();
      a.close(new RangeError('secret 12345 out of range'));
      expect((await failure(b.receive(1, 1))).message).toBe(
        'the peer gave up: the other side failed',
      );
    });

    it('refuses mistakes of the caller and lives on', async () => {
      const [a, b] = await makePair();
      expect(await failure(a.send(255, bytes()))).toBeInstanceOf(RangeError);
      expect(await failure(a.send(-1, bytes()))).toBeInstanceOf(RangeError);
      expect(await failure(a.send(1.5, bytes()))).toBeInstanceOf(RangeError);
      expect(await failure(a.send(1, 'text' as unknown as Uint8Array))).toBeInstanceOf(TypeError);
      const tooLong = new Uint8Array(MAX_PAYLOAD_BYTES + 1);
      expect(await failure(a.send(1, tooLong))).toBeInstanceOf(RangeError);
      const first = b.receive(1, 2);
      expect(await failure(b.receive(1, 2))).toBeInstanceOf(TypeError);
      await a.send(1, bytes(5, 6));
      expect(await first).toEqual(bytes(5, 6));
      a.close();
    });

    it('makes a fast sender wait for a slow receiver', async () => {
      const [a, b] = await makePair();
      const chunk = new Uint8Array(8 * 1024 * 1024);
      let accepted = 0;
      const count = 13;
      const sending = (async () => {
        for (; accepted < count; accepted++) await a.send(1, chunk);
      })();
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(accepted).toBeGreaterThan(0);
      expect(accepted).toBeLessThan(count);
      for (let i = 0; i < count; i++) await b.receive(1, chunk.length);
      await sending;
      a.close();
    });
  });
}
