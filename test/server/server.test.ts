/** The server over real sockets, with the built project's threads. */

import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { connect, openSession, type SessionStatus } from '../../client/index.ts';
import { CLIENT_SOCKET_OPTIONS, socketChannel } from '../../protocol/channel/websocket.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import type * as tasks from '../../protocol/inference/tasks.ts';
import { createThreadPool } from '../../protocol/pool/node.ts';
import { digestOf } from '../../protocol/program/encode.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import {
  loadModelFile,
  type Query,
  type RunningServer,
  type ServeOptions,
  type ServerEvent,
  serve,
} from '../../server/index.ts';
import { isLoopback } from '../../server/listen.ts';
import { encodeFrame } from '../support/frames.ts';
import { residualModel } from '../support/model.ts';
import {
  distance,
  failureOf,
  localPool,
  notBuilt,
  plainAnswer,
  somePixels,
  threadPool,
  tinyModel,
  within,
} from '../system/support.ts';
import { cert, key } from './certificate.ts';

const model = tinyModel();
const models = [
  { name: 'tiny', model },
  { name: 'residual', model: residualModel() },
];
const pixels = somePixels(model);

let pool: ProtocolPool;

beforeAll(() => {
  if (notBuilt) console.log(`inline instead of threads, for ${notBuilt}`);
  pool = notBuilt ? localPool() : threadPool();
});

afterAll(() => pool.close());

/** Runs `work` with a server on a free port, and closes it. */
async function withServer(
  options: Partial<ServeOptions>,
  work: (server: RunningServer, events: ServerEvent[]) => Promise<void>,
): Promise<void> {
  const events: ServerEvent[] = [];
  const onEvent = (event: ServerEvent) => void events.push(event);
  const server = await serve(models, { port: 0, pool, onEvent, ...options });
  try {
    await work(server, events);
  } finally {
    await within(5000, server.close());
    expect(server.sessions).toBe(0);
  }
}

