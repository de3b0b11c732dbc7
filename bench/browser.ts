/**
 * The client in a browser beside the client in Node: the same server process, the same model, the two in turn, their
 * ratio pair by pair. Chromium without a window, web workers on a page that is cross-origin isolated.
 *
 * What a browser lacks is OpenSSL's AES: there the WASM kernel does all of it.
 */

import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { connect } from '../client/index.ts';
import { resNetCifar } from '../models/networks/index.ts';
import { networksOf, recipeOf } from '../models/zoo/recipes.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import type { tasks } from '../protocol/inference/tasks.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { countKinds } from '../protocol/program/kinds.ts';
import { decodeModel, encodeModel } from '../protocol/program/model.ts';
import { mapsOf } from '../protocol/program/program.ts';
import { sizeOf } from '../protocol/ring/shape.ts';
import { loadDemo } from '../server/demo.ts';
import { type Summary, summarise } from './measure.ts';
import { compileOnNoise } from './networks.ts';
import { startServer } from './server-process.ts';
import { zooFolder } from './zoo.ts';

/** Milliseconds of one session's three parts. */
type Times = Record<'setup' | 'offline' | 'online', number>;

export interface BrowserResult {
  readonly model: string;
  readonly relus: number;
  readonly phases: readonly {
    readonly name: keyof Times;
    readonly node: Summary;
    readonly browser: Summary;
    /** Browser / Node, pair by pair. */
    readonly ratio: Summary;
  }[];
  /** Longest task of the page's main thread in the quietest repetition, ms; 0 where none lasted 50. */
  readonly longestTask: number;
}

const places = [process.env['SOTTO_CHROMIUM'], '/usr/bin/chromium', '/usr/bin/google-chrome'];

/**
 * Measures the digit network, the zoo's network for CIFAR-10 with the fewest ReLUs and with all of them, and ResNet-20
 * with all ReLUs and random weights.
 * @throws Error when there is no Chromium
 */
export async function benchBrowser(repetitions: number): Promise<BrowserResult[]> {
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
  const pool = createThreadPool<typeof tasks>(
    new URL('../protocol/inference/worker.js', import.meta.url),
  );
  const folder = await mkdtemp(join(tmpdir(), 'sotto-browser-'));
  try {
    await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(files.address() as AddressInfo).port}/models.json`);
    await page.evaluate(PREPARE_PAGE);
    const large = join(folder, 'model.sotto');
    await writeFile(
      large,
      encodeModel(compileOnNoise('ResNet-20, all ReLUs', resNetCifar(20)).model),
    );
    const cifar = networksOf(recipeOf('cifar10'));
    const zoo = ['digits', cifar.at(-1)!, cifar[0]!].map((name) =>
      join(zooFolder(), `${name}.sotto`),
    );
    const results: BrowserResult[] = [];
    for (const path of [...zoo, large]) {
      results.push(await compare(page, pool, path, repetitions));
    }
    return results;
  } finally {
    files.close();
    await browser.close();
    await pool.close();
    await rm(folder, { recursive: true });
  }
}

async function compare(
  page: Page,
  pool: ProtocolPool,
  path: string,
  repetitions: number,
): Promise<BrowserResult> {
  const { program } = decodeModel(readFileSync(path));
  const server = await startServer(path);
  const size = sizeOf(program.input.shape);
  const rounds: { node: Times; browser: Times; longest: number }[] = [];
  try {
    // The first round warms both up and does not count.
    for (let i = 0; i <= repetitions; i++) {
      const node = await timesInNode(server.url, pool, size);
      const { longest, ...browser } = await page.evaluate(timesInPage, { url: server.url, size });
      if (i > 0) rounds.push({ node, browser, longest });
    }
  } finally {
    await server.stop();
  }
  return {
    model: program.name,
    relus: countKinds(...mapsOf(program)).relus,
    phases: (['setup', 'offline', 'online'] as const).map((name) => ({
      name,
      node: summarise(rounds.map(({ node }) => node[name])),
      browser: summarise(rounds.map(({ browser }) => browser[name])),
      ratio: summarise(rounds.map(({ node, browser }) => browser[name] / node[name])),
    })),
    longestTask: Math.min(...rounds.map(({ longest }) => longest)),
  };
}

async function timesInNode(url: string, pool: ProtocolPool, size: number): Promise<Times> {
  const start = performance.now();
  const session = await connect(url, { pool });
  const setup = performance.now() - start;
  const { offline, online } = (await session.infer(new Float32Array(size).fill(0.5))).stats;
  await session.close();
  return { setup, offline: offline.ms, online: online.ms };
}

/** What a page keeps between repetitions. */
interface Stage {
  client: typeof import('../client/browser.ts');
  pool: ProtocolPool;
  tasks: number[];
}

/** Runs in the page: loads the client, and leaves it where {@link timesInPage} finds it. As text: compilers rewrite imports. */
const PREPARE_PAGE = `
  import(location.origin + '/client.js').then((client) => {
    const tasks = [];
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) tasks.push(duration);
    }).observe({ type: 'longtask' });
    globalThis.stage = { client, pool: client.createPool(), tasks };
  })
`;

/** Runs in the page: it sees nothing of this module. */
async function timesInPage(input: {
  url: string;
  size: number;
}): Promise<Times & { longest: number }> {
  const { client, pool, tasks } = (globalThis as unknown as { stage: Stage }).stage;
  tasks.length = 0;
  const start = performance.now();
  const session = await client.connect(input.url, { pool });
  const setup = performance.now() - start;
  const { offline, online } = (await session.infer(new Float32Array(input.size).fill(0.5))).stats;
  await session.close();
  // The observer is told a moment after a task has ended.
  await new Promise((resolve) => setTimeout(resolve, 100));
  const longest = Math.max(0, ...tasks);
  return { setup, offline: offline.ms, online: online.ms, longest };
}
