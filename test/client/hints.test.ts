/** Getting hints by HTTP, with servers that do it badly, and the caches that need no platform. */

import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { storedHints } from '../../client/hint-storage.ts';
import { fetchHint, type HintCache, memoryHints } from '../../client/hints.ts';
import { listen } from '../../server/listen.ts';
import { hintRequests } from '../../server/publish.ts';
import { failureOf, within } from '../system/support.ts';

const digest = '0f'.repeat(32);
const hint = Uint8Array.from({ length: 300_000 }, (_, i) => i % 253);

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** The ws:// URL of a server that answers so. */
async function serverOf(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const fetchFrom = (url: string, options = {}) =>
  within(5000, fetchHint(url, digest, hint.length, options));

describe('getting a hint', () => {
  it('from a server that has it, told of each piece', async () => {
    const { url, close } = await listen({
      host: '127.0.0.1',
      port: 0,
      tls: undefined,
      onRequest: hintRequests(new Map([[digest, hint]])),
      onChannel: () => {},
    });
    closers.push(close);
    const told: number[] = [];
    const onProgress = (bytes: number, total: number) => {
      expect(total).toBe(hint.length);
      told.push(bytes);
    };
    const got = await fetchFrom(url, { onProgress });
    expect(Buffer.compare(got!, hint)).toBe(0);
    expect(told.length).toBeGreaterThan(1);
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(told.at(-1)).toBe(hint.length);
    // The same length is asked for: another one is another hint.
    expect(await fetchHint(url, digest, hint.length + 1)).toBe(undefined);
    expect(await fetchHint(url, digest, hint.length - 1)).toBe(undefined);
    expect(await fetchHint(url, 'aa'.repeat(32), hint.length)).toBe(undefined);
  });

  it.each([
    ['', `/hints/${digest}`],
    ['/', `/hints/${digest}`],
    ['/sotto/', `/sotto/hints/${digest}`],
    ['/?token=1', `/hints/${digest}`],
  ])('asks at ws://HOST%s for %s, and tells nothing of itself', async (path, expected) => {
    const seen: unknown[] = [];
    const url = await serverOf(({ url, headers }, response) => {
      seen.push(url, headers.cookie, headers.authorization, headers.referer);
      response.end(hint);
    });
    await fetchFrom(`${url}${path}`);
    expect(seen).toEqual([expected, undefined, undefined, undefined]);
  });

  it.each<[string, RequestListener]>([
    ['has no such hint', (_, response) => response.writeHead(404).end(hint)],
    ['speaks WebSocket alone', (_, response) => response.writeHead(426).end()],
    ['sends a part', (_, response) => response.writeHead(206).end(hint)],
    ['sends nothing', (_, response) => response.end()],
    ['sends less', (_, response) => response.end(hint.subarray(1))],
    ['sends more', (_, response) => response.end(Buffer.concat([hint, Uint8Array.of(0)]))],
    ['breaks off', (_, response) => response.write(hint, () => response.destroy())],
    ['sends others elsewhere', (_, response) => response.writeHead(302, { location: '/' }).end()],
    ['is no server of pages', ({ socket }) => socket.end('nonsense\r\n\r\n')],
  ])('from a server that %s gives nothing', async (_, answer) => {
    expect(await fetchFrom(await serverOf(answer))).toBe(undefined);
  });

  it('takes no more than it asked for from a server that never stops', async () => {
    let sent = 0;
    let gone = (): void => {};
    const end = new Promise<void>((resolve) => {
      gone = resolve;
    });
    const url = await serverOf((_, response) => {
      const more = (): void => {
        if (response.destroyed) return;
        sent += hint.length;
        response.write(hint, more);
      };
      response.on('close', gone);
      more();
    });
    expect(await fetchFrom(url)).toBe(undefined);
    await within(5000, end);
    expect(sent).toBeLessThan(100 * hint.length);
  });

  it('gives up where nothing comes any more', async () => {
    const silent = await serverOf(() => {});
    expect(await fetchFrom(silent, { stallMs: 100 })).toBe(undefined);
    const halting = await serverOf((_, response) => response.write(hint.subarray(1)));
    expect(await fetchFrom(halting, { stallMs: 200 })).toBe(undefined);
  });

  it('gives nothing where nobody listens, or where a page may not ask', async () => {
    expect(await fetchFrom('ws://127.0.0.1:1')).toBe(undefined);
    expect(await fetchFrom('ws://name:word@127.0.0.1:1')).toBe(undefined);
  });

  it('is cancelled before and while it happens', async () => {
    const url = await serverOf((_, response) => response.write(hint.subarray(1)));
    const early = fetchFrom(url, { signal: AbortSignal.abort() });
    expect(await failureOf(early)).toMatchObject({
      name: 'AbortError',
      message: 'getting the hint was cancelled',
    });
    const cancel = new AbortController();
    const onProgress = () => cancel.abort(new Error('enough'));
    const late = await failureOf(fetchFrom(url, { signal: cancel.signal, onProgress }));
    expect(late).toMatchObject({ name: 'AbortError', cause: { message: 'enough' } });
  });
});

/** Cache storage as browsers have it, as far as it is used. Keys stay in the order in which they came. */
class FakeCaches {
  readonly stored = new Map<string, { bytes: ArrayBuffer; headers: Headers }>();
  room = Number.POSITIVE_INFINITY;

  async open() {
    const { stored } = this;
    const urlOf = (key: Request | string) => new Request(key).url;
    return {
      keys: async () => [...stored.keys()].map((url) => new Request(url)),
      match: async (key: Request | string) => {
        const found = stored.get(urlOf(key));
        return found && new Response(found.bytes, { headers: found.headers });
      },
      delete: async (key: Request | string) => stored.delete(urlOf(key)),
      put: async (key: Request | string, response: Response) => {
        const bytes = await response.arrayBuffer();
        const others = [...stored].filter(([url]) => url !== urlOf(key));
        const taken = others.reduce((sum, [, { bytes }]) => sum + bytes.byteLength, 0);
        if (taken + bytes.byteLength > this.room) {
          throw new DOMException('no room', 'QuotaExceededError');
        }
        stored.set(urlOf(key), { bytes, headers: response.headers });
      },
    };
  }
}

const names = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(64)) as [
  string,
  string,
  string,
  string,
];

