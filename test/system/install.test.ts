/**
 * The packages installed by npm from its registry, with bundlers from there: what an app's developer gets. Skipped, with the reason,
 * where no registry answers. webpack, React and Next take minutes together: SOTTO_LONG=install.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isLong } from '../support/long.ts';
import { noBrowser, openBrowser } from './chromium.ts';
import { filesOf, type PackageFolder, packAll, run } from './packages.ts';
import { type Logged, root, type Served, serveFolder, serveProcess } from './serving.ts';
import { notBuilt } from './support.ts';

const noRegistry = await run('npm', ['ping', '--fetch-retries=0', '--fetch-timeout=5000'], tmpdir())
  .then(() => undefined)
  .catch(() => 'no registry of npm answers');
const skipped = notBuilt ?? noRegistry;
if (skipped) console.log(`tests of installed packages skipped: ${skipped}`);
else if (noBrowser) console.log(`bundles in a browser skipped: ${noBrowser}`);
const long = isLong('install');
if (!skipped && !long) console.log('webpack, React and Next skipped: set SOTTO_LONG=install');

const image = join(root, 'models/zoo/digits-images/6.png');

/** What an app does: classifies the file of a form, and shows it. */
const APP = `
import { connect, pixelsOf, readImage } from 'sotto';
document.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const output = document.querySelector('output');
  try {
    const { server, image } = event.target.elements;
    const session = await connect(server.value, globalThis.options ?? {});
    const pixels = pixelsOf(await readImage(image.files[0]), session.program.input.shape, 'contain');
    const { label } = await session.infer(pixels);
    await session.close();
    output.textContent = 'It is: ' + label;
  } catch (error) {
    output.textContent = error.message;
  }
});
`;

const FORM = `<form><input name="server"><input name="image" type="file"><button>Go</button></form><output></output>`;

/** The blocks of code of a guide, of one language. */
function blocksOf(guide: string, language: string): string[] {
  const text = readFileSync(join(root, 'client/guides', guide), 'utf8');
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    ([, code]) => code!,
  );
}

/** Bytes of scripts, each gzipped. */
const gzipped = (paths: Iterable<string>): number =>
  [...paths]
    .filter((path) => path.endsWith('.js'))
    .reduce((sum, path) => sum + gzipSync(readFileSync(path)).length, 0);

/** A command that runs until it is ended, such as a server. */
function start(command: string, cwd: string) {
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' };
  const child = spawn('bash', ['-c', `exec ${command}`], { cwd, env, detached: true });
  const spoke = once(child.stderr, 'data');
  const address = new Promise<string>((resolve, reject) => {
    let said = '';
    child.stdout.on('data', (piece: Buffer) => {
      said += stripVTControlCharacters(String(piece));
      const local = /Local:\s+(http:\S+)/.exec(said)?.[1];
      if (local) resolve(local);
    });
    child.on('exit', () => reject(new Error(said)));
  });
  // Not all commands say one.
  address.catch(() => {});
  spoke.catch(() => {});
  return {
    /** Where it says that it is reached. */
    address,
    /** It has said something beside. */
    spoke,
    async end(): Promise<void> {
      if (child.exitCode !== null) return;
      const ended = once(child, 'exit');
      process.kill(-child.pid!, 'SIGKILL');
      await ended;
    },
  };
}

