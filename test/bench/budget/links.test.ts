import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { computedMs, linkOf, occupationMs, preciseClock } from '../../../bench/budget/links.ts';
import { openRelay, withNetem } from '../../../bench/budget/relay.ts';
import { delayed } from '../../../protocol/channel/delayed.ts';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import { costOf } from '../../../protocol/inference/cost.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import { LINKS, LOOPBACK } from '../../../protocol/inference/links.ts';
import type { ProtocolRunner } from '../../../protocol/inference/session.ts';
import { tasks } from '../../../protocol/inference/tasks.ts';
import { call } from '../../../protocol/pool/task.ts';
import { VirtualClock } from '../../support/clock.ts';
import {
  drawBoth,
  inferBoth,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  seedOf,
} from '../../support/model.ts';

const [, lan, wan, mobile] = LINKS as [
  typeof LOOPBACK,
  typeof LOOPBACK,
  typeof LOOPBACK,
  typeof LOOPBACK,
];

describe('the networks', () => {
  it('are half a round trip long in each direction; nothing stands in front of loopback', () => {
    expect(linkOf(LOOPBACK)).toBeUndefined();
    expect(linkOf(wan)).toEqual({ latencyMs: 20, bitsPerSecond: 100e6 });
    expect(LINKS.map(({ roundTripMs }) => roundTripMs)).toEqual([0.1, 0.5, 40, 60]);
  });

  it('are computed: offline the slowest of three, online the sum, both with round trips', () => {
    // 1 MB at 20 Mbit/s is 400 ms.
    const cost = { up: 1e6, down: 2e6, rounds: 3 };
    expect(computedMs('offline', 100, cost, mobile)).toBe(800 + 180);
    expect(computedMs('offline', 1000, cost, mobile)).toBe(1000 + 180);
    expect(computedMs('online', 100, cost, mobile)).toBe(100 + 400 + 800 + 180);
    expect(occupationMs([cost, cost], mobile)).toBe(2 * (1200 + 180));
  });
});

/** Tasks that take no turn of the event loop, so that virtual time stands still while they run. */
const instantPool: ProtocolRunner = {
  workers: 1,
  run: async (task, input) => call(tasks, task, input) as never,
};

describe('a protocol run in virtual time', () => {
  const model = residualModel();
  const { offline: all, draw, online } = costOf(layoutOf(model.program));
  const offline = { ...all, up: all.up - draw.up, down: all.down - draw.down };

  async function phases(network: typeof LOOPBACK): Promise<{ offline: number; online: number }> {
    const clock = new VirtualClock();
    const link = linkOf(network)!;
    const [a, b] = memoryPair();
    const sessions = await openSessions(model, seedOf(2), instantPool, [
      delayed(a, link, clock),
      delayed(b, link, clock),
    ]);
    await drawBoth(sessions);
    const start = clock.now();
    await prepareBoth(sessions);
    const middle = clock.now();
    await inferBoth(sessions, randomInput(model, seedOf(3)));
    return { offline: middle - start, online: clock.now() - middle };
  }

  it.each([lan, wan, mobile])('over $name takes what is computed for it', async (network) => {
    const times = await phases(network);
    // Nothing was computed in that time. The online formula adds up what lanes may overlap; the offline formula lets all
    // overlap that may not.
    const sum = computedMs('online', 0, online, network);
    expect(times.online / sum).toBeLessThan(1.01);
    expect(times.online / sum).toBeGreaterThan(0.9);
    const most = computedMs('offline', 0, offline, network);
    expect(times.offline / most).toBeGreaterThan(0.75);
    expect(times.offline / most).toBeLessThan(1.35);
  });

  it('takes exactly as long when it is repeated', async () => {
    expect(await phases(wan)).toEqual(await phases(wan));
  });
});

it('the precise clock never wakes early, and late by much less than a timer', async () => {
  const late: number[] = [];
  for (let i = 0; i < 20; i++) {
    const time = preciseClock.now() + 0.3;
    await preciseClock.sleepUntil(time);
    late.push(preciseClock.now() - time);
  }
  expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
  expect(late.sort((a, b) => a - b)[5]).toBeLessThan(0.7);
});

describe('the relay', () => {
  const closing: (() => void)[] = [];
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });

  /** A server that answers every byte with one, behind a relay. */
  async function connected(network: typeof LOOPBACK): Promise<Socket> {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('data', (data) => socket.write(data));
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const relay = await openRelay(url, network);
    const socket = connect(Number(new URL(relay.url).port), '127.0.0.1');
    closing.push(() => {
      socket.destroy();
      relay.close();
      server.close();
      for (const each of sockets) each.destroy();
    });
    return socket;
  }

  /** Sends `bytes` and waits until they have come back. */
  async function echo(socket: Socket, bytes: Uint8Array): Promise<{ ms: number; back: Buffer }> {
    const chunks: Buffer[] = [];
    const start = performance.now();
    await new Promise<void>((resolve) => {
      let left = bytes.length;
      socket.on('data', (chunk) => {
        chunks.push(chunk);
        left -= chunk.length;
        if (left === 0) resolve();
      });
      socket.write(bytes);
    });
    return { ms: performance.now() - start, back: Buffer.concat(chunks) };
  }

  it('takes a round trip', async () => {
    const socket = await connected({ name: 'test', roundTripMs: 60, bitsPerSecond: 1e9 });
    const { ms } = await echo(socket, Uint8Array.of(1));
    expect(ms).toBeGreaterThanOrEqual(60);
  });

  it('takes the time of the bits, and keeps them in order, beyond what its buffer holds', async () => {
    const socket = await connected({ name: 'test', roundTripMs: 0, bitsPerSecond: 800e6 });
    const bytes = Uint8Array.from({ length: 10_000_000 }, (_, i) => i % 251);
    const { ms, back } = await echo(socket, bytes);
    expect(ms).toBeGreaterThanOrEqual(100);
    expect(back.equals(bytes)).toBe(true);
  });
});

it('a machine without the tools for a network of the kernel says so', async () => {
  const path = process.env['PATH'];
  process.env['PATH'] = '';
  try {
    expect(await withNetem(wan, async () => 'done')).toEqual({
      reason: expect.stringContaining('ENOENT'),
    });
  } finally {
    process.env['PATH'] = path;
  }
});
