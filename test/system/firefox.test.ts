/** The built client in Firefox, as it runs in Chromium: on a plain page, isolated or not, on the demo page, and without a server. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as Sotto from '../../client/browser.ts';
import { pixelsOf, readImage } from '../../client/image.ts';
import { decodeModel } from '../../protocol/program/model.ts';
import { type Firefox, type FirefoxPage, noFirefox, openFirefox } from './firefox.ts';
import { root, type Served, serveFolder, serveProcess } from './serving.ts';
import { distance, notBuilt, plainAnswer } from './support.ts';

const skipped = notBuilt ?? noFirefox;
if (skipped) console.log(`tests in Firefox skipped: ${skipped}`);

const file = join(root, 'models/zoo/digits.sotto');
const model = decodeModel(readFileSync(file));
const pixels = pixelsOf(
  await readImage(join(root, 'models/zoo/digits-images/5.png')),
  model.program.input.shape,
);

/** What the plain page leaves to be used. */
declare const sotto: typeof Sotto;

describe.skipIf(skipped)('the built client in Firefox', () => {
  let firefox: Firefox;
  let server: Served;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-plain-'));
    cpSync(join(root, 'dist/web'), folder, { recursive: true });
    writeFileSync(
      join(folder, 'index.html'),
      `<!doctype html><title>plain</title>
      <script type="module">import * as sotto from './client.js'; globalThis.sotto = sotto;</script>`,
    );
    [firefox, server] = await Promise.all([
      openFirefox(),
      serveProcess(['--demo', '--port', '0', '--model', file]),
    ]);
  });

  afterAll(async () => {
    await firefox?.close();
    await server?.kill();
    rmSync(folder, { recursive: true });
  });

  /** Runs `work` in the plain page, and finds that nothing but `complaints` came to its console. */
  async function onPage<T>(
    headers: Readonly<Record<string, string>>,
    work: (page: FirefoxPage) => Promise<T>,
    complaints: readonly unknown[] = [],
  ): Promise<T> {
    const files = await serveFolder(folder, headers);
    const page = await firefox.newPage();
    try {
      await page.goto(files.url);
      const outcome = await work(page);
      expect(page.errors).toEqual(complaints);
      return outcome;
    } finally {
      await page.close();
      files.close();
    }
  }

  it.each([
    ['that is isolated, with shared memory', true],
    ['that is not isolated, without shared memory', false],
  ])('answers as the plain network does, on a plain page %s', async (_, isolated) => {
    const headers = {
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    };
    await onPage(isolated ? headers : {}, async (page) => {
      expect(await page.evaluate(() => crossOriginIsolated)).toBe(isolated);
      const own = await page.evaluate(
        async ({ url, pixels }) => {
          const session = await sotto.connect(url, { workers: 2 });
          await session.prepare({ inferences: 2 });
          const prepared = session.available;
          const first = await session.infer(Float32Array.from(pixels));
          const second = await session.infer(Float32Array.from(pixels));
          await session.close();
          const answers = [first, second].map(({ label, logits }) => ({
            label,
            logits: Array.from(logits!),
          }));
          return { prepared, left: session.available, answers };
        },
        { url: server.url, pixels: [...pixels] },
      );
      expect(own).toMatchObject({ prepared: 2, left: 0 });
      const plain = plainAnswer(model, pixels);
      for (const { label, logits } of own.answers) {
        expect(label).toBe(plain.label);
        expect(logits).toHaveLength(plain.logits.length);
        expect(distance(Float32Array.from(logits), plain.logits)).toBeLessThan(plain.tolerance);
      }
    });
  });

  it('refuses an address where no server is, and what is no address, by name', async () => {
    const refuse = (page: FirefoxPage) =>
      page.evaluate(async () => {
        const refusal = async (url: string) => {
          try {
            await sotto.connect(url, { workers: 1 });
          } catch (error) {
            const { name, message, code } = error as Sotto.ProtocolError;
            return { name, message, code };
          }
          throw new Error('it connected');
        };
        return [await refusal('ws://127.0.0.1:1'), await refusal('http://127.0.0.1:1')];
      });
    // Firefox itself says that it cannot connect; nothing else is said.
    const refusals = await onPage({}, refuse, [expect.stringContaining('ws://127.0.0.1:1/')]);
    expect(refusals).toEqual([
      {
        name: 'ProtocolError',
        code: 'unreachable',
        message: 'cannot connect to ws://127.0.0.1:1: no server answers there',
      },
      {
        name: 'TypeError',
        message: 'url: expected ws://HOST:PORT or wss://HOST:PORT, got "http://127.0.0.1:1"',
      },
    ]);
  });

  it('runs the demo page, isolated and by its strict policy, with nothing said to the console', async () => {
    const page = await firefox.newPage();
    try {
      await page.goto(`${server.page}#model=digits&sample=4`);
      const shown = await page.evaluate(async () => {
        const at = (id: string) => document.getElementById(id)!;
        const until = async (done: () => boolean) => {
          while (!done()) await new Promise((resolve) => setTimeout(resolve, 20));
        };
        await until(() => !(at('classify') as HTMLButtonElement).disabled);
        at('classify').click();
        await until(() => at('verdict').textContent !== '' || at('error').hidden === false);
        await until(() => at('cancel').hidden === true);
        return {
          isolated: crossOriginIsolated,
          verdict: at('verdict').textContent,
          error: at('error').textContent,
          workers: at('workers').textContent,
        };
      });
      expect(shown).toMatchObject({ isolated: true, verdict: '4', error: '' });
      expect(shown.workers).toMatch(/shar/);
      expect(page.errors).toEqual([]);
    } finally {
      await page.close();
    }
  });

  it('the check of the console sees what a page throws and says', async () => {
    const page = await firefox.newPage();
    await page.goto(server.page);
    await page.evaluate(async () => {
      console.error('said');
      setTimeout(() => {
        throw new Error('thrown');
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
    });
    await page.close();
    expect(page.errors.join()).toMatch(/said.*thrown/);
  });
});