describe('a server', () => {
  it('serves several clients at once, each with its own model and bundles', async () => {
    await withServer({}, async ({ url, sessions }, events) => {
      expect(sessions).toBe(0);
      expect(events.map(({ type }) => type)).toEqual(['hint', 'hint', 'listening']);
      expect(events[2]).toEqual({ type: 'listening', url, models: ['tiny', 'residual'] });
      const results = await Promise.all(
        [models[0]!, models[1]!, models[0]!].map(async ({ name, model }, i) => {
          const session = await connect(url, { model: name, pool });
          await session.prepare({ inferences: 2 });
          for (let j = 0; j < 2; j++) {
            const own = somePixels(model, 10 * i + j);
            const { logits } = await session.infer(own);
            const plain = plainAnswer(model, own);
            expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
          }
          await session.close();
          return session.digest;
        }),
      );
      expect(results[0]).toBe(results[2]);
      expect(results[0]).not.toBe(results[1]);
      while (events.filter(({ type }) => type === 'closed').length < 3) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const count = (type: string) => events.filter((event) => event.type === type).length;
      expect([count('session'), count('bundle'), count('inference')]).toEqual([3, 6, 6]);
      expect(count('error')).toBe(0);
    });
  });

  it('refuses clients beyond its limit, and takes them again when there is room', async () => {
    await withServer({ limits: { sessions: 1 } }, async (server, events) => {
      const first = await connect(server.url, { pool });
      const refused = await within(5000, failureOf(connect(server.url, { pool })));
      expect(refused).toMatchObject({
        code: 'busy',
        message: 'the peer gave up: the server is busy, try again later',
      });
      await first.infer(pixels);
      await first.close();
      while (server.sessions > 0) await new Promise((resolve) => setTimeout(resolve, 10));
      await (await connect(server.url, { pool })).close();
      expect(events.filter(({ type }) => type === 'error')).toMatchObject([
        { session: 2, address: '127.0.0.1', code: 'busy' },
      ]);
    });
  });

  it('serves an honest client beside as many silent sockets as it has sessions', async () => {
    const limits = { sessions: 4, handshakeMs: 6000, connections: 6 };
    await withServer({ limits }, async (server, events) => {
      const silent = Array.from({ length: 5 }, () => new WebSocket(server.url));
      await Promise.all(silent.map((socket) => once(socket, 'open')));
      const ended = Promise.all(silent.map((socket) => once(socket, 'close')));
      const session = await within(5000, connect(server.url, { pool }));
      await session.infer(pixels);
      expect(server.sessions).toBe(1);
      // Beyond the limit of connections nobody is heard; the silent ones make room when their time is over.
      expect(await failureOf(connect(server.url, { pool }))).toMatchObject({
        code: 'busy',
        message: 'the peer gave up: the server has too many connections, try again later',
      });
      await within(12_000, ended);
      await (await connect(server.url, { pool })).close();
      await session.close();
      expect(
        events.filter(({ type }) => type === 'error').map((e) => 'code' in e && e.code),
      ).toEqual(['busy', ...silent.map(() => 'timeout')]);
    });
  });

  it('drains: prepared inferences are answered, nothing else begins, and then it is closed', async () => {
    const events: ServerEvent[] = [];
    const onEvent = (event: ServerEvent) => void events.push(event);
    const server = await serve(models, { port: 0, pool, onEvent });
    const statuses: SessionStatus[] = [];
    const onStatus = (status: SessionStatus) => void statuses.push(status);
    const busy = await connect(server.url, { pool, onStatus });
    const idle = await connect(server.url, { pool });
    await busy.prepare({ inferences: 2 });
    const running = busy.infer(pixels);
    const drained = server.drain(20_000);
    expect(await failureOf(connect(server.url, { pool }))).toMatchObject({ code: 'draining' });
    await running;
    expect(await failureOf(busy.prepare())).toMatchObject({
      code: 'draining',
      message: 'the server is about to stop and prepares nothing more',
    });
    expect(statuses).toEqual(['connecting', 'ready', 'draining']);
    expect(await failureOf(idle.infer(pixels))).toMatchObject({ code: 'draining' });
    await busy.infer(pixels);
    await within(5000, drained);
    // Nobody is there when they try to come back.
    expect(await failureOf(busy.infer(pixels))).toMatchObject({ code: 'unreachable' });
    await Promise.all([busy.close(), idle.close()]);
    expect(events.filter(({ type }) => type === 'inference')).toHaveLength(2);
    expect(events.filter(({ type }) => type === 'draining')).toEqual([
      { type: 'draining', sessions: 2 },
    ]);
  });

  it('ends what is left when the time of grace is over', async () => {
    const server = await serve(models, { port: 0, pool });
    const session = await connect(server.url, { pool });
    await session.prepare();
    await within(5000, server.drain(50));
    expect(await failureOf(session.infer(pixels))).toMatchObject({ code: 'unreachable' });
  });

  it.each([Number.POSITIVE_INFINITY, 2 ** 31])(
    'drains for as long as its sessions take where %d ms are given',
    async (graceMs) => {
      const server = await serve(models, { port: 0, pool });
      const session = await connect(server.url, { pool });
      await session.prepare();
      const drained = server.drain(graceMs);
      // Longer than a timer takes that is too long for JavaScript, which ends at once.
      await new Promise((resolve) => setTimeout(resolve, 50));
      await session.infer(pixels);
      await within(5000, drained);
      await session.close();
    },
  );

  it('is healthy while its pool is', async () => {
    const own = localPool();
    const server = await serve(models, { port: 0, pool: own });
    expect(server.failed).toBe(own.failed);
    expect(await server.healthy()).toBe(true);
    await own.close();
    expect(await server.healthy()).toBe(false);
    await server.close();
  });

  it('does not listen when its workers do not start', async () => {
    const broken = createThreadPool<typeof tasks>(
      new URL('../support/broken-worker.mjs', import.meta.url),
      { workers: 2 },
    );
    const error = await failureOf(serve(models, { port: 0, pool: broken }));
    expect(error.message).toMatch(/^pool: .*: broken on purpose$/);
    await broken.close();
  });

  it.skipIf(notBuilt)('does not listen when one of its workers never is ready', async () => {
    // Nothing is computed at the start, so that nothing else waits for a worker.
    const folder = mkdtempSync(join(tmpdir(), 'sotto-late-'));
    const path = join(folder, 'tiny.sotto');
    writeFileSync(path, encodeModel(model));
    const kept = await loadModelFile(path);
    await (await serve([kept], { port: 0, pool })).close();
    const late = createThreadPool<typeof tasks>(
      new URL('../support/late-worker.mjs', import.meta.url),
      { workers: 2 },
    );
    const { timeout } = AbortSignal;
    const sooner = vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => timeout(ms / 10));
    const error = await failureOf(serve([kept], { port: 0, pool: late }));
    sooner.mockRestore();
    expect(error.message).toBe('pool: not all threads were ready within 60 s');
    await late.close();
    rmSync(folder, { recursive: true });
  });

  it('keeps a limited number of bundles, and no idle session for ever', async () => {
    const limits = { bundlesPerSession: 2, idleMs: 1000 };
    await withServer({ limits }, async ({ url }) => {
      const greedy = await connect(url, { pool });
      await greedy.prepare({ inferences: 2 });
      expect(greedy.maxBundles).toBe(2);
      // That costs the call, not the session.
      expect(await failureOf(greedy.prepare())).toMatchObject({
        code: 'refused',
        message: 'the server keeps 0 more prepared inferences of this session, 1 were asked for',
      });
      expect(await failureOf(greedy.prepare({ inferences: 3 }))).toMatchObject({
        name: 'RangeError',
        message: 'inferences: expected at most 2, which the server keeps for a session, got 3',
      });
      expect(greedy.available).toBe(2);
      await greedy.infer(pixels);
      await greedy.prepare();
      expect(greedy.available).toBe(2);
      await greedy.close();
      const idle = await connect(url, { pool });
      await idle.prepare();
      expect(idle.available).toBe(1);
      while (idle.available > 0) await new Promise((resolve) => setTimeout(resolve, 50));
      // It comes back when it is used, to what it had prepared.
      await idle.infer(pixels);
      expect(idle.available).toBe(0);
      await idle.close();
    });
  });

  it('asks the operator before queries, and tells a client whose are refused', async () => {
    const asked: Query[] = [];
    const allowQuery = (query: Query) => asked.push(query) <= 1;
    await withServer({ allowQuery }, async ({ url }, events) => {
      const session = await connect(url, { model: 'residual', pool });
      await session.prepare({ inferences: 2 });
      const error = await within(5000, failureOf(session.prepare()));
      expect(error).toMatchObject({
        code: 'quota',
        message: 'the server answers no more queries of this client for now',
      });
      const who = { session: 1, address: '127.0.0.1', principal: '127.0.0.1' };
      expect(asked).toMatchObject([
        { ...who, model: 'residual', inferences: 2 },
        { ...who, model: 'residual', inferences: 1 },
      ]);
      expect(asked[0]!.bytes).toBe(2 * asked[1]!.bytes);
      expect(events.filter(({ type }) => type === 'refused')).toEqual([
        {
          ...{ type: 'refused', ...who, model: 'residual', port: expect.any(Number) },
          ...{ inferences: 1, reason: 'quota' },
        },
      ]);
      await session.infer(somePixels(models[1]!.model));
      await session.close();
    });
  });

  it('closes in the middle of what its clients do: they learn it at once', async () => {
    for (const phase of ['setup', 'prepare', 'infer'] as const) {
      const server = await serve(models, { port: 0, pool });
      let closing: Promise<void> | undefined;
      const onProgress = (event: { phase: string }) => {
        if (event.phase === phase) closing ??= server.close();
      };
      const run = async () => {
        const session = await connect(server.url, { pool, onProgress });
        await session.infer(pixels);
        // An answer may have been on its way already; the next call finds the server gone.
        await session.infer(pixels);
      };
      const error = await within(10_000, failureOf(run()));
      expect(error, phase).toMatchObject({ code: 'draining' });
      await within(5000, closing!);
      expect(await failureOf(connect(server.url, { pool }))).toMatchObject({ code: 'unreachable' });
    }
  });

  it('goes on when clients vanish in the middle of a phase, or talk nonsense', async () => {
    await withServer({}, async ({ url }, events) => {
      for (const phase of ['setup', 'prepare', 'infer'] as const) {
        const channel = socketChannel(new WebSocket(url, CLIENT_SOCKET_OPTIONS));
        const onProgress = (event: { phase: string }) => {
          if (event.phase === phase) channel.close(new Error('gone'));
        };
        const run = async () => {
          const session = await openSession({ channel, pool }, { onProgress });
          await session.infer(pixels);
        };
        expect(await failureOf(run())).toMatchObject({ message: 'gone' });
      }
      const nonsense: ((socket: WebSocket) => void)[] = [
        (socket) => socket.send('text'),
        (socket) => socket.send(new Uint8Array(3)),
        (socket) => socket.send(encodeFrame(1, 0, new Uint8Array(40).fill(0xc1))),
        (socket) => socket.send(encodeFrame(99, 0, new Uint8Array())),
        (socket) => socket.terminate(),
      ];
      for (const misbehave of nonsense) {
        const socket = new WebSocket(url);
        await once(socket, 'open');
        const closed = once(socket, 'close');
        misbehave(socket);
        await within(5000, closed);
      }
      const session = await connect(url, { pool });
      await session.infer(pixels);
      await session.close();
      const codes = events.flatMap((event) => (event.type === 'error' ? [event.code] : []));
      expect(codes.slice(0, 3)).toEqual(['failed', 'failed', 'failed']);
      expect(codes.slice(3, 7)).toEqual(Array(4).fill('bad-message'));
      expect(codes).not.toContain('internal');
    });
  });

  it('speaks TLS to clients that trust its certificate', async () => {
    await withServer({ host: 'localhost', tls: { cert, key } }, async ({ url }) => {
      expect(url).toMatch(/^wss:\/\/localhost:\d+$/);
      const session = await connect(url, { pool, ca: cert });
      await session.infer(pixels);
      await session.close();
      expect(await failureOf(connect(url, { pool }))).toMatchObject({
        code: 'unreachable',
        message: `cannot connect to ${url}: its certificate is of no authority that is trusted here: the option \`ca\` adds one`,
      });
    });
  });

  it('tells a browser that loads it as a page what it is', async () => {
    await withServer({}, async ({ url }) => {
      const [response] = await once(get(url.replace('ws', 'http')), 'response');
      response.resume();
      expect(response.statusCode).toBe(426);
    });
  });
});

