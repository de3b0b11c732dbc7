/** What the demo page shows of models and of runs: examples and races for each model, the wire, the noise that the server got. */

import { describe, expect, it } from 'vitest';
import { correlation } from '../../client/web/seen.ts';
import { answered, DemoPages, noDemo, text } from './pages.ts';

if (noDemo) console.log(`tests of what the demo page shows skipped: ${noDemo}`);

describe.skipIf(noDemo)('the demo page', () => {
  const pages = new DemoPages();

  it('has examples for all models that ship, and runs each against its own network alone', async () => {
    const page = await pages.demo('#model=air');
    expect(new URL(page.url()).hash).toBe('#model=air&sample=airplane');
    const shown = (id: string) =>
      page.locator(`#${id}`).evaluate((part) => (part.checkVisibility() ? part.textContent : ''));
    const offered = await page
      .locator('#models option')
      .evaluateAll((all) => all.map((one) => (one as HTMLOptionElement).value));
    expect(offered).toHaveLength(13);
    const told = new Set<string>();
    for (const name of offered) {
      await page.selectOption('#models', name);
      await page.waitForSelector('#classify:enabled');
      expect(await page.locator('#examples button').count(), name).toBeGreaterThanOrEqual(8);
      const [budgets, comparisons] = [await shown('budgets-text'), await shown('comparisons-text')];
      expect(budgets === '', name).toBe(name === 'digits');
      told.add(`${name.split('-')[0]}: ${budgets}${comparisons}`);
    }
    expect([...told].sort()).toEqual([
      'air: air has 160,896 ReLUs, air-80448 has 50 % of them.',
      'cifar10: cifar10 has 77,824 ReLUs, cifar10-3891 has 5 % of them.',
      'digits: The same network, digits with its 1,829 ReLUs: once with half gates, once with the encoding.',
      'fashion: fashion has 14,592 ReLUs, fashion-729 has 5 % of them.',
    ]);
  });

  it('leaves no picture of other things where a model has no examples', async () => {
    const page = await pages.demo('#model=digits&sample=4', {}, (early) =>
      early.route('**/models.json', async (route) => {
        const models = await (await fetch(`${pages.address}models.json`)).json();
        const own = { ...models[0], name: 'own', labels: ['sun', 'moon'] };
        await route.fulfill({ body: JSON.stringify([...models, own]) });
      }),
    );
    await page.selectOption('#models', 'own');
    await page.waitForFunction(() => location.hash === '#model=own');
    expect(await page.locator('#examples button').count()).toBe(0);
    expect(await page.locator('#classify').isDisabled()).toBe(true);
    expect(await page.locator('#invite').isVisible()).toBe(true);
  });

  it('sets the encoded comparison beside half gates, with bars that begin at zero', async () => {
    const page = await pages.demo('#model=digits&sample=4');
    await page.click('#comparisons-start');
    await page.waitForSelector('#comparisons-lanes .lane');
    expect(await text(page, 'error')).toBe('');
    expect(await page.locator('#comparisons-lanes p').textContent()).toMatch(
      /^Half gates: 4, [^.]* %\. Encoded: 4, [^.]* %\.$/,
    );
    const measures = await page.locator('#comparisons-lanes > div').evaluateAll((groups) =>
      groups.map((group) => ({
        title: group.querySelector('h4')!.textContent,
        names: [...group.querySelectorAll('.name')].map((name) => name.textContent),
        texts: [...group.querySelectorAll('.share')].map((share) => share.textContent),
        widths: [...group.querySelectorAll<HTMLElement>('.bar i')].map(
          ({ clientWidth, parentElement }) => clientWidth / parentElement!.clientWidth,
        ),
      })),
    );
    expect(measures).toHaveLength(4);
    const number = (shown: string) => Number.parseFloat(shown) * (shown.endsWith('MB') ? 1000 : 1);
    for (const { title, names, texts, widths } of measures) {
      expect(names).toEqual(['Half gates', 'Encoded']);
      if (!title.startsWith('Bytes')) continue;
      const [halfGates, encoded] = texts.map(number) as [number, number];
      expect(encoded, title).toBeLessThan(halfGates / 2);
      expect(widths[0], title).toBe(1);
      expect(widths[1], title).toBeCloseTo(encoded / halfGates, 1);
    }
    const rows = await page.locator('#runs tr td:first-child').allTextContents();
    expect(rows).toEqual(['digits', 'digits-half-gates']);
  });

  it('shows noise as what the server got: no neighbours are alike, and nothing of the picture', async () => {
    const page = await pages.demo('#model=fashion-729&sample=coat');
    await page.click('#classify');
    expect(await answered(page)).toBe('coat');
    const [picture, noise] = (await page.evaluate(() =>
      ['input', 'leaving'].map((id) => {
        const { width, height } = document.getElementById(id) as HTMLCanvasElement;
        const context = (document.getElementById(id) as HTMLCanvasElement).getContext('2d')!;
        const { data } = context.getImageData(0, 0, width, height);
        return Array.from({ length: width * height }, (_, i) => data[4 * i]!);
      }),
    )) as [number[], number[]];
    expect(noise).toHaveLength(28 * 28);
    const alike = (pixels: number[]) =>
      [1, 28].map((step) => Math.abs(correlation(pixels.slice(step), pixels.slice(0, -step))));
    // Six standard deviations of what independent pixels come to; and the picture's are far from that.
    for (const value of alike(noise)) expect(value).toBeLessThan(6 / 28);
    for (const value of alike(picture)) expect(value).toBeGreaterThan(0.6);
    expect(Math.abs(correlation(picture, noise))).toBeLessThan(6 / 28);
  });

  it('shows the wire as it moves, and what a race of two networks took', async () => {
    const page = await pages.demo('#model=fashion-729&sample=coat');
    await page.evaluate(() => {
      const seen: string[] = [];
      Object.assign(globalThis, { seen });
      new MutationObserver(() => seen.push(document.getElementById('up')!.textContent)).observe(
        document.getElementById('up')!,
        { childList: true },
      );
    });
    await page.click('#budgets-start');
    await page.waitForSelector('#budgets-lanes div');
    await page.locator('#cancel').waitFor({ state: 'hidden' });
    expect(await page.locator('#budgets-lanes p').textContent()).toMatch(
      /^fashion: coat, [^.]* %\. fashion-729: coat, [^.]* %\.$/,
    );
    const lanes = await page.locator('#budgets-lanes .lane').allTextContents();
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
    expect(await page.locator('#budgets').isVisible()).toBe(false);
  });
});
