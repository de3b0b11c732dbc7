import { expect, it } from 'vitest';
import { TaskQueue, type Workers } from '../../../protocol/pool/queue.ts';
import { movable, transferables } from '../../../protocol/pool/task.ts';

type Tasks = { work(input: number): number };

/** Workers whose tasks end when the test says so. */
class Stage implements Workers {
  readonly workers = 2;
  readonly started: unknown[] = [];
  readonly ends = new Map<unknown, { resolve(output: unknown): void; reject(e: Error): void }>();
  shutdowns = 0;
  execute(_task: string, input: unknown): Promise<unknown> {
    this.started.push(input);
    return new Promise((resolve, reject) => {
      this.ends.set(input, { resolve, reject });
    });
  }
  async shutdown(): Promise<void> {
    this.shutdowns++;
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

it('starts tasks in order, as many at a time as there are workers', async () => {
  const stage = new Stage();
  const queue = new TaskQueue<Tasks>(stage);
  const runs = [1, 2, 3, 4].map((input) => queue.run('work', input));
  expect(stage.started).toEqual([1, 2]);
  stage.ends.get(2)!.resolve(20);
  expect(await runs[1]).toBe(20);
  await settled();
  expect(stage.started).toEqual([1, 2, 3]);
  const failed = expect(runs[0]).rejects.toThrow('no');
  stage.ends.get(1)!.reject(new Error('no'));
  await failed;
  await settled();
  expect(stage.started).toEqual([1, 2, 3, 4]);
  stage.ends.get(3)!.resolve(30);
  stage.ends.get(4)!.resolve(40);
  expect(await Promise.all(runs.slice(1))).toEqual([20, 30, 40]);
});

it('never starts a waiting task that was cancelled, and drops a running one’s result', async () => {
  const stage = new Stage();
  const queue = new TaskQueue<Tasks>(stage);
  const controller = new AbortController();
  const { signal } = controller;
  const cancelled = [1, 2, 3].map((input) => queue.run('work', input, { signal }));
  const kept = queue.run('work', 4);
  controller.abort();
  for (const run of cancelled) await expect(run).rejects.toMatchObject({ name: 'AbortError' });
  // The running ones still hold their workers.
  expect(stage.started).toEqual([1, 2]);
  stage.ends.get(1)!.resolve(10);
  await settled();
  expect(stage.started).toEqual([1, 2, 4]);
  stage.ends.get(4)!.resolve(40);
  expect(await kept).toBe(40);
});

/** Ends what runs, the oldest first, until all has been started; gives the order. */
async function playOut(stage: Stage): Promise<unknown[]> {
  for (let i = 0; i < stage.started.length; i++) {
    stage.ends.get(stage.started[i])!.resolve(0);
    await settled();
  }
  return stage.started;
}

it('lets runners take turns, whatever each of them has waiting', async () => {
  const stage = new Stage();
  const queue = new TaskQueue<Tasks>(stage);
  const [a, b, c] = [queue.runner(), queue.runner(), queue.runner()];
  for (const input of [1, 2, 3, 4, 5]) void a.run('work', input);
  for (const input of [11, 12, 13]) void b.run('work', input);
  void c.run('work', 21);
  void queue.run('work', 31);
  expect([queue.running, queue.waiting]).toEqual([2, 8]);
  expect(await playOut(stage)).toEqual([1, 2, 3, 11, 21, 31, 4, 12, 5, 13]);
  expect([queue.running, queue.waiting]).toEqual([0, 0]);
});

it('starts urgent tasks first, in turns as well, and one other after seven of them', async () => {
  const stage = new Stage();
  const queue = new TaskQueue<Tasks>(stage);
  const [a, b] = [queue.runner(), queue.runner()];
  for (let i = 1; i <= 5; i++) void a.run('work', i);
  for (let i = 101; i <= 108; i++) void a.run('work', i, { urgent: true });
  for (let i = 201; i <= 202; i++) void b.run('work', i, { urgent: true });
  const urgent = [101, 201, 102, 202, 103, 104, 105];
  expect(await playOut(stage)).toEqual([1, 2, ...urgent, 3, 106, 107, 108, 4, 5]);
});

it('says how long tasks of a runner have waited, and which were urgent', async () => {
  const stage = new Stage();
  const queue = new TaskQueue<Tasks>(stage);
  const starts: [number, boolean][] = [];
  const { run } = queue.runner({ onStart: (ms, urgent) => starts.push([ms, urgent]) });
  void run('work', 1);
  void queue.run('work', 2);
  void run('work', 3, { urgent: true });
  expect(starts.length).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 30));
  await playOut(stage);
  expect(starts).toMatchObject([
    [expect.any(Number), false],
    [expect.any(Number), true],
  ]);
  expect(starts[0]![0]).toBeLessThan(20);
  expect(starts[1]![0]).toBeGreaterThan(20);
});