describe('starting', () => {
  it('needs TLS, or a word, beyond this machine', async () => {
    const refused = await failureOf(serve(models, { port: 0, pool, host: '0.0.0.0' }));
    expect(refused).toBeInstanceOf(RangeError);
    expect(refused.message).toMatch(/^0\.0\.0\.0 is reached from other machines: /);
    await withServer({ host: '0.0.0.0', insecure: true }, async ({ address }) => {
      const session = await connect(`ws://127.0.0.1:${address.port}`, { pool });
      await session.close();
    });
    const hosts = [
      ...['localhost', 'LocalHost', '127.0.0.1', '127.1.2.3', '::1', '0:0:0:0:0:0:0:1'],
      ...['::ffff:127.0.0.1', '::FFFF:127.9.8.7', '::ffff:7f00:1'],
    ];
    expect(hosts.map(isLoopback)).toEqual(hosts.map(() => true));
    const others = [
      ...['0.0.0.0', '::', '10.0.0.1', 'example.com', '127.evil.com', 'localhost.com'],
      ...['::ffff:10.0.0.1', '::ffff:128.0.0.1', '::2', '127.999.1.1', '::127.0.0.1', ''],
    ];
    expect(others.map(isLoopback)).toEqual(others.map(() => false));
  });

  it('fails in one sentence where it cannot listen', async () => {
    await withServer({}, async ({ address: { port } }) => {
      expect((await failureOf(serve(models, { port, pool }))).message).toBe(
        `cannot listen on 127.0.0.1:${port}: something else listens there already`,
      );
    });
    const tls = { cert: 'not a certificate', key };
    expect((await failureOf(serve(models, { port: 0, pool, tls }))).message).toBe(
      'the TLS certificate and key are not a usable pair of PEM files',
    );
  });

  it('refuses options and models that cannot be right', async () => {
    const wrong: [typeof models, Partial<ServeOptions>, string][] = [
      [[], {}, 'models: expected at least one'],
      [[models[0]!, models[0]!], {}, 'models: two are named "tiny"'],
      [models, { port: 65536 }, 'port: expected an integer from 0 to 65535, got 65536'],
      [
        models,
        { limits: { sessions: 0 } },
        'limits.sessions: expected an integer from 1 to 9007199254740991, got 0',
      ],
      [
        models,
        { limits: { queuedBytes: 16_777_216 } },
        'limits.queuedBytes: expected an integer from 16777232 to 9007199254740991, got 16777216',
      ],
      [
        models,
        { limits: { idleMs: 2 ** 31 } },
        'limits.idleMs: expected an integer from 1 to 2147483647, got 2147483648',
      ],
      [
        models,
        { limits: { stallMs: Number.POSITIVE_INFINITY } },
        'limits.stallMs: expected an integer from 1 to 2147483647, got Infinity',
      ],
    ];
    for (const [own, options, message] of wrong) {
      const error = await failureOf(serve(own, { port: 0, pool, ...options }));
      expect(error.message).toBe(message);
    }
    const [first, ...others] = model.weights;
    const broken = { ...model, weights: [{ ...first!, kernel: new Int32Array(1) }, ...others] };
    const unfit = serve([{ name: 'broken', model: broken as typeof model }], { port: 0, pool });
    expect(await failureOf(unfit)).toBeInstanceOf(RangeError);
  });
});

