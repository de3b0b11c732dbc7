/** Quotas of sessions, answers and bytes, in one process and in a Redis that several share. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { connect, type ProtocolError, type Session } from '../../client/index.ts';
import { costOf } from '../../protocol/inference/cost.ts';
import { layoutOf } from '../../protocol/inference/layout.ts';
import type { Query, ServerEvent } from '../../server/index.ts';
import { openQuotas, type Quotas, SCRIPT } from '../../server/quotas.ts';
import { root, serveProcess } from '../system/serving.ts';
import { failureOf, localPool, notBuilt, somePixels, within } from '../system/support.ts';
import { model, type Serving, serveTiny, withTiny } from './serving.ts';

const noRedis = spawnSync('redis-server', ['--version']).status !== 0;
if (noRedis) console.log('skipped in part: there is no redis-server');
if (notBuilt) console.log(`skipped in part, for ${notBuilt}`);

const { offline, online } = costOf(layoutOf(model.program));
/** What one inference moves, prepared and run. */
const BYTES = offline.up + offline.down + online.up + online.down;

const DAY = 24 * 3600;
const LATER = { retryAfterSeconds: expect.any(Number) };
const pixels = somePixels(model);
const open = ({ url }: Serving, user = 'alice'): Promise<Session> =>
  connect(url, { pool: localPool(), headers: { authorization: user } });
const authorize = ({ headers }: { headers: { authorization?: string | undefined } }) =>
  headers.authorization ?? 'nobody';

/** A reservation, as a session asks for it. */
const queryOf = (inferences: number, principal = 'alice', bytes = 0): Query => ({
  ...{ session: 1, address: '127.0.0.1', model: 'tiny' },
  ...{ principal, inferences, bytes },
});

