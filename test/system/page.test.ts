/** The demo page as people meet it: on a phone and a desk, by light and dark, by keyboard, with a camera, by a link, and when things go wrong. */

import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { beyondScreen, faintText, smallControls } from './looks.ts';
import { answered, DemoPages, noDemo, text } from './pages.ts';
import { root, serveProcess } from './serving.ts';
import { shoot, shooting } from './shots.ts';

if (noDemo) console.log(`tests of the demo page's looks skipped: ${noDemo}`);

const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 800 };
/** Each size and each theme once; all of both where pictures are taken. */
const views = [PHONE, DESK].flatMap((viewport) =>
  (['light', 'dark'] as const)
    .filter((colorScheme) => shooting || (viewport === PHONE) === (colorScheme === 'dark'))
    .map((colorScheme) => ({
      viewport,
      colorScheme,
      title: `${viewport.width}x${viewport.height}, ${colorScheme}`,
    })),
);

const zoo = (name: string) => ['--model', join(root, `models/zoo/${name}.sotto`)];

describe.skipIf(noDemo)('the demo page', () => {
  const pages = new DemoPages();

  describe.each(views)('at $title', ({ viewport, colorScheme }) => {
    it('shows picture, noise and answer on one screen, large and clear enough, before and after', async () => {
      const page = await pages.demo('#model=fashion&sample=bag', { viewport, colorScheme });
      const always = ['h1', '#drawing', '#leaving', '#examples', '#models'];
      expect(await page.evaluate(beyondScreen, [...always, '#classify', '#steps'])).toEqual([]);
      expect(await page.evaluate(faintText)).toEqual([]);
      await shoot(page, 'before');
      await page.click('#classify');
      expect(await answered(page)).toBe('bag');
      const screen = [...always, '#verdict', '#certainty', '#chart', '#note', '#traffic'];
      expect(await page.evaluate(beyondScreen, screen)).toEqual([]);
      expect(await page.evaluate(faintText)).toEqual([]);
      expect(await page.evaluate(smallControls)).toEqual([]);
      await shoot(page, 'after');
    });

    it('stays large and clear enough with results of a race, with the camera, with an error', async () => {
      const page = await pages.demo('#model=digits&sample=4', {
        ...{ viewport, colorScheme, permissions: ['camera'] },
      });
      const looks = async (state: string) => {
        expect(await page.evaluate(faintText), state).toEqual([]);
        expect(await page.evaluate(smallControls), state).toEqual([]);
        const wider = await page.evaluate(() => document.body.scrollWidth - innerWidth);
        expect(wider, state).toBeLessThanOrEqual(0);
        await shoot(page, state);
      };
      await page.click('#comparisons-start');
      await page.waitForSelector('#comparisons-lanes .lane');
      await answered(page, '#runs td:not(.hint)');
      await looks('race');
      await page.click('#camera');
      await page.waitForFunction(
        () => document.querySelector('#camera')!.textContent === 'Take it',
      );
      await looks('camera');
      await page.click('#clear');
      await page.context().clearPermissions();
      await page.click('#camera');
      await page.getByRole('alert').waitFor();
      await looks('error');
    });

    it('explains itself legibly, and every link leads somewhere', async () => {
      const page = await pages.open(`${pages.address}how`, { viewport, colorScheme });
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
    const page = await pages.demo('', { viewport: PHONE });
    await page.evaluate(() => {
      const style = (id: string) => document.getElementById(id)!.style;
      style('status').fontSize = style('models').fontSize = '11px';
      style('invite').color = style('steps').color = '#bbbbbb';
      style('camera').minHeight = style('camera').maxHeight = '30px';
      style('wire').width = '500px';
    });
    const faint = await page.evaluate(faintText);
    expect(faint).toHaveLength(5);
    expect(faint.filter((line) => line.endsWith('11px'))).toHaveLength(2);
    expect(await page.evaluate(smallControls)).toEqual([expect.stringMatching(/^camera: .*x30$/)]);
    const beyond = await page.evaluate(beyondScreen, ['h1', '#wire', '#verdict']);
    expect(beyond).toEqual(['#wire', '#verdict', 'the page, by its width']);
  });

  it('keeps a strict policy, with no code or style in the page itself', async () => {
    for (const path of ['', 'how']) {
      const response = await fetch(`${pages.address}${path}`);
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
    const page = await pages.demo('#model=digits&sample=4');
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
    await reach('budgets-start');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#budgets-lanes div');
  });

  it('a link shows its model and example, and follows what is chosen; a drawing is in none', async () => {
    const page = await pages.demo('#model=cifar10-3891&sample=ship');
    expect(await page.locator('#models').inputValue()).toBe('cifar10-3891');
    await page.click('#classify');
    expect(await answered(page)).toBe('ship');
    const link = page.locator('#link');
    expect(await link.getAttribute('href')).toBe('#model=cifar10-3891&sample=ship');
    // The server that is asked is part of it.
    const other = pages.address.replace('http', 'ws');
    const elsewhere = await pages.demo(`?server=${other}#model=digits&sample=7`);
    const whole = await elsewhere.locator('#link').evaluate((a) => (a as HTMLAnchorElement).href);
    expect(whole).toBe(`${pages.address}?server=${other}#model=digits&sample=7`);
    await pages.leave(elsewhere);
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
    await page.goto(`${pages.address}#model=digits&sample=3`);
    await page.waitForFunction(() => document.querySelector('select')!.value === 'digits');
    await page.goto(`${pages.address}#model=none&sample=%3Cb%3E`);
    await page.waitForFunction(() => location.hash === '#model=digits&sample=0');
    const late = page.waitForResponse('**/digits/3.png');
    follow();
    await late;
    // Time enough to decode and show it.
    await page.waitForTimeout(300);
    expect(new URL(page.url()).hash).toBe('#model=digits&sample=0');
  });

  it('tells a screen reader each phase once, and the answer', async () => {
    const page = await pages.demo('#model=digits&sample=4');
    await page.evaluate(() => {
      const said: string[] = [];
      const shown: string[] = [];
      Object.assign(globalThis, { said, shown });
      for (const [id, texts] of [
        ['said', said],
        ['status', shown],
      ] as const) {
        const part = document.getElementById(id)!;
        new MutationObserver(() => texts.push(part.textContent)).observe(part, { childList: true });
      }
    });
    await page.click('#classify');
    expect(await answered(page)).toBe('4');
    const { said, shown } = await page.evaluate(() => {
      const { said, shown } = globalThis as unknown as Record<'said' | 'shown', string[]>;
      return { said, shown };
    });
    expect(said.slice(0, -1)).toEqual(
      expect.arrayContaining(['Connecting', 'Making keys', 'Preparing', 'Answering']),
    );
    expect(said.at(-1)).toMatch(/^Answered in [\d.]+ m?s\.$/);
    expect(new Set(said).size).toBe(said.length);
    expect(shown.length).toBeGreaterThan(2 * said.length);
    // What is said is a live region, also where it cannot be seen; what moves is in none.
    expect(await page.getByRole('status').allTextContents()).toEqual([said.at(-1)]);
    const live = (id: string) =>
      page
        .locator(`#${id}`)
        .evaluate((part) => part.closest('[aria-live], [role=status], output')?.ariaLive ?? '');
    expect(await live('verdict')).toBe('polite');
    expect(await live('certainty')).toBe('polite');
    expect(await live('status')).toBe('');
  });

  it('holds still for those who ask for less motion', async () => {
    const page = await pages.demo('#model=digits&sample=6', { reducedMotion: 'reduce' });
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
    const page = await pages.demo('', { permissions: ['camera'] });
    await page.click('#classify');
    expect(await answered(page)).toBe('0');
    await page.click('#camera');
    await page.waitForFunction(() => document.querySelector('video')!.videoWidth > 0);
    await page.waitForFunction(() => document.querySelector('#camera')!.textContent === 'Take it');
    // Nothing is asked of the picture that the camera covers, and nothing is said of an answer to it.
    expect(await text(page, 'status')).toBe('Recognise sends noise, not the picture.');
    expect(await page.locator('#classify').isDisabled()).toBe(true);
    expect(await text(page, 'clear')).toBe('Draw');
    await page.click('#camera');
    await page.waitForFunction(() => document.querySelector('video')!.hidden);
    expect(new URL(page.url()).hash).toBe('#model=digits');
    expect(await page.evaluate(() => document.querySelector('video')!.srcObject)).toBe(null);
    await page.click('#classify');
    expect(await answered(page)).toMatch(/^\d$/);

    const refused = await pages.demo('', { permissions: [] });
    await refused.click('#camera');
    await refused.waitForSelector('#error:not([hidden])');
    expect(await text(refused, 'error')).toMatch(
      /does not allow the camera here.*Open a file or draw instead\.$/,
    );
  });

  it('takes an image that is pasted, and refuses what is none', async () => {
    const page = await pages.demo('#model=digits&sample=1');
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
      const [first, second] = [await pages.open(busy.page), await pages.open(busy.page)];
      for (const page of [first, second]) await page.waitForSelector('#classify:enabled');
      await first.click('#classify');
      await answered(first);
      await second.click('#classify');
      await second.waitForSelector('#error:not([hidden])');
      expect(await text(second, 'error')).toMatch(
        /try again later\. Try again in a minute, or choose another model/,
      );
      await pages.leave(first);
      await expect
        .poll(async () => {
          await second.click('#classify');
          await second.locator('#cancel').waitFor({ state: 'hidden' });
          return text(second, 'verdict');
        })
        .toBe('0');

      await pages.leave(second);

      const page = await pages.demo('#model=digits&sample=2');
      await page.context().setOffline(true);
      await page.click('#classify');
      await page.waitForSelector('#error:not([hidden])');
      expect(await text(page, 'error')).toMatch(/^This browser is offline\. Connect it/);
      pages.complaints.length = 0;
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
      const page = await pages.open(`${bare.page}#sample=9`);
      await page.waitForSelector('#classify:enabled');
      await page.click('#classify');
      expect(await answered(page)).toBe('9');
      expect((await text(page, 'answer')).replaceAll(/\s+/g, ' ')).not.toMatch(/%/);
      expect(await text(page, 'note')).toBe('How often this model is right is not known.');
      // Its session would look for the server that is gone.
      await pages.leave(page);
    } finally {
      await bare.kill();
      rmSync(folder, { recursive: true });
    }
  });
});
