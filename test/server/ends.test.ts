/** How sessions end, as the log tells it: what a client may do is no error. */

import { describe, expect, it } from 'vitest';
import type { Session } from '../../client/contract.ts';
import { connect } from '../../client/index.ts';
import { sessionOver } from '../../client/session.ts';
import { type ServerEvent, serve } from '../../server/index.ts';
import { failureOf, LocalServer, localPool, somePixels, tinyModel } from '../system/support.ts';

const model = tinyModel();
const named = { name: 'tiny', model };

/** A session whose channel can be cut. */
async function cuttable(server: LocalServer): Promise<{ session: Session; cut(): void }> {
  const channel = server.accept();
  const session = await sessionOver({ channel, pool: localPool() });
  return { session, cut: () => channel.close() };
}

describe('a session ends without an error', () => {
  it('when its client says goodbye', async () => {
    const server = new LocalServer([named]);
    const session = await server.connect();
    await session.infer(somePixels(model));
    await session.close();
    await server.settled();
    const closed = { type: 'closed', session: 1, model: 'tiny', reason: 'goodbye' };
    expect(server.of('closed')).toEqual([{ ...closed, inferences: 1, unused: 0, kept: 0 }]);
    expect(server.of('error')).toEqual([]);
  });

  it('when its client goes away between two requests, as a closed tab does', async () => {
    const server = new LocalServer([named]);
    const { session, cut } = await cuttable(server);
    await session.prepare({ inferences: 2 });
    await session.infer(somePixels(model));
    cut();
    await server.settled();
    expect(server.of('closed')).toMatchObject([{ reason: 'left', inferences: 1, unused: 1 }]);
    expect(server.of('error')).toEqual([]);
  });

  it('when its client rests too long', async () => {
    const server = new LocalServer([named], { limits: { idleMs: 200 } });
    const session = await server.connect();
    await server.settled();
    expect(server.of('closed')).toMatchObject([{ reason: 'idle' }]);
    expect(server.of('error')).toEqual([]);
    expect(await failureOf(session.prepare())).toMatchObject({ code: 'idle' });
  });

  it.each(['stopped', 'draining'] as const)('when the server is %s', async (reason) => {
    const events: ServerEvent[] = [];
    const pool = localPool();
    const onEvent = (event: ServerEvent) => void events.push(event);
    const server = await serve([named], { port: 0, pool, onEvent });
    const session = await connect(server.url, { pool });
    await (reason === 'stopped' ? server.close() : server.drain(5000));
    expect(events.filter(({ type }) => type === 'closed')).toMatchObject([{ session: 1, reason }]);
    expect(events.filter(({ type }) => type === 'error')).toEqual([]);
    // Nobody is there when its client tries to come back.
    expect(await failureOf(session.prepare())).toMatchObject({ code: 'unreachable' });
    await session.close();
  });
});

it('a session whose client goes away during a request ends with an error, and by the same code', async () => {
  const server = new LocalServer([named]);
  const { session, cut } = await cuttable(server);
  const onProgress = ({ phase }: { phase: string }) => {
    if (phase === 'prepare') cut();
  };
  await failureOf(session.prepare({ onProgress }));
  await server.settled();
  expect(server.of('closed')).toMatchObject([{ model: 'tiny', reason: 'lost' }]);
  expect(server.of('error')).toMatchObject([{ model: 'tiny', code: 'lost' }]);
});
