import { expect, it } from 'vitest';
import { Endpoint, type Transport } from '../../../protocol/channel/endpoint.ts';
import { joinFrame, MAX_FRAME_BYTES } from '../../../protocol/channel/frames.ts';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import { encodeFrame } from '../../support/frames.ts';
import { describeChannel, failure } from './conformance.ts';

describeChannel('memoryPair', async () => memoryPair());

/** A transport that only remembers. */
class Ledger implements Transport {
  readonly written: Uint8Array[] = [];
  readonly closes: boolean[] = [];
  readonly canPause: boolean;
  pauses = 0;
  resumes = 0;
  constructor(canPause: boolean) {
    this.canPause = canPause;
  }
  write(header: Uint8Array, payload: Uint8Array): boolean {
    this.written.push(joinFrame(header, payload));
    return true;
  }
  pause(): boolean {
    this.pauses++;
    return this.canPause;
  }
  resume(): void {
    this.resumes++;
  }
  close(orderly: boolean): void {
    this.closes.push(orderly);
  }
}

const frame = (sequence: number, length = 4): Uint8Array =>
  encodeFrame(9, sequence, new Uint8Array(length));

it.each([
  ['a dropped frame', [0, 2]],
  ['a repeated frame', [0, 0]],
  ['reordered frames', [1, 0]],
])('an endpoint dies on %s', async (_, sequence) => {
  const transport = new Ledger(true);
  const endpoint = new Endpoint(transport);
  for (const n of sequence) endpoint.deliver(frame(n));
  const error = await endpoint.closed;
  expect(error).toMatchObject({ code: 'bad-message' });
  expect(await failure(endpoint.receive(9, 4))).toBe(error);
  // The peer was told once, and the transport closed once.
  expect(transport.written.map((bytes) => bytes[1])).toEqual([255]);
  expect(transport.closes).toEqual([false]);
  endpoint.deliver(frame(0));
  endpoint.ended(new Error('later'));
  expect(await failure(endpoint.receive(9, 4))).toBe(error);
});

it('an endpoint pauses its transport when frames pile up and resumes it at half', async () => {
  const transport = new Ledger(true);
  const endpoint = new Endpoint(transport, { maxQueuedBytes: 2 * MAX_FRAME_BYTES });
  const large = MAX_FRAME_BYTES / 2;
  for (let n = 0; n < 5; n++) endpoint.deliver(frame(n, large));
  expect(transport.pauses).toBe(1);
  await endpoint.receive(9, large);
  await endpoint.receive(9, large);
  expect(transport.resumes).toBe(0);
  await endpoint.receive(9, large);
  await endpoint.receive(9, large);
  expect(transport.resumes).toBe(1);
});

it('an endpoint bounds a flood of empty frames by their count', () => {
  const transport = new Ledger(true);
  const endpoint = new Endpoint(transport, { maxQueuedBytes: MAX_FRAME_BYTES });
  let n = 0;
  for (; transport.pauses === 0 && n < 1e6; n++) endpoint.deliver(frame(n, 0));
  expect(n).toBeLessThan(40_000);
});

it('an endpoint whose transport cannot pause gives up instead', async () => {
  const transport = new Ledger(false);
  const endpoint = new Endpoint(transport, { maxQueuedBytes: MAX_FRAME_BYTES });
  endpoint.deliver(frame(0, MAX_FRAME_BYTES - 16));
  expect(await endpoint.closed).toMatchObject({ code: 'bad-message' });
});

it('a send during which the channel ends does not wait', async () => {
  const transport = new Ledger(true);
  const endpoint = new Endpoint(transport);
  transport.write = () => {
    endpoint.ended(new Error('gone'));
    return false;
  };
  expect(await failure(endpoint.send(1, new Uint8Array()))).toMatchObject({ message: 'gone' });
});

it('an endpoint needs room for one frame', () => {
  for (const maxQueuedBytes of [0, MAX_FRAME_BYTES - 1, Number.NaN]) {
    expect(() => new Endpoint(new Ledger(true), { maxQueuedBytes })).toThrow(RangeError);
  }
});

it('a wrong last frame is reported as such even if the peer has left', async () => {
  const [a, b] = memoryPair();
  await a.send(1, new Uint8Array(1));
  a.close();
  expect(await failure(b.receive(2, 1))).toMatchObject({ code: 'bad-message' });
  expect(await b.closed).toMatchObject({ code: 'bad-message' });
});

it('a sender that waits learns that the receiver has left', async () => {
  const [a, b] = memoryPair({ maxQueuedBytes: MAX_FRAME_BYTES });
  await a.send(1, new Uint8Array(MAX_FRAME_BYTES / 2));
  const waiting = failure(a.send(1, new Uint8Array(MAX_FRAME_BYTES / 2)));
  b.close();
  expect(await waiting).toMatchObject({ code: 'lost' });
});
