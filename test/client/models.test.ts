/** Asking a server what it offers, over real sockets: what it says, who may ask, and answers that are none. */

import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import * as browser from '../../client/browser.ts';
import { connect, type ListedModel, models } from '../../client/index.ts';
import { PROTOCOL_VERSION } from '../../protocol/inference/hello.ts';
import { MAX_LISTING_BYTES } from '../../protocol/inference/listing.ts';
import { type ConnectionRequest, serve } from '../../server/index.ts';
import { cert, key } from '../server/certificate.ts';
import { model, withTiny } from '../server/serving.ts';
import { failureOf, localPool, somePixels, tinyModel, within } from '../system/support.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** A server of HTTP alone. */
async function answering(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('the list of models', () => {
  it('says in order what sessions then find: names, digests, bytes, rounds, bundles', async () => {
    const offered = [
      { name: 'tiny', model },
      { name: 'label', model: tinyModel('label') },
    ];
    const pool = localPool();
    const server = await serve(offered, { port: 0, pool, limits: { bundlesPerSession: 3 } });
    const list = await models(server.url);
    expect(await browser.models(server.url)).toEqual(list);
    expect(list.map(({ name }) => name)).toEqual(['tiny', 'label']);
    for (const listed of list) {
      const session = await connect(server.url, { pool, model: listed.name, hints: false });
      const { stats } = await session.infer(somePixels(model));
      const { digest, weights, maxBundles } = session;
      expect(listed).toMatchObject({ digest, weights, maxBundles: 3, shape: [1, 6, 6] });
      expect(maxBundles).toBe(3);
      expect(listed).toMatchObject({ classes: 3, labels: ['ant', 'bee', 'cat'] });
      const { bytesUp, bytesDown, rounds } = stats.online;
      expect(listed.online).toEqual({ bytesUp, bytesDown, rounds });
      await session.close();
      const hint = server.models.find(({ name }) => name === listed.name)!.hint;
      const response = await fetch(`${server.url.replace('ws', 'http')}/hints/${hint}`);
      expect(listed.hintBytes).toBe((await response.arrayBuffer()).byteLength);
    }
    await server.close();
  });

  it('is read by pages of any origin, and is only read', async () => {
    await withTiny({}, async ({ url }) => {
      const address = `${url.replace('ws', 'http')}/models`;
      const got = await fetch(address, { headers: { origin: 'https://app.example' } });
      expect(got.headers.get('access-control-allow-origin')).toBe('*');
      expect(got.headers.get('cache-control')).toBe('no-store');
      const head = await fetch(address, { method: 'HEAD' });
      expect([head.status, await head.text()]).toEqual([200, '']);
      const put = await fetch(address, { method: 'PUT' });
      expect([put.status, put.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    });
  });

  it('goes over TLS with a certificate authority that is given, and not without', async () => {
    await withTiny({ tls: { cert, key } }, async ({ url }) => {
      const named = url.replace('127.0.0.1', 'localhost');
      expect((await models(named, { ca: cert })).map(({ name }) => name)).toEqual(['tiny']);
      const failure = await failureOf(models(named));
      expect(failure).toMatchObject({ code: 'unreachable' });
      expect(failure.message).toMatch(
        /^cannot connect to wss:\/\/localhost:\d+: its certificate is of no /,
      );
    });
  });
});

describe('who may have the list', () => {
  it('is decided as for a session: by URL and headers, and the operator hears of refusals', async () => {
    const asked: ConnectionRequest[] = [];
    const authorize = (request: ConnectionRequest) => {
      asked.push(request);
      if (request.url.includes('token=right') || request.headers.authorization) return 'alice';
      return { message: 'no such key', retryAfterSeconds: 29.5 };
    };
    await withTiny({ authorize, trustProxies: ['127.0.0.1'] }, async ({ url, of }) => {
      expect(await models(`${url}/?token=right`)).toHaveLength(1);
      const headers = { authorization: 'Bearer x', 'x-forwarded-for': '192.0.2.7' };
      expect(await models(url, { headers })).toHaveLength(1);
      const refusal = {
        code: 'quota',
        message: 'the peer gave up: no such key, try again in 30 s',
        retryAfterMs: 30_000,
      };
      expect(await failureOf(models(`${url}/?token=wrong`))).toMatchObject(refusal);
      expect(await failureOf(browser.models(url))).toMatchObject(refusal);
      expect(asked.map((request) => request.url)).toEqual([
        '/models?token=right',
        '/models',
        '/models?token=wrong',
        '/models',
      ]);
      expect(asked[1]!.address).toBe('192.0.2.7');
      expect(of('error')).toMatchObject([
        { code: 'quota', message: 'no such key, try again in 30 s' },
        { code: 'quota' },
      ]);
    });
  });

  it('nobody, when nothing decides; and those who wait are counted as connections', async () => {
    let decide: () => void = () => {};
    const waiting = new Promise<never>((_, reject) => {
      decide = () => reject(new Error('the table of keys is gone'));
    });
    const limits = { connections: 1 };
    await withTiny({ authorize: () => waiting, limits }, async ({ url, of, server }) => {
      const first = failureOf(models(url));
      while (server.connections === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(await failureOf(models(url))).toMatchObject({
        code: 'busy',
        message: 'the peer gave up: the server has too many connections, try again later',
      });
      decide();
      expect(await first).toMatchObject({
        code: 'busy',
        message: 'the peer gave up: who you are cannot be decided now, try again later',
      });
      expect(of('error').at(-1)).toMatchObject({
        code: 'internal',
        message: 'the table of keys is gone',
      });
      expect(server.connections).toBe(0);
    });
  });

  it('a server that closes does not wait for a decision', async () => {
    let asked = false;
    const authorize = () => {
      asked = true;
      return new Promise<string>(() => {});
    };
    await withTiny({ authorize }, async ({ url, server }) => {
      const refused = failureOf(models(url));
      while (!asked) await new Promise((resolve) => setTimeout(resolve, 5));
      await within(5000, server.close());
      expect(await refused).toHaveProperty('code');
    });
  });

  it('pages of other origins are refused where origins are named', async () => {
    await withTiny({ origins: ['https://app.example'] }, async ({ url, of }) => {
      expect(await models(url, { headers: { origin: 'https://app.example' } })).toHaveLength(1);
      expect(await failureOf(models(url, { headers: { origin: 'https://evil.example' } }))).toEqual(
        expect.objectContaining({
          code: 'refused',
          message: 'the peer gave up: pages of the origin https://evil.example are not let in',
        }),
      );
      expect(of('error')).toMatchObject([{ code: 'refused' }]);
    });
  });

  it('a session that asks for what there is not is told what there is', async () => {
    const many = Array.from({ length: 30 }, (_, i) => ({ name: `model-${i}`, model }));
    const server = await serve(many, { port: 0, pool: localPool() });
    const failure = await failureOf(connect(server.url, { pool: localPool(), model: 'modle-1' }));
    expect(failure).toMatchObject({ code: 'refused' });
    expect(failure.message).toMatch(
      /^the peer gave up: this server offers no model named "modle-1"; it offers model-0, model-1, .*, \d+ more$/,
    );
    const long = await failureOf(
      connect(server.url, { pool: localPool(), model: 'x'.repeat(200) }),
    );
    expect(long.message).toMatch(/"x{40}…"; it offers model-0, .*, \d+ more$/);
    await server.close();
  });
});

describe('an answer that is no list', () => {
  const digest = 'ab'.repeat(32);
  const phase = { bytesUp: 1, bytesDown: 2, rounds: 3 };
  const good: ListedModel = {
    name: 'a',
    digest,
    weights: digest,
    shape: [1, 2, 3],
    classes: 4,
    labels: [],
    offline: phase,
    online: phase,
    maxBundles: 5,
    hintBytes: 6,
  };
  const sent = (document: unknown): RequestListener => {
    return (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(typeof document === 'string' ? document : JSON.stringify(document));
    };
  };

  it('takes what a later server says more, and nothing of another form', async () => {
    const later = { protocol: PROTOCOL_VERSION, more: 1, models: [{ ...good, more: 2 }] };
    expect(await models(await answering(sent(later)))).toEqual([good]);
    const wrong: Record<string, unknown>[] = [
      { name: 7 },
      { name: 'x'.repeat(201) },
      { digest: 'AB'.repeat(32) },
      { weights: 'ab' },
      { shape: [1, 2] },
      { shape: [1, 2, 0] },
      { classes: -1 },
      { labels: [1] },
      { offline: { ...phase, bytesUp: -1 } },
      { online: { ...phase, bytesDown: 0.5 } },
      { online: { ...phase, rounds: 'many' } },
      { maxBundles: null },
      { hintBytes: 2 ** 60 },
    ];
    for (const change of wrong) {
      const document = { protocol: PROTOCOL_VERSION, models: [{ ...good, ...change }] };
      const failure = await failureOf(models(await answering(sent(document))));
      expect(failure, JSON.stringify(change)).toMatchObject({ code: 'bad-message' });
      const [field] = Object.keys(change);
      expect(failure.message).toMatch(new RegExp(`is not well formed: models\\.0\\.${field}`));
    }
    for (const document of ['', '[', '[]', 'null', { models: [good] }]) {
      const failure = await failureOf(models(await answering(sent(document))));
      expect(failure).toMatchObject({ code: 'bad-message' });
    }
    for (const list of [[], Array(1025).fill(good), {}]) {
      const document = { protocol: PROTOCOL_VERSION, models: list };
      const failure = await failureOf(models(await answering(sent(document))));
      expect(failure).toMatchObject({ code: 'bad-message' });
    }
  });

  it('names both versions when the server speaks another', async () => {
    const url = await answering(sent({ protocol: PROTOCOL_VERSION + 1, models: 'otherwise' }));
    expect(await failureOf(models(url))).toMatchObject({
      code: 'version-mismatch',
      message: `the peer speaks protocol version ${PROTOCOL_VERSION + 1}, this side version ${PROTOCOL_VERSION}`,
    });
  });

  it('is read no further than a list may be long', async () => {
    const url = await answering((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const more = (): void => {
        while (response.write(' '.repeat(65_536)));
      };
      response.on('drain', more);
      more();
    });
    expect(await within(20_000, failureOf(models(url)))).toMatchObject({
      code: 'bad-message',
      message: `the answer is longer than ${MAX_LISTING_BYTES} bytes`,
    });
  });

  it('of an older server, or no server of models, is told in one sentence', async () => {
    for (const status of [200, 404, 426]) {
      const url = await answering((_, response) => {
        response.writeHead(status, { 'content-type': 'text/html' });
        response.end('<html>');
      });
      expect(await failureOf(models(`${url}/?token=secret`))).toMatchObject({
        code: 'version-mismatch',
        message: `${url}/ does not list its models: it is older than this client, or no server of models`,
      });
    }
    const redirects = await answering((_, response) => {
      response.writeHead(302, { location: 'http://127.0.0.1:9/' });
      response.end();
    });
    expect(await failureOf(models(redirects))).toMatchObject({
      code: 'unreachable',
      message: `cannot connect to ${redirects}: it answered 302`,
    });
  });

  it('refusals of a proxy are told without its page', async () => {
    const url = await answering((_, response) => {
      response.writeHead(503, { 'content-type': 'text/html', 'retry-after': '7' });
      response.end('<html>');
    });
    expect(await failureOf(models(url))).toMatchObject({
      code: 'busy',
      message: 'the peer gave up: it gave no reason',
      retryAfterMs: 7000,
    });
  });

  it('a server that is not there, hangs up, or is not asked to the end', async () => {
    expect(await failureOf(models('ws://127.0.0.1:1'))).toMatchObject({
      code: 'unreachable',
      message: 'cannot connect to ws://127.0.0.1:1: no server listens there',
    });
    expect(await failureOf(browser.models('ws://127.0.0.1:1'))).toMatchObject({
      code: 'unreachable',
      message: 'cannot connect to ws://127.0.0.1:1: no server answers there',
    });
    const half = await answering((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 });
      response.write('{');
      setTimeout(() => response.destroy(), 20);
    });
    expect(await failureOf(models(half))).toMatchObject({ code: 'lost' });
    const deaf = createTcpServer().listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    closers.push(() => deaf.close());
    const controller = new AbortController();
    const url = `ws://127.0.0.1:${(deaf.address() as AddressInfo).port}`;
    const listing = models(url, { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    expect(await within(5000, failureOf(listing))).toMatchObject({ name: 'AbortError' });
  });

  it('mistakes in arguments are told as those of connect', async () => {
    expect(await failureOf(models('http://127.0.0.1'))).toEqual(
      new TypeError('url: expected ws://HOST:PORT or wss://HOST:PORT, got "http://127.0.0.1"'),
    );
    expect(await failureOf(models('ws://h', { model: 'x' } as never))).toBeInstanceOf(TypeError);
    expect(await failureOf(browser.models('ws://127.0.0.1:1', { ca: 'PEM' }))).toEqual(
      new TypeError('ca, headers: a browser lets no page set them'),
    );
  });
});
