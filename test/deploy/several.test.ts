/** Several processes behind the proxies whose configurations ship: where clients get, and what they find when they come back. */

import { once } from 'node:events';
import { get } from 'node:https';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Session } from '../../client/index.ts';
import { cert } from '../server/certificate.ts';
import { relay } from '../support/relay.ts';
import { distance, failureOf, plainAnswer, somePixels, within } from '../system/support.ts';
import {
  connectAs,
  type Fleet,
  model,
  noFleet,
  placed,
  sessionsOf,
  startFleet,
  turn,
} from './fleet.ts';

if (noFleet) console.log(`skipped: ${noFleet}`);

const pixels = somePixels(model);
const plain = plainAnswer(model, pixels);

async function expectRight(session: Session): Promise<void> {
  const { logits } = await session.infer(pixels);
  expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
}

let clients = 0;
/** Of each client another, so that no quota is of two. */
const address = () => `203.0.113.${++clients}`;

/** Status and body of what a proxy answers by HTTP. */
async function fetched(port: number, path: string): Promise<{ status: number; body: Buffer }> {
  const [response] = await once(get({ port, path, ca: cert, host: '127.0.0.1' }), 'response');
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  return { status: response.statusCode, body: Buffer.concat(parts) };
}

/** Prepares two inferences; the process that has them. */
async function prepared(fleet: Fleet) {
  const own = address();
  const { session, at } = await placed(fleet, () => connectAs(fleet.port, own));
  const { events } = fleet.servers[at]!;
  const ready = () => events.filter(({ type }) => type === 'bundle').length;
  const before = ready();
  await session.prepare({ inferences: 2 });
  // Its own side may be through before the process has written what it keeps.
  while (ready() < before + 2) await turn();
  return { session, at };
}

/** Opens sessions until each process has one; which is its number there. */
async function oneAtEach(fleet: Fleet) {
  const each = new Map<number, { session: Session; at: number; number: number }>();
  while (each.size < fleet.servers.length) {
    const { session, at } = await placed(fleet, () => connectAs(fleet.port, address()));
    if (each.has(at)) {
      await session.close();
      continue;
    }
    const begun = fleet.servers[at]!.events.findLast(({ type }) => type === 'session');
    each.set(at, { session, at, number: (begun as { session: number }).session });
  }
  return [...each.values()];
}

/** Opens sessions until one process has two. */
async function twoAtOne(fleet: Fleet) {
  const alone = new Map<number, Session>();
  for (;;) {
    const { session, at } = await placed(fleet, () => connectAs(fleet.port, address()));
    const other = alone.get(at);
    if (other !== undefined) {
      alone.delete(at);
      for (const one of alone.values()) await one.close();
      return { session, other, at };
    }
    alone.set(at, session);
  }
}

