/**
 * The client in a browser beside the client in Node: the same server process, the same model, the two in turn, their
 * ratio pair by pair. Chromium without a window, web workers on a page that is cross-origin isolated.
 *
 * What a browser lacks is OpenSSL's AES: there the WASM kernel does all of it.
 */

import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { connect, type Inference, type Session } from '../client/index.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import { createPool } from '../protocol/inference/threads.ts';
import { countKinds } from '../protocol/program/kinds.ts';
import { mapsOf } from '../protocol/program/program.ts';
import { sizeOf } from '../protocol/ring/shape.ts';
import { loadDemo } from '../server/demo.ts';
import { medianOf, summarise, timed } from './measure.ts';
import type { BenchPoint } from './points.ts';
import type { BrowserResult } from './results.ts';
import { jobOf, startParty } from './stand/measurement.ts';
import type { SectionContext } from './stand/run.ts';

const PARTS = ['setup', 'offline', 'online'] as const;

/** Milliseconds of one session's three parts. */
type Times = Record<(typeof PARTS)[number], number>;

/** What is compared. */
const COMPARED = ['zoo/digits', 'zoo/cifar10-3891', 'zoo/cifar10', 'ResNet-20/identity/188416'];

const REPETITIONS = { full: 7, quick: 2 };

const places = [process.env['SOTTO_CHROMIUM'], '/usr/bin/chromium', '/usr/bin/google-chrome'];

/**
 * Compares both clients on some of the points.
 * @throws Error when there is no Chromium
 */
export async function compareBrowser(context: SectionContext): Promise<BrowserResult[]> {
  const executablePath = places.find((path) => path !== undefined && existsSync(path));
  if (executablePath === undefined) throw new Error('there is no Chromium on this machine');
  // Needed by nobody who only runs the command.
  const { chromium } = await import('playwright-core');
  const browser = await chromium.launch({
    executablePath,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  });
  // The page's files, isolated as the demo serves them; the models come from servers of their own.
  const files = createServer(await loadDemo(new Map()));
  const pool = createPool();
  try {
    await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
    const page = await browser.newPage();
    // Any answer of this origin would do: it has the headers that isolate a page, and nothing else runs in it.
    await page.goto(`http://127.0.0.1:${(files.address() as AddressInfo).port}/models.json`);
    await page.evaluate(PREPARE_PAGE);
    const results: BrowserResult[] = [];
    for (const point of context.points.filter(({ id }) => COMPARED.includes(id))) {
      context.report(`browser: ${point.id}`);
      results.push(await compare(page, pool, point, context));
    }
    return results;
  } finally {
    files.close();
    await browser.close();
    await pool.close();
  }
}

async function compare(
  page: Page,
  pool: ProtocolPool,
  point: BenchPoint,
  { mode, signal }: SectionContext,
): Promise<BrowserResult> {
  const folder = await mkdtemp(join(tmpdir(), 'sotto-browser-'));
  const server = startParty(signal);
  try {
    const subject = await point.make();
    const { path } = await jobOf(subject, join(folder, 'model.sotto'));
    const { url } = await server.ask('serve', { path });
    const { program } = subject.model;
    const size = sizeOf(program.input.shape);
    const rounds: { node: Times; browser: Times; longest: number }[] = [];
    // The first two rounds warm both up and do not count.
    for (let i = -2; i < REPETITIONS[mode]; i++) {
      signal.throwIfAborted();
      const node = await timesInNode(url, pool, size);
      const { longest, ...browser } = await page.evaluate(timesInPage, { url, size });
      if (i >= 0) rounds.push({ node, browser, longest });
    }
    return {
      point: point.id,
      relus: countKinds(...mapsOf(program)).relus,
      parts: PARTS.map((name) => ({
        name,
        nodeMs: medianOf(rounds.map(({ node }) => node[name])),
        browserMs: medianOf(rounds.map(({ browser }) => browser[name])),
        ratio: summarise(rounds.map(({ node, browser }) => browser[name] / node[name])),
      })),
      longestTaskMs: Math.min(...rounds.map(({ longest }) => longest)),
    };
  } finally {
    await server.stop();
    await rm(folder, { recursive: true });
  }
}

/** Times of a session's fourth inference: engines compile during the first ones, and a page's session has its own worker. */
async function settled(session: Session, size: number): Promise<Inference['stats']> {
  for (let i = 0; i < 3; i++) await session.infer(new Float32Array(size).fill(0.5));
  return (await session.infer(new Float32Array(size).fill(0.5))).stats;
}

async function timesInNode(url: string, pool: ProtocolPool, size: number): Promise<Times> {
  const { ms: setup, result: session } = await timed(() => connect(url, { pool }));
  const { offline, online } = await settled(session, size);
  await session.close();
  return { setup, offline: offline.ms, online: online.ms };
}

/** What a page keeps between repetitions. */
interface Stage {
  client: typeof import('../client/browser.ts');
  pool: ProtocolPool;
  tasks: number[];
  settled: typeof settled;
}

/** Runs in the page: loads the client, and leaves it where {@link timesInPage} finds it. As text: compilers rewrite imports. */
const PREPARE_PAGE = `
  import(location.origin + '/client.js').then((client) => {
    const tasks = [];
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) tasks.push(duration);
    }).observe({ type: 'longtask' });
    globalThis.stage = { client, pool: client.createPool(), tasks, settled: ${settled} };
  })
`;

/** Runs in the page: it sees nothing of this module. */
async function timesInPage(input: {
  url: string;
  size: number;
}): Promise<Times & { longest: number }> {
  const { client, pool, tasks, settled: last } = (globalThis as unknown as { stage: Stage }).stage;
  tasks.length = 0;
  const start = performance.now();
  const session = await client.connect(input.url, { pool });
  const setup = performance.now() - start;
  const { offline, online } = await last(session, input.size);
  await session.close();
  // The observer is told a moment after a task has ended.
  await new Promise((resolve) => setTimeout(resolve, 100));
  const longest = Math.max(0, ...tasks);
  return { setup, offline: offline.ms, online: online.ms, longest };
}
