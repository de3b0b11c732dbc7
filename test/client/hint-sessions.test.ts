/** Hints of running servers: what a client fetches, from where, and what it need not fetch. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { connect, type HintCache, memoryHints } from '../../client/index.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { Command, decodeCommand, Kind } from '../../protocol/inference/messages.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { loadModelFile, type RunningServer, serve } from '../../server/index.ts';
import { type RecordedFrame, recorded } from '../support/recorded.ts';
import { distance, localPool, plainAnswer, somePixels, tinyModel } from '../system/support.ts';

const model = tinyModel();
const pixels = somePixels(model);
const pool = localPool();

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  vi.unstubAllGlobals();
  for (const end of ends.splice(0).reverse()) await end();
});

/** A model file in a fresh folder, which goes with the test. */
async function modelFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sotto-hints-'));
  ends.push(() => rm(folder, { recursive: true }));
  const path = join(folder, 'tiny.sotto');
  await writeFile(path, encodeModel(model));
  return path;
}

/** A server of the file, as another process would start it; whether it made its hint. */
async function start(path: string): Promise<RunningServer & { readonly made: boolean }> {
  let made = false;
  const server = await serve([await loadModelFile(path)], {
    port: 0,
    pool,
    onEvent: ({ type }) => {
      made ||= type === 'hint';
    },
  });
  ends.push(() => server.close());
  return Object.assign(server, { made });
}

/** Counts requests by HTTP, and answers them with `answer` in place of the server. */
function watchHttp(answer?: (response: Response) => Promise<Response>) {
  const asked: string[] = [];
  const real = globalThis.fetch;
  vi.stubGlobal('fetch', async (...args: Parameters<typeof fetch>) => {
    asked.push(String(args[0]));
    const response = await real(...args);
    return answer === undefined ? response : answer(response);
  });
  return asked;
}

/** One client: connects, prepares, infers, checks its answer; the frames of its channel. */
async function visit(url: string, hints: HintCache | false, inferences = 1) {
  let frames: readonly RecordedFrame[] = [];
  const decorate = (channel: Channel) => {
    const tape = recorded(channel);
    frames = tape.transcript;
    return tape;
  };
  const session = await connect(url, { pool, hints, decorate });
  await session.prepare({ inferences });
  const { logits } = await session.infer(pixels);
  await session.close();
  const { logits: exact, tolerance } = plainAnswer(model, pixels);
  expect(distance(logits!, exact)).toBeLessThanOrEqual(tolerance);
  const commands = frames
    .filter(({ kind }) => kind === Kind.command || kind === Kind.infer)
    .filter(({ direction }) => direction === 'sent')
    .map(({ payload }) => decodeCommand(payload));
  return {
    commands,
    hintBytes: frames
      .filter(({ kind }) => kind === Kind.hint)
      .reduce((sum, { payload }) => sum + payload.length, 0),
  };
}

/** A cache that notes what it is asked to keep. */
function noting(inner = memoryHints()) {
  const kept: string[] = [];
  const cache: HintCache = {
    load: (digest, bytes) => inner.load(digest, bytes),
    async save(digest, hint) {
      kept.push(digest);
      await inner.save(digest, hint);
    },
  };
  return { cache, kept };
}

describe('servers that share a kept hint', () => {
  it('give it once: a client that has it gets not a byte more of it, by HTTP or in the session', async () => {
    const path = await modelFile();
    const [first, second] = [await start(path), await start(path)];
    expect([first.made, second.made]).toEqual([true, false]);
    const { cache, kept } = noting();
    const asked = watchHttp();
    // The first visit gets it by HTTP, so that the session has none of it.
    expect((await visit(first.url, cache)).hintBytes).toBe(0);
    expect(asked.length).toBe(1);
    expect(kept.length).toBe(1);
    for (const { url } of [first, second]) {
      expect((await visit(url, cache)).hintBytes).toBe(0);
    }
    // Made again of the same secret it is the same hint.
    await rm(`${path}.hint`);
    const third = await start(path);
    expect(third.made).toBe(true);
    const { hintBytes, commands } = await visit(third.url, cache);
    expect(hintBytes).toBe(0);
    expect(commands.some(({ command }) => command === Command.hint)).toBe(false);
    expect([asked.length, kept.length]).toEqual([1, 1]);
    // The control: with another secret it is another, which the client has to get.
    await rm(`${path}.hint-secret`);
    const fourth = await start(path);
    await visit(fourth.url, cache);
    expect([asked.length, new Set(kept).size]).toEqual([2, 2]);
  });

  it.each([
    ['is damaged', (response: Response) => damaged(response, (bytes) => (bytes[100]! ^= 1))],
    ['is refused', () => Promise.resolve(new Response('no', { status: 404 }))],
    ['breaks off', (response: Response) => damaged(response, () => {}, 10)],
  ])('by HTTP where it %s: the session gives it', async (_, answer) => {
    const server = await start(await modelFile());
    const asked = watchHttp(answer);
    const { cache, kept } = noting();
    const { hintBytes } = await visit(server.url, cache);
    expect(asked.length).toBe(1);
    expect(hintBytes).toBeGreaterThan(1000);
    expect(kept.length).toBe(1);
    // What is kept now is the right one.
    expect((await visit(server.url, cache)).hintBytes).toBe(0);
    expect([asked.length, kept.length]).toEqual([1, 1]);
  });

  it('from a damaged cache: the session gives it, and mends the cache', async () => {
    const server = await start(await modelFile());
    const inner = memoryHints();
    const { cache, kept } = noting(inner);
    await visit(server.url, cache);
    const [digest] = kept;
    const broken: HintCache = {
      async load(name, bytes) {
        const hint = await inner.load(name, bytes);
        return kept.length > 1 ? hint : hint?.map((byte, i) => (i === 5 ? byte ^ 1 : byte));
      },
      save: (name, hint) => cache.save(name, hint),
    };
    expect((await visit(server.url, broken)).hintBytes).toBeGreaterThan(1000);
    expect(kept).toEqual([digest, digest]);
    expect((await visit(server.url, broken)).hintBytes).toBe(0);
  });
});

async function damaged(
  response: Response,
  change: (bytes: Uint8Array) => unknown,
  cut = 0,
): Promise<Response> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  change(bytes);
  return new Response(bytes.slice(0, bytes.length - cut), { status: 200 });
}

describe('choices drawn ahead', () => {
  it('are asked for once a bundle, before it is prepared', async () => {
    const server = await start(await modelFile());
    const { commands } = await visit(server.url, false, 3);
    const { draw, prepare, infer, bye, hint, reserve } = Command;
    expect(commands.filter(({ command }) => command !== hint)).toEqual([
      { command: draw, bundle: 0 },
      { command: reserve, bundle: 3 },
      { command: prepare, bundle: 0 },
      { command: draw, bundle: 1 },
      { command: prepare, bundle: 1 },
      { command: draw, bundle: 2 },
      { command: prepare, bundle: 2 },
      { command: infer, bundle: 0 },
      { command: bye, bundle: 0 },
    ]);
  });
});
