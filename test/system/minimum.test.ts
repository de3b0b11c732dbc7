/** The oldest browsers that client/README.md names: a whole inference where what came after them is taken away. */

import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as Sotto from '../../client/browser.ts';
import { noBrowser, openBrowser } from './chromium.ts';
import { root, type Served, serveFolder, serveProcess } from './serving.ts';
import { notBuilt } from './support.ts';

const skipped = notBuilt ?? noBrowser;
if (skipped) console.log(`tests of the oldest browsers skipped: ${skipped}`);

/** What Chromium 98, Firefox 114 or Safari 16.4 lacks: what came later, and what one of them never had. */
const LATER = [
  ...['URL.canParse', 'URL.parse', 'Promise.withResolvers', 'Promise.try', 'Array.fromAsync'],
  ...['toSorted', 'toReversed', 'toSpliced', 'with'].map((name) => `Array.prototype.${name}`),
  ...['toSorted', 'toReversed', 'with'].map((name) => `Uint8Array.prototype.__proto__.${name}`),
  ...['Object.groupBy', 'Map.groupBy', 'AbortSignal.any', 'AbortSignal.timeout'],
  ...['union', 'intersection', 'difference', 'isSubsetOf'].map((name) => `Set.prototype.${name}`),
  ...['map', 'filter', 'take', 'drop', 'flatMap', 'reduce', 'toArray', 'some', 'every', 'find'].map(
    (name) => `Iterator.prototype.${name}`,
  ),
  ...['Iterator', 'Float16Array', 'scheduler', 'requestIdleCallback', 'SuppressedError'],
  ...['String.prototype.isWellFormed', 'String.prototype.toWellFormed', 'RegExp.escape'],
  ...['transfer', 'transferToFixedLength', 'resize'].map((name) => `ArrayBuffer.prototype.${name}`),
  ...['Uint8Array.fromBase64', 'Uint8Array.fromHex', 'Uint8Array.prototype.toBase64'],
  ...['Atomics.waitAsync', 'Error.isError', 'Math.f16round', 'Math.sumPrecise', 'JSON.rawJSON'],
  ...['ReadableStream.from', 'ReadableStream.prototype.values', 'Response.json'],
  ...['Response.prototype.bytes', 'Blob.prototype.bytes'],
];

/** A module that takes names away, where they are, and the symbols of `using`. Which it found it leaves as `taken`. */
const older = (names: readonly string[]): string => `
  globalThis.taken = ${JSON.stringify(names)}.filter((name) => {
    const path = name.split('.');
    const last = path.pop();
    const owner = path.reduce((value, part) => value?.[part], globalThis);
    if (owner == null || !(last in owner)) return false;
    // What a worker has globally is its prototype's.
    for (let own = owner; own !== null; own = Object.getPrototypeOf(own)) {
      Reflect.deleteProperty(own, last);
    }
    return !(last in owner);
  });
  // They cannot be deleted, nor may a proxy of Symbol hide them.
  const symbols = Symbol;
  globalThis.Symbol = new Proxy(() => {}, {
    apply: (_, own, words) => symbols(...words),
    get: (_, name) => (name === 'dispose' || name === 'asyncDispose' ? undefined : symbols[name]),
  });`;

/** What the page leaves to be used. */
declare const sotto: typeof Sotto;
declare global {
  var taken: readonly string[] | undefined;
}

describe.skipIf(skipped)('the oldest browsers that the README names', () => {
  let browser: Browser;
  let server: Served;

  beforeAll(async () => {
    const model = join(root, 'models/zoo/digits.sotto');
    [browser, server] = await Promise.all([
      openBrowser(),
      serveProcess(['--port', '0', '--model', model]),
    ]);
  });

  afterAll(async () => {
    await browser?.close();
    await server?.kill();
  });

  /** An inference of a page that lacks `names`, or whose workers do: the label, or why there is none, and what was taken away. */
  async function inferWithout(names: readonly string[], where = ['page', 'workers']) {
    const folder = mkdtempSync(join(tmpdir(), 'sotto-minimum-'));
    cpSync(join(root, 'dist/web'), folder, { recursive: true });
    renameSync(join(folder, 'worker.js'), join(folder, 'worker-itself.js'));
    writeFileSync(join(folder, 'older.js'), older(names));
    const change = (place: string) => (where.includes(place) ? `import './older.js';` : '');
    writeFileSync(join(folder, 'worker.js'), `${change('workers')} import './worker-itself.js';`);
    writeFileSync(
      join(folder, 'index.html'),
      `<!doctype html><title>older</title><script type="module">
        ${change('page')}
        import * as sotto from './client.js';
        globalThis.sotto = sotto;
      </script>`,
    );
    const files = await serveFolder(folder);
    const page = await browser.newPage();
    try {
      await page.goto(files.url);
      return await page.evaluate(async (url) => {
        try {
          const session = await sotto.connect(url, { workers: 2 });
          await session.prepare({ inferences: 1 });
          const image = await sotto.readImage(new URL('examples/digits/5.png', location.href));
          const pixels = sotto.pixelsOf(image, session.program.input.shape);
          const { label } = await session.infer(pixels);
          await session.close();
          return { label, taken: globalThis.taken };
        } catch (error) {
          return { error: String(error), taken: globalThis.taken };
        }
      }, server.url);
    } finally {
      await page.close();
      files.close();
      rmSync(folder, { recursive: true });
    }
  }

  it('run a whole inference', async () => {
    const { label, error, taken } = await inferWithout(LATER);
    expect({ label, error }).toEqual({ label: 5, error: undefined });
    // A current Chromium has most of them.
    expect(taken!.length).toBeGreaterThan(30);
    expect(taken).toEqual(expect.arrayContaining(['URL.canParse', 'Array.prototype.toSpliced']));
  });

  it.each([
    ['page', 'MessageChannel'],
    ['workers', 'atob'],
  ])('would run none without what the client uses in its %s: %s', async (place, name) => {
    const { label, error } = await inferWithout([name], [place]);
    expect(error).toMatch(name);
    expect(label).toBeUndefined();
  });
});
