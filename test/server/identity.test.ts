/** Who a client is: decided before anything is read from it, in code or by a URL, and origins of pages. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { connect } from '../../client/index.ts';
import type { Authorize } from '../../server/authorize.ts';
import { authorizeByUrl, type ConnectionRequest, type Query, serve } from '../../server/index.ts';
import { root, serveProcess } from '../system/serving.ts';
import { failureOf, localPool, notBuilt, somePixels, within } from '../system/support.ts';
import { model, statusOf, turnedAway, withTiny } from './serving.ts';

const UNDECIDED = 'the peer gave up: who you are cannot be decided now, try again later';
const TOKEN = 'secret-token-of-alice';

if (notBuilt) console.log(`skipped in part, for ${notBuilt}`);

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A URL with the name that a client gives its server's proxy. */
const routed = (url: string) =>
  expect.stringMatching(new RegExp(`^${url.replaceAll('?', '\\?')}session=[0-9a-f]{16}$`));

describe('authorize', () => {
  it('is asked with the request, and names the client in events and queries', async () => {
    const asked: ConnectionRequest[] = [];
    const queries: Query[] = [];
    const authorize: Authorize = async (request) => {
      asked.push(request);
      return request.url.includes(TOKEN) ? 'alice' : `bearer of ${request.headers.authorization}`;
    };
    const allowQuery = (query: Query) => queries.push(query) <= 2;
    await withTiny({ authorize, allowQuery }, async ({ url, of, events }) => {
      const alice = await connect(`${url}/app?token=${TOKEN}`, { pool: localPool() });
      await alice.infer(somePixels(model));
      const headers = { authorization: 'Basic Ym9i' };
      const bob = await connect(url, { pool: localPool(), headers });
      await bob.prepare();
      expect(await failureOf(bob.prepare())).toMatchObject({ code: 'quota' });
      await alice.close();
      await bob.close();
      expect(asked).toMatchObject([
        { url: routed(`/app?token=${TOKEN}&`), address: '127.0.0.1', origin: undefined },
        { url: routed('/?'), headers },
      ]);
      const names = ['alice', 'bearer of Basic Ym9i'];
      expect(of('session').map(({ principal }) => principal)).toEqual(names);
      expect(queries.map(({ principal }) => principal)).toEqual([...names, names[1]]);
      expect(of('refused')).toMatchObject([{ principal: names[1], address: '127.0.0.1' }]);
      expect(JSON.stringify(events)).not.toContain(TOKEN);
    });
  });

  it('that is left out names clients by their address', async () => {
    await withTiny({}, async ({ url, of }) => {
      await (await connect(url, { pool: localPool() })).close();
      expect(of('session')).toMatchObject([{ address: '127.0.0.1', principal: '127.0.0.1' }]);
    });
  });

  it('refuses in a sentence, with the time to come again, and keeps nothing of the client', async () => {
    const refusals = [
      { message: 'no such key' },
      { message: 'too many keys were tried', retryAfterSeconds: 29.5 },
      { message: `\u001b[2J${'x'.repeat(1e6)}\n`, retryAfterSeconds: 7 },
    ];
    const authorize = () => refusals.shift() ?? 'alice';
    const limits = { connections: 1 };
    await withTiny({ authorize, limits }, async ({ url, of, server }) => {
      for (const [code, message, retryAfterMs] of [
        ['refused', 'no such key', undefined],
        ['quota', 'too many keys were tried, try again in 30 s', 29_500],
        ['quota', `[2J${'x'.repeat(147)}, try again in 7 s`, 7000],
      ]) {
        expect(await failureOf(connect(url, { pool: localPool() }))).toMatchObject({
          ...{ code, retryAfterMs, message: `the peer gave up: ${message}` },
        });
        expect(of('error').at(-1)).toMatchObject({ code, message });
      }
      expect(server.sessions).toBe(0);
      await (await connect(url, { pool: localPool() })).close();
      expect(of('closed').length).toBeLessThanOrEqual(1);
    });
  });

  it('that fails, or names nobody, lets nobody in, and says so to the operator alone', async () => {
    const failing: Authorize[] = [
      () => {
        throw new Error('the table of keys is gone');
      },
      () => Promise.reject(new Error('the table of keys is gone')),
      ...[
        '',
        'a\nb',
        '\u0000',
        'b\u202eob',
        '\u{d800}',
        'x'.repeat(201),
        undefined,
        null,
        7,
        {},
      ].map((wrong) => () => wrong as string),
    ];
    for (const authorize of failing) {
      await withTiny({ authorize }, async ({ url, of }) => {
        expect(await turnedAway(url)).toMatchObject({ code: 'busy', message: UNDECIDED });
        const [error] = of('error');
        expect(error).toMatchObject({ code: 'internal', principal: '127.0.0.1' });
        expect(error!.message).toMatch(
          /^the table of keys is gone$|^authorize: expected a principal of 1 to 200 printable characters, /,
        );
        expect(of('session')).toEqual([]);
      });
    }
    const long = 'Łukasz '.repeat(28);
    await withTiny({ authorize: () => long }, async ({ url, of }) => {
      await (await connect(url, { pool: localPool() })).close();
      expect(of('session')).toMatchObject([{ principal: long }]);
    });
  });

  it('that never decides holds a connection no longer than a first message may take', async () => {
    let silent = true;
    const authorize = () => (silent ? new Promise<string>(() => {}) : 'alice');
    const limits = { connections: 1, handshakeMs: 300 };
    await withTiny({ authorize, limits }, async ({ url, of }) => {
      expect(await turnedAway(url)).toMatchObject({ code: 'busy', message: UNDECIDED });
      expect(of('error')).toMatchObject([
        { code: 'internal', message: 'authorize: no decision for 300 ms' },
      ]);
      silent = false;
      await (await connect(url, { pool: localPool() })).close();
    });
  });

  it('reads nothing meanwhile: what a client sends waits at the client', async () => {
    let decide: (decision: { message: string }) => void = () => {};
    const authorize = () =>
      new Promise<{ message: string }>((resolve) => {
        decide = resolve;
      });
    await withTiny({ authorize }, async ({ url, of }) => {
      const socket = new WebSocket(url);
      await once(socket, 'open');
      for (let i = 0; i < 48; i++) socket.send(new Uint8Array(2 ** 20));
      await pause(500);
      expect(socket.bufferedAmount).toBeGreaterThan(2 ** 25);
      decide({ message: 'not you' });
      await within(5000, once(socket, 'close'));
      expect(of('error')).toMatchObject([{ code: 'refused', message: 'not you' }]);
    });
  });

  it('is not waited for by a server that closes', async () => {
    const authorize = () => new Promise<string>(() => {});
    await withTiny({ authorize }, async ({ url, server }) => {
      const refused = turnedAway(url);
      await pause(100);
      await within(3000, server.close());
      expect(await refused).toMatchObject({ message: 'the peer gave up: the server shuts down' });
    });
  });

  it('may come after the client has left', async () => {
    const limits = { connections: 1, handshakeMs: 1000 };
    const authorize = () => pause(200).then(() => 'alice');
    await withTiny({ authorize, limits }, async ({ url, of }) => {
      const socket = new WebSocket(url);
      await once(socket, 'open');
      socket.terminate();
      await pause(400);
      expect(of('error')).toEqual([]);
      await (await connect(url, { pool: localPool() })).close();
    });
  });
});

