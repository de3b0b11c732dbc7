import { describe, expect, it, vi } from 'vitest';
import type { SessionProgress } from '../../client/reporter.ts';
import { sessionOver } from '../../client/session.ts';
import { ProtocolError } from '../../protocol/errors.ts';
import { argmax } from '../../protocol/gadgets/argmax.ts';
import { costOf } from '../../protocol/inference/cost.ts';
import { hintBytesOf } from '../../protocol/inference/hint.ts';
import { layoutOf } from '../../protocol/inference/layout.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import { resealing } from '../support/resealed.ts';
import {
  distance,
  failureOf,
  LocalServer,
  localPool,
  openLocal,
  plainAnswer,
  somePixels,
  tinyModel,
  within,
} from '../system/support.ts';

const model = tinyModel();
const tiny = { name: 'tiny', model };
const label = { name: 'label', model: tinyModel('label') };

describe('a session', () => {
  it('answers as the plaintext network does, prepared ahead or not', async () => {
    const server = new LocalServer([tiny]);
    const session = await server.connect();
    expect(session.model).toBe('tiny');
    expect(session.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(session.program.labels).toEqual(['ant', 'bee', 'cat']);
    await session.prepare({ inferences: 2 });
    expect(session.available).toBe(2);
    for (let i = 0; i < 3; i++) {
      const pixels = somePixels(model, i);
      const result = await session.infer(pixels);
      const plain = plainAnswer(model, pixels);
      expect(distance(result.logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
      expect(result.label).toBe(plain.label);
      expect(result.results).toEqual([{ name: 'logits', shape: [3], data: result.logits }]);
      expect(result.labelName).toBe(session.program.labels[plain.label]);
    }
    expect(session.available).toBe(0);
    await session.close();
    await server.settled();
    expect(server.of('inference').map(({ bundle }) => bundle)).toEqual([0, 1, 2]);
    expect(server.of('closed')).toMatchObject([{ reason: 'goodbye', inferences: 3, unused: 0 }]);
    expect(server.of('error')).toEqual([]);
  });

  it('takes any numbers up to a limit where the program has one, and no bytes', async () => {
    const { program, weights } = model;
    const numbers = { program: { ...program, input: { ...program.input, limit: 4 } }, weights };
    const server = new LocalServer([{ name: 'numbers', model: numbers }]);
    const session = await server.connect();
    const input = somePixels(model).map((pixel) => 8 * pixel - 4);
    const { logits } = await session.infer(input);
    const plain = plainAnswer(numbers, input);
    expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
    await expect(session.infer(new Uint8Array(input.length))).rejects.toThrow(
      new TypeError('the model takes numbers and no pixels: expected a Float32Array'),
    );
    const far = input.with(7, -4.5);
    await expect(session.infer(far)).rejects.toThrow(
      'number 7 of the input is -4.5, normalised -4.5: it must lie within +-4',
    );
    // Nothing was spent.
    expect((await session.infer(input)).logits).toHaveLength(3);
    await session.close();
  });

  it('takes bytes as well as floats, and hides logits where the program does', async () => {
    const server = new LocalServer([tiny, label]);
    const session = await server.connect({ model: 'label' });
    const bytes = Uint8Array.from(somePixels(model), (pixel) => Math.round(pixel * 255));
    const result = await session.infer(bytes);
    expect(result.logits).toBeUndefined();
    const expected = plainAnswer(label.model, somePixels(model)).label;
    expect(result.label).toBe(expected);
    const data = Float32Array.of(expected);
    expect(result.results).toEqual([{ name: 'logits', shape: [], data }]);
    await session.close();
  });

  it('gives several results by their names, with their readouts done, and then no label', async () => {
    const { program, weights } = model;
    const { bits } = program.results[0]!;
    const results = [
      { name: 'pair', shape: [1, 2], bits, readout: { kind: 'softmax', axis: 1 } },
      { name: 'last', shape: [], bits: bits + 1 },
    ] as const;
    const several = { program: { ...program, results, labels: [] }, weights };
    const server = new LocalServer([{ name: 'several', model: several }]);
    const session = await server.connect();
    const { label, labelName, logits, results: own } = await session.infer(somePixels(model));
    expect([label, labelName]).toEqual([undefined, undefined]);
    const plain = plainAnswer(several, somePixels(model));
    expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
    expect(own.map(({ name, shape }) => [name, shape])).toEqual([
      ['pair', [1, 2]],
      ['last', []],
    ]);
    const [a, b] = logits!;
    expect(own[0]!.data[0]).toBeCloseTo(1 / (1 + Math.exp(b! - a!)), 5);
    expect(own[0]!.data[0]! + own[0]!.data[1]!).toBeCloseTo(1, 6);
    expect([...own[1]!.data]).toEqual([logits![2]]);
    await session.close();
  });

  it('states what each phase moved: the bytes and rounds of the cost formula', async () => {
    const server = new LocalServer([tiny]);
    const session = await server.connect();
    const { stats } = await session.infer(somePixels(model));
    const cost = costOf(layoutOf(model.program));
    for (const phase of ['offline', 'online'] as const) {
      const { ms, bytesUp, bytesDown, rounds } = stats[phase];
      expect({ up: bytesUp, down: bytesDown, rounds }).toEqual(cost[phase]);
      expect(ms).toBeGreaterThan(0);
    }
    await session.close();
  });

  it('moves fewer bytes over a slow link, as the cost formula says', async () => {
    const server = new LocalServer([tiny]);
    const layout = layoutOf(model.program);
    // k of the OT extension that suits each rate: otKFor of protocol/ot/groups.ts.
    for (const [bitsPerSecond, k] of [
      [100e6, 4],
      [20e6, 6],
      [1e6, 8],
    ] as const) {
      const session = await server.connect({ bitsPerSecond });
      const { stats, logits } = await session.infer(somePixels(model));
      const { up, down, rounds } = costOf(layout, k).offline;
      expect(stats.offline).toMatchObject({ bytesUp: up, bytesDown: down, rounds });
      const plain = plainAnswer(model, somePixels(model));
      expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
      await session.close();
    }
    await expect(server.connect({ bitsPerSecond: 0 })).rejects.toThrow(RangeError);
  });

  it('runs inferences in their order, beside preparations: one that is ready waits for none', async () => {
    const server = new LocalServer([tiny]);
    const session = await server.connect();
    await session.prepare();
    const order: string[] = [];
    const note = (what: string) => () => void order.push(what);
    const [, first, second] = await Promise.all([
      session.prepare({ inferences: 8 }).then(note('prepare')),
      session.infer(somePixels(model, 1)),
      session.infer(somePixels(model, 2)).finally(note('infer 2')),
    ]);
    expect(order).toEqual(['infer 2', 'prepare']);
    expect(first.logits).toBeDefined();
    // The second waits for all of the first, and for a bundle.
    expect(second.stats.waitMs).toBeGreaterThan(first.stats.online.ms);
    expect(session.available).toBe(7);
    // Begun before the preparation was over, at the server too.
    const events = server.events.map(({ type }) => type);
    expect(events.indexOf('inference')).toBeLessThan(events.lastIndexOf('bundle'));
    await session.close();
  });

  it('takes what is on its way, rather than prepare once more', async () => {
    const server = new LocalServer([tiny]);
    const session = await server.connect();
    await Promise.all([
      session.infer(somePixels(model, 1)),
      session.prepare({ inferences: 2 }),
      session.infer(somePixels(model, 2)),
    ]);
    expect([session.available, server.of('bundle').length]).toEqual([0, 2]);
    await session.close();
  });

  it('keeps inferences ready in the background, also after they were used', async () => {
    const server = new LocalServer([tiny]);
    const session = await server.connect({ keepReady: 2 });
    await vi.waitFor(() => expect(session.available).toBe(2), 5000);
    const { stats } = await session.infer(somePixels(model));
    expect(stats.waitMs).toBeLessThan(1000);
    await vi.waitFor(() => expect(session.available).toBe(2), 5000);
    expect(server.of('bundle')).toHaveLength(3);
    await session.close();
  });

  it('refuses options that there are not', async () => {
    const server = new LocalServer([tiny]);
    const options = { keepready: 2 } as object;
    expect((await failureOf(server.connect(options))).message).toMatch(
      /^there is no option "keepready"; there are signal, onProgress, model, /,
    );
    expect(await failureOf(server.connect({ keepReady: -1 }))).toBeInstanceOf(RangeError);
  });

  it('reports progress that only grows, phase after phase', async () => {
    const server = new LocalServer([tiny]);
    const events: SessionProgress[] = [];
    const session = await server.connect({ onProgress: (event) => events.push(event) });
    await session.prepare({ inferences: 2 });
    await session.infer(somePixels(model));
    const phases = events.map(({ phase }) => phase).filter((p, i, all) => p !== all[i - 1]);
    const opening = ['connect', 'setup', 'hint', 'done'];
    expect(phases).toEqual([...opening, 'prepare', 'done', 'infer', 'done']);
    const cost = costOf(layoutOf(model.program));
    const hint = hintBytesOf(layoutOf(model.program));
    const fetched = events.filter(({ phase }) => phase === 'hint').at(-1)!;
    expect([fetched.done, fetched.total]).toEqual([hint, hint]);
    for (const phase of ['prepare', 'infer'] as const) {
      const of = events.filter((event) => event.phase === phase);
      expect(of.map(({ done }) => done)).toEqual(of.map((_, i) => i + 1));
      expect(of.at(-1)!.done).toBe(of[0]!.total);
      // Every event names the step that is over, and the last has all the bytes of the cost formula.
      const names = session.program.steps.map(({ name }) => name);
      expect(of.every(({ layer }) => names.includes(layer!))).toBe(true);
      expect(of.at(-1)!.bytes).toBe(of[0]!.bytesTotal);
      expect(of[0]!.bytes).toBeGreaterThan(0);
      expect(of.map(({ bytes }) => bytes)).toEqual(
        of.map(({ bytes }) => bytes).sort((x, y) => x - y),
      );
    }
    const prepared = events.find(({ phase }) => phase === 'prepare')!;
    // The choices of the first were drawn before.
    const { offline, draw } = cost;
    expect(prepared.bytesTotal).toBe(2 * (offline.up + offline.down) - draw.up - draw.down);
    for (let i = 1; i < events.length; i++) {
      expect(events[i]!.bytesUp).toBeGreaterThanOrEqual(events[i - 1]!.bytesUp);
      expect(events[i]!.bytesDown).toBeGreaterThanOrEqual(events[i - 1]!.bytesDown);
    }
    await session.close();
  });

  it("a caller's mistake costs nothing", async () => {
    const server = new LocalServer([tiny]);
    const session = await server.connect();
    await session.prepare();
    expect(await failureOf(session.infer(new Float32Array(5)))).toBeInstanceOf(RangeError);
    expect(await failureOf(session.infer(new Float32Array(36).fill(2)))).toBeInstanceOf(RangeError);
    expect(await failureOf(session.infer([] as unknown as Uint8Array))).toBeInstanceOf(TypeError);
    expect(await failureOf(session.prepare({ inferences: 0 }))).toBeInstanceOf(RangeError);
    expect(await failureOf(session.prepare({ inferences: 1.5 }))).toBeInstanceOf(RangeError);
    expect(session.available).toBe(1);
    await session.infer(somePixels(model));
    await session.close();
  });

  it('is over after close: calls reject, a second close does nothing', async () => {
    const server = new LocalServer([tiny]);
    const session = await server.connect();
    await session.prepare();
    await session.close();
    await session.close();
    expect(session.available).toBe(0);
    expect(await failureOf(session.infer(somePixels(model)))).toMatchObject({ code: 'closed' });
    expect(await failureOf(session.prepare())).toMatchObject({
      code: 'closed',
      message: 'the session was closed',
    });
  });

  it('names what ended it, not what followed from that', async () => {
    const server = new LocalServer([tiny]);
    const channel = server.accept();
    const lost = new ProtocolError('timeout', 'nothing came');
    const inner = localPool();
    const run = (task: string, input: never) => {
      if (task === 'maskInput') channel.close(lost);
      return inner.run(task as 'maskInput', input);
    };
    const pool = { ...inner, run } as unknown as ProtocolPool;
    // The end frees the pool, which fails the task that is still running.
    const session = await sessionOver({ channel, pool, release: () => inner.close() });
    expect(await failureOf(session.prepare())).toBe(lost);
    expect(await failureOf(session.prepare())).toBe(lost);
  });

  it('refuses a class that is none: its answer says why, the server is told nothing', async () => {
    const server = new LocalServer([label]);
    const channel = server.accept();
    const { tables } = argmax.bytes(layoutOf(label.model.program).output.argmax!);
    const { label: truth } = plainAnswer(label.model, somePixels(model));
    const receive = channel.receive.bind(channel);
    channel.receive = async (kind, bytes) => {
      const payload = await receive(kind, bytes);
      // The last byte of the argmax's tables has the colours of the index: it comes out as 3.
      if (kind === Kind.tables && bytes === tables) payload[bytes - 1]! ^= truth ^ 3;
      return payload;
    };
    resealing(channel);
    const session = await openLocal(channel);
    const error = await failureOf(session.infer(somePixels(model)));
    expect(error).toMatchObject({
      name: 'ProtocolError',
      code: 'corrupted',
      message: 'the result is class 3, there are 3',
    });
    expect(await failureOf(session.prepare())).toBe(error);
    await session.close();
    await server.settled();
    expect(server.of('error')).toEqual([]);
    expect(server.of('closed')).toMatchObject([{ reason: 'goodbye', inferences: 1, unused: 0 }]);
  });

  it('close ends calls that run or wait, and frees what the session stands on', async () => {
    const server = new LocalServer([tiny]);
    let released = 0;
    const session = await openLocal(server.accept(), {}, async () => void released++);
    const calls = [failureOf(session.prepare({ inferences: 5 })), failureOf(session.prepare())];
    await session[Symbol.asyncDispose]();
    expect(released).toBe(1);
    for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: 'closed' });
  });
});

describe('aborting', () => {
  /** A signal that fires when a phase reaches its first step. */
  function at(phase: SessionProgress['phase']) {
    const controller = new AbortController();
    const onProgress = (event: SessionProgress) => {
      if (event.phase === phase) controller.abort();
    };
    return { signal: controller.signal, onProgress };
  }

  it.each(['connect', 'setup'] as const)('%s: there is no session', async (phase) => {
    const server = new LocalServer([tiny]);
    let released = 0;
    const opening = openLocal(server.accept(), at(phase), async () => void released++);
    expect(await within(5000, failureOf(opening))).toMatchObject({ name: 'AbortError' });
    expect(released).toBe(1);
    await server.settled();
  });

  it('prepare: at once, and what it had begun is finished and kept', async () => {
    const server = new LocalServer([tiny]);
    const session = await server.connect();
    await session.prepare({ inferences: 2 });
    const call = session.prepare({ inferences: 3, ...at('prepare') });
    expect(await within(5000, failureOf(call))).toMatchObject({ name: 'AbortError' });
    await vi.waitFor(() => expect(session.available).toBe(3), 5000);
    // What was reserved and not made is used by the next.
    await session.prepare({ inferences: 3 });
    expect(server.of('bundle')).toHaveLength(6);
    for (let i = 0; i < 6; i++) await session.infer(somePixels(model));
    await session.close();
    await server.settled();
    expect(server.of('error')).toEqual([]);
  });

  it('infer: at once, for its bundle; the session goes on', async () => {
    const server = new LocalServer([tiny]);
    const session = await server.connect();
    await session.prepare({ inferences: 2 });
    const call = session.infer(somePixels(model), at('infer'));
    expect(await within(5000, failureOf(call))).toMatchObject({ name: 'AbortError' });
    await session.infer(somePixels(model));
    expect(session.available).toBe(0);
    await session.close();
    await server.settled();
    expect(server.of('error')).toEqual([]);
  });

  it('a call that waits for its turn: only that call', async () => {
    const server = new LocalServer([tiny]);
    const session = await server.connect();
    const controller = new AbortController();
    const first = session.infer(somePixels(model));
    const second = failureOf(session.infer(somePixels(model), controller));
    controller.abort();
    expect(await second).toMatchObject({ name: 'AbortError' });
    await first;
    const aborted = AbortSignal.abort();
    expect(await failureOf(session.prepare({ signal: aborted }))).toMatchObject({
      name: 'AbortError',
    });
    await session.infer(somePixels(model));
    await session.close();
  });
});

describe('what a client accepts', () => {
  it('the program it expects, no other', async () => {
    const server = new LocalServer([tiny, label]);
    const session = await server.connect();
    const { digest } = session;
    await session.close();
    const again = await server.connect({ expect: { digest: digest.toUpperCase() } });
    await again.close();
    const error = await failureOf(server.connect({ model: 'label', expect: { digest } }));
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toMatchObject({ code: 'program-mismatch' });
    expect(error.message).toContain(digest);
    await server.settled();
    expect(server.of('error')).toMatchObject([{ code: 'program-mismatch' }]);
  });

  it('the model it expects, no other', async () => {
    const server = new LocalServer([tiny]);
    expect(await failureOf(server.connect({ expect: { model: 'other' } }))).toMatchObject({
      code: 'program-mismatch',
      message: 'the server offers "tiny", expected "other"',
    });
    expect(await failureOf(server.connect({ model: 'other' }))).toMatchObject({
      code: 'refused',
      message: 'the peer gave up: this server offers no model named "other"; it offers tiny',
    });
  });

  it('programs within its limits, down to the byte', async () => {
    const server = new LocalServer([tiny]);
    const { offline, online } = costOf(layoutOf(model.program));
    const bytes = offline.up + offline.down + online.up + online.down;
    // Input 36, convolution and activation 18 each, logits and output 3 each.
    const fits = { maxElements: 36 + 18 + 18 + 3 + 3, maxBytes: bytes };
    await (await server.connect({ limits: fits })).close();
    const small = server.connect({ limits: { ...fits, maxElements: fits.maxElements - 1 } });
    expect(await failureOf(small)).toMatchObject({
      code: 'limit',
      message: 'the program has 78 elements, this client takes at most 77',
    });
    const hint = costOf(layoutOf(model.program)).hint;
    await (await server.connect({ limits: { ...fits, maxHintBytes: hint } })).close();
    const large = server.connect({ limits: { ...fits, maxHintBytes: hint - 1 } });
    expect((await failureOf(large)).message).toBe(
      `the hint of the program has ${hint} bytes, this client takes at most ${hint - 1}`,
    );
    const short = server.connect({ limits: { ...fits, maxBytes: bytes - 1 } });
    expect(await failureOf(short)).toMatchObject({ code: 'limit' });
  });
});
