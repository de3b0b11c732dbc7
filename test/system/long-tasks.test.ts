/** How long the client keeps a page's main thread: what a click waits for while a session is opened, prepared and used. */

import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as Sotto from '../../client/browser.ts';
import { noBrowser, openBrowser } from './chromium.ts';
import { isLong, type Task, tasksOf } from './main-thread.ts';
import { root, serveFolder, serveProcess } from './serving.ts';
import { notBuilt } from './support.ts';

const skipped = notBuilt ?? noBrowser;
if (skipped) console.log(`tests of a page's main thread skipped: ${skipped}`);

/** What the page leaves to be used. */
declare const sotto: typeof Sotto;

describe.skipIf(skipped)('the main thread of a page with the client', () => {
  let browser: Browser;
  let folder: string;
  let files: Awaited<ReturnType<typeof serveFolder>>;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-tasks-'));
    cpSync(join(root, 'dist/web'), folder, { recursive: true });
    writeFileSync(
      join(folder, 'index.html'),
      `<!doctype html><title>plain</title>
      <script type="module">import * as sotto from './client.js'; globalThis.sotto = sotto;</script>`,
    );
    files = await serveFolder(folder, {
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    });
    browser = await openBrowser();
  });

  afterAll(async () => {
    await browser?.close();
    files?.close();
    rmSync(folder, { recursive: true });
  });

  /** A fresh visitor, whose hint is not kept yet and whose code is not compiled. */
  async function visit(work: (page: Page) => Promise<unknown>): Promise<Task[]> {
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(files.url);
      return await tasksOf(browser, page, () => work(page));
    } finally {
      await context.close();
    }
  }

  const infer = (url: string) => (page: Page) =>
    page.evaluate(async (url) => {
      performance.mark('phase: connect');
      const session = await sotto.connect(url);
      performance.mark('phase: prepare');
      await session.prepare({ inferences: 2 });
      performance.mark('phase: infer');
      const pixels = new Float32Array(session.program.input.shape.reduce((a, b) => a * b));
      await session.infer(pixels);
      await session.infer(pixels);
      performance.mark('phase: close');
      await session.close();
    }, url);

  it.each(['digits', 'cifar10'])('no task takes 50 ms of the processor for %s', async (name) => {
    const model = join(root, `models/zoo/${name}.sotto`);
    const server = await serveProcess(['--port', '0', '--model', model]);
    try {
      let best: Task[] | undefined;
      // What takes long by itself does so each time; what collects garbage now does not.
      for (let i = 0; i < 3 && best?.some(isLong) !== false; i++) {
        const tasks = await visit(infer(server.url));
        expect(tasks.length).toBeGreaterThan(100);
        if (best === undefined || tasks[0]!.cpuMs < best[0]!.cpuMs) best = tasks;
      }
      const longest = best!.slice(0, 3).map(({ phase, cpuMs }) => `${phase} ${cpuMs} ms`);
      console.log(`longest tasks of the page, ${name}: ${longest.join(', ')}`);
      expect(best!.filter(isLong)).toEqual([]);
    } finally {
      await server.kill();
    }
  });

  it('a long task is seen, with the phase it came in', async () => {
    const tasks = await visit((page) =>
      page.evaluate(async () => {
        performance.mark('phase: calm');
        await new Promise((resolve) => setTimeout(resolve, 20));
        performance.mark('phase: busy');
        let x = 1;
        for (let i = 0; i < 3e8; i++) x = (x * 48271) % 0x7fffffff;
        return x;
      }),
    );
    expect(tasks.filter(isLong).map(({ phase }) => phase)).toContain('busy');
    expect(tasks.filter((task) => task.phase === 'calm').some(isLong)).toBe(false);
  });
});
