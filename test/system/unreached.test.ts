/** Why a page reaches no server, in sentences that help: its policy, its scheme, its network, its server. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as Sotto from '../../client/browser.ts';
import { noBrowser, openBrowser } from './chromium.ts';
import { root, serveFolder, serveProcess } from './serving.ts';
import { notBuilt } from './support.ts';

const skipped = notBuilt ?? noBrowser;
if (skipped) console.log(`tests of pages without a server skipped: ${skipped}`);

/** What the page leaves to be used. */
declare const sotto: typeof Sotto;

const PAGE = `<!doctype html><title>plain</title>
  <script type="module">import * as sotto from './client.js'; globalThis.sotto = sotto;</script>`;

describe.skipIf(skipped)('a page that reaches no server is told', () => {
  let browser: Browser;
  let folder: string;
  let page: Page;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-unreached-'));
    cpSync(join(root, 'dist/web'), folder, { recursive: true });
    writeFileSync(join(folder, 'index.html'), PAGE);
    browser = await openBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true });
  });

  /** What connecting and listing end with, on a page that comes with these headers. */
  async function failures(url: string, headers: Record<string, string> = {}, offline = false) {
    const files = await serveFolder(folder, headers);
    page = await browser.newPage();
    try {
      await page.goto(files.url);
      await page.waitForFunction(() => 'sotto' in globalThis);
      await page.context().setOffline(offline);
      return await page.evaluate(ask, url);
    } finally {
      await page.close();
      files.close();
    }
  }

  /** In the page. */
  async function ask(url: string) {
    const told = (error: unknown) => {
      const { name, message, code } = error as Sotto.ProtocolError;
      return sotto.isProtocolError(error) ? [code, message] : [name, message];
    };
    const connecting = sotto.connect(url).catch(told);
    return [await connecting, await sotto.models(url).catch(told)] as const;
  }

  const nowhere = 'ws://127.0.0.1:1';
  const cannot = (reason: string) => ['unreachable', `cannot connect to ${nowhere}: ${reason}`];

  it('that none answers', async () => {
    const same = cannot('no server answers there');
    expect(await failures(nowhere)).toEqual([same, same]);
  });

  it('that its content security policy forbids it', async () => {
    const policy = `script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'`;
    const same = cannot(
      'the content security policy of this page, or of the file of its worker, does not name it in connect-src',
    );
    expect(await failures(nowhere, { 'content-security-policy': policy })).toEqual([same, same]);
  });

  it.each([
    [
      'starts no workers',
      `script-src 'self' 'unsafe-inline' 'unsafe-eval'; worker-src 'none'`,
      `pool: a worker could not start: its module was not found, or the page's content security policy forbids worker-src`,
    ],
    [
      'compiles no WebAssembly',
      `script-src 'self' 'unsafe-inline'`,
      `WebAssembly does not run here: an engine without SIMD, or a content security policy without 'wasm-unsafe-eval'`,
    ],
  ])('that it %s, because its policy forbids it', async (_, policy, sentence) => {
    const server = await serveProcess(['--model', 'digits', '--port', '0']);
    try {
      const [told] = await failures(server.url, { 'content-security-policy': policy });
      expect(told).toEqual(['Error', sentence]);
    } finally {
      await server.kill();
    }
  });

  it('that it is offline', async () => {
    const same = cannot('this device is offline');
    expect(await failures(nowhere, {}, true)).toEqual([same, same]);
  });

  it('that it came by https: and may use wss: alone, and no token of the address', async () => {
    page = await browser.newPage();
    await page.route('https://app.example/**', (route) => {
      const name = new URL(route.request().url()).pathname.slice(1);
      return name === ''
        ? route.fulfill({ contentType: 'text/html', body: PAGE })
        : route.fulfill({
            contentType: 'text/javascript',
            body: readFileSync(join(folder, name)),
          });
    });
    await page.goto('https://app.example/');
    await page.waitForFunction(() => 'sotto' in globalThis);
    const told = await page.evaluate(ask, 'ws://models.example/?token=secret');
    await page.close();
    const same = [
      'TypeError',
      'url: this page may not connect to ws://models.example/: pages that come by https: may use wss: alone',
    ];
    expect(told).toEqual([same, same]);
  });
});
