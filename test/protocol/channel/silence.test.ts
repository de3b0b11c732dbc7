/** Channels that beat, and channels that notice when nothing comes any more. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  Endpoint,
  type EndpointOptions,
  type Transport,
} from '../../../protocol/channel/endpoint.ts';
import { BEAT_KIND } from '../../../protocol/channel/frames.ts';
import { encodeFrame } from '../../support/frames.ts';

/** One end whose transport is a list. */
function end(options: EndpointOptions): { endpoint: Endpoint; sent: number[]; closed: boolean[] } {
  const sent: number[] = [];
  const closed: boolean[] = [];
  const transport: Transport = {
    write(header) {
      sent.push(header[1]!);
      return true;
    },
    pause: () => true,
    resume() {},
    close: (orderly) => void closed.push(orderly),
  };
  return { endpoint: new Endpoint(transport, options), sent, closed };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a channel that beats', () => {
  it('sends an empty frame each time, until it ends', () => {
    const { endpoint, sent } = end({ beatMs: 100 });
    vi.advanceTimersByTime(350);
    expect(sent).toEqual([BEAT_KIND, BEAT_KIND, BEAT_KIND]);
    endpoint.close();
    vi.advanceTimersByTime(1000);
    expect(sent).toHaveLength(3);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a channel that listens', () => {
  it('ends with a timeout when nothing comes, and cuts the transport', async () => {
    const { endpoint, closed } = end({ silenceMs: 700 });
    const waiting = endpoint.receive(1, 0).catch((error: unknown) => error);
    vi.advanceTimersByTime(699);
    expect(closed).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(closed).toContain(false);
    expect(await waiting).toMatchObject({
      code: 'timeout',
      message: 'nothing came for 0.7 s: the connection is lost',
    });
  });

  it('goes on as long as beats come, and hands on none of them', async () => {
    const { endpoint } = end({ silenceMs: 700 });
    let number = 0;
    for (; number < 20; number++) {
      vi.advanceTimersByTime(500);
      endpoint.deliver(encodeFrame(BEAT_KIND, number, new Uint8Array(0)));
    }
    endpoint.deliver(encodeFrame(1, number, Uint8Array.of(7)));
    expect(await endpoint.receive(1, 1)).toEqual(Uint8Array.of(7));
  });

  it('takes no beat that carries something', async () => {
    const { endpoint } = end({});
    endpoint.deliver(encodeFrame(BEAT_KIND, 0, Uint8Array.of(1)));
    expect(await endpoint.closed).toMatchObject({ code: 'bad-message' });
  });

  it('does not blame the peer for what this side does not read', () => {
    const maxQueuedBytes = 17 * 1024 * 1024;
    const { endpoint, closed } = end({ silenceMs: 700, maxQueuedBytes });
    const payload = new Uint8Array(9 * 1024 * 1024);
    for (const number of [0, 1]) endpoint.deliver(encodeFrame(1, number, payload));
    vi.advanceTimersByTime(5000);
    expect(closed).toEqual([]);
  });
});
