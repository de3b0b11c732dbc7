/** The packed packages, as another project gets them: what they hold, their types, their command, and the examples. */

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
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import type { Browser, Page } from 'playwright-core';
import { publint } from 'publint';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noBrowser, openBrowser } from './chromium.ts';
import { filesOf, NAMES, type PackageFolder, packAll, place, run } from './packages.ts';
import { root, type Served, serveFolder, serveProcess } from './serving.ts';
import { notBuilt } from './support.ts';

const execute = promisify(execFile);

if (notBuilt) console.log(`package tests skipped: ${notBuilt}`);
else if (noBrowser) console.log(`examples in a browser skipped: ${noBrowser}`);

const image = join(root, 'models/zoo/digits-images/6.png');

/** A window that asks once, and an app that is quit then. */
const ELECTRON = `
  import { readFileSync } from 'node:fs';
  let handle, quit;
  export class BrowserWindow {
    async loadFile() {
      const bytes = new Uint8Array(readFileSync(process.argv[2])).buffer;
      await handle({}, bytes).then(([best]) => console.log(best.label), ({ message }) => console.log(message));
      app.quit();
    }
  }
  export const ipcMain = { handle(name, listener) { handle = listener; } };
  export const app = {
    on(name, listener) { quit = listener; },
    whenReady: async () => {},
    quit() {
      let held = false;
      quit({ preventDefault() { held = true; } });
      console.log(held ? 'held back' : 'quit');
      if (!held) process.exit();
    },
  };
`;

