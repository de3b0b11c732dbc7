/** Workers that are shared with another thread by ports, over threads of Node that behave as web workers do. */

import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.ts';
import { createPortPool } from '../../../protocol/pool/ports.ts';
import { packError, unpackError } from '../../../protocol/pool/task.ts';
import { createWebPool, type Shared } from '../../../protocol/pool/web.ts';
import { alive, failure, isBuilt, spawn, type Tasks } from './web-workers.ts';

describe.runIf(isBuilt)('a pool over ports', () => {
  const opened: { close(): Promise<void> }[] = [];

  /** A pool of workers, and one that has ports to them. */
  function make(workers: number) {
    const owner = createWebPool<Tasks>(() => spawn(), { workers });
    let shared: Shared;
    const pool = createPortPool<Tasks>((shared = owner.share((news) => pool.hear(news))).ports);
    opened.push(pool, owner);
    return { owner, pool, shared };
  }

  afterEach(async () => {
    for (const pool of opened.splice(0)) await pool.close();
    expect(alive.size).toBe(0);
  });

  it('runs its tasks and those of the owner on the same workers', async () => {
    const { owner, pool } = make(2);
    expect(pool.workers).toBe(2);
    const outputs = Array.from({ length: 40 }, (_, i) => (i % 2 ? owner : pool).run('square', i));
    expect(await Promise.all(outputs)).toEqual(Array.from({ length: 40 }, (_, i) => i * i));
    expect(alive.size).toBe(2);
  });

  it('brings errors back with class and code, and moves what it is given', async () => {
    const { pool } = make(1);
    expect(await failure(pool.run('range', undefined))).toBeInstanceOf(RangeError);
    expect(await failure(pool.run('protocol', undefined))).toMatchObject({ code: 'bad-point' });
    const array = new Uint8Array(1 << 16);
    await pool.run('square', array as never, { give: array });
    expect(array.length).toBe(0);
  });

  it('rejects the task of a worker that breaks, and goes on with the one in its place', async () => {
    const { owner, pool } = make(1);
    const [lost, next] = [failure(pool.run('exit', undefined)), pool.run('square', 4)];
    expect((await lost).message).toBe('pool: the worker broke at task "exit"');
    expect(await next).toBe(16);
    expect(await owner.run('square', 5)).toBe(25);
  });

  it('ends with the owner, and is not to be had after', async () => {
    const { owner, pool } = make(1);
    const running = failure(pool.run('spin', 50));
    await owner.close();
    expect((await running).message).toBe('pool: it was closed');
    expect((await failure(pool.run('square', 1))).message).toBe('pool: it was closed');
    expect(() => owner.share(() => {})).toThrow('pool: it was closed');
  });

  it('ends its ports and no worker, and is told nothing any more', async () => {
    const { owner, pool, shared } = make(1);
    await pool.close();
    shared.end();
    expect((await failure(pool.run('square', 1))).message).toBe('pool: it was closed');
    await failure(owner.run('exit', undefined));
    expect(await owner.run('square', 6)).toBe(36);
    await pause(50);
    expect(alive.size).toBe(1);
  });
});

describe('an error on its way to another thread', () => {
  it('keeps class, name, code, cause and when to ask again', () => {
    const cause = Object.assign(new TypeError('below'), { name: 'OwnError', code: 'own' });
    const error = new ProtocolError('quota', 'later', { cause, retryAfterMs: 5000 });
    const back = unpackError(structuredClone(packError(error)));
    expect(back).toBeInstanceOf(ProtocolError);
    expect(back).toMatchObject({ code: 'quota', message: 'later', retryAfterMs: 5000 });
    expect(back.cause).toBeInstanceOf(TypeError);
    expect(back.cause).toMatchObject({ name: 'OwnError', code: 'own', message: 'below' });
    expect(back.stack).toBe(error.stack);
    expect(unpackError(packError('a string')).message).toBe('a string');
  });
});