it('forgets a cancelled task, and its runner when that has no other', async () => {
  const stage = new Stage();
  const queue = new TaskQueue<Tasks>(stage);
  const [a, b] = [queue.runner(), queue.runner()];
  const controller = new AbortController();
  const { signal } = controller;
  for (const input of [1, 2]) void a.run('work', input);
  const cancelled = [3, 4].map((input) => a.run('work', input, { signal, urgent: input === 4 }));
  void b.run('work', 11);
  void a.run('work', 5);
  controller.abort();
  for (const run of cancelled) await expect(run).rejects.toMatchObject({ name: 'AbortError' });
  expect(queue.waiting).toBe(2);
  expect(await playOut(stage)).toEqual([1, 2, 5, 11]);
});

it('settles everything when it is closed or has lost its workers', async () => {
  for (const end of ['close', 'fail'] as const) {
    const stage = new Stage();
    const queue = new TaskQueue<Tasks>(stage);
    const runs = [1, 2, 3].map((input) =>
      expect(queue.run('work', input)).rejects.toThrow(/closed|lost/),
    );
    const failed = queue.failed.then(({ message }) => message);
    if (end === 'close') await queue.close();
    else queue.fail(new Error('lost'));
    await Promise.all(runs);
    expect(await Promise.race([failed, settled()])).toBe(end === 'fail' ? 'lost' : undefined);
    // A late result starts nothing any more.
    stage.ends.get(1)!.resolve(10);
    await settled();
    expect(stage.started).toEqual([1, 2]);
    await expect(queue.run('work', 5)).rejects.toThrow(/closed|lost/);
    await queue.close();
    await queue.close();
    expect(stage.shutdowns).toBe(1);
  }
});

it('moves only buffers that a view fills, each once', () => {
  const whole = new Int32Array(4);
  const shared = new Uint8Array(new SharedArrayBuffer(8));
  const part = new Uint8Array(8).subarray(0, 4);
  const output = { a: whole, b: [whole, new Uint8Array(whole.buffer), part], c: shared, d: null };
  expect(transferables(output)).toEqual([whole.buffer]);
  expect(transferables(5)).toEqual([]);
  expect(transferables(part)).toEqual([]);
});

it('gives views of parts memory of their own, and leaves the rest as it is', () => {
  const whole = new Int32Array(4);
  const shared = new Uint8Array(new SharedArrayBuffer(8)).subarray(2);
  const part = new Int32Array([1, 2, 3]).subarray(1);
  const output = movable({ a: whole, b: [part], c: shared, d: null, e: 5 }) as {
    a: Int32Array;
    b: Int32Array[];
    c: Uint8Array;
  };
  expect(output).toEqual({ a: whole, b: [Int32Array.of(2, 3)], c: shared, d: null, e: 5 });
  expect(output.a).toBe(whole);
  expect(output.c).toBe(shared);
  expect(transferables(output)).toEqual([whole.buffer, output.b[0]!.buffer]);
  expect(part).toEqual(Int32Array.of(2, 3));
});
