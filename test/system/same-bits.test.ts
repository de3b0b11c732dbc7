/**
 * The same function, the same bits: under the same seeds a client sends the same bytes and gets the same answer whether
 * its AES is OpenSSL's or the WASM kernel's, on threads or in one, and in Chromium and Firefox as in Node.
 */

import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { sessionOver } from '../../client/session.ts';
import { CLIENT_SOCKET_OPTIONS, socketChannel } from '../../protocol/channel/websocket.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import { Prg, type Random } from '../../protocol/random/index.ts';
import { DEFAULT_SERVER_LIMITS } from '../../server/limits.ts';
import { listen } from '../../server/listen.ts';
import { offerModels } from '../../server/models.ts';
import { serveSession } from '../../server/session.ts';
import { seedOf } from '../support/model.ts';
import { recorded } from '../support/recorded.ts';
import { noBrowser, openBrowser } from './chromium.ts';
import { noFirefox, openFirefox } from './firefox.ts';
import { root, serveFolder } from './serving.ts';
import { localPool, notBuilt, somePixels, threadPool, tinyModel } from './support.ts';

const model = tinyModel();
const pixels = somePixels(model);
const CLIENT_SEED = seedOf(820);
const SERVER_SEED = seedOf(821);

interface Transcript {
  /** SHA-256 of all frames each way, kinds included. */
  readonly sent: string;
  readonly received: string;
  readonly logits: readonly number[];
}

/** Serves one client with fixed randomness, and tells what went over the wire. */
async function transcript(client: (url: string) => Promise<number[]>): Promise<Transcript> {
  const pool = localPool();
  const offers = await offerModels([{ name: 'tiny', model }], {
    pool,
    random: new Prg(SERVER_SEED),
  });
  let tape: ReturnType<typeof recorded> | undefined;
  let served: Promise<void> | undefined;
  const complaints: unknown[] = [];
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    tls: undefined,
    onChannel({ channel }, { address }) {
      tape = recorded(channel);
      const onEvent = (event: { type: string }) => {
        if (event.type === 'error') complaints.push(event);
      };
      const random = new Prg(SERVER_SEED);
      const parts = { offers, pool, limits: DEFAULT_SERVER_LIMITS, onEvent, random };
      served = serveSession(parts, tape, { session: 1, address, principal: address });
    },
  });
  try {
    const logits = await client(listener.url);
    await served;
    expect(complaints).toEqual([]);
    const digest = (direction: 'sent' | 'received') => {
      const hash = createHash('sha256');
      for (const frame of tape!.transcript) {
        if (frame.direction === direction)
          hash.update(Uint8Array.of(frame.kind)).update(frame.payload);
      }
      return hash.digest('hex');
    };
    return { sent: digest('received'), received: digest('sent'), logits };
  } finally {
    await listener.close();
    await pool.close();
  }
}

/** What every client does, over modules of one kind or another. */
async function inNode(
  url: string,
  open: typeof sessionOver,
  parts: { readonly pool: ProtocolPool; readonly random: Random },
): Promise<number[]> {
  const channel = socketChannel(new WebSocket(url, CLIENT_SOCKET_OPTIONS));
  const session = await open({ channel, ...parts });
  await session.prepare({ inferences: 2 });
  await session.infer(pixels);
  const { logits } = await session.infer(pixels);
  await session.close();
  await parts.pool.close();
  return Array.from(logits!);
}

type Probe = (input: { url: string; seed: number[]; pixels: number[] }) => Promise<number[]>;

/** The same for a page: a module that leaves its function where a test finds it. */
const probe = (dist: string): string => `
  import { createPool, openSession, socketChannel } from '${dist}/client/browser.js';
  import { Prg } from '${dist}/protocol/random/index.js';

  globalThis.classify = async ({ url, seed, pixels }) => {
    const pool = createPool({ workers: 2 });
    const channel = socketChannel(new WebSocket(url));
    const session = await openSession({ channel, pool, random: new Prg(Uint8Array.from(seed)) });
    await session.prepare({ inferences: 2 });
    await session.infer(Float32Array.from(pixels));
    const { logits } = await session.infer(Float32Array.from(pixels));
    await session.close();
    await pool.close();
    return Array.from(logits);
  };
`;

