/** A server that has no more time, memory or room for one principal: what is new is refused, what it has goes on. */

import { afterEach, describe, expect, it } from 'vitest';
import { connect, type Session } from '../../client/index.ts';
import * as tasks from '../../protocol/inference/tasks.ts';
import { TaskQueue } from '../../protocol/pool/queue.ts';
import { call } from '../../protocol/pool/task.ts';
import { checkLimits, limitsOf } from '../../server/limits.ts';
import { serverMetrics } from '../../server/metrics.ts';
import { failureOf, localPool, somePixels, within } from '../system/support.ts';
import { numberOf, samplesOf } from './samples.ts';
import { model, type Serving, serveTiny } from './serving.ts';

const pixels = somePixels(model);
const BUSY = { code: 'busy', message: 'the peer gave up: the server is busy, try again later' };
const BUSY_CALL = { code: 'busy', message: 'the server is busy, try again later' };

let serving: Serving | undefined;
afterEach(() => serving?.server.close());

const open = (): Promise<Session> => connect(serving!.url, { pool: localPool(), hints: false });

async function readiness(): Promise<[status: number, text: string]> {
  const response = await fetch(`${serving!.url.replace('ws', 'http')}/readyz`);
  return [response.status, await response.text()];
}

/** Waits until the server takes sessions, or takes none. */
async function until(status: 200 | 503): Promise<void> {
  const deadline = performance.now() + 10_000;
  while ((await readiness())[0] !== status) {
    if (performance.now() > deadline) throw new Error(`/readyz did not become ${status}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('a server whose tasks wait too long for a thread', () => {
  it('refuses sessions and preparations, answers what is prepared, and takes them again', async () => {
    let release = (): void => {};
    let gate = Promise.resolve();
    const pool = new TaskQueue<typeof tasks>({
      workers: 1,
      async execute(task, input) {
        await gate;
        return call(tasks, task, input);
      },
      async shutdown() {},
    });
    serving = await serveTiny({ pool, limits: { queueMs: 100 } });
    const session = await open();
    await session.prepare({ inferences: 2 });
    expect(await readiness()).toEqual([200, 'ok\n']);

    gate = new Promise((resolve) => {
      release = resolve;
    });
    const held = pool.run('probe', undefined);
    await until(503);
    expect((await readiness())[1]).toBe(
      "the server's tasks wait longer for a thread than they may\n",
    );
    expect(await within(5000, failureOf(open()))).toMatchObject(BUSY);
    expect(await within(5000, failureOf(session.prepare()))).toMatchObject(BUSY_CALL);
    expect(serving.of('busy')).toMatchObject([{ session: 2, reason: 'queue' }]);
    expect(serving.of('refused')).toMatchObject([{ session: 1, inferences: 1, reason: 'queue' }]);

    release();
    await held;
    await within(5000, session.infer(pixels));
    await until(200);
    await (await open()).close();
    await session.prepare();
    await session.close();
  });

  it('is none because one client has many tasks waiting', async () => {
    serving = await serveTiny({ limits: { queueMs: 1000 } });
    const session = await open();
    const busy = session.prepare({ inferences: 16 });
    let done = false;
    void busy.finally(() => {
      done = true;
    });
    while (!done) {
      expect(await readiness()).toEqual([200, 'ok\n']);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await busy;
    await session.close();
  });
});

describe('a server whose memory is used up', () => {
  it('refuses sessions and preparations as long as inferences are prepared', async () => {
    const metrics = serverMetrics();
    serving = await serveTiny({ limits: { memoryBytes: 1 } });
    // It holds nothing yet, so that refusing would free nothing.
    const session = await open();
    const beside = await open();
    await session.prepare({ inferences: 2 });
    expect(await readiness()).toEqual([503, 'the server has as much memory as it may\n']);
    expect(await failureOf(open())).toMatchObject(BUSY);
    expect(await failureOf(session.prepare())).toMatchObject(BUSY_CALL);
    expect(await failureOf(beside.infer(pixels))).toMatchObject(BUSY_CALL);
    for (let i = 0; i < 2; i++) await session.infer(pixels);
    expect((await readiness())[0]).toBe(200);
    await beside.infer(pixels);
    await (await open()).close();

    for (const event of serving.events) metrics.onEvent(event);
    const samples = samplesOf(await metrics.text(serving.server));
    expect(numberOf(samples, 'sotto_busy_total', { reason: 'memory' })).toBe(1);
    expect(numberOf(samples, 'sotto_refusals_total', { reason: 'memory' })).toBe(2);
    await session.close();
    await beside.close();
  });

  it('counts what waits for clients whose link was lost', async () => {
    serving = await serveTiny({ limits: { memoryBytes: 1, resumeMs: 1000, idleMs: 100 } });
    const session = await open();
    await session.prepare();
    while (serving.server.sessions > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    expect((await readiness())[0]).toBe(503);
    await until(200);
  });
});

describe('one principal', () => {
  it('cannot take all sessions with first messages and silence', async () => {
    const limits = { sessions: 4 };
    const trustProxies = ['127.0.0.1'];
    serving = await serveTiny({ limits, trustProxies });
    expect(serving.server.limits.sessionsPerPrincipal).toBe(2);
    const from = (address: string) =>
      connect(serving!.url, {
        pool: localPool(),
        hints: false,
        headers: { 'x-forwarded-for': address },
      });
    const greedy = await Promise.all(['203.0.113.9', '203.0.113.9'].map(from));
    const message = 'the peer gave up: this client has as many sessions as it may, try again later';
    expect(await failureOf(from('203.0.113.9'))).toMatchObject({ code: 'busy', message });
    expect(serving.of('busy')).toMatchObject([{ principal: '203.0.113.9', reason: 'principal' }]);
    const other = await from('203.0.113.10');
    await other.infer(pixels);
    await other.close();
    await greedy[0]!.close();
    while (serving.server.sessions > 1) await new Promise((resolve) => setTimeout(resolve, 10));
    await (await from('203.0.113.9')).close();
    await greedy[1]!.close();
  });

  it('is what `authorize` names, wherever it connects from', async () => {
    const authorize = async () => 'the same';
    serving = await serveTiny({ limits: { sessions: 2 }, authorize });
    const session = await open();
    expect(await failureOf(open())).toMatchObject({ code: 'busy' });
    expect(serving.of('busy')).toMatchObject([{ principal: 'the same', reason: 'principal' }]);
    await session.close();
  });
});

it('limits have defaults that follow from others and from the machine', () => {
  expect(limitsOf()).toMatchObject({ sessions: 32, sessionsPerPrincipal: 16 });
  expect(limitsOf({ sessions: 1 }).sessionsPerPrincipal).toBe(1);
  expect(limitsOf({ sessions: 9 }).sessionsPerPrincipal).toBe(5);
  expect(limitsOf({ sessions: 9, sessionsPerPrincipal: 9 }).sessionsPerPrincipal).toBe(9);
  const { memoryBytes } = limitsOf();
  expect(memoryBytes).toBeGreaterThan(2 ** 28);
  expect(memoryBytes).toBeLessThan(2 ** 46);
  checkLimits(limitsOf());
  for (const wrong of [{ queueMs: 0 }, { memoryBytes: 0.5 }, { sessionsPerPrincipal: 0 }]) {
    expect(() => checkLimits(limitsOf(wrong))).toThrow(RangeError);
  }
});