/** A URL that answers so, and what it was sent. */
async function authority(
  answer: (response: ServerResponse, request: IncomingMessage) => void,
): Promise<{ url: string; asked: unknown[] }> {
  const asked: unknown[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    asked.push({ method: request.method, ...JSON.parse(text || '{}') });
    answer(response, request);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/who`, asked };
}

const says = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  authority((response) => {
    response.writeHead(status, headers);
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });

const request: ConnectionRequest = {
  url: '/?token=1',
  headers: { authorization: 'Bearer 2', cookie: 'a=3', 'x-other': '4', host: 'model.example' },
  address: '203.0.113.9',
  port: 40000,
  origin: 'https://app.example',
};

describe('a URL that authorizes', () => {
  it('is sent what identifies a client, and nothing else, and its answer lets in', async () => {
    const { url, asked } = await says(201, { principal: 'alice', more: 1 });
    expect(await authorizeByUrl(url)(request)).toBe('alice');
    const { authorization, cookie } = request.headers;
    const { port: _, ...told } = request;
    expect(asked).toEqual([{ method: 'POST', ...told, headers: { authorization, cookie } }]);
    await withTiny({ authorize: authorizeByUrl(url) }, async ({ url, of }) => {
      await (await connect(`${url}/?key=k`, { pool: localPool() })).close();
      expect(of('session')).toMatchObject([{ principal: 'alice' }]);
      expect(asked[1]).toEqual({
        method: 'POST',
        url: routed('/?key=k&'),
        headers: {},
        address: '127.0.0.1',
      });
    });
  });

  it('refuses by 401, 403 and 429, with its sentence and the time to come again', async () => {
    for (const status of [401, 403, 429]) {
      const { url } = await says(status, { message: 'no' }, { 'retry-after': '60' });
      const refusal = { message: 'no', retryAfterSeconds: 60 };
      expect(await authorizeByUrl(url)(request)).toEqual(refusal);
    }
    for (const body of ['', 'no JSON', 'null', '{"message": 5}']) {
      const later = { 'retry-after': 'Fri, 31 Dec 1999 23:59:59 GMT' };
      const { url } = await says(403, body, later);
      expect(await authorizeByUrl(url)(request)).toEqual({
        message: 'the server does not let this client in',
        retryAfterSeconds: undefined,
      });
    }
  });

  it('lets nobody in by any other answer, and is followed nowhere', async () => {
    const other = await says(200, { principal: 'mallory' });
    const redirect = await says(302, { principal: 'mallory' }, { location: other.url });
    const broken = await says(500, { principal: 'mallory' });
    const gone = 'http://127.0.0.1:1/';
    const cut = await authority((response) => response.destroy());
    for (const [url, message] of [
      [redirect.url, /^authorize: http:\/\/127\.0\.0\.1:\d+ answered 302$/],
      [broken.url, /^authorize: http:\/\/127\.0\.0\.1:\d+ answered 500$/],
      [gone, /^authorize: http:\/\/127\.0\.0\.1:1 cannot be asked: /],
      [cut.url, /^authorize: http:\/\/127\.0\.0\.1:\d+ cannot be asked: /],
    ] as const) {
      await withTiny({ authorize: authorizeByUrl(url) }, async ({ url, of }) => {
        const { message: told } = await turnedAway(`${url}/?token=${TOKEN}`);
        expect(told).toBe(UNDECIDED);
        expect(of('error')).toMatchObject([{ code: 'internal' }]);
        expect(of('error')[0]!.message).toMatch(message);
        expect(JSON.stringify(of('error'))).not.toContain(TOKEN);
      });
    }
    expect(other.asked).toEqual([]);
    for (const body of [
      '',
      'null',
      '[]',
      '"alice"',
      '{"principal": 7}',
      '{"principal": "a\\u0007"}',
    ]) {
      const { url } = await says(200, body);
      await withTiny({ authorize: authorizeByUrl(url) }, async ({ url, of }) => {
        expect((await turnedAway(url)).message).toBe(UNDECIDED);
        expect(of('error')).toMatchObject([{ code: 'internal' }]);
      });
    }
  });

  it('that is silent for 5 s has not decided, at the head of its answer or in the middle', async () => {
    const mute = await authority(() => {});
    const slow = await authority((response) => {
      response.writeHead(200);
      response.write('{"principal":');
    });
    await Promise.all(
      [mute, slow].map(({ url }) =>
        withTiny({ authorize: authorizeByUrl(url) }, async ({ url, of }) => {
          const socket = new WebSocket(url);
          await within(8000, once(socket, 'close'));
          expect(of('error')).toMatchObject([{ code: 'internal' }]);
        }),
      ),
    );
  }, 15_000);

  it('is one of HTTP, without a password', () => {
    expect(() => authorizeByUrl('who')).toThrow(RangeError);
    expect(() => authorizeByUrl('ftp://a/')).toThrow('must begin with http:// or https://');
    const secret = () => authorizeByUrl(`http://me:${TOKEN}@a/`);
    expect(secret).toThrow('the URL that authorizes must have no user and no password');
  });
});

