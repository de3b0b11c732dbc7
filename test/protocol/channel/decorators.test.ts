import { describe, expect, it } from 'vitest';
import { counted, trafficBetween } from '../../../protocol/channel/counted.ts';
import { delayed } from '../../../protocol/channel/delayed.ts';
import { withSignal, withTimeout } from '../../../protocol/channel/lifetime.ts';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import { recorded } from '../../support/recorded.ts';
import { describeChannel, failure } from './conformance.ts';

describeChannel('counted(memoryPair)', async () => {
  const [a, b] = memoryPair();
  return [counted(a), counted(b)];
});

describeChannel('recorded(memoryPair)', async () => {
  const [a, b] = memoryPair();
  return [recorded(a), recorded(b)];
});

describe('counted', () => {
  it('counts bytes with headers, frames and round trips, per phase', async () => {
    const [a, b] = memoryPair();
    const client = counted(a);
    const server = counted(b);
    await client.send(1, new Uint8Array(100));
    await client.send(1, new Uint8Array(50));
    await server.receive(1, 100);
    await server.receive(1, 50);
    await server.send(2, new Uint8Array(8));
    await client.receive(2, 8);
    const before = client.snapshot();
    expect(before).toEqual({
      bytesSent: 182,
      bytesReceived: 24,
      framesSent: 2,
      framesReceived: 1,
      roundTrips: 1,
    });
    // The server only answered: it never waited for an answer to its own message.
    expect(server.snapshot()).toEqual({
      bytesSent: 24,
      bytesReceived: 182,
      framesSent: 1,
      framesReceived: 2,
      roundTrips: 0,
    });
    const answers = Promise.all([client.send(1, new Uint8Array(0)), client.receiveUpTo(3, 9)]);
    await server.receive(1, 0);
    await server.send(3, new Uint8Array(9));
    await server.send(3, new Uint8Array(9));
    await answers;
    await client.receive(3, 9);
    expect(trafficBetween(before, client.snapshot())).toEqual({
      bytesSent: 16,
      bytesReceived: 50,
      framesSent: 1,
      framesReceived: 2,
      roundTrips: 1,
    });
    expect(server.snapshot().roundTrips).toBe(1);
  });
});

describe('recorded', () => {
  it('keeps copies of both directions in order', async () => {
    const [a, b] = memoryPair();
    const channel = recorded(a);
    const payload = Uint8Array.of(1, 2);
    await channel.send(1, payload);
    payload.fill(0);
    await b.send(2, Uint8Array.of(3));
    (await channel.receive(2, 1)).fill(0);
    expect(channel.transcript).toEqual([
      { direction: 'sent', kind: 1, payload: Uint8Array.of(1, 2) },
      { direction: 'received', kind: 2, payload: Uint8Array.of(3) },
    ]);
  });
});

