/** What those who watch a server are told by HTTP. */

import { afterEach, describe, expect, it } from 'vitest';
import { connect } from '../../client/index.ts';
import { type RunningServer, type ServeOptions, serve } from '../../server/index.ts';
import { withRun } from '../support/pool.ts';
import { localPool, somePixels, tinyModel, within } from '../system/support.ts';

const model = tinyModel();
const models = [{ name: 'tiny', model }];
let server: RunningServer;

afterEach(() => server.close());

async function start(options: Partial<ServeOptions> = {}): Promise<string> {
  server = await serve(models, { port: 0, pool: localPool(), ...options });
  return server.url.replace('ws', 'http');
}

const textOf = async (response: Response) => [response.status, await response.text()];

describe('a server that works', () => {
  it('says so, by GET and HEAD alone, and nobody keeps the answer', async () => {
    const url = await start();
    for (const path of ['/healthz', '/readyz', '/readyz?full']) {
      const response = await fetch(url + path);
      expect(response.headers.get('cache-control')).toBe('no-store');
      expect(await textOf(response)).toEqual([200, 'ok\n']);
      expect(await textOf(await fetch(url + path, { method: 'HEAD' }))).toEqual([200, '']);
      const posted = await fetch(url + path, { method: 'POST', body: 'x' });
      expect(await textOf(posted)).toEqual([405, 'This is only read.\n']);
    }
    expect((await fetch(`${url}/healthz/`)).status).toBe(426);
  });

  it('is asked by any number at the cost of one task a second', async () => {
    const inner = localPool();
    let probes = 0;
    const run = (task: string, input: never, options: never) => {
      if (task === 'probe') probes++;
      return inner.run(task as 'probe', input, options);
    };
    const url = await start({ pool: withRun(inner, run) });
    probes = 0;
    const begin = performance.now();
    for (let i = 0; i < 5; i++) {
      const answers = await Promise.all(Array.from({ length: 100 }, () => fetch(`${url}/healthz`)));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
      await Promise.all(answers.map((answer) => answer.text()));
    }
    const seconds = (performance.now() - begin) / 1000;
    console.log(`500 asked in ${seconds.toFixed(2)} s, ${probes} tasks`);
    expect(probes).toBeLessThanOrEqual(1 + Math.floor(seconds));
  });

  it('is found to work while its clients keep it busy', async () => {
    const url = await start();
    const session = await connect(server.url, { pool: localPool() });
    const busy = session.prepare({ inferences: 8 });
    expect(await textOf(await within(5000, fetch(`${url}/healthz`)))).toEqual([200, 'ok\n']);
    await busy;
    await session.close();
  });
});

describe('a server that does not', () => {
  it('has threads that do nothing', async () => {
    const pool = localPool();
    const url = await start({ pool });
    await pool.close();
    expect(await textOf(await fetch(`${url}/healthz`))).toEqual([
      503,
      "none of the server's threads does a task in time\n",
    ]);
  });

  it('has a pool that failed', async () => {
    const inner = localPool();
    const failed = Promise.resolve(new Error('EMFILE'));
    const run = inner.run as never;
    const url = await start({ pool: { ...withRun(inner, run), failed } });
    expect(await textOf(await fetch(`${url}/readyz`))).toEqual([
      503,
      "the server's threads have failed\n",
    ]);
  });
});

describe('a server that takes no sessions', () => {
  it('has as many as it may, and is ready again when one ends', async () => {
    const url = await start({ limits: { sessions: 1 } });
    const session = await connect(server.url, { pool: localPool() });
    expect(await textOf(await fetch(`${url}/readyz`))).toEqual([
      503,
      'the server has as many sessions as it may\n',
    ]);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    await session.close();
    while (server.sessions > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });

  it('has as many connections as it may', async () => {
    const url = await start({ limits: { connections: 1 } });
    const session = await connect(server.url, { pool: localPool() });
    expect(await textOf(await fetch(`${url}/readyz`))).toEqual([
      503,
      'the server has as many connections as it may\n',
    ]);
    await session.close();
  });

  it('drains, and still works', async () => {
    const url = await start();
    const session = await connect(server.url, { pool: localPool() });
    await session.prepare();
    const drained = server.drain(20_000);
    expect(await textOf(await fetch(`${url}/readyz`))).toEqual([
      503,
      'the server is about to stop\n',
    ]);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    await session.infer(somePixels(model));
    await within(5000, drained);
  });
});
