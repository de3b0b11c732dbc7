/** Hints in Chromium: Cache storage, and fetching from a server of another origin. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as Storage from '../../client/hint-storage.ts';
import type * as Hints from '../../client/hints.ts';
import { type Listener, listen } from '../../server/listen.ts';
import { hintRequests } from '../../server/publish.ts';
import { noBrowser, openBrowser } from './chromium.ts';
import { root, serveFolder } from './serving.ts';
import { notBuilt } from './support.ts';

const built = join(root, 'dist');
const stale = existsSync(join(built, 'client/hint-storage.js')) ? undefined : 'the build is stale';
const skipped = notBuilt ?? stale ?? noBrowser;
if (skipped) console.log(`hints in a browser skipped: ${skipped}`);

const digest = '0f'.repeat(32);
const hint = Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 253);

declare global {
  var load: (path: string) => Promise<typeof Hints & typeof Storage>;
}

describe.skipIf(skipped)('hints in a browser', () => {
  let browser: Browser;
  let page: Page;
  let files: Awaited<ReturnType<typeof serveFolder>>;
  let server: Listener;

  beforeAll(async () => {
    // As isolated as the demo page.
    const isolated = {
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    };
    [browser, files, server] = await Promise.all([
      openBrowser(),
      serveFolder(built, isolated),
      listen({
        host: '127.0.0.1',
        port: 0,
        tls: undefined,
        onRequest: hintRequests(new Map([[digest, hint]])),
        onChannel: () => {},
      }),
    ]);
    page = await browser.newPage();
    // As text, for imports of the tests are not those of pages.
    await page.addInitScript({ content: 'globalThis.load = (path) => import(path);' });
    await page.goto(`${files.url}web/index.html`);
  });

  afterAll(async () => {
    await browser?.close();
    files?.close();
    await server?.close();
  });

  it('are fetched from another origin, and kept from one page to the next', async () => {
    const get = async ({
      files,
      url,
      digest,
      bytes,
    }: Record<'files' | 'url' | 'digest', string> & { bytes: number }) => {
      const { fetchHint } = await globalThis.load(`${files}client/hints.js`);
      const { storedHints } = await globalThis.load(`${files}client/hint-storage.js`);
      const before = await storedHints().load(digest, bytes);
      const hint: Uint8Array | undefined = before ?? (await fetchHint(url, digest, bytes));
      if (hint) await storedHints().save(digest, hint);
      const other = await fetchHint(url, 'aa'.repeat(32), bytes);
      return [before !== undefined, hint?.length, hint?.at(-1), other === undefined];
    };
    const asked = { files: files.url, url: server.url, digest, bytes: hint.length };
    expect(await page.evaluate(get, asked)).toEqual([false, hint.length, hint.at(-1), true]);
    await page.reload();
    expect(await page.evaluate(get, asked)).toEqual([true, hint.length, hint.at(-1), true]);
    // Another length is another hint.
    const [kept, got] = await page.evaluate(get, { ...asked, bytes: hint.length - 1 });
    expect([kept, got]).toEqual([false, undefined]);
  });

  it('go beyond the limit, those first that were saved first', async () => {
    const kept = await page.evaluate(async (files) => {
      const { storedHints } = await globalThis.load(`${files}client/hint-storage.js`);
      const cache = storedHints({ maxBytes: 2500 });
      const names = ['a', 'b', 'c'].map((letter) => letter.repeat(64));
      for (const name of names) await cache.save(name, new Uint8Array(1000));
      const found = [];
      for (const name of names) found.push((await cache.load(name, 1000))?.length);
      return found;
    }, files.url);
    expect(kept).toEqual([undefined, 1000, 1000]);
  });
});
