/** The packed package, as another project gets it: what it holds, its types, its command, and the examples that use it. */

import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import type { Browser, Page } from 'playwright-core';
import { publint } from 'publint';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noBrowser, openBrowser } from './chromium.ts';
import { root, type Served, serveFolder, serveProcess } from './serving.ts';
import { notBuilt } from './support.ts';

const execute = promisify(execFile);

if (notBuilt) console.log(`package tests skipped: ${notBuilt}`);
else if (noBrowser) console.log(`examples in a browser skipped: ${noBrowser}`);

const image = join(root, 'models/zoo/digits-images/6.png');

describe.skipIf(notBuilt)('the packed package', () => {
  /** A project with the package and what it depends on, nothing else. */
  let project: string;
  let installed: string;
  let tarball: string;
  let server: Served;

  beforeAll(async () => {
    project = mkdtempSync(join(tmpdir(), 'sotto-package-'));
    const pack = ['pack', '--json', '--ignore-scripts', '--pack-destination', project];
    const { stdout } = await execute('npm', pack, { cwd: root, maxBuffer: 1 << 26 });
    tarball = join(project, JSON.parse(stdout)[0].filename);
    installed = join(project, 'node_modules/sotto');
    mkdirSync(installed, { recursive: true });
    await execute('tar', ['xzf', tarball, '-C', installed, '--strip-components=1']);
    const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
    // And what the Vite example builds with.
    for (const name of [...Object.keys(dependencies), 'vite']) {
      const link = join(project, 'node_modules', name);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(join(root, 'node_modules', name), link);
    }
    cpSync(join(root, 'client/examples'), project, { recursive: true });
    // The command of the package, with the models it ships.
    const cli = join(installed, 'dist/cli.js');
    server = await serveProcess(['--demo', '--port', '0'], cli);
  });

  afterAll(async () => {
    await server?.kill();
    rmSync(project, { recursive: true });
  });

  it('holds what it needs and no sources', () => {
    const has = (path: string) => existsSync(join(installed, path));
    const needed = ['dist/cli.js', 'dist/web/index.html', 'models/zoo/digits.sotto', 'LICENSE'];
    expect(needed.filter((path) => !has(path))).toEqual([]);
    const unwanted = ['client/index.ts', 'test', 'models/zoo/draw.ts', 'dist/test'];
    expect(unwanted.filter(has)).toEqual([]);
  });

  it('is what publint and are-the-types-wrong want', async () => {
    const { messages } = await publint({ pkgDir: installed, pack: false, strict: true });
    expect(messages).toEqual([]);
    const analysis = await checkPackage(
      createPackageFromTarballData(new Uint8Array(readFileSync(tarball))),
    );
    // It has modules alone: CommonJS, and the resolution of Node 10, are not meant to find them.
    const problems = analysis.types
      ? analysis.problems.filter(
          (problem) =>
            problem.kind !== 'CJSResolvesToESM' &&
            !('resolutionKind' in problem && problem.resolutionKind === 'node10'),
        )
      : ['it has no types'];
    expect(problems).toEqual([]);
  });

  it('runs the example of Node', async () => {
    const script = join(project, 'node/classify.mjs');
    const { stdout } = await execute(process.execPath, [script, server.url, image]);
    expect(stdout).toMatch(/6\.png: 6, answered in \d+ ms/);
  });

  it('has types that an app in TypeScript finds', async () => {
    const compilerOptions = {
      noEmit: true,
      strict: true,
      module: 'esnext',
      moduleResolution: 'bundler',
      target: 'es2022',
      lib: ['es2023', 'dom', 'esnext.disposable'],
      // Not even those of Node.
      types: [],
    };
    writeFileSync(
      join(project, 'vite/tsconfig.json'),
      JSON.stringify({ compilerOptions, include: ['src'] }),
    );
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const args = [tsc, '-p', join(project, 'vite/tsconfig.json')];
    const said = await execute(process.execPath, args).catch(({ stdout }) => ({ stdout }));
    expect(said.stdout).toBe('');
  });

  describe.skipIf(noBrowser)('in a browser', () => {
    let browser: Browser;

    beforeAll(async () => {
      browser = await openBrowser();
    });

    afterAll(() => browser?.close());

    /** Uses an example as its visitor does; what it says at last. */
    async function use(address: string): Promise<string> {
      const page: Page = await browser.newPage();
      try {
        await page.goto(address);
        await page.fill('input[name=server]', server.url);
        await page.setInputFiles('input[name=image]', image);
        await page.click('button');
        await page.waitForFunction(() =>
          document.querySelector('output')!.textContent.startsWith('It is'),
        );
        return (await page.textContent('output'))!;
      } finally {
        await page.close();
      }
    }

    it('runs the plain page', async () => {
      cpSync(join(project, 'page/index.html'), join(project, 'index.html'));
      const files = await serveFolder(project);
      try {
        expect(await use(files.url)).toBe('It is: 6');
      } finally {
        files.close();
      }
    });

    it('runs the app that Vite built, and the one it serves', async () => {
      const app = join(project, 'vite');
      const vite = await import('vite');
      const quiet = { root: app, logLevel: 'error' } as const;
      await vite.build(quiet);
      const files = await serveFolder(join(app, 'dist'));
      try {
        expect(await use(files.url)).toMatch(/^It is: 6 \(\d+ ms\)$/);
      } finally {
        files.close();
      }
      const development = await vite.createServer({
        ...quiet,
        server: { port: 0, fs: { allow: [project] } },
      });
      try {
        await development.listen();
        const [address] = development.resolvedUrls!.local;
        expect(await use(address!)).toMatch(/^It is: 6 \(\d+ ms\)$/);
      } finally {
        await development.close();
      }
    });
  });
});
