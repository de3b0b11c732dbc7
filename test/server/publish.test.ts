/** Hints by HTTP, as clients, proxies and pages of other origins get them. */

import { once } from 'node:events';
import { createServer, get, type IncomingMessage, request, type Server } from 'node:http';
import { get as secureGet } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listen } from '../../server/listen.ts';
import { hintRequests } from '../../server/publish.ts';
import { cert, key } from './certificate.ts';

const digest = 'ab'.repeat(32);
const hint = Uint8Array.from({ length: 1_000_001 }, (_, i) => i % 251);
const hints = new Map([[digest, hint]]);

let server: Server;
let port: number;

beforeAll(async () => {
  server = createServer(hintRequests(hints, (_, response) => response.end('the page')));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
});

afterAll(() => {
  server.close();
  server.closeAllConnections();
});

async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  return Buffer.concat(parts);
}

async function ask(path: string, method = 'GET', headers = {}) {
  const asked = request({ host: '127.0.0.1', port, path, method, headers }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return { status: response.statusCode, headers: response.headers, body: await bodyOf(response) };
}

describe('hints by HTTP', () => {
  it('are whole, may be kept for ever and read from anywhere', async () => {
    const { status, headers, body } = await ask(`/hints/${digest}`);
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'content-length': '1000001',
      'content-type': 'application/octet-stream',
      'cache-control': 'public, max-age=31536000, immutable',
      'access-control-allow-origin': '*',
      'cross-origin-resource-policy': 'cross-origin',
      etag: `"${digest}"`,
    });
    expect(headers['set-cookie']).toBe(undefined);
    expect(Buffer.compare(body, hint)).toBe(0);
  });

  it('answer HEAD, and who has one already, without the bytes', async () => {
    const head = await ask(`/hints/${digest}`, 'HEAD');
    expect([head.status, head.headers['content-length'], head.body.length]).toEqual([
      200,
      '1000001',
      0,
    ]);
    const known = await ask(`/hints/${digest}`, 'GET', { 'if-none-match': `"${digest}"` });
    expect([known.status, known.body.length]).toEqual([304, 0]);
    const other = await ask(`/hints/${digest}`, 'GET', { 'if-none-match': '"other"' });
    expect(other.status).toBe(200);
  });

  it.each(['cd'.repeat(32), digest.toUpperCase(), '', `${digest}/`, '__proto__', '../models.json'])(
    'know no other: %s',
    async (name) => {
      const { status, headers, body } = await ask(`/hints/${name}`);
      expect([status, body.toString()]).toEqual([404, 'There is no such hint.\n']);
      expect(headers).toMatchObject({
        'cache-control': 'no-store',
        'access-control-allow-origin': '*',
      });
    },
  );

  it('are only read', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const { status, headers } = await ask(`/hints/${digest}`, method);
      expect([status, headers['allow']]).toEqual([405, 'GET, HEAD']);
    }
  });

  it('leave all else to the page, or to the sentence that there is none', async () => {
    for (const path of ['/', '/hints', '/models.json', '/x/hints/']) {
      expect((await ask(path)).body.toString()).toBe('the page');
    }
    const alone = createServer(hintRequests(hints)).listen(0, '127.0.0.1');
    await once(alone, 'listening');
    const url = `http://127.0.0.1:${(alone.address() as AddressInfo).port}`;
    const [response] = await once(get(url), 'response');
    expect(response.statusCode).toBe(426);
    expect((await bodyOf(response)).toString()).toBe('This server speaks WebSocket.\n');
    alone.close();
  });

  it('appear when they are made, and outlive nothing', async () => {
    const live = new Map(hints);
    const alone = createServer(hintRequests(live)).listen(0, '127.0.0.1');
    await once(alone, 'listening');
    const url = `http://127.0.0.1:${(alone.address() as AddressInfo).port}/hints/new`;
    const statusOf = async () => {
      const [response] = await once(get(url), 'response');
      response.resume();
      return response.statusCode;
    };
    expect(await statusOf()).toBe(404);
    live.set('new', hint);
    expect(await statusOf()).toBe(200);
    live.delete('new');
    expect(await statusOf()).toBe(404);
    alone.close();
    alone.closeAllConnections();
  });

  it.each([false, true])(
    'cost no memory for readers who take their time (TLS: %s)',
    async (secure) => {
      const large = new Uint8Array(48 << 20).fill(5);
      const onRequest = hintRequests(new Map([[digest, large]]));
      const tls = secure ? { cert, key } : undefined;
      const listener = await listen({
        host: '127.0.0.1',
        port: 0,
        tls,
        onRequest,
        onChannel: () => {},
      });
      const before = process.memoryUsage();
      const url = `${listener.url.replace('ws', 'http')}/hints/${digest}`;
      const readers = Array.from({ length: 6 }, () =>
        secure ? secureGet(url, { ca: cert, agent: false }) : get(url, { agent: false }),
      );
      const responses = await Promise.all(readers.map((reader) => once(reader, 'response')));
      // Nobody reads: what the server was going to hold, it holds now.
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { rss, arrayBuffers } = process.memoryUsage();
      expect(arrayBuffers - before.arrayBuffers).toBeLessThan(24 << 20);
      expect(rss - before.rss).toBeLessThan(96 << 20);
      const [[first]] = responses as [[IncomingMessage]];
      expect((await bodyOf(first)).length).toBe(large.length);
      for (const reader of readers) reader.destroy();
      await listener.close();
    },
  );
});
