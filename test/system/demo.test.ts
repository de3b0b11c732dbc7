/** The demo page in Chromium, as a visitor uses it, with a server in a separate process. */

import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { noBrowser, openBrowser } from './chromium.ts';
import { isLong, type Task, tasksOf } from './main-thread.ts';
import { root, type Served, serveFolder, serveProcess } from './serving.ts';
import { notBuilt } from './support.ts';

const skipped = notBuilt ?? noBrowser;
if (skipped) console.log(`demo page tests skipped: ${skipped}`);

/** Lines of a digit in the drawing area, 0..1. */
const seven = [
  [0.3, 0.28],
  [0.7, 0.27],
  [0.6, 0.5],
  [0.48, 0.8],
] as const;

describe.skipIf(skipped)('the demo page', () => {
  let browser: Browser;
  let server: Served;
  const pages: Page[] = [];
  /** What pages said to the console as errors. */
  const complaints: string[] = [];

  beforeAll(async () => {
    [browser, server] = await Promise.all([
      openBrowser(),
      serveProcess(['--demo', '--port', '0', '--model', join(root, 'models/zoo/digits.sotto')]),
    ]);
  });

  afterEach(async () => {
    await Promise.all(pages.splice(0).map((page) => page.close()));
    expect(complaints.splice(0)).toEqual([]);
  });

  afterAll(async () => {
    await browser?.close();
    await server?.kill();
  });

  async function open(address = server.page): Promise<Page> {
    const page = await browser.newPage();
    pages.push(page);
    page.on('pageerror', (error) => complaints.push(String(error.stack)));
    await page.goto(address);
    await page.waitForSelector('#classify:enabled');
    return page;
  }

  /** Takes an example for the picture. */
  async function pick(page: Page, name: string): Promise<void> {
    await page.click(`#examples img[alt="Example: ${name}"]`);
    await page.waitForFunction((sample) => location.hash.endsWith(`sample=${sample}`), name);
  }

  async function draw(page: Page, points: readonly (readonly [number, number])[]): Promise<void> {
    const box = (await page.locator('#drawing').boundingBox())!;
    const at = ([x, y]: readonly [number, number]) =>
      [box.x + x * box.width, box.y + y * box.height] as const;
    await page.mouse.move(...at(points[0]!));
    await page.mouse.down();
    for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 8 });
    await page.mouse.up();
  }

  const text = async (page: Page, selector: string) =>
    (await page.locator(selector).textContent()) ?? '';
  const idle = (page: Page) => page.locator('#cancel').waitFor({ state: 'hidden' });

  it('classifies a drawn digit privately, and shows the noise that the server got', async () => {
    const page = await open();
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
    await page.click('#clear');
    expect(await page.locator('#classify').isDisabled()).toBe(true);
    await draw(page, seven);

    // Every text the status line had.
    await page.evaluate(() => {
      const status = document.getElementById('status')!;
      const bar = document.getElementById('bar') as HTMLProgressElement;
      const told: [string, number][] = [];
      Object.assign(globalThis, { told });
      new MutationObserver(() => told.push([status.textContent, bar.value])).observe(status, {
        childList: true,
      });
    });
    await page.click('#prepare');
    await idle(page);
    expect(await text(page, '#available')).toBe('1');
    await page.click('#classify');
    await idle(page);
    expect(await text(page, '#error')).toBe('');
    expect(await text(page, '#verdict')).toBe('7');
    expect(await text(page, '#available')).toBe('0');

    const told = await page.evaluate(
      () => (globalThis as unknown as { told: [string, number][] }).told,
    );
    const phases = ['Connecting', 'Making keys', 'Preparing', 'Answering', 'Answered'];
    const first = phases.map((phase) => told.findIndex(([line]) => line.startsWith(phase)));
    expect(first).toEqual([...first].sort((a, b) => a - b));
    expect(first[0]).toBeGreaterThanOrEqual(0);
    for (const phase of ['Preparing', 'Answering']) {
      const lines = told.filter(([line]) => line.startsWith(phase));
      expect(lines.length).toBeGreaterThan(2);
      // "Preparing: 1.2 MB of 1.9 MB, layer conv1", and the bar with it.
      expect(lines.at(-1)![0]).toMatch(/^\w+: ([\d.]+ .?B) of \1, layer \S+$/);
      const values = lines.map(([, value]) => value);
      expect(values).toEqual([...values].sort((a, b) => a - b));
      expect(values.at(-1)).toBe(1);
    }

    // The noise: bytes like those of a fair die, not of a digit.
    const [image, noise] = await page.evaluate(() =>
      ['input', 'masked'].map((id) => {
        const canvas = document.getElementById(id) as HTMLCanvasElement;
        const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
        return Array.from(data).filter((_, i) => i % 4 === 0);
      }),
    );
    expect(image).toHaveLength(28 * 28);
    expect(image!.filter((value) => value === 0).length).toBeGreaterThan(400);
    const mean = noise!.reduce((sum, value) => sum + value, 0) / noise!.length;
    // Six standard deviations of the mean of 784 uniform bytes.
    expect(Math.abs(mean - 127.5)).toBeLessThan((6 * 74) / 28);
    expect(new Set(noise).size).toBeGreaterThan(200);
    const cells = await page.locator('#runs td').allTextContents();
    expect(cells.slice(0, 3)).toEqual(['digits', '1,829', '7']);
    expect(cells.slice(3)).toHaveLength(6);
    const done = server.events.filter(({ type }) => type === 'inference');
    expect(done).toHaveLength(1);
  });

  it('answers clicks while it works: no task of its main thread is long', async () => {
    let longest: readonly Task[] = [];
    // What takes long by itself does so each time; what collects garbage now does not.
    for (let i = 0; i < 3 && (i === 0 || longest.some(isLong)); i++) {
      const page = await open();
      await pick(page, '5');
      const tasks = await tasksOf(browser, page, async () => {
        await page.evaluate(() => performance.mark('phase: classify'));
        await page.click('#classify');
        await page.waitForFunction(() => document.getElementById('verdict')!.textContent !== '');
        await idle(page);
      });
      expect(await text(page, '#verdict')).toBe('5');
      expect(tasks.length).toBeGreaterThan(100);
      longest = tasks.slice(0, 3);
      await page.close();
    }
    console.log(
      `longest tasks of the demo page, ms: ${longest.map(({ cpuMs }) => cpuMs).join(', ')}`,
    );
    expect(longest.filter(isLong)).toEqual([]);
  });

  it('can be used by keyboard alone, and names what it has', async () => {
    const page = await open();
    await page.focus('#clear');
    await page.keyboard.press('Enter');
    await page.focus('#drawing');
    // A one: down the middle.
    await page.keyboard.press('Space');
    for (let i = 0; i < 14; i++) await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Space');
    await page.focus('#classify');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.getElementById('verdict')!.textContent !== '');
    expect(await text(page, '#verdict')).toBe('1');
    const nameless = await page.evaluate(() =>
      [
        ...document.querySelectorAll('button, input, select, canvas, video, img, progress, a'),
      ].flatMap((element) => {
        const { id, ariaLabel, textContent } = element as HTMLElement;
        const labels = (element as HTMLInputElement).labels?.length;
        const by = element.getAttribute('aria-labelledby');
        const inner = element.querySelector('img[alt]');
        const alt = element.getAttribute('alt');
        return ariaLabel || textContent?.trim() || labels || by || inner || alt ? [] : [id];
      }),
    );
    expect(nameless).toEqual([]);
  });

  it('cancels, says so, and goes on with fresh inferences', async () => {
    const page = await open();
    await pick(page, '8');
    await page.evaluate(() => {
      const cancel = document.getElementById('cancel')!;
      new MutationObserver((_, observer) => {
        if (!document.getElementById('status')!.textContent.startsWith('Preparing:')) return;
        observer.disconnect();
        cancel.click();
      }).observe(document.getElementById('status')!, { childList: true });
    });
    await page.click('#classify');
    await idle(page);
    expect(await text(page, '#status')).toMatch(/^Cancelled\./);
    expect(await text(page, '#verdict')).toBe('');
    await page.click('#classify');
    await page.waitForFunction(() => document.getElementById('verdict')!.textContent !== '');
    expect(await text(page, '#verdict')).toBe('8');
    expect(await text(page, '#error')).toBe('');
  });

  it('tells when the server restarts during a preparation, and reconnects', async () => {
    const page = await open();
    await pick(page, '2');
    await page.click('#prepare');
    await idle(page);
    expect(await text(page, '#available')).toBe('1');
    const { port } = server;
    const preparing = page.waitForFunction(() =>
      document.getElementById('status')!.textContent.startsWith('Preparing:'),
    );
    await page.click('#prepare');
    await preparing;
    await server.kill();
    await idle(page);
    const outcome = await text(page, '#error');
    // The preparation may have won the race; the next call then finds the server gone.
    if (outcome === '') {
      await page.click('#prepare');
      await idle(page);
    }
    expect(await text(page, '#error')).toMatch(/[Cc]onnection ended|Cannot connect/);
    expect(await text(page, '#available')).toBe('0');
    const model = join(root, 'models/zoo/digits.sotto');
    server = await serveProcess(['--demo', '--port', String(port), '--model', model]);
    await page.click('#classify');
    await page.waitForFunction(() => document.getElementById('verdict')!.textContent !== '');
    expect(await text(page, '#verdict')).toBe('2');
    expect(await text(page, '#error')).toBe('');
  });

  it('names an address where no server is', async () => {
    const page = await open(`${server.page}?server=ws://127.0.0.1:1`);
    await page.click('#prepare');
    await idle(page);
    expect(await text(page, '#error')).toMatch(
      /^Cannot connect to ws:\/\/127\.0\.0\.1:1: no server answers there\./,
    );
    await page.goto(`${server.page}?server=nonsense`);
    await page.waitForSelector('#classify:enabled');
    await page.click('#prepare');
    await idle(page);
    expect(await text(page, '#error')).toMatch(/^url: expected ws:\/\/HOST:PORT/);
  });

  it('lets a visitor take the same image to another ReLU budget, and sets the costs side by side', async () => {
    const budgets = ['fashion', 'fashion-729'];
    const served = await serveProcess([
      ...['--demo', '--port', '0'],
      ...budgets.flatMap((name) => ['--model', join(root, `models/zoo/${name}.sotto`)]),
    ]);
    try {
      const page = await open(served.page);
      await pick(page, 'coat');
      const rows: string[][] = [];
      for (const name of budgets) {
        await page.selectOption('#models', name);
        await page.click('#classify');
        await page.waitForFunction(
          (count) => document.querySelectorAll('#runs td').length === 9 * count,
          rows.length + 1,
        );
        await idle(page);
        rows.push(await page.locator('#runs tr >> nth=0').locator('td').allTextContents());
      }
      expect(rows.map(([name]) => name)).toEqual(budgets);
      expect(rows.map(([, relus]) => relus)).toEqual(['14,592', '729']);
      expect(rows[1]![2]).toBe(rows[0]![2]);
      const bytesOf = (row: readonly string[]) => row.filter((cell) => /\d [kM]?B$/.test(cell));
      const [all, few] = rows.map(bytesOf) as [string[], string[]];
      expect(all).toHaveLength(2);
      const megabytes = (text: string) =>
        Number.parseFloat(text) * (text.endsWith('kB') ? 1e-3 : 1);
      // A twentieth of the ReLUs is left; the words that every element's result takes are left too. Offline the squares
      // in place of ReLUs take more than they did.
      expect(megabytes(few[1]!)).toBeLessThan(megabytes(all[1]!) / 1.2);
    } finally {
      await served.kill();
    }
  });

  it('works on a page that is not isolated, without shared memory', async () => {
    // Somewhere else, which has the page's files and no headers; the list of models comes from the real server.
    const elsewhere = await serveFolder(join(root, 'dist/web'));
    try {
      const page = await browser.newPage();
      pages.push(page);
      await page.route('**/models.json', async (route) => {
        await route.fulfill({ body: await (await fetch(`${server.page}models.json`)).text() });
      });
      await page.goto(`${elsewhere.url}?server=${server.url}`);
      expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
      await pick(page, '4');
      await page.click('#classify');
      await page.waitForFunction(() => document.getElementById('verdict')!.textContent !== '');
      expect(await text(page, '#verdict')).toBe('4');
      expect(await text(page, '#workers')).toMatch(/separate memory/);
    } finally {
      elsewhere.close();
    }
  });
});
