/** What the browser's client stands on: no module of Node, nothing of models or server, few bytes. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** All modules that `entries` load, ours by path and packages by name; `import type` loads nothing. */
function graph(entries: readonly string[]): Set<string> {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(join(root, file), 'utf8');
    const pattern =
      /^(?:import|export)\s(?!type\s)[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'|(?<!typeof )import\('([^']+)'\)/gm;
    for (const [, from, bare, dynamic] of text.matchAll(pattern)) {
      const target = (from ?? bare ?? dynamic)!;
      if (target.startsWith('.')) {
        visit(relative(root, resolve(root, dirname(file), target)));
      } else seen.add(target);
    }
  };
  for (const entry of entries) visit(entry);
  return seen;
}

const forbidden = /^node:|^(ws|piscina|pngjs|commander)$|^(models|server|bench)\/|\/node\.ts$/;

describe('the client of browsers', () => {
  it.each(['client/browser.ts', 'client/worker.ts', 'client/web/page.ts'])(
    '%s loads nothing of Node, server or models',
    (entry) => {
      const modules = graph([entry]);
      expect(modules.size).toBeGreaterThan(20);
      expect([...modules].filter((module) => forbidden.test(module))).toEqual([]);
    },
  );

  it('the walk sees what the client of Node loads', () => {
    const modules = [...graph(['client/index.ts'])].filter((module) => forbidden.test(module));
    expect(modules).toEqual(expect.arrayContaining(['ws', 'piscina', 'node:os', 'pngjs']));
  });

  const built = join(root, 'dist/web');
  const isBuilt = existsSync(built);
  const gzipped = (names: Iterable<string>) =>
    [...names].reduce((sum, name) => sum + gzipSync(readFileSync(join(built, name))).length, 0);

  /** Built scripts that these load at once, themselves included. */
  function loaded(...names: string[]): Set<string> {
    const seen = new Set(names);
    for (const name of seen) {
      const text = readFileSync(join(built, name), 'utf8');
      for (const [, next] of text.matchAll(/(?:from|import)"\.\/([^"]+)"/g)) seen.add(next!);
    }
    return seen;
  }

  it.skipIf(!isBuilt)('is as many kB gzipped as the documents say, at most 115', () => {
    const scripts = readdirSync(built).filter((name) => /\.js$/.test(name) && name !== 'page.js');
    for (const name of scripts) {
      const text = readFileSync(join(built, name), 'utf8');
      expect(text.includes('node:fs') || text.includes('worker_threads')).toBe(false);
    }
    const bytes = gzipped(loaded('client.js', 'worker.js'));
    console.log(`the client for browsers: ${(bytes / 1000).toFixed(1)} kB gzipped`);
    expect(bytes).toBeLessThan(115_000);
    for (const document of ['README.md', 'client/README.md']) {
      const said = /(\d+) kB gzipped with all kernels/.exec(
        readFileSync(join(root, document), 'utf8'),
      );
      expect(Math.abs(Number(said?.[1]) * 1000 - bytes)).toBeLessThan(2000);
    }
  });

  it.skipIf(!isBuilt)(
    'is 14 kB of a page, and its workers are of no module that starts workers',
    () => {
      const page = loaded('client.js');
      expect(gzipped(page)).toBeLessThan(14_000);
      // Bundlers follow it from there, and Turbopack without end.
      const naming = readdirSync(built).filter(
        (name) => /\.js$/.test(name) && readFileSync(join(built, name)).includes('new Worker('),
      );
      expect(naming.filter((name) => page.has(name))).toHaveLength(1);
      expect(naming.filter((name) => loaded('worker.js').has(name))).toEqual([]);
    },
  );
});
