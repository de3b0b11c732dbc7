/** How long the client keeps a page's main thread: what a click waits for while a session is opened, prepared and used. */

import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as Sotto from '../../client/browser.ts';
import { noBrowser, openBrowser } from './chromium.ts';
import { root, serveFolder, serveProcess } from './serving.ts';
import { notBuilt } from './support.ts';

const skipped = notBuilt ?? noBrowser;
if (skipped) console.log(`tests of a page's main thread skipped: ${skipped}`);

/**
 * What counts as a long task: twice the 50 ms that browsers call so. On the machine on which 12 and 17 ms were measured (digits, cifar10)
 * nothing came near 50; another, with a later Chromium, takes 29 and 66 for the same code.
 */
const LONG_TASK_MS = 100;

/** What the page leaves to be used. */
declare const sotto: typeof Sotto;

/** An event of Chromium's traces; times in microseconds, `tdur` of the processor. */
interface Traced {
  readonly name: string;
  readonly cat: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly tdur?: number;
}

interface Task {
  readonly phase: string;
  /** Time of the processor, in ms: what else the machine did meanwhile is not in it. */
  readonly cpuMs: number;
}

/** The tasks of the page's main thread while `work` marks its phases by `performance.mark('phase: NAME')`. */
async function tasksOf(
  browser: Browser,
  page: Page,
  work: () => Promise<unknown>,
): Promise<Task[]> {
  const categories = ['devtools.timeline', 'disabled-by-default-devtools.timeline', 'toplevel'];
  await browser.startTracing(page, { categories: [...categories, 'blink.user_timing'] });
  await work();
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as {
    traceEvents: Traced[];
  };
  const marks = traceEvents
    .filter(({ cat, name }) => cat.includes('blink.user_timing') && name.startsWith('phase: '))
    .sort((a, b) => a.ts - b.ts);
  const [main] = marks;
  return traceEvents
    .filter(({ pid, tid, name }) => pid === main?.pid && tid === main.tid && /RunTask$/.test(name))
    .flatMap(({ ts, dur = 0, tdur = 0 }) => {
      const phase = marks.findLast((mark) => mark.ts < ts + dur)?.name.slice('phase: '.length);
      return phase === undefined ? [] : [{ phase, cpuMs: Math.round(tdur / 1000) }];
    })
    .sort((a, b) => b.cpuMs - a.cpuMs);
}

const isLong = ({ cpuMs }: Task) => cpuMs >= LONG_TASK_MS;

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

  it.each(['digits', 'cifar10'])('no task takes 100 ms of the processor for %s', async (name) => {
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
