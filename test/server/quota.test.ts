/** Queries that the operator counts, and refuses. */

import { describe, expect, it, vi } from 'vitest';
import { costOf } from '../../protocol/inference/cost.ts';
import { layoutOf } from '../../protocol/inference/layout.ts';
import type { AllowQuery, Query } from '../../server/limits.ts';
import { failureOf, LocalServer, somePixels, tinyModel, within } from '../system/support.ts';

const model = tinyModel();
const tiny = { name: 'tiny', model };
const pixels = somePixels(model);

const SENTENCE = 'the server answers no more queries of this client for now';

/** Allows so many queries of each session, and notes who asked. */
function counting(most: number): { asked: Query[]; allowQuery: AllowQuery } {
  const asked: Query[] = [];
  const allowQuery: AllowQuery = async (query) => {
    asked.push(query);
    return asked.filter(({ session }) => session === query.session).length <= most;
  };
  return { asked, allowQuery };
}

/** What an inference of the model moves, prepared and run. */
const { offline, online } = costOf(layoutOf(model.program));
const BYTES = offline.up + offline.down + online.up + online.down;

const query = (session: number, inferences = 1) => ({
  ...{ session, address: 'memory', principal: 'memory', model: 'tiny', inferences },
  bytes: inferences * BYTES,
});

describe('a quota of two queries', () => {
  it('refuses the third, by code and sentence, and serves this session and others on', async () => {
    const { asked, allowQuery } = counting(2);
    const server = new LocalServer([tiny], { allowQuery });
    const other = await server.connect();
    await other.prepare();
    const session = await server.connect();
    // One that is prepared ahead, one with its inference: both are queries, and an inference is no further one.
    await session.prepare();
    await session.infer(pixels);
    await session.infer(pixels);
    expect(asked).toEqual([query(1), query(2), query(2)]);

    const error = await within(10_000, failureOf(session.infer(pixels)));
    expect(error).toMatchObject({ name: 'ProtocolError', code: 'quota', message: SENTENCE });
    expect(await failureOf(session.prepare())).toMatchObject({ code: 'quota' });
    await session.close();
    expect(asked).toHaveLength(5);
    const { session: id, address, principal } = query(2);
    const peer = { session: id, address, principal };
    const refused = { type: 'refused', ...peer, model: 'tiny', inferences: 1 };
    expect(server.of('refused')).toEqual([
      { ...refused, reason: 'quota' },
      { ...refused, reason: 'quota' },
    ]);
    await vi.waitFor(() =>
      expect(server.of('closed')).toMatchObject([{ session: 2, reason: 'goodbye', inferences: 2 }]),
    );

    await other.infer(pixels);
    await other.infer(pixels);
    await other.close();
    await server.settled();
    expect(server.of('error')).toEqual([]);
  });

  it('counts what is prepared, used or not, and leaves what is ready', async () => {
    const { asked, allowQuery } = counting(1);
    const server = new LocalServer([tiny], { allowQuery });
    const session = await server.connect();
    await session.prepare({ inferences: 2 });
    expect(await failureOf(session.prepare())).toMatchObject({ code: 'quota' });
    expect(session.available).toBe(2);
    await session.infer(pixels);
    await session.close();
    await server.settled();
    expect(server.of('closed')).toMatchObject([{ inferences: 1, unused: 1 }]);
    expect(asked).toEqual([query(1, 2), query(1)]);
  });
});

describe('a decision on a query', () => {
  it('says when to ask again, in whole seconds that a grant has room for', async () => {
    const server = new LocalServer([tiny], {
      allowQuery: ({ session }) => ({ retryAfterSeconds: session === 1 ? 89.2 : 1e12 }),
    });
    const refused = await failureOf((await server.connect()).prepare());
    expect(refused).toMatchObject({
      code: 'quota',
      message: 'the server answers no more queries of this client for 90 s',
      retryAfterMs: 90_000,
    });
    const late = await failureOf((await server.connect()).prepare());
    expect(late).toMatchObject({ code: 'quota', retryAfterMs: 1000 * (2 ** 32 - 1) });
  });

  it('is not asked for what the limits refuse anyway', async () => {
    const { asked, allowQuery } = counting(9);
    const limits = { bundlesPerSession: 1 };
    const server = new LocalServer([tiny], { allowQuery, limits });
    const session = await server.connect();
    await session.prepare();
    expect(await failureOf(session.prepare())).toMatchObject({ code: 'refused' });
    expect(asked).toHaveLength(1);
  });

  it('that fails ends the session as a fault of the server, of which the client learns nothing', async () => {
    for (const allowQuery of [
      () => {
        throw new Error('the table of keys is gone');
      },
      () => Promise.reject(new Error('the table of keys is gone')),
    ]) {
      const server = new LocalServer([tiny], { allowQuery });
      const session = await server.connect();
      const error = await within(10_000, failureOf(session.prepare()));
      expect(error).toMatchObject({
        code: 'failed',
        message: 'the peer gave up: the other side failed',
      });
      await server.settled();
      expect(server.of('error')).toMatchObject([
        { code: 'internal', message: 'the table of keys is gone' },
      ]);
      expect(server.of('bundle')).toEqual([]);
    }
  });

  it('that never comes ends the session after a while', async () => {
    const limits = { stallMs: 300 };
    const allowQuery = () => new Promise<boolean>(() => {});
    const server = new LocalServer([tiny], { allowQuery, limits });
    const session = await server.connect();
    expect(await failureOf(session.prepare())).toMatchObject({ code: 'failed' });
    await server.settled();
    expect(server.of('error')).toMatchObject([
      { code: 'internal', message: 'allowQuery: no decision for 300 ms' },
    ]);
  });
});
