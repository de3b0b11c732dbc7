import { existsSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.ts';
import type { Pool } from '../../../protocol/pool/index.ts';
import { createInlinePool } from '../../../protocol/pool/inline.ts';
import { createThreadPool } from '../../../protocol/pool/node.ts';

type Tasks = {
  square(x: number): number;
  thread(ms: number): number;
  arrays(length: number): {
    whole: Int32Array;
    part: Uint8Array;
    nested: [{ deep: Float64Array }];
  };
  lengths(arrays: Uint8Array[]): number[];
  lend(): Int32Array;
  kept(): number;
  spin(ms: number): number;
  range(): never;
  type(): never;
  protocol(): never;
  coded(): never;
  other(): never;
  unclonable(): unknown;
  exit(): never;
  loop(): never;
};

const workerUrl = new URL('../../support/pool-worker.mjs', import.meta.url);
const fragileUrl = new URL('../../support/fragile-worker.mjs', import.meta.url);
const isBuilt = existsSync(new URL('../../../dist/protocol/pool/node.js', import.meta.url));
if (!isBuilt) console.log('thread pool tests skipped: dist/ is missing, run `npm run build` first');

const inlineTasks = {
  square: (x: number) => x * x,
  spin(ms: number) {
    const end = performance.now() + ms;
    while (performance.now() < end);
    return ms;
  },
  range(): never {
    throw new RangeError('too far');
  },
  type(): never {
    throw new TypeError('not so');
  },
  protocol(): never {
    throw new ProtocolError('bad-point', 'the identity');
  },
  coded(): never {
    throw Object.assign(new RangeError('not there'), { name: 'CodedError', code: 'place' });
  },
};

async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected a rejection');
}

const made: Pool<never>[] = [];
afterAll(() => Promise.all(made.map((pool) => pool.close())));

function describePool(
  name: string,
  enabled: boolean,
  makePool: () => Pool<Pick<Tasks, keyof typeof inlineTasks>>,
): void {
  describe.runIf(enabled)(`${name} as a pool`, () => {
    const make = (): ReturnType<typeof makePool> => {
      const pool = makePool();
      made.push(pool as unknown as Pool<never>);
      return pool;
    };

    it('runs many tasks, each to its own output', async () => {
      const pool = make();
      const outputs = Array.from({ length: 50 }, (_, i) => pool.run('square', i));
      expect(await Promise.all(outputs)).toEqual(Array.from({ length: 50 }, (_, i) => i * i));
    });

    it('brings a task’s error back with its class and code, and goes on', async () => {
      const pool = make();
      const range = await failure(pool.run('range', undefined));
      expect(range).toBeInstanceOf(RangeError);
      expect(range.message).toBe('too far');
      expect(await failure(pool.run('type', undefined))).toBeInstanceOf(TypeError);
      const protocol = await failure(pool.run('protocol', undefined));
      expect(protocol).toBeInstanceOf(ProtocolError);
      expect(protocol).toMatchObject({ code: 'bad-point', message: 'the identity' });
      const coded = await failure(pool.run('coded', undefined));
      expect(coded).toBeInstanceOf(RangeError);
      expect(coded).toMatchObject({ name: 'CodedError', code: 'place', message: 'not there' });
      expect(await pool.run('square', 3)).toBe(9);
    });

    it('knows only the tasks of its table', async () => {
      const pool = make() as unknown as Pool<Record<string, (input: unknown) => unknown>>;
      for (const task of ['missing', 'toString', '__proto__']) {
        expect(await failure(pool.run(task, 1))).toBeInstanceOf(TypeError);
      }
    });

    it('rejects at once when the signal fires, before, while waiting and while running', async () => {
      const pool = make();
      expect(await failure(pool.run('square', 1, { signal: AbortSignal.abort() }))).toMatchObject({
        name: 'AbortError',
      });
      const controller = new AbortController();
      const { signal } = controller;
      const ends: string[] = [];
      const jobs = Array.from({ length: 4 * pool.workers }, () =>
        failure(pool.run('spin', 100, { signal })).then((error) => ends.push(error.name)),
      );
      controller.abort();
      await Promise.all(jobs);
      expect(new Set(ends)).toEqual(new Set(['AbortError']));
      expect(await pool.run('square', 5)).toBe(25);
    });

    it('has no listener left on a signal that many runs shared', async () => {
      const pool = make();
      const { signal } = new AbortController();
      let listeners = 0;
      const add = signal.addEventListener.bind(signal);
      const remove = signal.removeEventListener.bind(signal);
      signal.addEventListener = (...args: Parameters<typeof add>) => {
        listeners++;
        add(...args);
      };
      signal.removeEventListener = (...args: Parameters<typeof remove>) => {
        listeners--;
        remove(...args);
      };
      await Promise.all([
        pool.run('square', 1, { signal }),
        failure(pool.run('range', undefined, { signal })),
      ]);
      expect(listeners).toBe(0);
    });

    it('rejects what is not done when it is closed, and everything after', async () => {
      const pool = make();
      const jobs = Array.from({ length: 3 * pool.workers }, () => failure(pool.run('spin', 20)));
      const closing = pool.close();
      for (const error of await Promise.all(jobs))
        expect(error.message).toBe('pool: it was closed');
      await closing;
      await pool.close();
      expect((await failure(pool.run('square', 1))).message).toBe('pool: it was closed');
    });
  });
}

