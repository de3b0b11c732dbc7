/** The pool of web workers, over threads of Node that behave as web workers do. In a real browser: test/system. */

import { existsSync } from 'node:fs';
import { type Transferable, Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.ts';
import { createWebPool, MOST_WORKERS, type WebWorker } from '../../../protocol/pool/web.ts';

type Tasks = {
  square(x: number): number;
  spin(ms: number): number;
  range(): never;
  protocol(): never;
  unclonable(): unknown;
  exit(): never;
  arrays(length: number): { whole: Int32Array; part: Uint8Array };
};

const script = new URL('../../support/web-worker.mjs', import.meta.url);
const table = new URL('../../support/pool-worker.mjs', import.meta.url).href;
const broken = new URL('../../support/broken-worker.mjs', import.meta.url).href;
const isBuilt = existsSync(new URL('../../../dist/protocol/pool/web.js', import.meta.url));
if (!isBuilt) console.log('web pool tests skipped: dist/ is missing, run `npm run build` first');

/** Workers that are alive. */
const alive = new Set<Worker>();

/** A thread in the clothes of a web worker: a thread that ends by itself is to a page one that broke. */
function spawn(tasks = table): WebWorker {
  const worker = new Worker(script, { workerData: tasks });
  alive.add(worker);
  let ended = false;
  return {
    postMessage: (message, transfer) => worker.postMessage(message, transfer as Transferable[]),
    terminate() {
      ended = true;
      alive.delete(worker);
      void worker.terminate();
    },
    addEventListener(type: string, listener: (event: never) => void) {
      if (type === 'message') worker.on('message', (data) => listener({ data } as never));
      if (type === 'error') {
        // Node brings errors and ends by another way than messages, on a busy machine before them; a browser keeps their order.
        const later = (message: string) => setTimeout(() => listener({ message } as never), 20);
        worker.on('error', ({ message }) => later(message));
        worker.on('exit', () => {
          if (!ended) later('it ended');
        });
      }
    },
  };
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected a rejection');
}

describe.runIf(isBuilt)('web workers as a pool', () => {
  const pools: { close(): Promise<void> }[] = [];
  const make = (workers = 2, tasks = table) => {
    const pool = createWebPool<Tasks>(() => spawn(tasks), { workers });
    pools.push(pool);
    return pool;
  };

  afterEach(async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.close()));
    expect(alive.size).toBe(0);
  });

  it('runs many tasks, each to its own output', async () => {
    const pool = make();
    const outputs = Array.from({ length: 50 }, (_, i) => pool.run('square', i));
    expect(await Promise.all(outputs)).toEqual(Array.from({ length: 50 }, (_, i) => i * i));
    const { whole, part } = await pool.run('arrays', 100_000);
    expect([whole.length, whole[5], part.length]).toEqual([100_000, 7, 99_999]);
  });

  it('brings errors back with class and code, and goes on', async () => {
    const pool = make(1);
    expect(await failure(pool.run('range', undefined))).toBeInstanceOf(RangeError);
    const error = await failure(pool.run('protocol', undefined));
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toMatchObject({ code: 'bad-point', message: 'the identity' });
    expect(await pool.run('square', 3)).toBe(9);
  });

  it.each(['exit', 'unclonable'] as const)(
    'rejects the task of a worker that breaks (%s), and hires another',
    async (task) => {
      const pool = make(1);
      const [lost, next] = [failure(pool.run(task, undefined)), pool.run('square', 4)];
      expect((await lost).message).toBe(`pool: the worker broke at task "${task}"`);
      expect(await next).toBe(16);
    },
  );

  it('moves what it is given', async () => {
    const pool = make(1);
    const array = new Uint8Array(1 << 16);
    expect(await pool.run('square', array as never, { give: array })).toBeNaN();
    expect(array.length).toBe(0);
  });

  it('rejects an input that cannot be sent, and goes on', async () => {
    const pool = make(1);
    const input = (() => 1) as never;
    expect((await failure(pool.run('square', input))).name).toBe('DataCloneError');
    expect(await pool.run('square', 5)).toBe(25);
  });

  it('rejects every task when the workers cannot start', async () => {
    const pool = make(2, broken);
    const errors = await Promise.all([1, 2, 3].map((i) => failure(pool.run('square', i))));
    for (const { message } of errors) expect(message).toMatch(/^pool: a worker could not start: ./);
    expect(await failure(pool.run('square', 1))).toMatchObject({ message: errors[0]!.message });
  });

  it('rejects what is not done when it is closed, and everything after', async () => {
    const pool = make();
    const jobs = Array.from({ length: 6 }, () => failure(pool.run('spin', 50)));
    await pool.close();
    for (const { message } of await Promise.all(jobs)) expect(message).toBe('pool: it was closed');
    expect((await failure(pool.run('square', 1))).message).toBe('pool: it was closed');
  });

  it('has a sensible number of workers', () => {
    expect(() => createWebPool(() => spawn(), { workers: 0 })).toThrow(RangeError);
    expect(() => createWebPool(() => spawn(), { workers: 1.5 })).toThrow(RangeError);
    const pool = createWebPool<Tasks>(() => spawn());
    pools.push(pool);
    expect(pool.workers).toBeGreaterThanOrEqual(1);
    expect(pool.workers).toBeLessThanOrEqual(MOST_WORKERS);
  });
});