describe('a list of origins', () => {
  const origins = ['https://APP.example:443/', 'http://localhost:8080'];

  it('lets in its pages, and programs that state no origin', async () => {
    await withTiny({ origins }, async ({ url, events }) => {
      for (const headers of [
        {},
        { origin: 'https://app.example' },
        { origin: 'http://localhost:8080' },
      ]) {
        const session = await connect(url, { pool: localPool(), headers });
        await session.close();
      }
      expect(events.map(({ type }) => type)).not.toContain('error');
    });
  });

  it('refuses all others by HTTP, before they are asked who they are', async () => {
    let asked = 0;
    const authorize = () => `client ${++asked}`;
    await withTiny({ origins, authorize }, async ({ url, of }) => {
      const wrong = [
        'https://evil.example',
        'http://app.example',
        'https://APP.example',
        'https://app.example:443',
        'https://app.example:8443',
        'https://app.example/',
        'https://app.example.evil.example',
        'https://app.example, https://evil.example',
        'null',
        'file://',
        '',
        `https://${'a'.repeat(9000)}`,
        'https://\u00e4\u0085.example',
      ];
      for (const origin of wrong) expect(await statusOf(url, [`Origin: ${origin}`])).toBe(403);
      const twice = ['Origin: https://app.example', 'Origin: https://evil.example'];
      expect(await statusOf(url, twice)).toBe(403);
      expect(await statusOf(url, [...twice].reverse())).toBe(403);
      expect(asked).toBe(0);
      expect(of('error')).toHaveLength(wrong.length + 2);
      for (const { code, message } of of('error')) {
        expect(code).toBe('refused');
        expect(message).toMatch(/^pages of the origin .{0,200} are not let in$/);
        expect(message).not.toMatch(/\p{C}/u);
      }
      expect(await statusOf(url, ['Origin: https://app.example'])).toBe(101);
    });
  });

  it('that is not given lets in all, one that is empty none', async () => {
    await withTiny({}, async ({ url }) => {
      expect(await statusOf(url, ['Origin: null'])).toBe(101);
    });
    await withTiny({ origins: [] }, async ({ url }) => {
      expect(await statusOf(url, ['Origin: https://app.example'])).toBe(403);
      expect(await statusOf(url, [])).toBe(101);
    });
  });

  it('holds origins and nothing else', async () => {
    for (const wrong of [
      'app.example',
      'https://app.example/page',
      'https://me@app.example',
      'wss://app.example',
      'null',
      '*',
      '',
    ]) {
      const error = await failureOf(
        serve([{ name: 'tiny', model }], { port: 0, pool: localPool(), origins: [wrong] }),
      );
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toBe(
        `origins: expected one such as https://example.com, got "${wrong}"`,
      );
    }
  });

  it.skipIf(notBuilt)(
    'of the command keeps the demo page working at the same address',
    async () => {
      const free = createServer().listen(0, '127.0.0.1');
      await once(free, 'listening');
      const { port } = free.address() as AddressInfo;
      free.close();
      await once(free, 'close');
      const own = `http://127.0.0.1:${port}`;
      const digits = join(root, 'models/zoo/digits.sotto');
      const args = ['--demo', '--model', digits, '--port', `${port}`, '--origin', own];
      const { url, kill } = await serveProcess([...args, '--origin', 'https://app.example']);
      closers.push(kill);
      expect((await fetch(own)).status).toBe(200);
      expect(await statusOf(url, [`Origin: ${own}`])).toBe(101);
      expect(await statusOf(url, ['Origin: https://app.example'])).toBe(101);
      expect(await statusOf(url, ['Origin: http://127.0.0.1:1'])).toBe(403);
    },
  );
});

