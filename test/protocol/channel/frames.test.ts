import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeError,
  encodeError,
  FRAME_HEADER_BYTES,
  MAX_FRAME_BYTES,
} from '../../../protocol/channel/frames.ts';
import { abortError, ProtocolError, type ProtocolErrorCode } from '../../../protocol/errors.ts';
import { encodeFrame, readFrame } from '../../support/frames.ts';

describe('frames', () => {
  it('have the documented bytes', () => {
    expect(encodeFrame(7, 0x01020304, Uint8Array.of(0xaa, 0xbb))).toEqual(
      Uint8Array.of(0x51, 7, 0, 0, 4, 3, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0xbb),
    );
  });

  it('round trip', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.nat(63), fc.constantFrom(254, 255)),
        fc.nat(0xffffffff),
        fc.uint8Array({ maxLength: 100 }),
        (kind, sequence, payload) => {
          const frame = readFrame(encodeFrame(kind, sequence, payload), sequence);
          expect(frame.kind).toBe(kind);
          expect(frame.payload).toEqual(payload);
        },
      ),
    );
  });

  it('are refused when any header bit is flipped but those of a kind that there is', () => {
    const good = encodeFrame(7, 5, new Uint8Array(20));
    for (let bit = 0; bit < 8 * FRAME_HEADER_BYTES; bit++) {
      const bad = good.slice();
      bad[bit >> 3]! ^= 1 << (bit & 7);
      if (bit >> 3 === 1 && bad[1]! < 64) {
        expect(readFrame(bad, 5).kind).not.toBe(7);
      } else {
        expect(() => readFrame(bad, 5)).toThrow(ProtocolError);
      }
    }
  });

  it('are refused when truncated, extended or too long', () => {
    const good = encodeFrame(7, 0, new Uint8Array(20));
    for (let length = 0; length < good.length; length++) {
      expect(() => readFrame(good.slice(0, length), 0)).toThrow(ProtocolError);
    }
    expect(() => readFrame(Uint8Array.of(...good, 0), 0)).toThrow(ProtocolError);
    const huge = encodeFrame(7, 0, new Uint8Array(MAX_FRAME_BYTES - FRAME_HEADER_BYTES + 1));
    expect(() => readFrame(huge, 0)).toThrow(/at most|between/);
  });
});

describe('ERROR frames', () => {
  it.each<ProtocolErrorCode>([
    'lost',
    'version-mismatch',
    'program-mismatch',
    'bad-message',
    'bad-point',
    'refused',
    'timeout',
    'corrupted',
    'quota',
    'draining',
    'idle',
    'failed',
    'busy',
    'limit',
  ])('carry the code %s and its sentence', (code) => {
    const error = decodeError(encodeError(new ProtocolError(code, 'too many sessions')));
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.code).toBe(code);
    expect(error.message).toBe('the peer gave up: too many sessions');
  });

  it('say when it is worth asking again, in ms', () => {
    const refusal = new ProtocolError('busy', 'too many sessions', { retryAfterMs: 2500 });
    expect(decodeError(encodeError(refusal)).retryAfterMs).toBe(2500);
    const silent = decodeError(encodeError(new ProtocolError('busy', 'too many sessions')));
    expect(silent.retryAfterMs).toBeUndefined();
    const long = new ProtocolError('quota', 'too many queries', { retryAfterMs: 2 ** 40 });
    expect(decodeError(encodeError(long)).retryAfterMs).toBe(2 ** 32 - 1);
  });

  it('tell what one side has closed as lost, what it cancelled too, and a fault inside as failed', () => {
    const told = (reason: Error) => decodeError(encodeError(reason)).code;
    expect(told(new ProtocolError('closed', 'over'))).toBe('lost');
    expect(told(abortError('it'))).toBe('lost');
    expect(told(new TypeError('x is undefined'))).toBe('failed');
  });

  it('never carry the words of an inner error', () => {
    const secret = 'label 0xdeadbeef';
    for (const error of [new Error(secret), new TypeError(secret), abortError(secret)]) {
      expect(new TextDecoder().decode(encodeError(error))).not.toContain('deadbeef');
    }
  });

  it('hold at most 200 bytes of text, cut between characters', () => {
    const payload = encodeError(new ProtocolError('refused', `x${'é'.repeat(300)}`));
    expect(payload.length).toBe(5 + 199);
    expect(decodeError(payload).message.endsWith('é')).toBe(true);
  });

  it('decode to a printable error whatever the peer sent', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (payload) => {
        const error = decodeError(payload);
        expect(error).toBeInstanceOf(ProtocolError);
        expect(error.message).not.toMatch(/\p{C}/u);
        expect(error.message.length).toBeLessThan(230);
      }),
    );
    expect(decodeError(new Uint8Array()).code).toBe('failed');
    expect(decodeError(Uint8Array.of(200)).code).toBe('failed');
  });
});
