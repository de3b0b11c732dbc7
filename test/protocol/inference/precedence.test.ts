import { describe, expect, it } from 'vitest';
import { SessionRunner } from '../../../protocol/inference/precedence.ts';
import type { ProtocolRunner } from '../../../protocol/inference/tasks.ts';

/** A pool that notes what it is given, and does it at once. */
function noting(): { pool: ProtocolRunner; started: string[] } {
  const started: string[] = [];
  const run = async (task: string) => {
    started.push(task);
    return task;
  };
  return { pool: { workers: 3, run } as unknown as ProtocolRunner, started };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const none = undefined as never;

describe('the tasks of a session', () => {
  it('start at once while no inference runs', () => {
    const { pool, started } = noting();
    const runner = new SessionRunner(pool);
    expect(runner.workers).toBe(3);
    void runner.run('openBatch', none);
    expect(started).toEqual(['openBatch']);
  });

  it('wait for the end of an inference, but for those of the inference', async () => {
    const { pool, started } = noting();
    const runner = new SessionRunner(pool);
    let end = (): void => {};
    const inference = runner.first(() => new Promise<void>((resolve) => (end = resolve)));
    const waiting = runner.run('openBatch', none);
    await runner.run('evaluate', none, { urgent: true });
    await turn();
    expect(started).toEqual(['evaluate']);
    end();
    await inference;
    await waiting;
    expect(started).toEqual(['evaluate', 'openBatch']);
  });

  it('go on between two inferences that follow each other without a pause, and after one that fails', async () => {
    const { pool, started } = noting();
    const runner = new SessionRunner(pool);
    for (const outcome of [turn, () => Promise.reject(new Error('lost'))]) {
      const inference = runner.first(outcome).catch(() => {});
      const waiting = runner.run('openBatch', none);
      await inference;
      const next = runner.first(turn);
      await turn();
      expect(started.splice(0)).toEqual(['openBatch']);
      await Promise.all([waiting, next]);
    }
  });

  it('wait for the last of several inferences', async () => {
    const { pool, started } = noting();
    const runner = new SessionRunner(pool);
    const ends: (() => void)[] = [];
    const inferences = [0, 1].map(() =>
      runner.first(() => new Promise<void>((resolve) => ends.push(resolve))),
    );
    const waiting = runner.run('openBatch', none);
    ends[0]!();
    await inferences[0];
    await turn();
    expect(started).toEqual([]);
    ends[1]!();
    await Promise.all([...inferences, waiting]);
    expect(started).toEqual(['openBatch']);
  });

  it('are given to the pool as it can run them, so that an inference that comes has none of them before it there', async () => {
    const started: number[] = [];
    const ends = new Map<number, () => void>();
    const run = async (_: string, input: number) => {
      started.push(input);
      await new Promise<void>((resolve) => ends.set(input, resolve));
    };
    const runner = new SessionRunner({ workers: 2, run } as unknown as ProtocolRunner);
    const tasks = [1, 2, 3, 4].map((input) => runner.run('openBatch', input as never));
    expect(started).toEqual([1, 2]);
    let end = (): void => {};
    const inference = runner.first(() => new Promise<void>((resolve) => (end = resolve)));
    ends.get(1)!();
    await turn();
    expect(started).toEqual([1, 2]);
    end();
    await inference;
    await turn();
    expect(started).toEqual([1, 2, 3]);
    for (const input of [2, 3]) ends.get(input)!();
    await turn();
    ends.get(4)!();
    await Promise.all(tasks);
  });
});
