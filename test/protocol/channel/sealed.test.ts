import { describe, expect, it } from 'vitest';
import type { Channel } from '../../../protocol/channel/index.ts';
import { withTimeout } from '../../../protocol/channel/lifetime.ts';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import { SEAL_BYTES, sealed } from '../../../protocol/channel/sealed.ts';
import { corrupted, ProtocolError } from '../../../protocol/errors.ts';
import { RunningDigest } from '../../../protocol/random/running.ts';
import { recorded } from '../../support/recorded.ts';
import { describeChannel, failure } from './conformance.ts';

const SEAL = 26;

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

/** Two sealed ends; `change` may change what arrives at the second. */
function pairOf(change: (payload: Uint8Array, kind: number) => Uint8Array = (payload) => payload) {
  const [near, far] = memoryPair();
  const receive = far.receive.bind(far);
  far.receive = async (kind, length) => change(await receive(kind, length), kind);
  return [sealed(near, SEAL), sealed(far, SEAL)] as const;
}

describeChannel('sealed(memoryPair)', async () => {
  const [a, b] = memoryPair();
  return [sealed(a, SEAL), sealed(b, SEAL)];
});

describe('sealed', () => {
  it('carries seals both ways, each of all that went before in its direction', async () => {
    const [a, b] = pairOf();
    for (const [from, to] of [
      [a, b],
      [b, a],
      [a, b],
    ] as const) {
      for (const payload of [bytes(1, 2, 3), new Uint8Array(0), new Uint8Array(70_000).fill(5)]) {
        await from.send(1, payload);
        expect(await to.receive(1, payload.length)).toEqual(payload);
      }
      await from.send(2, bytes(4));
      expect(await to.receiveUpTo(2, 9)).toEqual(bytes(4));
      await from.seal();
      await to.expectSeal();
    }
  });

  it('makes the seals that its head says', async () => {
    const [a, b] = memoryPair();
    const tape = recorded(a);
    const channel = sealed(tape, SEAL);
    const payloads = [bytes(1, 2), new Uint8Array(0), new Uint8Array(5000).fill(7)];
    const running = new RunningDigest();
    const seals: Uint8Array[] = [];
    for (const payload of payloads) {
      await channel.send(1, payload);
      await channel.seal();
      await b.receive(1, payload.length);
      seals.push(await b.receive(SEAL, SEAL_BYTES));
      running.add(payload);
      expect(seals.at(-1)).toEqual(running.take().slice(0, SEAL_BYTES));
    }
    expect(tape.transcript.map(({ kind }) => kind)).toEqual([1, SEAL, 1, SEAL, 1, SEAL]);
  });

  it('has no seal of a flight without frames', async () => {
    const [near, b] = memoryPair();
    const tape = recorded(near);
    const [a, far] = [sealed(tape, SEAL), sealed(b, SEAL)];
    await a.seal();
    await far.expectSeal();
    expect(tape.transcript).toEqual([]);
    await a.send(1, bytes(1));
    await far.receive(1, 1);
    for (let i = 0; i < 3; i++) {
      await a.seal();
      await far.expectSeal();
    }
    // What the other direction carries is no matter.
    await far.send(2, bytes(2));
    await a.receive(2, 1);
    await a.seal();
    await far.expectSeal();
    expect(tape.transcript.map(({ kind }) => kind)).toEqual([1, SEAL, 2]);
  });

  it.each([0, 1, 2])('finds one changed bit in frame %i, and ends the channel', async (at) => {
    let frame = 0;
    const [a, b] = pairOf((payload, kind) => {
      if (kind !== SEAL && frame++ === at) payload[0]! ^= 0x10;
      return payload;
    });
    for (let i = 0; i < 3; i++) {
      await a.send(1, bytes(i, i));
      await b.receive(1, 2);
    }
    await a.seal();
    const error = await failure(b.expectSeal());
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toMatchObject({ code: 'corrupted', message: corrupted().message });
    expect(await b.closed).toBe(error);
    expect(await failure(b.receive(1, 1))).toBe(error);
    // The peer is told, in the same words.
    expect(await failure(a.receive(1, 1))).toMatchObject({
      code: 'corrupted',
      message: `the peer gave up: ${corrupted().message}`,
    });
  });

  it('finds it in a later seal, after one that was right', async () => {
    let damaging = false;
    const [a, b] = pairOf((payload, kind) => {
      if (damaging && kind !== SEAL) payload[0]! ^= 1;
      return payload;
    });
    await a.send(1, bytes(1));
    await b.receive(1, 1);
    await a.seal();
    await b.expectSeal();
    await a.send(1, bytes(1));
    damaging = true;
    await b.receive(1, 1);
    damaging = false;
    await a.send(1, bytes(1));
    await b.receive(1, 1);
    await a.seal();
    expect(await failure(b.expectSeal())).toMatchObject({ code: 'corrupted' });
  });

  it('finds each changed bit of a seal', async () => {
    for (let bit = 0; bit < 8 * SEAL_BYTES; bit++) {
      const [a, b] = pairOf((payload, kind) => {
        if (kind === SEAL) payload[bit >> 3]! ^= 1 << (bit & 7);
        return payload;
      });
      await a.send(1, bytes(1));
      await b.receive(1, 1);
      await a.seal();
      expect(await failure(b.expectSeal())).toMatchObject({ code: 'corrupted' });
    }
  });

  it('wants a seal where one is due, and no frame else', async () => {
    const [a, b] = pairOf();
    await a.send(1, bytes(1));
    await a.send(1, bytes(1));
    await b.receive(1, 1);
    expect(await failure(b.expectSeal())).toMatchObject({ code: 'bad-message' });
  });

  it('goes on over another view of its channel', async () => {
    const [near, far] = memoryPair();
    const [a, b] = [sealed(near, SEAL), sealed(far, SEAL)];
    const views: readonly [Channel, Channel][] = [
      [a, b.over(withTimeout(far, 1000))],
      [a.over(withTimeout(near, 1000)), b],
    ];
    for (const [from, to] of views) {
      await from.send(1, bytes(1));
      await to.receive(1, 1);
    }
    await a.seal();
    await b.expectSeal();
  });
});
