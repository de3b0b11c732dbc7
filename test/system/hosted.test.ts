/** A session of a page, which runs in a worker: that nothing of it is other than in one thread, and what becomes of it when workers end. */

import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type * as Sotto from '../../client/browser.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { noBrowser, openBrowser } from './chromium.ts';
import { root, type Served, serveFolder, serveProcess } from './serving.ts';
import { notBuilt, tinyModel } from './support.ts';

const skipped = notBuilt ?? noBrowser;
if (skipped) console.log(`sessions in workers skipped: ${skipped}`);

/** What the page leaves to be used: the client, its workers in the order of their making, what an error says. */
declare const sotto: typeof Sotto;
declare const made: Worker[];
declare function told(error: unknown): string[];
declare const pixels: Float32Array;

const PAGE = `<!doctype html><title>hosted</title><script type="module">
  globalThis.made = [];
  const Native = Worker;
  globalThis.Worker = function (...given) {
    made.push(new Native(...given));
    return made.at(-1);
  };
  globalThis.told = ({ name, code, message }) => [code ?? name, message];
  globalThis.pixels = new Float32Array(6 * 6);
  import * as sotto from './client.js';
  globalThis.sotto = sotto;
</script>`;

describe.skipIf(skipped)('a session in a worker', () => {
  let browser: Browser;
  let server: Served;
  let folder: string;
  let files: Awaited<ReturnType<typeof serveFolder>>;
  let page: Page;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-hosted-'));
    cpSync(join(root, 'dist/web'), folder, { recursive: true });
    writeFileSync(join(folder, 'index.html'), PAGE);
    const model = join(folder, 'tiny.sotto');
    writeFileSync(model, encodeModel(tinyModel()));
    [browser, server, files] = await Promise.all([
      openBrowser(),
      serveProcess(['--port', '0', '--model', model]),
      serveFolder(folder),
    ]);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.kill();
    files?.close();
    rmSync(folder, { recursive: true });
  });

  beforeEach(async () => {
    page = await browser.newPage();
    await page.goto(files.url);
    await page.waitForFunction(() => 'sotto' in globalThis);
  });
  afterEach(() => page.close());

  it('has what it prepared, its answers and its statuses on the page', async () => {
    const seen = await page.evaluate(async (url) => {
      const statuses: string[] = [];
      const phases = new Set<string>();
      const session = await sotto.connect(url, {
        ...{ model: 'tiny', workers: 2 },
        onStatus: (status) => statuses.push(status),
        onProgress: ({ phase }) => phases.add(phase),
      });
      const before = session.available;
      await session.prepare({ inferences: 2 });
      const prepared = session.available;
      // The caller's array is its own again at once.
      const own = pixels.slice();
      let during = -1;
      const asked = session.infer(own, { onProgress: () => (during = session.available) });
      own.fill(9);
      const answer = await asked;
      const classes = await session.classify(new ImageData(6, 6), { topK: 2 });
      const { model, maxBundles, digest, weights, available } = session;
      const { input } = session.program;
      await session.close();
      return {
        ...{ statuses, phases: [...phases], before, prepared, during, available },
        after: session.available,
        ...{ model, maxBundles, digest, weights, shape: input.shape },
        logits: answer.logits!.length,
        online: answer.stats.online,
        classes: classes.length,
        closed: await session.closed,
      };
    }, server.url);
    expect(seen).toMatchObject({
      statuses: ['connecting', 'ready', 'closed'],
      phases: ['connect', 'setup', 'hint', 'done', 'prepare', 'infer'],
      ...{ before: 0, prepared: 2, during: 1, available: 0, after: 0 },
      ...{ model: 'tiny', shape: [1, 6, 6], logits: 3, classes: 2, closed: undefined },
    });
    expect(seen.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(seen.weights).toMatch(/^[0-9a-f]{64}$/);
    expect(seen.maxBundles).toBeGreaterThan(2);
    expect(seen.online.bytesUp).toBeGreaterThan(100);
  });

  it('keeps inferences ready in the background, which the page is told of', async () => {
    await page.evaluate(async (url) => {
      const session = await sotto.connect(url, { workers: 1, keepReady: 2 });
      Object.assign(globalThis, { session });
    }, server.url);
    await page.waitForFunction(
      () => (globalThis as unknown as { session: Sotto.Session }).session.available === 2,
    );
  });

  it('ends a call that is cancelled with the reason, and keeps what was prepared', async () => {
    const seen = await page.evaluate(async (url) => {
      const session = await sotto.connect(url, { workers: 1 });
      const early = AbortSignal.abort('early');
      const cause = ({ name, cause }: Error) => [name, cause];
      const refused = await session.prepare({ signal: early }).catch(cause);
      const ended = new AbortController();
      let last = 0;
      const preparing = session.prepare({
        ...{ inferences: 6, signal: ended.signal },
        onProgress({ done, total }) {
          last = done;
          if (done > total / 6) ended.abort('enough');
        },
      });
      const cancelled = await preparing.catch(cause);
      const heard = last;
      await session.infer(pixels);
      await session.close();
      return { refused, cancelled, quiet: last === heard };
    }, server.url);
    expect(seen).toEqual({
      refused: ['AbortError', 'early'],
      cancelled: ['AbortError', 'enough'],
      quiet: true,
    });
  });

  it('stops to open when the signal fires, and ends its workers', async () => {
    const ended = await page.evaluate(async (url) => {
      const stop = new AbortController();
      const connecting = sotto.connect(url, {
        ...{ workers: 1, signal: stop.signal },
        onProgress: () => stop.abort(),
      });
      return (await connecting.catch(told)) as unknown as string[];
    }, server.url);
    expect(ended).toEqual(['AbortError', 'connecting was cancelled']);
    await expect.poll(() => page.workers().length).toBe(0);
  });

  it.each([
    ['at first', 'infer'],
    ['at last', 'done'],
  ])('ends with what a progress callback throws %s', async (_, when) => {
    const seen = await page.evaluate(
      async ([url, when]) => {
        const statuses: string[] = [];
        const onStatus = (status: string) => void statuses.push(status);
        const session = await sotto.connect(url!, { workers: 1, onStatus });
        await session.prepare();
        const fault = new RangeError('a fault of the page');
        const onProgress = ({ phase }: Sotto.SessionProgress) => {
          if (phase === when) throw fault;
        };
        const failed = await session.infer(pixels, { onProgress }).catch((error) => error);
        const ends = [failed, await session.closed, await session.infer(pixels).catch((e) => e)];
        return { same: ends.map((end) => end === fault), statuses };
      },
      [server.url, when],
    );
    const statuses = ['connecting', 'ready', 'closed'];
    expect(seen).toEqual({ same: [true, true, true], statuses });
    await expect.poll(() => page.workers().length).toBe(0);
  });

  it('tells the server that it leaves, also in the middle of a preparation', async () => {
    const before = server.events.length;
    await page.evaluate(async (url) => {
      const session = await sotto.connect(url, { workers: 1 });
      await session.prepare();
      const cut = session.prepare({ inferences: 4 }).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 50));
      await session.close();
      await cut;
      const next = await sotto.connect(url, { workers: 1 });
      await next.prepare();
      await next.close();
    }, server.url);
    const ends = () => server.events.slice(before).filter(({ type }) => type !== 'inference');
    await expect.poll(() => ends().at(-1)).toMatchObject({ reason: 'goodbye', kept: 0 });
    expect(ends()).toContainEqual(
      expect.objectContaining({ message: 'the peer gave up: the session was closed' }),
    );
  });

  it('a page that stops to open while its worker is loading waits for nothing', async () => {
    await page.route('**/core-*.js', () => {});
    const told = await page.evaluate(async (url) => {
      const stop = new AbortController();
      setTimeout(() => stop.abort('late'), 100);
      const { name, cause } = await sotto
        .connect(url, { workers: 1, signal: stop.signal })
        .catch((error) => error);
      return [name, cause];
    }, server.url);
    expect(told).toEqual(['AbortError', 'late']);
  });

  it('brings errors of the server and of arguments as what they are, and spends nothing', async () => {
    const seen = await page.evaluate(async (url) => {
      const unknown = await sotto.connect(url, { model: 'unknown', workers: 1 }).catch(told);
      const limits = await sotto.connect(url, { workers: 1, limits: { stallMs: 0 } }).catch(told);
      const session = await sotto.connect(url, { workers: 1 });
      await session.prepare();
      const wrong = [
        await session.prepare({ inferences: 1e6 }).catch(told),
        await session.infer(new Float32Array(3)).catch(told),
        await session.infer('3.png' as unknown as Float32Array).catch(told),
        await session.infer(pixels, { onprogress: 1 } as object).catch(told),
      ];
      const { available } = session;
      await session.close();
      return { unknown, limits, wrong, available, late: await session.infer(pixels).catch(told) };
    }, server.url);
    expect(seen.unknown).toEqual(['refused', expect.stringMatching(/no model.*tiny/)]);
    expect(seen.limits).toEqual([
      'RangeError',
      expect.stringMatching(/^limits\.stallMs: expected/),
    ]);
    expect(seen.wrong).toEqual([
      ['RangeError', expect.stringMatching(/^inferences: expected at most/)],
      ['RangeError', expect.stringMatching(/36/)],
      ['TypeError', expect.stringMatching(/^pixels: expected a Float32Array/)],
      ['TypeError', expect.stringMatching(/^there is no option "onprogress"/)],
    ]);
    expect(seen.available).toBe(1);
    expect(seen.late).toEqual(['closed', 'the session was closed']);
  });

  it("asks the page's own cache of hints, which serves the next session", async () => {
    const seen = await page.evaluate(async (url) => {
      const memory = sotto.memoryHints();
      const asked: string[] = [];
      const hints: Sotto.HintCache = {
        async load(digest, bytes) {
          const hint = await memory.load(digest, bytes);
          asked.push(`load: ${hint === undefined ? 'nothing' : hint.length === bytes}`);
          return hint;
        },
        save(digest, hint) {
          asked.push(`save ${hint.length > 1000}`);
          return memory.save(digest, hint);
        },
      };
      for (let i = 0; i < 2; i++) {
        const session = await sotto.connect(url, { workers: 1, hints });
        await session.infer(pixels);
        await session.close();
      }
      const loads = [() => Promise.reject(new RangeError('it is full')), async () => () => {}];
      const failed = [];
      for (const load of loads) {
        const hints = { ...memory, load } as unknown as Sotto.HintCache;
        failed.push(await sotto.connect(url, { workers: 1, hints }).catch(told));
      }
      return { asked, failed };
    }, server.url);
    expect(seen).toEqual({
      asked: ['load: nothing', 'save true', 'load: true'],
      failed: [
        ['RangeError', 'it is full'],
        [expect.anything(), expect.stringMatching(/could not be cloned/)],
      ],
    });
  });

  it('shows what it sends and gets, as copies', async () => {
    const { messages, stats, moved } = await page.evaluate(async (url) => {
      const messages: { sent: boolean; kind: number; bytes: number }[] = [];
      let moved: Sotto.Traffic | undefined;
      const session = await sotto.connect(url, {
        workers: 1,
        onMessage({ sent, kind, payload, traffic }) {
          messages.push({ sent, kind, bytes: payload.length });
          moved = traffic;
        },
      });
      const { stats } = await session.infer(pixels);
      await session.close();
      return { messages, stats, moved: moved! };
    }, server.url);
    const up = messages.filter(({ sent }) => sent);
    expect(moved.framesSent).toBe(up.length);
    expect(moved.framesReceived).toBe(messages.length - up.length);
    const bytes = messages.reduce((sum, message) => sum + 16 + message.bytes, 0);
    expect(moved.bytesSent + moved.bytesReceived).toBe(bytes);
    const input = up.find(({ kind }) => kind === Kind.maskedInput)!;
    expect(input.bytes).toBeGreaterThan(6 * 6);
    expect(input.bytes).toBeLessThan(stats.online.bytesUp);
  });

  it('goes on when a worker breaks that runs no task, and ends when its own does', async () => {
    const seen = await page.evaluate(async (url) => {
      const statuses: string[] = [];
      const session = await sotto.connect(url, {
        workers: 1,
        onStatus: (status) => statuses.push(status),
      });
      const [task, own] = made;
      task!.dispatchEvent(new ErrorEvent('error', { message: 'a task worker ended' }));
      await session.infer(pixels);
      own!.dispatchEvent(new ErrorEvent('error', { message: 'it ended' }));
      const reason = told(await session.closed);
      return { reason, statuses, late: await session.prepare().catch(told), made: made.length };
    }, server.url);
    const reason = ['Error', "the session's worker broke: it ended"];
    expect(seen).toEqual({
      ...{ reason, late: reason, made: 3 },
      statuses: ['connecting', 'ready', 'closed'],
    });
    await expect.poll(() => page.workers().length).toBe(0);
  });

  it('shares the workers of a pool with others, and ends with that pool', async () => {
    const seen = await page.evaluate(async (url) => {
      const pool = sotto.createPool({ workers: 2 });
      const sessions = await Promise.all([1, 2].map(() => sotto.connect(url, { pool })));
      await Promise.all(sessions.map((session) => session.infer(pixels)));
      await sessions[0]!.close();
      await sessions[1]!.infer(pixels);
      const count = made.length;
      const running = sessions[1]!.prepare().catch(told);
      await pool.close();
      const ended = [await running, told((await sessions[1]!.closed)!)];
      return { count, ended, late: await sotto.connect(url, { pool }).catch(told) };
    }, server.url);
    const closed = ['Error', 'pool: it was closed'];
    expect(seen).toEqual({ count: 4, ended: [closed, closed], late: closed });
    await expect.poll(() => page.workers().length).toBe(0);
  });

  it('is refused a pool that createPool has not made, and what goes around a channel', async () => {
    const seen = await page.evaluate(async (url) => {
      const own = sotto.createPool({ workers: 1 });
      const foreign = { ...own, run: own.run.bind(own) } as unknown as Sotto.ProtocolPool;
      Reflect.deleteProperty(foreign, 'share');
      const decorate = (channel: Sotto.Channel) => channel;
      const refused = [
        await sotto.connect(url, { pool: foreign }).catch(told),
        await sotto.connect(url, { decorate }).catch(told),
      ];
      await own.close();
      return refused;
    }, server.url);
    expect(seen).toEqual([
      ['TypeError', 'pool: expected one of createPool()'],
      ['TypeError', expect.stringMatching(/^decorate: .* openSession\(\) takes a channel/)],
    ]);
  });
});
