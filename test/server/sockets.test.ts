/** Sockets that ask for nothing: they are bounded in number and time, and honest clients are served beside them. */

import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { connect } from '../../client/index.ts';
import { serverMetrics } from '../../server/metrics.ts';
import { listenWatch } from '../../server/watch.ts';
import { localPool, somePixels, within } from '../system/support.ts';
import { cert, key } from './certificate.ts';
import { model, withTiny } from './serving.ts';

/** Sockets that are open, and what is written on each. */
async function openSockets(port: number, count: number, text = ''): Promise<Socket[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connectTcp(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.on('error', () => {});
      socket.resume();
      if (text !== '') socket.write(text);
      return socket;
    }),
  );
}

/** When each was closed, in ms after `begin`. */
const closings = (sockets: readonly Socket[], begin: number): Promise<number[]> =>
  Promise.all(
    sockets.map(async (socket) => {
      if (!socket.closed) await once(socket, 'close');
      return performance.now() - begin;
    }),
  );

describe('sockets that send no request', () => {
  it.concurrent.each<[string, string, object]>([
    ['nothing at all', '', {}],
    ['the half of a request', 'GET / HTTP/1.1\r\nHost: x\r\n', {}],
    ['nothing at all, where TLS begins', '', { tls: { cert, key } }],
  ])(
    'are cut in time, and an honest client is served beside 300 of them: %s',
    async (_, text, options) => {
      const handshakeMs = 5000;
      // Of each client's own first message this is the time as well.
      await withTiny({ limits: { handshakeMs }, ...options }, async ({ server, url }) => {
        const begin = performance.now();
        const sockets = await openSockets(server.address.port, 300, text);
        const cut = closings(sockets, begin);
        const session = await connect(url, { pool: localPool(), ca: cert, hints: false });
        await session.infer(somePixels(model));
        const times = await within(30_000, cut);
        expect(Math.min(...times)).toBeGreaterThan(handshakeMs - 100);
        // It may be a busy machine; without a limit it would be a minute, or for ever.
        expect(Math.max(...times)).toBeLessThan(20_000);
        await session.close();
      });
    },
  );

  it('are cut as they come where there are four for each connection that may be', async () => {
    await withTiny({ limits: { connections: 5 } }, async ({ server }) => {
      const { port } = server.address;
      const held = await openSockets(port, 20);
      const begin = performance.now();
      const further = await within(5000, closings(await openSockets(port, 10), begin));
      expect(further).toHaveLength(10);
      expect(held.filter(({ closed }) => closed)).toEqual([]);
      for (const socket of held) socket.destroy();
    });
  });

  it('are cut on the port of the metrics, and those who watch are answered', async () => {
    const metrics = serverMetrics();
    await withTiny({ limits: { handshakeMs: 1000 } }, async ({ server }) => {
      const watch = await listenWatch({ host: '127.0.0.1', port: 0 }, server, metrics);
      const port = Number(new URL(watch.url).port);
      const sockets = await openSockets(port, 300);
      await within(20_000, closings(sockets, performance.now()));
      expect((await fetch(watch.url)).status).toBe(200);
      await watch.close();
    });
  });
});

it('a client that rests between two requests is not taken for one that sends none', async () => {
  await withTiny({ limits: { handshakeMs: 2000 } }, async ({ url }) => {
    const session = await connect(url, { pool: localPool(), hints: false });
    await new Promise((resolve) => setTimeout(resolve, 4000));
    await session.infer(somePixels(model));
    await session.close();
  });
});

it('an honest client is served beside as many silent WebSockets as there may be sessions', async () => {
  await withTiny({}, async ({ server, url }) => {
    const silent = Array.from({ length: server.limits.sessions }, () => new WebSocket(url));
    expect(silent).toHaveLength(32);
    await Promise.all(silent.map((socket) => once(socket, 'open')));
    const session = await connect(url, { pool: localPool(), hints: false });
    await session.infer(somePixels(model));
    expect(server.sessions).toBe(1);
    await session.close();
    for (const socket of silent) socket.terminate();
  });
});