describe('a model file', () => {
  it('is loaded under its name, or refused in one sentence', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sotto-model-'));
    try {
      const bytes = encodeModel(model);
      const path = join(folder, 'small.sotto');
      writeFileSync(path, bytes);
      const digest = digestOf(bytes);
      expect(await loadModelFile(path)).toEqual({ name: 'small', model, file: { path, digest } });
      const missing = join(folder, 'missing.sotto');
      expect((await failureOf(loadModelFile(missing))).message).toBe(
        `cannot load ${missing}: there is no such file`,
      );
      for (const length of [0, 7, 20, bytes.length >> 1, bytes.length - 1]) {
        writeFileSync(path, bytes.subarray(0, length));
        const { message } = await failureOf(loadModelFile(path));
        expect(message.startsWith(`cannot load ${path}: `), message).toBe(true);
        expect(message.split('\n')).toHaveLength(1);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('connecting', () => {
  it('fails in one sentence where there is no server', async () => {
    const url = 'ws://127.0.0.1:1';
    expect(await failureOf(connect(url, { pool }))).toMatchObject({
      code: 'unreachable',
      message: `cannot connect to ${url}: no server listens there`,
    });
    for (const wrong of [
      'http://localhost:1',
      'localhost:1',
      'ws://',
      'ws://bad host',
      'ws://a#b',
    ]) {
      expect(await failureOf(connect(wrong, { pool }))).toBeInstanceOf(TypeError);
    }
    const signal = AbortSignal.abort();
    const aborted = connect('ws://127.0.0.1:1', { pool, signal });
    expect(await failureOf(aborted)).toMatchObject({ name: 'AbortError' });
  });
});
