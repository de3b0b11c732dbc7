/** Connecting and connecting again, over real sockets. */

import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../client/index.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import { serve } from '../../server/index.ts';
import { recorded } from '../support/recorded.ts';
import { failureOf, localPool, somePixels, tinyModel, within } from '../system/support.ts';

const model = tinyModel();
const models = [{ name: 'tiny', model }];
const pixels = somePixels(model);

let pool: ProtocolPool;

beforeAll(() => {
  pool = localPool();
});

afterAll(() => pool.close());

describe('connecting', () => {
  it('decorates the channels of both sides', async () => {
    let tape: ReturnType<typeof recorded> | undefined;
    let far: typeof tape;
    const server = await serve(models, {
      port: 0,
      pool,
      decorate: (channel) => (far = recorded(channel)),
    });
    const session = await connect(server.url, {
      pool,
      decorate: (channel) => (tape = recorded(channel)),
    });
    await session.infer(pixels);
    await session.close();
    expect(tape!.transcript.length).toBeGreaterThan(10);
    const sent = ({ transcript }: NonNullable<typeof tape>, direction: string) =>
      transcript.filter((frame) => frame.direction === direction).map(({ kind }) => kind);
    expect(sent(far!, 'received').slice(0, 10)).toEqual(sent(tape!, 'sent').slice(0, 10));
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