describe.skipIf(notBuilt)('the packed packages', () => {
  /** A project with the packages and what they depend on, nothing else. */
  let project: string;
  let tarballs: Record<PackageFolder, string>;
  let server: Served;

  const placed = (folder: PackageFolder) => join(project, 'node_modules', NAMES[folder]);
  const folders = Object.keys(NAMES) as PackageFolder[];

  beforeAll(async () => {
    project = mkdtempSync(join(tmpdir(), 'sotto-package-'));
    // What a server leaves beside a model that it offers from the repository.
    const secret = join(root, `models/zoo/left-${process.pid}.sotto.hint-secret`);
    writeFileSync(secret, 'SECRET');
    try {
      tarballs = await packAll(project);
    } finally {
      rmSync(secret);
    }
    // And what the Vite example builds with.
    await place(tarballs, project, ['vite']);
    // The command of the package, with the models that ship.
    const cli = join(placed('server'), 'dist/cli.js');
    server = await serveProcess(['--demo', '--port', '0'], cli);
  });

  afterAll(async () => {
    await server?.kill();
    rmSync(project, { recursive: true });
  });

  it('hold what they need, and no sources, no benchmarks', () => {
    const needed: Record<PackageFolder, readonly string[]> = {
      client: ['dist/web/client.js', 'dist/web/worker.js', 'LICENSE', 'LICENSES-OF-OTHERS'],
      server: ['dist/cli.js', 'dist/web/index.html', 'deploy/sotto.service', 'LICENSE'],
      models: [
        ...['digits.sotto', 'digits.json', 'digits.sottonet'].map((name) => `models/zoo/${name}`),
        'LICENSE',
      ],
    };
    for (const folder of folders) {
      const files = filesOf(placed(folder)).map((path) => relative(placed(folder), path));
      expect(files).toEqual(expect.arrayContaining([...needed[folder], 'README.md']));
      const unwanted = files.filter(
        (path) =>
          /(?<!\.d)\.ts$|\.map$|^dist\/test/.test(path) && !path.startsWith('examples/vite/src/'),
      );
      expect(unwanted).toEqual([]);
      expect(files.filter((path) => path.startsWith('dist/bench/'))).toEqual([]);
    }
  });

  it('hold no hints, and no secrets of hints', async () => {
    for (const folder of folders) {
      const names = (await run('tar', ['tzf', tarballs[folder]], project)).split('\n');
      expect(names.length).toBeGreaterThan(20);
      expect(names.filter((name) => /\.hint/.test(name))).toEqual([]);
    }
  });

  it('hold every module in one of them', () => {
    const modules = folders.flatMap((folder) =>
      filesOf(join(placed(folder), 'dist'))
        .map((path) => relative(placed(folder), path))
        .filter((path) => /\.(js|d\.ts)$/.test(path) && !path.startsWith('dist/web/')),
    );
    expect(modules.length).toBeGreaterThan(200);
    expect(new Set(modules).size).toBe(modules.length);
  });

  it('have documents whose links lead to files that are there', () => {
    const broken: string[] = [];
    let links = 0;
    for (const path of folders.flatMap((folder) => filesOf(placed(folder)))) {
      if (!path.endsWith('.md')) continue;
      const text = readFileSync(path, 'utf8');
      for (const [, words, source] of text.matchAll(/\]\(([^)\s]+)\)|src="([^"]+)"/g)) {
        const link = (words ?? source)!.replace(/#.*/, '');
        if (link === '' || /^https:/.test(link)) continue;
        links++;
        if (!existsSync(join(dirname(path), link)))
          broken.push(`${relative(project, path)}: ${link}`);
      }
    }
    expect(links).toBeGreaterThan(10);
    expect(broken).toEqual([]);
  });

  it('name the repository and lead to it, where package.json says where that is', async () => {
    const tree = mkdtempSync(join(tmpdir(), 'sotto-tree-'));
    try {
      for (const name of ['client', 'models', 'protocol', 'server', 'node_modules']) {
        symlinkSync(join(root, name), join(tree, name));
      }
      // What is bundled is found by its true place.
      cpSync(join(root, 'dist'), join(tree, 'dist'), { recursive: true });
      for (const name of ['LICENSE', 'SECURITY.md', 'packages.mjs']) {
        cpSync(join(root, name), join(tree, name));
      }
      const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
      const repository = 'https://host.example/owner/sotto';
      writeFileSync(join(tree, 'package.json'), JSON.stringify({ ...manifest, repository }));
      await run(process.execPath, ['packages.mjs', 'out'], tree);
      for (const folder of folders) {
        const own = join(tree, 'out', folder);
        expect(JSON.parse(readFileSync(join(own, 'package.json'), 'utf8'))).toMatchObject({
          repository: { type: 'git', url: `git+${repository}.git` },
          bugs: `${repository}/issues`,
        });
        const readme = readFileSync(join(own, 'README.md'), 'utf8');
        const links = [...readme.matchAll(/\]\((https:[^)#]*)/g)].map(([, link]) => link!);
        const there = links.map((link) => link.replace(`${repository}/blob/HEAD/`, ''));
        expect(links.length).toBeGreaterThan(0);
        expect(
          there.filter((path) => !/^https:/.test(path) && !existsSync(join(root, path))),
        ).toEqual([]);
        expect(links).toContainEqual(expect.stringContaining(`${repository}/blob/HEAD/`));
      }
    } finally {
      rmSync(tree, { recursive: true });
    }
  });

  it('share the classes of their errors', async () => {
    const script = join(project, 'classes.mjs');
    writeFileSync(
      script,
      `import { ProtocolError, readImage } from 'sotto';
       import { connect } from 'sotto';
       import { costOf, plan } from 'sotto/cost';
       import { serve } from '@sotto/server';
       import { serverMetrics } from '@sotto/server/metrics';
       import { compile } from '@sotto/models';
       import { drawChart } from '@sotto/models/charts';
       import { ProtocolError as own } from 'sotto/internal/protocol/errors.js';
       const error = await connect('ws://127.0.0.1:9').catch((error) => error);
       console.log([own === ProtocolError, error instanceof own, error.code, typeof serve, typeof compile, typeof costOf, typeof plan].join());`,
    );
    const drawn = ['@observablehq/plot', 'linkedom'];
    await place({}, project, drawn);
    const { stdout } = await execute(process.execPath, [script]);
    expect(stdout.trim()).toBe('true,true,unreachable,function,function,function,function');
  });

  it.each(folders)('%s is what publint and are-the-types-wrong want', async (folder) => {
    const { messages } = await publint({ pkgDir: placed(folder), pack: false, strict: true });
    expect(messages).toEqual([]);
    const analysis = await checkPackage(
      createPackageFromTarballData(new Uint8Array(readFileSync(tarballs[folder]))),
    );
    // They have modules alone: CommonJS, and the resolution of Node 10, are not meant to find them.
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

  it('runs the main process of the guide for Electron, with what Electron gives it stood in for', async () => {
    const guide = readFileSync(join(placed('client'), 'guides/electron.md'), 'utf8');
    const main = /^```js\n([\s\S]*?)^```$/m.exec(guide)![1]!;
    const electron = join(project, 'node_modules/electron');
    mkdirSync(electron);
    writeFileSync(join(electron, 'package.json'), '{ "type": "module", "exports": "./index.js" }');
    writeFileSync(join(electron, 'index.js'), ELECTRON);
    const script = join(project, 'main.mjs');
    writeFileSync(script, main.replace('wss://models.example.org', server.url));
    const { stdout } = await execute(process.execPath, [script, image]);
    expect(stdout).toBe('6\nheld back\nquit\n');
    writeFileSync(script, main.replace('wss://models.example.org', 'ws://127.0.0.1:9'));
    const { stdout: without } = await execute(process.execPath, [script, image]);
    expect(without).toBe('cannot connect to ws://127.0.0.1:9: no server listens there\nquit\n');
  });

  it.each([
    ['bundler', 'esnext'],
    ['nodenext', 'nodenext'],
  ])(
    'have types that a strict app finds by moduleResolution %s',
    async (moduleResolution, module) => {
      const compilerOptions = {
        noEmit: true,
        strict: true,
        exactOptionalPropertyTypes: true,
        module,
        moduleResolution,
        target: 'es2022',
        // Nothing newer, and not even the types of Node.
        lib: ['es2022', 'dom'],
        types: [],
        skipLibCheck: false,
      };
      const app = join(project, 'vite');
      writeFileSync(
        join(app, 'tsconfig.json'),
        JSON.stringify({ compilerOptions, include: ['src'] }),
      );
      writeFileSync(
        join(app, 'src/sources.ts'),
        `import { connect, type ImageSource, pixelsOf, readImage } from 'sotto';
       export async function all(file: File, canvas: HTMLCanvasElement, video: HTMLVideoElement, frame: VideoFrame): Promise<void> {
         const { program } = await connect('wss://host', { workerUrl: '/worker.js' });
         const sources: ImageSource[] = [canvas, video, frame, new ImageData(1, 1), await createImageBitmap(file),
           { data: new Float32Array(4), dims: [1, 2, 2] }, await readImage(file), await readImage(new URL('https://host/3.png')),
           await readImage('3.png')];
         for (const source of sources) pixelsOf(source, program.input.shape, 'cover');
       }`,
      );
      const tsc = join(root, 'node_modules/typescript/bin/tsc');
      const args = [tsc, '-p', join(app, 'tsconfig.json')];
      const said = await execute(process.execPath, args).catch(({ stdout }) => ({ stdout }));
      rmSync(join(app, 'src/sources.ts'));
      expect(said.stdout).toBe('');
    },
  );

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