describe('a cache in memory', () => {
  it('keeps hints', () => keepsHints(memoryHints()));
});

describe('Cache storage', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('keeps hints', async () => {
    vi.stubGlobal('caches', new FakeCaches());
    await keepsHints(storedHints());
  });

  it('lets those go that were saved first, beyond its limit', async () => {
    const caches = new FakeCaches();
    vi.stubGlobal('caches', caches);
    const cache = storedHints({ maxBytes: 2 * hint.length });
    for (const name of names) await cache.save(name, hint);
    expect(await kept(cache)).toEqual([false, false, true, true]);
    await cache.save('e'.repeat(64), new Uint8Array(2 * hint.length + 1));
    expect(await kept(cache)).toEqual([false, false, true, true]);
  });

  it('keeps the last one where the browser grants less', async () => {
    const caches = new FakeCaches();
    vi.stubGlobal('caches', caches);
    caches.room = 1.5 * hint.length;
    const cache = storedHints();
    for (const name of names) await cache.save(name, hint);
    expect(await kept(cache)).toEqual([false, false, false, true]);
    caches.room = 0;
    await cache.save(names[0], hint);
    expect(await kept(cache)).toEqual([false, false, false, false]);
  });

  it('is done without where there is none, or it fails', async () => {
    const broken = { open: () => Promise.reject(new DOMException('no', 'SecurityError')) };
    for (const caches of [undefined, broken]) {
      vi.stubGlobal('caches', caches);
      const cache = storedHints();
      await cache.save(names[0], hint);
      expect(await cache.load(names[0], hint.length)).toBe(undefined);
    }
  });
});

async function kept(cache: HintCache): Promise<boolean[]> {
  const found = await Promise.all(names.map((name) => cache.load(name, hint.length)));
  return found.map((hint) => hint !== undefined);
}

async function keepsHints(cache: HintCache): Promise<void> {
  expect(await cache.load(digest, hint.length)).toBe(undefined);
  await cache.save(digest, hint);
  expect(Buffer.compare((await cache.load(digest, hint.length))!, hint)).toBe(0);
  expect(await cache.load(digest, hint.length - 1)).toBe(undefined);
  expect(await cache.load(names[0], hint.length)).toBe(undefined);
  await cache.save(digest, hint.subarray(1));
  expect(await cache.load(digest, hint.length)).toBe(undefined);
  expect((await cache.load(digest, hint.length - 1))![0]).toBe(1);
}