let expected: Transcript;

beforeAll(async () => {
  const { opensslAes } = await import('../../protocol/random/aes.ts');
  expect(opensslAes).toBeDefined();
  expected = await transcript((url) =>
    inNode(url, sessionOver, { pool: localPool(), random: new Prg(CLIENT_SEED) }),
  );
  expect(expected.logits).toHaveLength(3);
});

describe('the same bits', () => {
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.resetModules();
  });

  it('differ with other seeds: the comparison can fail', async () => {
    const other = await transcript((url) =>
      inNode(url, sessionOver, { pool: localPool(), random: new Prg(seedOf(822)) }),
    );
    expect(other.sent).not.toBe(expected.sent);
  });

  it('come from the WASM kernels alone, without OpenSSL', async () => {
    vi.resetModules();
    vi.stubGlobal('process', { ...process, getBuiltinModule: undefined });
    const { opensslAes } = await import('../../protocol/random/aes.ts');
    expect(opensslAes).toBeUndefined();
    const session = await import('../../client/session.ts');
    const random = await import('../../protocol/random/index.ts');
    const { createInlinePool } = await import('../../protocol/pool/inline.ts');
    const tasks = await import('../../protocol/inference/tasks.ts');
    const own = await transcript((url) =>
      inNode(url, session.sessionOver, {
        pool: createInlinePool(tasks),
        random: new random.Prg(CLIENT_SEED),
      }),
    );
    expect(own).toEqual(expected);
  });

  it.skipIf(notBuilt)('come from threads', async () => {
    const own = await transcript((url) =>
      inNode(url, sessionOver, { pool: threadPool(), random: new Prg(CLIENT_SEED) }),
    );
    expect(own).toEqual(expected);
  });
});

/** A tab of either browser, as far as it is used. */
interface Tab {
  goto(url: string): Promise<unknown>;
  evaluate<R>(work: () => R | Promise<R>): Promise<R>;
  evaluate<A, R>(work: (argument: A) => R | Promise<R>, argument: A): Promise<R>;
  close(): Promise<void>;
}

interface TestedBrowser {
  newPage(): Promise<Tab>;
  close(): Promise<void>;
}

const browsers: { name: string; missing: string | undefined; open(): Promise<TestedBrowser> }[] = [
  { name: 'Chromium', missing: noBrowser, open: openBrowser },
  { name: 'Firefox', missing: noFirefox, open: openFirefox },
];
for (const { missing } of browsers) if (missing) console.log(`the same bits skipped: ${missing}`);

describe.skipIf(notBuilt).each(browsers)('the same bits in $name', ({ missing, open }) => {
  let browser: TestedBrowser | undefined;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-bits-'));
    const entry = join(folder, 'probe.mjs');
    const dist = join(root, 'dist');
    writeFileSync(entry, probe(dist));
    writeFileSync(
      join(folder, 'index.html'),
      '<!doctype html><title>probe</title><script type="module" src="probe.js"></script>',
    );
    const input = { probe: entry, worker: join(dist, 'client/worker.js') };
    const bundle = await rolldown({ input, platform: 'browser' });
    await bundle.write({ dir: folder, format: 'esm', entryFileNames: '[name].js' });
    await bundle.close();
    if (missing === undefined) browser = await open();
  });

  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true });
  });

  it.skipIf(missing).each([
    ['with shared memory', true],
    ['without shared memory', false],
  ])('come from web workers %s', async (_, isolated) => {
    const headers = {
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    };
    const files = await serveFolder(folder, isolated ? headers : {});
    const page = await browser!.newPage();
    try {
      await page.goto(files.url);
      expect(await page.evaluate(() => crossOriginIsolated)).toBe(isolated);
      const own = await transcript((url) =>
        page.evaluate((input) => (globalThis as unknown as { classify: Probe }).classify(input), {
          url,
          seed: [...CLIENT_SEED],
          pixels: [...pixels],
        }),
      );
      expect(own).toEqual(expected);
    } finally {
      await page.close();
      files.close();
    }
  });
});
