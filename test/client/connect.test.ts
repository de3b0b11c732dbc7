/** Connecting and connecting again, over real sockets. */

import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../client/index.ts';
import { recorded } from '../../protocol/channel/recorded.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import { serve } from '../../server/index.ts';
import {
  failureOf,
  LocalServer,
  localPool,
  somePixels,
  tinyModel,
  within,
} from '../system/support.ts';

const model = tinyModel();
const models = [{ name: 'tiny', model }];
const pixels = somePixels(model);

let pool: ProtocolPool;

beforeAll(() => {
  pool = localPool();
});

afterAll(() => pool.close());

describe('connecting again', () => {
  it('after the server was started anew: the same program, fresh inferences', async () => {
    const first = await serve(models, { port: 0, pool });
    const { port } = first.address;
    const session = await connect(first.url, { pool });
    await session.prepare({ inferences: 2 });
    const { digest } = session;
    await first.close();
    const error = await failureOf(session.infer(pixels));
    expect(error).toMatchObject({ code: 'closed' });
    expect(await failureOf(session.reconnect())).toMatchObject({
      code: 'closed',
      message: `cannot connect to ${first.url}: no server listens there`,
    });

    const numbers: number[] = [];
    const second = await serve(models, {
      port,
      pool,
      onEvent: (event) => {
        if (event.type === 'inference') numbers.push(event.bundle);
      },
    });
    const again = await session.reconnect();
    expect(again).not.toBe(session);
    expect([again.digest, again.model, again.available]).toEqual([digest, 'tiny', 0]);
    await again.infer(pixels);
    // What was spent stays spent, and the dead session dead.
    expect(await failureOf(session.infer(pixels))).toBe(error);
    await again.close();
    await second.close();
    // Numbers go on behind what the client has had.
    expect(numbers).toEqual([2]);
  });

  it('ends a session that lives, keeps its options, and goes on with what is prepared', async () => {
    const server = await serve(models, { port: 0, pool });
    const phases: string[] = [];
    const session = await connect(server.url, {
      pool,
      onProgress: ({ phase }) => phases.push(phase),
    });
    await session.prepare();
    phases.length = 0;
    const again = await session.reconnect();
    expect(phases).toEqual(['connect', 'setup', 'done']);
    expect([session.available, again.available]).toEqual([0, 1]);
    expect(await failureOf(session.infer(pixels))).toMatchObject({ code: 'closed' });
    expect(await failureOf(again.reconnect({ signal: AbortSignal.abort() }))).toMatchObject({
      name: 'AbortError',
    });
    await server.close();
  });

  it('refuses another program under the same name', async () => {
    const first = await serve(models, { port: 0, pool });
    const { port } = first.address;
    const session = await connect(first.url, { pool });
    await first.close();
    const second = await serve([{ name: 'tiny', model: tinyModel('label') }], { port, pool });
    expect(await failureOf(session.reconnect())).toMatchObject({ code: 'program-mismatch' });
    await second.close();
  });

  it('is not for sessions over a channel of the caller', async () => {
    const session = await new LocalServer(models).connect();
    expect(await failureOf(session.reconnect())).toBeInstanceOf(TypeError);
    await session.infer(pixels);
    await session.close();
  });
});

describe('connecting', () => {
  it('decorates the channel', async () => {
    const server = await serve(models, { port: 0, pool });
    let tape: ReturnType<typeof recorded> | undefined;
    const session = await connect(server.url, {
      pool,
      decorate: (channel) => (tape = recorded(channel)),
    });
    await session.infer(pixels);
    await session.close();
    expect(tape!.transcript.length).toBeGreaterThan(10);
    await server.close();
  });

  it('several sessions at once, over one pool', async () => {
    const server = await serve(models, { port: 0, pool });
    const sessions = await Promise.all([0, 1, 2].map(() => connect(server.url, { pool })));
    const results = await Promise.all(sessions.map((session) => session.infer(pixels)));
    expect(new Set(results.map(({ label }) => label)).size).toBe(1);
    await Promise.all(sessions.map((session) => session.close()));
    await server.close();
  });

  it('gives up, with its pool, when options cannot be right', async () => {
    const wrong = connect('ws://127.0.0.1:1', { workers: 0 });
    expect(await failureOf(wrong)).toBeInstanceOf(RangeError);
    expect(await failureOf(connect('http://127.0.0.1'))).toBeInstanceOf(TypeError);
    for (const [limits, sentence] of [
      [{ stallMs: 2 ** 31 }, 'stallMs: expected an integer from 1 to 2147483647, got 2147483648'],
      [{ stallMs: 0.5 }, 'stallMs: expected an integer from 1 to 2147483647, got 0.5'],
      [{ maxBytes: 0 }, 'maxBytes: expected a number above 0, got 0'],
      [{ maxElements: Number.NaN }, 'maxElements: expected a number above 0, got NaN'],
    ] as const) {
      const refused = await failureOf(connect('ws://127.0.0.1:1', { limits }));
      expect(refused).toEqual(new RangeError(`limits.${sentence}`));
    }
    expect((await failureOf(connect('ws://127.0.0.1:1', { workers: 1025 }))).message).toBe(
      'workers: expected an integer from 1 to 1024, got 1025',
    );
  });

  it('can be cancelled while nobody answers', async () => {
    const deaf = createServer();
    await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve));
    const { port } = deaf.address() as { port: number };
    const controller = new AbortController();
    const opening = connect(`ws://127.0.0.1:${port}`, { pool, signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    expect(await within(5000, failureOf(opening))).toMatchObject({ name: 'AbortError' });
    deaf.close();
  });
});