describe.skipIf(skipped)('installed from the registry', () => {
  let folder: string;
  let tarballs: Record<PackageFolder, string>;
  let server: Served;
  let browser: Browser | undefined;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-install-'));
    tarballs = await packAll(folder);
    server = await serveProcess([
      '--model',
      join(root, 'models/zoo/digits.sotto'),
      '--port',
      '0',
      '--workers',
      '1',
    ]);
    if (!noBrowser) browser = await openBrowser();
  });

  afterAll(async () => {
    await browser?.close();
    await server?.kill();
    rmSync(folder, { recursive: true });
  });

  /** An empty project with packages from tarballs and from the registry. */
  async function install(name: string, packages: readonly string[]): Promise<string> {
    const project = join(folder, name);
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }');
    const quiet = ['--no-audit', '--no-fund', '--prefer-offline'];
    await run('npm', ['install', ...quiet, ...packages], project);
    return project;
  }

  /** Fills in a page's form as its visitor does; the first thing with a digit, or a fault, that it shows. */
  async function use(page: string): Promise<string | null> {
    const tab = await browser!.newPage();
    const said: string[] = [];
    tab.on('pageerror', (error) => said.push(String(error)));
    tab.on('console', (line) => said.push(line.text()));
    try {
      await tab.goto(`${page}?server=${server.url}`);
      // Apps that connect before a picture is chosen say so.
      await tab.waitForFunction(() =>
        /^$|ready|Choose/.test(document.querySelector('output')!.textContent),
      );
      if (await tab.locator('button').isVisible()) await tab.fill('input[name=server]', server.url);
      await tab.setInputFiles('input[type=file]', image);
      if (await tab.locator('button').isVisible()) await tab.click('button');
      await tab.waitForFunction(
        () => !/^$|onnecting|ready|Choose/.test(document.querySelector('output')!.textContent),
      );
      return await tab.textContent('output');
    } catch (cause) {
      throw new Error(`${await tab.textContent('body')}\n${said.join('\n')}`, { cause });
    } finally {
      await tab.close();
    }
  }

  /** @returns bytes of the scripts that the page has loaded, each gzipped; 0 without a browser */
  async function useFolder(site: string, says: string | RegExp = 'It is: 6'): Promise<number> {
    if (browser === undefined) return 0;
    const files = await serveFolder(site);
    try {
      expect(await use(files.url)).toEqual(
        typeof says === 'string' ? says : expect.stringMatching(says),
      );
      return gzipped(files.served);
    } finally {
      files.close();
    }
  }

  it('sotto is at most 10 packages and 3 MB, none of which runs a script', async () => {
    const project = await install('client', [tarballs.client]);
    const lock = JSON.parse(readFileSync(join(project, 'package-lock.json'), 'utf8'));
    const packages = Object.entries<{ hasInstallScript?: boolean; optional?: boolean }>(
      lock.packages,
    ).filter(([path]) => path !== '' && statSync(join(project, path), { throwIfNoEntry: false }));
    const bytes = filesOf(join(project, 'node_modules')).reduce(
      (sum, path) => sum + statSync(path).size,
      0,
    );
    console.log(`npm install sotto: ${packages.length} packages, ${(bytes / 1e6).toFixed(2)} MB`);
    expect(packages.length).toBeLessThanOrEqual(10);
    expect(bytes).toBeLessThan(3e6);
    expect(packages.filter(([, { hasInstallScript }]) => hasInstallScript)).toEqual([]);
    cpSync(join(root, 'client/examples/node/classify.mjs'), join(project, 'classify.mjs'));
    const said = await run(process.execPath, ['classify.mjs', server.url, image], project);
    expect(said).toMatch(/6\.png: 6, answered in \d+ ms/);
  });

  it('@sotto/server brings the command, the models that ship and nothing that draws', async () => {
    const project = await install('server', Object.values(tarballs));
    const said = await run('npx', ['--no-install', 'sotto', '--help'], project);
    for (const command of ['serve', 'infer', 'check', 'compile', 'reduce', 'audit', 'plan']) {
      expect(said).toMatch(new RegExp(`^  ${command} `, 'm'));
    }
    expect(said).not.toMatch(/^ {2}bench /m);
    const names = filesOf(join(project, 'node_modules')).map((path) => basename(dirname(path)));
    expect(names.filter((name) => /^d3|^linkedom|^ioredis/.test(name))).toEqual([]);
    const digits = join(project, 'node_modules/@sotto/models/models/zoo/digits.sotto');
    expect(await run('npx', ['--no-install', 'sotto', 'plan', digits], project)).toMatch(/online/);
  });

  it('esbuild bundles the page and its worker with one shared chunk, and a script of Node', async () => {
    const project = await install('esbuild', [tarballs.client, 'esbuild']);
    writeFileSync(
      join(project, 'app.js'),
      `globalThis.options = { workerUrl: new URL('./worker.js', import.meta.url) };${APP}`,
    );
    const esbuild = (...args: string[]) =>
      run('npx', ['--no-install', 'esbuild', ...args], project);
    const split = ['--bundle', '--minify', '--format=esm', '--splitting', '--outdir=site'];
    await esbuild('app=app.js', 'worker=sotto/worker', ...split);
    const page = `${FORM}<script type="module" src="app.js"></script>`;
    writeFileSync(join(project, 'site/index.html'), page);
    const bytes = await useFolder(join(project, 'site'));
    console.log(`through esbuild: ${(bytes / 1000).toFixed(1)} kB gzipped`);
    expect(bytes).toBeLessThan(118_000);
    // Without an install at its place: the worker's module is bundled too, and named.
    writeFileSync(
      join(project, 'script.js'),
      `import { connect, pixelsOf, readImage } from 'sotto';
       const session = await connect(process.argv[2], { workers: 1, workerUrl: new URL('./worker.mjs', import.meta.url) });
       const { label } = await session.infer(pixelsOf(await readImage(process.argv[3]), session.program.input.shape));
       console.log('label', label);
       await session.close();`,
    );
    const forNode = ['--bundle', '--platform=node', '--format=esm', '--outdir=elsewhere'];
    await esbuild(
      'script=script.js',
      'worker=sotto/worker',
      ...forNode,
      '--out-extension:.js=.mjs',
      '--external:piscina',
      '--external:ws',
    );
    const script = join(project, 'elsewhere/script.mjs');
    expect(await run(process.execPath, [script, server.url, image], project)).toContain('label 6');
  });

  it.runIf(long)('webpack follows the worker by itself', async () => {
    const project = await install('webpack', [tarballs.client, 'webpack@5', 'webpack-cli']);
    writeFileSync(join(project, 'app.js'), APP);
    const args = ['--mode', 'production', '--entry', './app.js', '-o', 'site'];
    await run('npx', ['--no-install', 'webpack', ...args], project);
    writeFileSync(join(project, 'site/index.html'), `${FORM}<script src="main.js"></script>`);
    const bytes = await useFolder(join(project, 'site'));
    console.log(`through webpack: ${(bytes / 1000).toFixed(1)} kB gzipped`);
    expect(bytes).toBeLessThan(122_000);
  });

  it.runIf(long)('Vite with React builds what TypeScript finds nothing wrong with', async () => {
    const packages = [
      'vite',
      'react',
      'react-dom',
      'typescript',
      '@types/react',
      '@types/react-dom',
    ];
    const project = await install('react', [tarballs.client, ...packages]);
    mkdirSync(join(project, 'src'));
    writeFileSync(join(project, 'src/classify.tsx'), blocksOf('react.md', 'tsx')[0]!);
    writeFileSync(join(project, 'src/app.tsx'), RENDER);
    const module = '<div id="root"></div><script type="module" src="/src/app.tsx"></script>';
    writeFileSync(join(project, 'index.html'), module);
    writeFileSync(
      join(project, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          ...{ target: 'es2022', lib: ['ES2022', 'DOM'], module: 'esnext', types: [] },
          ...{ moduleResolution: 'bundler', jsx: 'react-jsx', noEmit: true },
          ...{ strict: true, skipLibCheck: false },
        },
        include: ['src'],
      }),
    );
    await run('npx', ['--no-install', 'tsc', '-p', '.'], project);
    writeFileSync(
      join(project, 'vite.config.js'),
      `export default { worker: { format: 'es' }, optimizeDeps: { exclude: ['sotto'] }, logLevel: 'error' };`,
    );
    await run('npx', ['--no-install', 'vite', 'build'], project);
    await useFolder(join(project, 'dist'), /^6, /);
    // React mounts twice while developing alone: the session of the first mount is gone before the second has answered.
    const seen = server.events.length;
    const vite = start('npx --no-install vite --logLevel info', project);
    try {
      if (browser) expect(await use(await vite.address)).toMatch(/^6, /);
    } finally {
      await vite.end();
    }
    const since = server.events.slice(seen);
    const numbers = (type: Logged['type']) =>
      since.flatMap((event) => (event.type === type && 'session' in event ? [event.session] : []));
    const answered = new Set(numbers('inference'));
    expect(answered.size).toBe(browser ? 1 : 0);
    // What was opened beside it has ended, and first.
    const [live] = answered;
    const others = [...new Set(numbers('session'))].filter((session) => session !== live);
    const before = since.findIndex((event) => event.type === 'inference');
    const ended = since
      .slice(0, before)
      .flatMap((event) => (event.type === 'closed' ? [event.session] : []));
    expect(ended).toEqual(expect.arrayContaining(others));
  });

  it.runIf(long)(
    'Next renders pages that import it, on the server too',
    async () => {
      const packages = [
        'next',
        'react',
        'react-dom',
        'typescript@5',
        '@types/react',
        '@types/node',
      ];
      const project = await install('next', [tarballs.client, ...packages]);
      mkdirSync(join(project, 'app'));
      writeFileSync(join(project, 'next.config.mjs'), `export default { output: 'export' };`);
      writeFileSync(
        join(project, 'app/layout.tsx'),
        `export default function Layout({ children }: { children: React.ReactNode }) {
         return <html lang="en"><body>{children}</body></html>;
       }`,
      );
      writeFileSync(join(project, 'app/classify.tsx'), blocksOf('react.md', 'tsx')[0]!);
      writeFileSync(join(project, 'app/client.tsx'), blocksOf('next.md', 'tsx')[0]!);
      writeFileSync(
        join(project, 'app/page.tsx'),
        `import { ProtocolError } from 'sotto';
       import { Classify } from './client';
       export default function Page() {
         return <main title={ProtocolError.name}><Classify server="${server.url}" /></main>;
       }`,
      );
      await run('npx', ['--no-install', 'next', 'build'], project, {
        NEXT_TELEMETRY_DISABLED: '1',
      });
      await useFolder(join(project, 'out'), /^6, /);
      // And by a server that renders each page as it is asked for.
      writeFileSync(join(project, 'next.config.mjs'), 'export default {};');
      const page = readFileSync(join(project, 'app/page.tsx'), 'utf8');
      writeFileSync(
        join(project, 'app/page.tsx'),
        `export const dynamic = 'force-dynamic';\n${page}`,
      );
      await run('npx', ['--no-install', 'next', 'build'], project, {
        NEXT_TELEMETRY_DISABLED: '1',
      });
      const next = start('npx --no-install next start --port 0', project);
      try {
        const address = await next.address;
        // The name of a class is shortened.
        const rendered = await (await fetch(address)).text();
        expect(rendered).toMatch(/<main title="\w+"><input type="file"/);
        if (browser) expect(await use(address)).toMatch(/^6, /);
      } finally {
        await next.end();
      }
    },
    600_000,
  );

  it.runIf(long)(
    'the guide for a first app, followed to the letter, gives a private answer',
    async () => {
      const [setUp, serve, develop] = blocksOf('start.md', 'sh').map((block) => block.trim());
      const [config, main] = blocksOf('start.md', 'ts');
      expect(main!.trim().split('\n').length).toBeLessThanOrEqual(15);
      // They are not in the registry yet.
      const packed = setUp!.replace('sotto @sotto/server', Object.values(tarballs).join(' '));
      const started = performance.now();
      // npm asks before it runs what makes the app.
      await run('bash', ['-ec', packed], folder, { npm_config_yes: 'true' });
      const project = join(folder, 'my-app');
      writeFileSync(join(project, 'vite.config.ts'), config!);
      writeFileSync(join(project, 'src/main.ts'), main!);
      await run('npx', ['--no-install', 'tsc', '-p', '.'], project);
      const serving = start(serve!, project);
      const developing = start(develop!, project);
      try {
        const address = await developing.address;
        await serving.spoke;
        if (browser) expect(await use(address)).toBe('It is a 6.');
      } finally {
        await Promise.all([serving.end(), developing.end()]);
      }
      const seconds = (performance.now() - started) / 1000;
      console.log(`a first app by its guide: ${seconds.toFixed(0)} s`);
      expect(seconds).toBeLessThan(600);
    },
  );
});

const RENDER = `
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Classify } from './classify';
const server = new URLSearchParams(location.search).get('server')!;
createRoot(document.getElementById('root')!).render(<StrictMode><Classify server={server} /></StrictMode>);
`;
