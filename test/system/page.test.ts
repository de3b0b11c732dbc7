/** The demo page as people meet it: on a phone and a desk, by light and dark, by keyboard, with a camera, by a link, and when things go wrong. */

import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { noBrowser, openBrowser } from './chromium.ts';
import { beyondScreen, faintText, smallControls } from './looks.ts';
import { root, type Served, serveProcess } from './serving.ts';
import { notBuilt } from './support.ts';

const skipped = notBuilt ?? noBrowser;
if (skipped) console.log(`tests of the demo page's looks skipped: ${skipped}`);

const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 800 };
const views = [PHONE, DESK].flatMap((viewport) =>
  (['light', 'dark'] as const).map((colorScheme) => ({
    viewport,
    colorScheme,
    title: `${viewport.width}x${viewport.height}, ${colorScheme}`,
  })),
);

const zoo = (name: string) => ['--model', join(root, `models/zoo/${name}.sotto`)];

describe.skipIf(skipped)('the demo page', () => {
  let browser: Browser;
  let server: Served;
  const pages: Page[] = [];
  /** What pages said to the console as errors: broken promises of the content security policy too. */
  const complaints: string[] = [];

  beforeAll(async () => {
    [browser, server] = await Promise.all([
      openBrowser(),
      serveProcess([
        ...['--demo', '--port', '0'],
        ...['digits', 'fashion', 'fashion-729', 'cifar10-3891'].flatMap(zoo),
      ]),
    ]);
  });

  afterEach(async () => {
    await Promise.all(pages.splice(0).map((page) => page.context().close()));
    expect(complaints.splice(0)).toEqual([]);
  });

  afterAll(async () => {
    await browser?.close();
    await server?.kill();
  });

  async function open(address: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    pages.push(page);
    page.on('pageerror', (error) => complaints.push(String(error.stack)));
    page.on('console', (said) => {
      if (said.type() === 'error') complaints.push(said.text());
    });
    await page.goto(address);
    return page;
  }

  async function leave(page: Page): Promise<void> {
    await page.context().close();
    pages.splice(pages.indexOf(page), 1);
  }

  /** Opens the demo page at a view, ready to recognise its picture. */
  async function demo(hash = '', options: BrowserContextOptions = {}): Promise<Page> {
    const page = await open(`${server.page}${hash}`, options);
    await page.waitForSelector('#classify:enabled');
    return page;
  }

  const text = async (page: Page, id: string) => (await page.locator(`#${id}`).textContent()) ?? '';

  const answered = async (page: Page) => {
    await page.waitForSelector('#verdict:not(:empty), #error:not([hidden])');
    await page.locator('#cancel').waitFor({ state: 'hidden' });
    expect(await text(page, 'error')).toBe('');
    return text(page, 'verdict');
  };

  describe.each(views)('at $title', ({ viewport, colorScheme }) => {
    it('shows picture, noise and answer on one screen, large and clear enough, before and after', async () => {
      const page = await demo('#model=fashion&sample=bag', { viewport, colorScheme });
      const always = ['h1', '#drawing', '#leaving', '#examples', '#models'];
      expect(await page.evaluate(beyondScreen, [...always, '#classify', '#steps'])).toEqual([]);
      expect(await page.evaluate(faintText)).toEqual([]);
      await page.click('#classify');
      expect(await answered(page)).toBe('bag');
      const screen = [...always, '#verdict', '#certainty', '#chart', '#note', '#traffic'];
      expect(await page.evaluate(beyondScreen, screen)).toEqual([]);
      expect(await page.evaluate(faintText)).toEqual([]);
      expect(await page.evaluate(smallControls)).toEqual([]);
    });

    it('explains itself legibly, and every link leads somewhere', async () => {
      const page = await open(`${server.page}how`, { viewport, colorScheme });
      expect(await page.evaluate(beyondScreen, ['h1'])).toEqual([]);
      expect(await page.evaluate(faintText)).toEqual([]);
      // A table that scrolls is reached by keyboard, and is larger than a finger.
      expect(await page.evaluate(smallControls)).toEqual([]);
      const drawn = await page.locator('.story img').evaluate((image) => image.clientWidth);
      // 14 of the diagram's 440 units is its smallest text.
      expect((14 * drawn) / 440).toBeGreaterThanOrEqual(12);
      const links = await page
        .locator('a')
        .evaluateAll((all) => all.map((a) => (a as HTMLAnchorElement).href));
      expect(links.length).toBeGreaterThan(6);
      for (const link of new Set(links)) {
        const { hash } = new URL(link);
        expect((await fetch(link)).status, link).toBe(200);
        if (hash !== '') expect(await page.locator(hash).count(), link).toBe(1);
      }
    });
  });

  it('these checks find text that is small or faint, controls that are small, what is off the screen', async () => {
    const page = await demo('', { viewport: PHONE });
    await page.evaluate(() => {
      const style = (id: string) => document.getElementById(id)!.style;
      style('status').fontSize = '11px';
      style('invite').color = style('steps').color = '#bbbbbb';
      style('camera').minHeight = style('camera').maxHeight = '30px';
      style('wire').width = '500px';
    });
    const faint = await page.evaluate(faintText);
    expect(faint).toHaveLength(4);
    expect(faint.join()).toMatch(/11px/);
    expect(await page.evaluate(smallControls)).toEqual([expect.stringMatching(/^camera: .*x30$/)]);
    const beyond = await page.evaluate(beyondScreen, ['h1', '#wire', '#verdict']);
    expect(beyond).toEqual(['#wire', '#verdict', 'the page, by its width']);
  });

  it('keeps a strict policy, with no code or style in the page itself', async () => {
    for (const path of ['', 'how']) {
      const response = await fetch(`${server.page}${path}`);
      const policy = response.headers.get('content-security-policy');
      expect(policy).toMatch(
        /^default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; .*style-src 'self';/,
      );
      expect(policy).not.toMatch(/unsafe-inline|'unsafe-eval'/);
      const html = await response.text();
      expect(html).not.toMatch(/<script(?![^>]* src=)|<style| style=| on\w+=/);
    }
  });

  it('answers to the keyboard alone, and shows where it is', async () => {
    const page = await demo('#model=digits&sample=4');
    const reach = async (wanted: string, most = 40): Promise<void> => {
      for (let presses = 0; presses < most; presses++) {
        await page.keyboard.press('Tab');
        const [at, outline] = await page.evaluate(() => {
          const focused = document.activeElement!;
          const shown = focused.matches('.visually-hidden')
            ? focused.previousElementSibling!
            : focused;
          const { outlineStyle, outlineWidth } = getComputedStyle(shown);
          return [focused.id, `${outlineStyle} ${outlineWidth}`];
        });
        expect(outline, at).toBe('solid 3px');
        if (at === wanted) return;
      }
      throw new Error(`${wanted} is not reached by ${most} presses of Tab`);
    };
    await reach('models');
    await page.keyboard.press('f');
    expect(await page.locator('#models').inputValue()).toBe('fashion');
    await page.waitForFunction(() => location.hash === '#model=fashion&sample=T-shirt');
    await reach('classify');
    await page.keyboard.press('Enter');
    // The focus is where the work can be ended, and comes back.
    expect(await page.evaluate(() => document.activeElement!.id)).toBe('cancel');
    expect(await answered(page)).toBe('T-shirt');
    expect(await page.evaluate(() => document.activeElement!.id)).toBe('classify');
    await reach('start-race');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#lanes div');
  });

  it('a link shows its model and example, and follows what is chosen; a drawing is in none', async () => {
    const page = await demo('#model=cifar10-3891&sample=ship');
    expect(await page.locator('#models').inputValue()).toBe('cifar10-3891');
    await page.click('#classify');
    expect(await answered(page)).toBe('ship');
    const link = page.locator('#link');
    expect(await link.getAttribute('href')).toBe('#model=cifar10-3891&sample=ship');
    await page.selectOption('#models', 'fashion-729');
    await page.waitForFunction(() => location.hash === '#model=fashion-729&sample=T-shirt');
    expect(await text(page, 'verdict')).toBe('');
    await page.click('#clear');
    await page.locator('#drawing').click();
    expect(new URL(page.url()).hash).toBe('#model=fashion-729');
    // The example of this link comes when another link has long been followed.
    let follow = () => {};
    const followed = new Promise<void>((resolve) => {
      follow = resolve;
    });
    await page.route('**/digits/3.png', (route) => followed.then(() => route.continue()));
    await page.goto(`${server.page}#model=digits&sample=3`);
    await page.waitForFunction(() => document.querySelector('select')!.value === 'digits');
    await page.goto(`${server.page}#model=none&sample=%3Cb%3E`);
    await page.waitForFunction(() => location.hash === '#model=digits&sample=0');
    const late = page.waitForResponse('**/digits/3.png');
    follow();
    await late;
    // Time enough to decode and show it.
    await page.waitForTimeout(300);
    expect(new URL(page.url()).hash).toBe('#model=digits&sample=0');
  });

  it('shows the wire as it moves, and what a race of two networks took', async () => {
    const page = await demo('#model=fashion-729&sample=coat');
    await page.evaluate(() => {
      const seen: string[] = [];
      Object.assign(globalThis, { seen });
      new MutationObserver(() => seen.push(document.getElementById('up')!.textContent)).observe(
        document.getElementById('up')!,
        { childList: true },
      );
    });
    await page.click('#start-race');
    await page.waitForSelector('#lanes div');
    await page.locator('#cancel').waitFor({ state: 'hidden' });
    expect(await page.locator('#lanes p').textContent()).toMatch(
      /^fashion says coat, [^.]* %\. fashion-729 says coat, [^.]* %\.$/,
    );
    const lanes = await page.locator('#lanes .lane').allTextContents();
    expect(lanes).toHaveLength(8);
    expect(lanes.map((lane) => lane.match(/^fashion(-729)?(?=\d)/)?.[0]).slice(0, 2)).not.toContain(
      undefined,
    );
    const rows = await page.locator('#runs tr td:first-child').allTextContents();
    expect(rows).toEqual(['fashion-729', 'fashion']);
    const seen = await page.evaluate(() => (globalThis as unknown as { seen: string[] }).seen);
    expect(new Set(seen).size).toBeGreaterThan(5);
    expect(await text(page, 'leaving-title')).toBe('What the server got');
    await page.click('#prepare');
    await page.waitForFunction(() => document.getElementById('available')!.textContent === '1');
    await page.locator('#cancel').waitFor({ state: 'hidden' });
    expect(await text(page, 'leaving-title')).toBe('What the server got');
    expect(Number(await text(page, 'rounds'))).toBeGreaterThan(10);
    const messages = await page.locator('#messages li').allTextContents();
    expect(messages).toHaveLength(7);
    for (const message of messages)
      expect(message).toMatch(/^(↑ sent|↓ got)[a-z ]+[\d.]+ k?M?B([\da-f]{2} ?)+$/);
    await page.selectOption('#models', 'digits');
    expect(await page.locator('#race').isVisible()).toBe(false);
  });

  it('holds still for those who ask for less motion', async () => {
    const page = await demo('#model=digits&sample=6', { reducedMotion: 'reduce' });
    const lists = page.evaluate(
      () =>
        new Promise<number>((resolve) => {
          let changes = 0;
          new MutationObserver(() => changes++).observe(document.getElementById('messages')!, {
            childList: true,
          });
          new MutationObserver(() => resolve(changes)).observe(
            document.getElementById('verdict')!,
            {
              childList: true,
            },
          );
        }),
    );
    await page.click('#classify');
    expect(await answered(page)).toBe('6');
    expect(await lists).toBeLessThanOrEqual(1);
    expect(await page.locator('#messages li').count()).toBe(7);
  });

  it('takes a picture from a camera, and says why where there is none', async () => {
    const page = await demo('', { permissions: ['camera'] });
    await page.click('#camera');
    await page.waitForFunction(() => document.querySelector('video')!.videoWidth > 0);
    await page.waitForFunction(() => document.querySelector('#camera')!.textContent === 'Take it');
    await page.click('#camera');
    await page.waitForFunction(() => document.querySelector('video')!.hidden);
    expect(new URL(page.url()).hash).toBe('#model=digits');
    expect(await page.evaluate(() => document.querySelector('video')!.srcObject)).toBe(null);
    await page.click('#classify');
    expect(await answered(page)).toMatch(/^\d$/);

    const refused = await demo('', { permissions: [] });
    await refused.click('#camera');
    await refused.waitForSelector('#error:not([hidden])');
    expect(await text(refused, 'error')).toMatch(
      /does not allow the camera here.*Open a file or draw instead\.$/,
    );
  });

  it('takes an image that is pasted, and refuses what is none', async () => {
    const page = await demo('#model=digits&sample=1');
    const paste = (kind: 'image/png' | 'text/plain') =>
      page.evaluate(async (type) => {
        const blob =
          type === 'text/plain' ? 'no image' : await (await fetch('examples/digits/8.png')).blob();
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File([blob], 'eight', { type }));
        window.dispatchEvent(new ClipboardEvent('paste', { clipboardData }));
      }, kind);
    await paste('image/png');
    await page.waitForFunction(() => location.hash === '#model=digits');
    await page.click('#classify');
    expect(await answered(page)).toBe('8');
    await paste('text/plain');
    await page.waitForSelector('#error:not([hidden])');
    expect(await text(page, 'error')).toBe('eight is not an image that this browser can read.');
  });

  it('tells that it is offline, that a server is busy, and goes on afterwards', async () => {
    const busy = await serveProcess([
      ...['--demo', '--port', '0', '--max-sessions', '1'],
      ...zoo('digits'),
    ]);
    try {
      const [first, second] = [await open(busy.page), await open(busy.page)];
      for (const page of [first, second]) await page.waitForSelector('#classify:enabled');
      await first.click('#classify');
      await answered(first);
      await second.click('#classify');
      await second.waitForSelector('#error:not([hidden])');
      expect(await text(second, 'error')).toMatch(
        /try again later\. Try again in a minute, or choose another model/,
      );
      await leave(first);
      await expect
        .poll(async () => {
          await second.click('#classify');
          await second.locator('#cancel').waitFor({ state: 'hidden' });
          return text(second, 'verdict');
        })
        .toBe('0');

      await leave(second);

      const page = await demo('#model=digits&sample=2');
      await page.context().setOffline(true);
      await page.click('#classify');
      await page.waitForSelector('#error:not([hidden])');
      expect(await text(page, 'error')).toMatch(/^This browser is offline\. Connect it/);
      complaints.length = 0;
      await page.context().setOffline(false);
      await page.click('#classify');
      expect(await answered(page)).toBe('2');
    } finally {
      await busy.kill();
    }
  });

  it('shows no percentages where the model has no card', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sotto-bare-'));
    copyFileSync(join(root, 'models/zoo/digits.sotto'), join(folder, 'digits.sotto'));
    const bare = await serveProcess([
      '--demo',
      '--port',
      '0',
      '--model',
      join(folder, 'digits.sotto'),
    ]);
    try {
      const page = await open(`${bare.page}#sample=9`);
      await page.waitForSelector('#classify:enabled');
      await page.click('#classify');
      expect(await answered(page)).toBe('9');
      expect((await text(page, 'answer')).replaceAll(/\s+/g, ' ')).not.toMatch(/%/);
      expect(await text(page, 'note')).toBe('How often this model is right is not known.');
      // Its session would look for the server that is gone.
      await leave(page);
    } finally {
      await bare.kill();
      rmSync(folder, { recursive: true });
    }
  });
});