describePool('createInlinePool', true, () => createInlinePool(inlineTasks));
describePool('createThreadPool', isBuilt, () => createThreadPool<Tasks>(workerUrl, { workers: 2 }));

describe('createInlinePool', () => {
  it('leaves the event loop a turn between tasks', async () => {
    const pool = createInlinePool(inlineTasks);
    const order: string[] = [];
    const jobs = [1, 2, 3].map((i) => pool.run('square', i).then(() => order.push(`task ${i}`)));
    const ticks = (async () => {
      for (let i = 1; i <= 2; i++) {
        await new Promise((resolve) => setImmediate(resolve));
        order.push(`tick ${i}`);
      }
    })();
    await Promise.all([...jobs, ticks]);
    expect(order.indexOf('tick 1')).toBeLessThan(order.indexOf('task 2'));
    expect(order.indexOf('tick 2')).toBeLessThan(order.indexOf('task 3'));
  });
});

describe.runIf(isBuilt)('createThreadPool', () => {
  const make = (): Pool<Tasks> => {
    const pool = createThreadPool<Tasks>(workerUrl, { workers: 2 });
    made.push(pool as unknown as Pool<never>);
    return pool;
  };

  it('runs in other threads, as many at a time as it has', async () => {
    const pool = make();
    expect(pool.workers).toBe(2);
    const ids = await Promise.all(Array.from({ length: 8 }, () => pool.run('thread', 10)));
    expect(new Set(ids).size).toBe(2);
    expect(ids).not.toContain(0);
  });

  it('brings arrays back, moved when they fill their buffer and copied when they do not', async () => {
    const pool = createThreadPool<Tasks>(workerUrl, { workers: 1 });
    made.push(pool as unknown as Pool<never>);
    const { whole, part, nested } = await pool.run('arrays', 1000);
    expect(whole).toEqual(new Int32Array(1000).fill(7));
    expect(part.length).toBe(999);
    expect(nested[0].deep).toEqual(new Float64Array(1000));
    // Moving a part would have taken the whole away from the worker.
    expect(await pool.run('lend', undefined)).toEqual(Int32Array.of(2, 3));
    expect(await pool.run('kept', undefined)).toBe(4);
  });

  it.each(['exit', 'unclonable'] as const)(
    'rejects the task of a worker that breaks (%s) and replaces the worker',
    async (task) => {
      const pool = make();
      const beside = pool.run('spin', 50);
      expect(await failure(pool.run(task, undefined))).toMatchObject({
        message: expect.stringContaining(`pool: the worker broke at task "${task}": `),
      });
      expect(await beside).toBe(50);
      const jobs = Array.from({ length: 6 }, (_, i) => pool.run('square', i));
      expect(await Promise.all(jobs)).toEqual([0, 1, 4, 9, 16, 25]);
    },
  );

  it('ends workers whose tasks do not end, and replaces them', async () => {
    // Long enough for a thread to start on a busy machine.
    const pool = createThreadPool<Tasks>(workerUrl, { workers: 2, taskMs: 3000 });
    made.push(pool as unknown as Pool<never>);
    const stuck = [1, 2].map(() => failure(pool.run('loop', undefined)));
    const waiting = [1, 2, 3].map((x) => pool.run('square', x));
    const message = 'pool: the worker broke at task "loop": it ran for more than 3 s';
    for (const error of await Promise.all(stuck)) expect(error).toMatchObject({ message });
    expect(await Promise.all(waiting)).toEqual([1, 4, 9]);
    expect(await pool.run('spin', 500)).toBe(500);
  });

  it('moves the large whole arrays it is given, and copies all else', async () => {
    const pool = make();
    const large = 1 << 20;
    const [given, kept, small] = [new Uint8Array(large), new Uint8Array(large), new Uint8Array(9)];
    const part = new Uint8Array(large).subarray(1);
    const shared = new Uint8Array(new SharedArrayBuffer(large));
    const arrays = [given, kept, small, part, shared];
    const lengths = [large, large, 9, large - 1, large];
    const give = { given, nested: [small, part, shared] };
    expect(await pool.run('lengths', arrays, { give })).toEqual(lengths);
    expect(arrays.map(({ length }) => length)).toEqual([0, ...lengths.slice(1)]);
  });

  it('rejects an input that cannot be sent, and goes on', async () => {
    const pool = make();
    const input = (() => 1) as unknown as number;
    expect(await failure(pool.run('square', input))).toBeInstanceOf(Error);
    expect(await pool.run('square', 2)).toBe(4);
  });

  it.each([
    ['throws', new URL('../../support/broken-worker.mjs', import.meta.url)],
    ['does not exist', new URL('../../support/no-such-worker.mjs', import.meta.url)],
  ])('rejects every task when the worker module %s', async (_, url) => {
    const pool = createThreadPool<Tasks>(url, { workers: 2 });
    const jobs = Array.from({ length: 10 }, () => failure(pool.run('square', 2)));
    for (const error of await Promise.all(jobs)) {
      expect(error.message).toMatch(/^pool: (a worker could not start|the worker broke)/);
    }
    expect(await failure(pool.run('square', 2))).toBeInstanceOf(Error);
    await pool.close();
  });

  it.each([1, 2])(
    'fails when the worker in place of a crashed one cannot start (of %d)',
    async (workers) => {
      const pool = createThreadPool<Tasks>(fragileUrl, { workers });
      made.push(pool as unknown as Pool<never>);
      expect(await pool.run('square', 3)).toBe(9);
      process.env['SOTTO_TEST_BROKEN'] = 'yes';
      try {
        // The new thread gets a waiting task before it is ready, and takes it along.
        const tasks = ['exit', ...Array<'square'>(8).fill('square')] as const;
        const jobs = tasks.map((task) => pool.run(task, 2).catch(() => {}));
        const error = await pool.failed;
        expect(error).toMatchObject({
          message: 'pool: a worker could not start: it is broken by now',
        });
        expect(await failure(pool.run('square', 2))).toBe(error);
        await Promise.all(jobs);
      } finally {
        delete process.env['SOTTO_TEST_BROKEN'];
      }
    },
  );

  it('has not failed when a crashed worker was replaced, or it was closed', async () => {
    const pool = make();
    const failed = pool.failed.then(() => 'failed');
    for (let i = 0; i < 3; i++) {
      await failure(pool.run('exit', undefined));
      expect(await Promise.all([1, 2, 3].map((x) => pool.run('square', x)))).toEqual([1, 4, 9]);
    }
    await pool.close();
    expect(await Promise.race([failed, new Promise((done) => setTimeout(done, 50))])).toBe(
      undefined,
    );
  });

  it('needs at least one worker', () => {
    for (const workers of [0, -1, 1.5, Number.NaN]) {
      expect(() => createThreadPool(workerUrl, { workers })).toThrow(RangeError);
    }
  });
});