describe('delayed', () => {
  // Timers never fire early beyond their 1 ms grain; only lateness depends on the machine.
  const GRAIN_MS = 2;

  it('takes the latency once per direction and keeps the order', async () => {
    const [a, b] = memoryPair();
    const link = { latencyMs: 40, bitsPerSecond: Number.POSITIVE_INFINITY };
    const client = delayed(a, link);
    const server = delayed(b, link);
    const start = performance.now();
    await client.send(1, Uint8Array.of(1));
    await client.send(2, Uint8Array.of(2));
    expect(await server.receive(1, 1)).toEqual(Uint8Array.of(1));
    expect(await server.receive(2, 1)).toEqual(Uint8Array.of(2));
    expect(performance.now() - start).toBeGreaterThan(40 - GRAIN_MS);
    await server.send(3, new Uint8Array());
    await client.receive(3, 0);
    expect(performance.now() - start).toBeGreaterThan(80 - GRAIN_MS);
  });

  it('takes the time of the bits, headers included', async () => {
    const [a, b] = memoryPair();
    // 10 frames of 1,000 bytes at 1 Mbit/s: 80 ms.
    const client = delayed(a, { latencyMs: 0, bitsPerSecond: 1e6 });
    const start = performance.now();
    for (let i = 0; i < 10; i++) await client.send(1, new Uint8Array(984));
    expect(performance.now() - start).toBeLessThan(60);
    for (let i = 0; i < 10; i++) await b.receive(1, 984);
    expect(performance.now() - start).toBeGreaterThan(80 - GRAIN_MS);
  });

  it('makes the sender wait when its buffer is full', async () => {
    const [a, b] = memoryPair();
    // 8 MiB at 800 Mbit/s: 84 ms on the link, half of it in the buffer.
    const client = delayed(a, { latencyMs: 0, bitsPerSecond: 8e8 });
    const start = performance.now();
    await client.send(1, new Uint8Array(8 * 1024 * 1024));
    expect(performance.now() - start).toBeGreaterThan(41 - GRAIN_MS);
    await b.receive(1, 8 * 1024 * 1024);
  });

  it('lets an orderly close travel behind the frames', async () => {
    const [a, b] = memoryPair();
    const client = delayed(a, { latencyMs: 20, bitsPerSecond: 1e9 });
    await client.send(1, Uint8Array.of(1));
    client.close();
    expect(await failure(client.send(1, Uint8Array.of(1)))).toMatchObject({ code: 'closed' });
    expect(await b.receive(1, 1)).toEqual(Uint8Array.of(1));
    expect(await failure(b.receive(1, 1))).toMatchObject({ code: 'lost' });
  });

  it('ends the channel on a frame that cannot go out', async () => {
    const [a] = memoryPair();
    const client = delayed(a, { latencyMs: 0, bitsPerSecond: 1e9 });
    await client.send(999, new Uint8Array());
    expect(await client.closed).toBeInstanceOf(RangeError);
  });

  it('refuses a link that is none', () => {
    const [a] = memoryPair();
    expect(() => delayed(a, { latencyMs: -1, bitsPerSecond: 1 })).toThrow(RangeError);
    expect(() => delayed(a, { latencyMs: 0, bitsPerSecond: 0 })).toThrow(RangeError);
    expect(() => delayed(a, { latencyMs: Number.NaN, bitsPerSecond: 1 })).toThrow(RangeError);
  });
});

describe('withSignal', () => {
  it('closes the channel when the signal fires during the work', async () => {
    const [a, b] = memoryPair();
    const controller = new AbortController();
    const work = withSignal(a, controller.signal, 'the inference', () => a.receive(1, 1));
    controller.abort();
    const error = await failure(work);
    expect(error).toMatchObject({ name: 'AbortError', message: 'the inference was cancelled' });
    expect(await a.closed).toBe(error);
    expect(await failure(b.receive(1, 1))).toMatchObject({ code: 'lost' });
  });

  it('does not begin the work when the signal has fired', async () => {
    const [a] = memoryPair();
    let begun = false;
    const work = withSignal(a, AbortSignal.abort(), 'it', async () => {
      begun = true;
    });
    expect(await failure(work)).toMatchObject({ name: 'AbortError' });
    expect(begun).toBe(false);
    expect(await a.closed).toMatchObject({ name: 'AbortError' });
  });

  it('has no effect after the work, and none without a signal', async () => {
    const [a, b] = memoryPair();
    const controller = new AbortController();
    expect(await withSignal(a, controller.signal, 'it', async () => 5)).toBe(5);
    expect(await withSignal(a, undefined, 'it', async () => 6)).toBe(6);
    controller.abort();
    await b.send(1, Uint8Array.of(9));
    expect(await a.receive(1, 1)).toEqual(Uint8Array.of(9));
  });
});

describe('withTimeout', () => {
  it('ends the channel when the peer stays silent, and not otherwise', async () => {
    const [a, b] = memoryPair();
    const patient = withTimeout(a, 40);
    await b.send(1, Uint8Array.of(1));
    await patient.receive(1, 1);
    await patient.send(2, Uint8Array.of(1));
    await new Promise((resolve) => setTimeout(resolve, 60));
    const error = await failure(patient.receiveUpTo(1, 1));
    expect(error).toMatchObject({ code: 'timeout', message: 'the peer sent no frame for 40 ms' });
    expect(await a.closed).toBe(error);
    await b.receive(2, 1);
    expect(await failure(b.receive(1, 1))).toMatchObject({ code: 'timeout' });
  });

  it('ends the channel when the peer takes no frame', async () => {
    const [a] = memoryPair();
    const patient = withTimeout(a, 30);
    const flood = async (): Promise<void> => {
      for (let i = 0; i < 9; i++) await patient.send(1, new Uint8Array(16 * 1024 * 1024));
    };
    expect(await failure(flood())).toMatchObject({ code: 'timeout' });
  });
});
