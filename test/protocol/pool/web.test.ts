/** The pool of web workers, over threads of Node that behave as web workers do. In a real browser: test/system. */

import { afterEach, describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.ts';
import { createWebPool, MOST_WORKERS } from '../../../protocol/pool/web.ts';
import { alive, broken, failure, isBuilt, spawn, type Tasks, table } from './web-workers.ts';

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