describe.skipIf(noFleet).each(['haproxy', 'nginx'] as const)('behind %s', (proxy) => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await startFleet({ proxy, spill: true, args: ['--quota-answers', '7/day'] });
  });
  afterAll(() => fleet?.close());

  it('a client whose link is cut comes back to its process, known by its address, and to what it had prepared', async () => {
    const link = await relay(fleet.port);
    for (let i = 0; i < 3; i++) {
      const own = address();
      const { session, at } = await placed(fleet, () => connectAs(link.port, own));
      const known = fleet.servers[at]!.events.filter(({ type }) => type === 'session').at(-1);
      expect(known).toMatchObject({ address: own, principal: own });
      await session.prepare({ inferences: 2 });
      const again = await placed(fleet, async () => {
        link.cut();
        return session;
      });
      expect(again.at).toBe(at);
      while (session.available < 2) await turn();
      await expectRight(session);
      await session.close();
    }
    link.close();
  });

  it('a hint is asked of a process once, and kept by the proxy', async () => {
    const downloads = () =>
      fleet.servers
        .flatMap(({ events }) => events)
        .flatMap((event) => (event.type === 'download' ? [event.hint] : []));
    // Clients of the tests before may have got theirs here too.
    while (downloads().length === 0) await turn();
    const hint = downloads()[0]!;
    const before = downloads().length;
    for (let i = 0; i < 3; i++) {
      const { status, body } = await fetched(fleet.port, `/hints/${hint}`);
      expect([status, body.length > 1000]).toEqual([200, true]);
    }
    expect(downloads().length - before).toBeLessThanOrEqual(1);
  });

  it('a quota holds exactly for clients that race at several processes', async () => {
    const own = address();
    const sessions = await Promise.all(Array.from({ length: 6 }, () => connectAs(fleet.port, own)));
    const outcomes = await Promise.all(
      sessions.map(async (session) => {
        const codes: string[] = [];
        for (let i = 0; i < 2; i++) {
          await session.prepare().then(
            () => codes.push('granted'),
            ({ code }: { code: string }) => codes.push(code),
          );
        }
        return codes;
      }),
    );
    const count = (code: string) => outcomes.flat().filter((one) => one === code).length;
    expect([count('granted'), count('quota')]).toEqual([7, 5]);
    const store = new Redis(fleet.redis);
    expect(await store.get(`sotto:answers:${own}`)).toBe('7');
    store.disconnect();
    // Somebody was at another process, or nothing was shared.
    expect(sessionsOf(fleet).filter((count) => count > 0).length).toBeGreaterThan(1);
    for (const session of sessions) await session.close();
  });

  it('a process that drains answers what is prepared, and gets nobody any more', async () => {
    const { session, other, at } = await twoAtOne(fleet);
    await session.prepare({ inferences: 2 });
    const server = fleet.servers[at]!;
    const exited = once(server.child, 'exit');
    // One that has nothing prepared is sent away, and comes back by itself. Its name leads to the process that drains, which HAProxy finds out
    // within a second; nginx asks each time.
    const elsewhere = await placed(fleet, async () => {
      server.child.kill('SIGTERM');
      await server.next('draining');
      return other;
    });
    const ready = await fetch(`http://127.0.0.1:${server.port}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([503, 'the server is about to stop\n']);
    expect(elsewhere.at).not.toBe(at);
    const refused = server.events.filter(({ type }) => type === 'error');
    if (proxy === 'nginx') expect(refused).toEqual([]);
    await other.close();
    await expectRight(session);
    const again = await placed(fleet, async () => {
      await expectRight(session);
      return session;
    });
    expect(again.at).not.toBe(at);
    expect(await within(10_000, exited)).toEqual([0, null]);
    await session.close();
  });

  it('a process that is killed loses nothing of what is in the folder that all share', async () => {
    const { session, at } = await prepared(fleet);
    const again = await placed(fleet, async () => {
      await fleet.servers[at]!.kill();
      return session;
    });
    expect(again.at).not.toBe(at);
    while (session.available < 2) await turn();
    await expectRight(session);
    await session.close();
  });

  it('a client cannot connect when there is no process', async () => {
    for (const { kill, child } of fleet.servers) if (child.exitCode === null) await kill();
    const error = await failureOf(connectAs(fleet.port, address()));
    expect(error).toMatchObject({
      code: 'unreachable',
      message: expect.stringMatching(
        /: it answered HTTP 50[03] and .*: a proxy that reaches no server$/,
      ),
    });
  });
});

describe.skipIf(noFleet)('without a folder that all share', () => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await startFleet({
      proxy: 'haproxy',
      spill: false,
      args: ['--quota-answers', '9/day'],
    });
  });
  afterAll(() => fleet?.close());

  it('a process that is killed loses what was prepared, its clients go on at another, and those of others notice nothing', async () => {
    const [killed, ...others] = await oneAtEach(fleet);
    for (const { session } of [killed!, ...others]) await session.prepare({ inferences: 2 });
    const again = await placed(fleet, async () => {
      await fleet.servers[killed!.at]!.kill();
      return killed!.session;
    });
    expect(again.at).not.toBe(killed!.at);
    await expectRight(again.session);
    await again.session.close();
    const before = sessionsOf(fleet);
    for (const { session, at, number } of others) {
      expect(session.available).toBe(2);
      await expectRight(session);
      await expectRight(session);
      const { events } = fleet.servers[at]!;
      // Over the connection that it had; the last event may be on its way.
      const used = () =>
        events.filter((event) => event.type === 'inference' && event.session === number).length;
      while (used() < 2) await turn();
      await session.close();
    }
    expect(sessionsOf(fleet)).toEqual(before);
  });
});
