/** Clients that are stopped in the middle, as a laptop that is closed: their sockets stay open and take nothing. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import type * as Sotto from '../../client/browser.ts';
import { connect } from '../../client/index.ts';
import type { RunningServer } from '../../server/index.ts';
import { noBrowser, openBrowser } from '../system/chromium.ts';
import { root, serveFolder } from '../system/serving.ts';
import { localPool, notBuilt, somePixels, within } from '../system/support.ts';
import { model, withTiny } from './serving.ts';

const client = new URL('../../dist/client/index.js', import.meta.url).href;

/** A client in a separate process that prepares without end. */
function busyClient(url: string): ChildProcess {
  const script = `
    import { connect } from '${client}';
    const session = await connect('${url}', { hints: false, workers: 1 });
    for (;;) {
      await session.prepare({ inferences: 4 });
      for (let i = 0; i < 4; i++) await session.infer(new Float32Array(36));
    }`;
  return spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'ignore' });
}

/** Waits until a server has no session. */
async function missed(server: RunningServer): Promise<void> {
  while (server.sessions > 0) await new Promise((resolve) => setTimeout(resolve, 10));
}

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

it.skipIf(notBuilt || process.platform === 'win32')(
  'a frozen peer is missed after the time of a frame, and its place is free',
  { concurrent: true },
  async () => {
    const limits = { sessions: 1, stallMs: 5000, idleMs: 5000 };
    await withTiny({ limits }, async ({ url, server, of }) => {
      const frozen = busyClient(url);
      try {
        while (of('inference').length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
        frozen.kill('SIGSTOP');
        await within(15_000, missed(server));
        expect(of('closed')[0]!.reason).toMatch(/^(timeout|idle)$/);
        const session = await connect(url, { pool: localPool(), hints: false });
        await session.infer(somePixels(model));
        await session.close();
      } finally {
        frozen.kill('SIGKILL');
      }
    });
  },
);

/** A client in a separate process that says how its session is, and asks for each line that it is given. */
function telling(url: string): ChildProcess {
  const script = `
    import { connect } from '${client}';
    const onStatus = (status) => console.log(status);
    const session = await connect('${url}', { hints: false, workers: 1, onStatus });
    await session.prepare({ inferences: 2 });
    console.log('prepared');
    for await (const _ of process.stdin) {
      const told = await session.infer(new Float32Array(36)).then(() => 'answered', ({ code }) => code);
      console.log(told, session.available);
    }
    await session.close();`;
  const args = ['--input-type=module', '--eval', script];
  return spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
}

it.skipIf(notBuilt || process.platform === 'win32')(
  'a client that wakes after it was missed comes back by itself, to what it had prepared',
  { concurrent: true },
  async () => {
    const limits = { idleMs: 5000, stallMs: 10_000 };
    await withTiny({ limits }, async ({ url, server, of }) => {
      const sleeper = telling(url);
      const said: string[] = [];
      const lines = createInterface({ input: sleeper.stdout! });
      lines.on('line', (line) => said.push(line));
      const heard = (line: string) =>
        within(
          30_000,
          (async () => {
            while (!said.includes(line)) await once(lines, 'line');
          })(),
        );
      try {
        await heard('prepared');
        sleeper.kill('SIGSTOP');
        await within(15_000, missed(server));
        expect(of('closed')[0]).toMatchObject({ kept: 2 });
        sleeper.kill('SIGCONT');
        await heard('lost');
        sleeper.stdin!.write('ask\n');
        await heard('answered 1');
        expect(said).toEqual(['connecting', 'ready', 'prepared', 'lost', 'resumed', 'answered 1']);
        expect(of('inference').map(({ bundle }) => bundle)).toEqual([0]);
        sleeper.stdin!.end();
        await heard('closed');
      } finally {
        sleeper.kill('SIGKILL');
      }
    });
  },
);

/** What the page below leaves to be used. */
declare const sotto: typeof Sotto;
declare const session: Sotto.Session;
declare const statuses: Sotto.SessionStatus[];

it.skipIf(notBuilt || noBrowser)(
  'a page that its browser froze comes back by itself, to what it had prepared',
  { concurrent: true },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sotto-frozen-'));
    cpSync(join(root, 'dist/web'), folder, { recursive: true });
    const module = `import * as sotto from './client.js'; globalThis.sotto = sotto;`;
    writeFileSync(join(folder, 'index.html'), `<script type="module">${module}</script>`);
    const [files, browser] = await Promise.all([serveFolder(folder), openBrowser()]);
    try {
      await withTiny({ limits: { idleMs: 5000, stallMs: 10_000 } }, async ({ url, server, of }) => {
        const page = await browser.newPage();
        await page.goto(files.url);
        await page.waitForFunction(() => 'sotto' in globalThis);
        await page.evaluate(async (url) => {
          const statuses: string[] = [];
          const onStatus = (status: string) => void statuses.push(status);
          const session = await sotto.connect(url, { workers: 1, onStatus });
          await session.prepare({ inferences: 2 });
          Object.assign(globalThis, { session, statuses });
        }, url);
        const lifecycle = await page.context().newCDPSession(page);
        await lifecycle.send('Page.setWebLifecycleState', { state: 'frozen' });
        await within(15_000, missed(server));
        expect(of('closed')[0]).toMatchObject({ kept: 2 });
        await lifecycle.send('Page.setWebLifecycleState', { state: 'active' });
        await page.waitForFunction(() => statuses.includes('lost'));
        const told = await page.evaluate(async () => {
          const { logits } = await session.infer(new Float32Array(36));
          return { logits: logits!.length, available: session.available, statuses };
        });
        expect(told).toEqual({
          logits: 3,
          available: 1,
          statuses: ['connecting', 'ready', 'lost', 'resumed'],
        });
        expect(of('inference').map(({ bundle }) => bundle)).toEqual([0]);
      });
    } finally {
      await browser.close();
      files.close();
      rmSync(folder, { recursive: true });
    }
  },
);