describe('a request for a WebSocket', () => {
  it('with enormous or malformed headers costs the server nothing', async () => {
    const authorize: Authorize = ({ headers }) => `bearer of ${headers.authorization}`;
    await withTiny({ authorize }, async ({ url, of }) => {
      expect(await statusOf(url, [`Authorization: ${'a'.repeat(20_000)}`])).toBe(431);
      expect(await statusOf(url, ['Authorization: a\u0000b'])).toBe(400);
      expect(await statusOf(url, ['Authorization: a\rX: b'])).toBe(400);
      // Control characters of another kind pass HTTP, and make no principal.
      expect(await turnedAway(url, { authorization: 'a\u0085b' })).toMatchObject({
        message: UNDECIDED,
      });
      expect(of('error')).toMatchObject([{ code: 'internal' }]);
      await (await connect(url, { pool: localPool(), headers: { authorization: 'a' } })).close();
    });
  });
});

describe('a client with a token', () => {
  it('says it in no error', async () => {
    for (const url of [`ws://127.0.0.1:1/?token=${TOKEN}`, `http://127.0.0.1:1/?token=${TOKEN}`]) {
      const { message } = await failureOf(connect(url, { pool: localPool() }));
      expect(message).toContain('127.0.0.1:1/');
      expect(message).not.toContain(TOKEN);
    }
  });
});
