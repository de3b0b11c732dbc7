/** The demo page with all models that ship, as tests open it: each page in a profile without a past, closed after its test. */

import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { noBrowser, openBrowser } from './chromium.ts';
import { type Served, serveProcess } from './serving.ts';
import { notBuilt } from './support.ts';

/** Why tests of the demo page are skipped, if they are. */
export const noDemo: string | undefined = notBuilt ?? noBrowser;

/** What a part of the page says. */
export const text = async (page: Page, id: string): Promise<string> =>
  (await page.locator(`#${id}`).textContent()) ?? '';

/**
 * Waits until the page has done what it was asked, and has found no fault.
 * @param result - what shows that it has begun to answer
 * @returns the answer
 */
export async function answered(page: Page, result = '#verdict:not(:empty)'): Promise<string> {
  await page.waitForSelector(`${result}, #error:not([hidden])`);
  await page.locator('#cancel').waitFor({ state: 'hidden' });
  expect(await text(page, 'error')).toBe('');
  return text(page, 'verdict');
}

export class DemoPages {
  /** What pages said to the console as errors: broken promises of the content security policy too. */
  readonly complaints: string[] = [];
  readonly #pages: Page[] = [];
  #browser: Browser | undefined;
  #server: Served | undefined;

  /** Starts and ends with the suite that it is called in. */
  constructor() {
    beforeAll(async () => {
      [this.#browser, this.#server] = await Promise.all([
        openBrowser(),
        serveProcess(['--demo', '--port', '0']),
      ]);
    });
    afterEach(async () => {
      await Promise.all(this.#pages.splice(0).map((page) => page.context().close()));
      expect(this.complaints.splice(0)).toEqual([]);
    });
    afterAll(async () => {
      await this.#browser?.close();
      await this.#server?.kill();
    });
  }

  /** Where the server's page is. */
  get address(): string {
    return this.#server!.page;
  }

  /** @param prepare - called with the page before it is loaded */
  async open(
    address: string,
    options: BrowserContextOptions = {},
    prepare: (page: Page) => Promise<unknown> = async () => {},
  ): Promise<Page> {
    const context = await this.#browser!.newContext(options);
    const page = await context.newPage();
    this.#pages.push(page);
    page.on('pageerror', (error) => this.complaints.push(String(error.stack)));
    page.on('console', (said) => {
      if (said.type() === 'error') this.complaints.push(said.text());
    });
    await prepare(page);
    await page.goto(address);
    return page;
  }

  async leave(page: Page): Promise<void> {
    await page.context().close();
    this.#pages.splice(this.#pages.indexOf(page), 1);
  }

  /** Opens the demo page at a view, ready to recognise its picture. */
  async demo(
    hash = '',
    options: BrowserContextOptions = {},
    prepare?: (page: Page) => Promise<unknown>,
  ): Promise<Page> {
    const page = await this.open(`${this.address}${hash}`, options, prepare);
    await page.waitForSelector('#classify:enabled');
    return page;
  }
}