describe('a quota of answers', () => {
  it('is of each principal, counts what is prepared, all or none, and says when there are more', async () => {
    await withTiny({ authorize, quotas: { answersPerDay: 5 } }, async (serving) => {
      const first = await open(serving);
      await first.prepare({ inferences: 3 });
      const second = await open(serving);
      const refused = await failureOf(second.prepare({ inferences: 3 }));
      expect(refused).toMatchObject({ code: 'quota', retryAfterMs: expect.any(Number) });
      // Some seconds of the day may be over.
      const { retryAfterMs: ms = 0 } = refused as ProtocolError;
      expect(1000 * DAY - ms).toBeLessThan(60_000);
      expect(refused.message).toBe(
        `the server answers no more queries of this client for ${ms / 1000} s`,
      );
      // What was refused is not counted, so that what is left is still there.
      await second.prepare({ inferences: 2 });
      expect(await failureOf(first.prepare())).toMatchObject({ code: 'quota' });
      await first.infer(pixels);
      const bob = await open(serving, 'bob');
      await bob.prepare({ inferences: 5 });
      // More than a whole quota never fits.
      expect(await failureOf(bob.prepare({ inferences: 6 }))).toMatchObject({
        code: 'quota',
        message: 'the server answers no more queries of this client for now',
        retryAfterMs: undefined,
      });
      expect(serving.of('refused')).toMatchObject([
        { principal: 'alice', inferences: 3, reason: 'quota' },
        { principal: 'alice', inferences: 1, reason: 'quota' },
        { principal: 'bob', inferences: 6, reason: 'quota' },
      ]);
      expect(serving.of('error')).toEqual([]);
    });
  });

  it('counts nothing that allowQuery refuses', async () => {
    let allowed = false;
    const allowQuery = () => allowed;
    await withTiny({ allowQuery, quotas: { answersPerDay: 1 } }, async (serving) => {
      const session = await open(serving);
      for (let i = 0; i < 3; i++) {
        expect(await failureOf(session.prepare())).toMatchObject({ code: 'quota' });
      }
      allowed = true;
      await session.prepare();
      expect(await failureOf(session.prepare())).toMatchObject({ code: 'quota' });
    });
  });

  it('begins anew when its day is over', async () => {
    vi.useFakeTimers();
    try {
      const { allowQuery } = await openQuotas({ answersPerDay: 2 }, () => {});
      expect(await allowQuery(queryOf(2))).toBe(true);
      vi.advanceTimersByTime(1000 * (DAY - 10));
      expect(await allowQuery(queryOf(1))).toEqual({ retryAfterSeconds: 10 });
      vi.advanceTimersByTime(10_000);
      expect(await allowQuery(queryOf(2))).toBe(true);
      expect(await allowQuery(queryOf(1))).toEqual({ retryAfterSeconds: DAY });
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a quota of bytes', () => {
  it('counts what preparing and running moves, and takes no answers for what it refuses', async () => {
    const quotas = { answersPerDay: 4, bytesPerDay: 3 * BYTES + 1 };
    await withTiny({ authorize, quotas }, async (serving) => {
      const session = await open(serving);
      await session.prepare({ inferences: 2 });
      expect(await failureOf(session.prepare({ inferences: 2 }))).toMatchObject({
        code: 'quota',
        retryAfterMs: expect.any(Number),
      });
      await session.prepare();
      const before = serving
        .of('bundle')
        .reduce((sum, { bytesUp, bytesDown }) => sum + bytesUp + bytesDown, 0);
      for (let i = 0; i < 3; i++) await session.infer(pixels);
      const after = serving
        .of('inference')
        .reduce((sum, { bytesUp, bytesDown }) => sum + bytesUp + bytesDown, before);
      // Draws ahead of a preparation stand in no event.
      expect(after).toBeLessThanOrEqual(3 * BYTES);
      expect(after).toBeGreaterThan(2.5 * BYTES);
      await session.close();
    });
  });

  it('refuses the largest reservation there is, however many bytes that comes to', async () => {
    const most = 2 ** 32 - 1;
    const quotas = { answersPerDay: 1e15, bytesPerDay: 10 * BYTES };
    await withTiny({ authorize, quotas, limits: { bundlesPerSession: most } }, async (serving) => {
      const session = await open(serving);
      expect(await failureOf(session.prepare({ inferences: most }))).toMatchObject({
        code: 'quota',
      });
      await session.prepare({ inferences: 10 });
      expect(await failureOf(session.prepare())).toMatchObject({ code: 'quota' });
    });
  });
});

describe('a quota of sessions', () => {
  it('refuses the next one, in a sentence that says when', async () => {
    await withTiny({ authorize, quotas: { sessionsPerHour: 2 } }, async (serving) => {
      const { url, of, server } = serving;
      // A connection that says nothing is no session.
      const silent = connectTcp(Number(new URL(url).port), '127.0.0.1');
      await once(silent, 'connect');
      for (let i = 0; i < 2; i++) await (await open(serving)).close();
      const message = expect.stringMatching(
        /^the peer gave up: the server opens no more sessions of this client for (3600|359\d) s$/,
      );
      for (let i = 0; i < 3; i++) {
        const error = (await failureOf(open(serving))) as ProtocolError;
        expect(error).toMatchObject({ code: 'quota', message });
        expect(error.message).toContain(` ${error.retryAfterMs! / 1000} s`);
      }
      expect(of('error')).toMatchObject(Array(3).fill({ code: 'quota', principal: 'alice' }));
      await (await open(serving, 'bob')).close();
      while (server.sessions > 0) await new Promise((resolve) => setTimeout(resolve, 10));
      silent.destroy();
    });
  });

  it('does not count those for whom there is no room', async () => {
    const limits = { sessions: 1 };
    await withTiny({ authorize, limits, quotas: { sessionsPerHour: 2 } }, async (serving) => {
      const session = await open(serving);
      for (let i = 0; i < 3; i++) {
        expect(await failureOf(open(serving))).toMatchObject({ code: 'busy' });
      }
      await session.close();
      while (serving.server.sessions > 0) await new Promise((resolve) => setTimeout(resolve, 10));
      await (await open(serving)).close();
    });
  });
});

describe('quotas', () => {
  it('are whole numbers from 1 to 10^15', async () => {
    for (const [quotas, name] of [
      [{ answersPerDay: 0 }, 'answersPerDay'],
      [{ sessionsPerHour: 1.5 }, 'sessionsPerHour'],
      [{ bytesPerDay: Number.POSITIVE_INFINITY }, 'bytesPerDay'],
      [{ bytesPerDay: -1 }, 'bytesPerDay'],
      [{ bytesPerDay: 1e15 + 1 }, 'bytesPerDay'],
    ] as [Quotas, string][]) {
      const error = await failureOf(openQuotas(quotas, () => {}));
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toMatch(
        `quotas.${name}: expected an integer from 1 to 1000000000000000, got `,
      );
    }
  });

  it('refuse exactly what does not fit, however many ask at once', async () => {
    const { allowQuery } = await openQuotas({ answersPerDay: 1000, bytesPerDay: 600 }, () => {});
    const asked = Array.from({ length: 300 }, (_, i) => queryOf((i % 7) + 1, 'alice', (i % 7) + 1));
    const decisions = await Promise.all(asked.map(allowQuery));
    const granted = asked.filter((_, i) => decisions[i] === true);
    const total = granted.reduce((sum, { inferences }) => sum + inferences, 0);
    expect(total).toBeLessThanOrEqual(600);
    // Answers that bytes refused were given back.
    expect(await allowQuery(queryOf(1000 - total, 'alice', 0))).toBe(true);
    expect(await allowQuery(queryOf(1, 'alice', 0))).not.toBe(true);
  });
});

describe.skipIf(noRedis)('quotas in Redis', () => {
  let redis: ChildProcess;
  let port: number;
  let store: string;
  let client: Redis;

  const startRedis = async (): Promise<void> => {
    const args = [
      '--port',
      `${port}`,
      '--save',
      '',
      '--bind',
      '127.0.0.1',
      '--requirepass',
      'pass',
    ];
    redis = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    await within(
      10_000,
      new Promise<void>((resolve) =>
        redis.stdout!.on('data', (text) => {
          if (`${text}`.includes('eady to accept connections')) resolve();
        }),
      ),
    );
  };
  const stopRedis = async (): Promise<void> => {
    redis.kill('SIGKILL');
    await once(redis, 'close');
  };

  beforeAll(async () => {
    const free = createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    port = (free.address() as AddressInfo).port;
    free.close();
    await once(free, 'close');
    store = `redis://:pass@127.0.0.1:${port}`;
    await startRedis();
    client = new Redis(store);
    client.on('error', () => {});
  });
  beforeEach(() => client.flushall());
  afterAll(async () => {
    client.disconnect();
    await stopRedis();
  });

  const closers: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
  });
  const counters = async (quotas: Quotas, events: ServerEvent[] = []) => {
    const opened = await openQuotas({ ...quotas, store }, (event) => events.push(event));
    closers.push(opened.close);
    return opened;
  };

  it('are exact for processes that ask at once, one answer at a time or several', async () => {
    for (const size of [() => 1, (i: number) => (i % 7) + 1]) {
      await client.flushall();
      const processes = await Promise.all([1, 2, 3].map(() => counters({ answersPerDay: 100 })));
      const asked = Array.from({ length: 300 }, (_, i) => queryOf(size(i)));
      const decisions = await Promise.all(
        asked.map((query, i) => processes[i % 3]!.allowQuery(query)),
      );
      const granted = asked.filter((_, i) => decisions[i] === true);
      const total = granted.reduce((sum, { inferences }) => sum + inferences, 0);
      expect(total).toBe(100);
      expect(await client.get('sotto:answers:alice')).toBe('100');
      for (const [i, decision] of decisions.entries()) {
        if (decision !== true) expect(decision, `${i}`).toEqual(LATER);
      }
    }
  });

  it('are exact for servers whose clients race', async () => {
    const quotas = { answersPerDay: 7, sessionsPerHour: 6, store };
    const servers = await Promise.all([1, 2].map(() => serveTiny({ authorize, quotas })));
    closers.push(
      ...servers.map(
        ({ server }) =>
          () =>
            server.close(),
      ),
    );
    const opened = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => open(servers[i % 2]!)),
    );
    const sessions = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(sessions).toHaveLength(6);
    for (const one of opened) {
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'quota' });
    }
    let granted = 0;
    await Promise.all(
      sessions.map(async (session) => {
        for (let i = 0; i < 3; i++) {
          const error = await session.prepare().then(
            () => undefined,
            (error: Error & { code: string }) => error,
          );
          if (error === undefined) granted++;
          else expect(error).toMatchObject({ code: 'quota', retryAfterMs: expect.any(Number) });
        }
      }),
    );
    expect(granted).toBe(7);
    expect(servers.flatMap(({ of }) => of('bundle'))).toHaveLength(7);
    expect(await client.get('sotto:answers:alice')).toBe('7');
  }, 60_000);

  it.skipIf(notBuilt)(
    'are shared by processes of the command',
    async () => {
      const digits = join(root, 'models/zoo/digits.sotto');
      const args = ['--model', digits, '--port', '0', '--trust-proxy', '127.0.0.0/8'];
      const quota = [
        '--quota-answers',
        '3/day',
        '--quota-bytes',
        '1GB/day',
        '--quota-store',
        store,
      ];
      const processes = await Promise.all([1, 2].map(() => serveProcess([...args, ...quota])));
      closers.push(...processes.map(({ kill }) => kill));
      const headers = { 'x-forwarded-for': '203.0.113.9' };
      const [first, second] = await Promise.all(
        processes.map(({ url }) => connect(url, { pool: localPool(), headers })),
      );
      await first!.prepare({ inferences: 2 });
      expect(await failureOf(second!.prepare({ inferences: 2 }))).toMatchObject({ code: 'quota' });
      await second!.prepare();
      expect(await failureOf(first!.prepare())).toMatchObject({ code: 'quota' });
      const { address, principal } = processes[1]!.events.find(
        ({ type }) => type === 'session',
      ) as {
        address: string;
        principal: string;
      };
      expect([address, principal]).toEqual(['203.0.113.9', '203.0.113.9']);
      await first!.close();
      await second!.close();
    },
    90_000,
  );

  it('give back what bytes refuse, and to a window that is over nothing', async () => {
    const { allowQuery } = await counters({ answersPerDay: 10, bytesPerDay: 5 });
    expect(await allowQuery(queryOf(4, 'alice', 5))).toBe(true);
    expect(await allowQuery(queryOf(6, 'alice', 1))).toEqual(LATER);
    expect(await client.get('sotto:answers:alice')).toBe('4');
    const giveBack = (points: number) =>
      client.eval(SCRIPT, 1, 'sotto:answers:alice', -points, DAY, 10);
    await giveBack(3);
    expect(await client.get('sotto:answers:alice')).toBe('1');
    await giveBack(3);
    expect(await client.get('sotto:answers:alice')).toBe('0');
    await client.del('sotto:answers:alice');
    await giveBack(3);
    expect(await client.get('sotto:answers:alice')).toBe('0');
    expect(await client.ttl('sotto:answers:alice')).toBeGreaterThan(0);
  });

  it('begin anew when their window is over', async () => {
    const { allowQuery } = await counters({ answersPerDay: 1 });
    expect(await allowQuery(queryOf(1))).toBe(true);
    await client.expire('sotto:answers:alice', 1);
    expect(await allowQuery(queryOf(1))).toEqual({ retryAfterSeconds: 1 });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(await allowQuery(queryOf(1))).toBe(true);
  });

  it('take any principal, and mix up none', async () => {
    const { allowQuery } = await counters({ answersPerDay: 1 });
    const names = ['a', 'a b', '*', 'a:b', "']) redis.call('flushall')", 'Łukasz', 'x'.repeat(200)];
    for (const name of names) expect(await allowQuery(queryOf(1, name))).toBe(true);
    for (const name of names) expect(await allowQuery(queryOf(1, name))).not.toBe(true);
  });

  it('count by the byte up to the largest quota there is', async () => {
    const { allowQuery } = await counters({ bytesPerDay: 1e15 });
    expect(await allowQuery(queryOf(1, 'alice', 9e14))).toBe(true);
    expect(await allowQuery(queryOf(1, 'alice', 1e14 - 1))).toBe(true);
    expect(await client.get('sotto:bytes:alice')).toBe('999999999999999');
    expect(await allowQuery(queryOf(1, 'alice', 2))).not.toBe(true);
    expect(await allowQuery(queryOf(1, 'alice', (2 ** 32 - 1) * 1e9))).not.toBe(true);
    expect(await allowQuery(queryOf(1, 'alice', 1))).toBe(true);
  });

  it('refuse while the store is gone, say so, and go on when it is back', async () => {
    const quotas = { answersPerDay: 9, sessionsPerHour: 9, store };
    const serving = await serveTiny({ authorize, quotas });
    closers.push(() => serving.server.close());
    const session = await open(serving);
    await session.prepare();
    await stopRedis();
    const refused = {
      code: 'quota',
      message: 'the server answers no more queries of this client for now',
    };
    expect(await within(5000, failureOf(session.prepare()))).toMatchObject(refused);
    expect(await within(5000, failureOf(open(serving)))).toMatchObject({
      code: 'quota',
      message: 'the peer gave up: sessions cannot be counted now, try again later',
    });
    await session.infer(pixels);
    const uncounted = {
      ...{ address: '127.0.0.1', port: expect.any(Number), principal: 'alice' },
      message: expect.stringMatching(/^quotas\.store: /),
    };
    expect(serving.of('uncounted')).toMatchObject([
      { session: 1, ...uncounted },
      { session: 2, ...uncounted },
    ]);
    await startRedis();
    const patience = Date.now() + 10_000;
    while (
      await session.prepare().then(
        () => false,
        () => true,
      )
    ) {
      if (Date.now() > patience) throw new Error('the store is back, and still nothing is counted');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await session.close();
  }, 30_000);

  it('refuse while the store does not answer', async () => {
    const events: ServerEvent[] = [];
    const { allowQuery } = await counters({ answersPerDay: 9 }, events);
    redis.kill('SIGSTOP');
    try {
      expect(await within(5000, Promise.resolve(allowQuery(queryOf(1))))).toBe(false);
    } finally {
      redis.kill('SIGCONT');
    }
    const message = expect.stringMatching(/^quotas\.store: /);
    expect(events).toMatchObject([{ type: 'uncounted', principal: 'alice', message }]);
  });

  it('need a store that is there, and say nothing of its password', async () => {
    for (const [url, message] of [
      ['redis://:secret@127.0.0.1:1', /^quotas\.store: 127\.0\.0\.1:1 cannot be reached: /],
      [`redis://:secret@127.0.0.1:${port}`, /^quotas\.store: 127\.0\.0\.1:\d+ cannot be reached: /],
      ['http://:secret@127.0.0.1', /^quotas\.store: expected redis:\/\/HOST:PORT or rediss/],
      ['secret', /^quotas\.store: expected redis:\/\/HOST:PORT or rediss/],
    ] as const) {
      const opening = openQuotas({ answersPerDay: 1, store: url }, () => {});
      const error = await within(10_000, failureOf(opening));
      expect(error.message).toMatch(message);
      expect(error.message).not.toContain('secret');
    }
  });
});
