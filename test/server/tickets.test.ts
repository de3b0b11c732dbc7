/** Sessions whose link is lost, and what their clients find when they come back. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connect, type Session } from '../../client/index.ts';
import { encodeControl } from '../../protocol/channel/codec.ts';
import { memoryPair } from '../../protocol/channel/memory.ts';
import { BundleStore } from '../../protocol/inference/bundle.ts';
import {
  decodeWelcome,
  encodeHello,
  encodeWelcome,
  type Hello,
  LAST_BUNDLE,
} from '../../protocol/inference/hello.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import {
  type RunningServer,
  type ServeOptions,
  type ServerEvent,
  serve,
} from '../../server/index.ts';
import { Tickets } from '../../server/tickets.ts';
import { type Relay, relay } from '../support/relay.ts';
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
const models = [{ name: 'tiny', model }];
const pixels = somePixels(model);
const plain = plainAnswer(model, pixels);

let pool: ProtocolPool;
let server: RunningServer;
let link: Relay;
let events: ServerEvent[];

beforeAll(() => {
  pool = localPool();
});

afterAll(() => pool.close());

async function start(options: Partial<ServeOptions> = {}): Promise<void> {
  events = [];
  const onEvent = (event: ServerEvent) => void events.push(event);
  server = await serve(models, { port: 0, pool, onEvent, ...options });
  link = await relay(server.address.port);
}

async function stop(): Promise<void> {
  link.close();
  await server.close();
}

const of = <T extends ServerEvent['type']>(type: T) =>
  events.filter((event) => event.type === type) as Extract<ServerEvent, { type: T }>[];

const connected = (options = {}) => connect(`ws://127.0.0.1:${link.port}`, { pool, ...options });

/** Cuts the link of a session, and waits until both sides have seen it. */
async function lose(session: Session): Promise<void> {
  const closed = of('closed').length;
  link.cut();
  while (session.available > 0 || of('closed').length === closed) await turn();
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

async function expectRight(session: Session): Promise<void> {
  const { logits } = await session.infer(pixels);
  expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
}

/** What a server answers to a hello. */
async function greeted(local: LocalServer, hello: Partial<Hello>) {
  const channel = local.accept();
  const own = { nonce: new Uint8Array(32), otK: 4, model: null, bundles: [], next: 0 };
  const ticket = new Uint8Array(32).fill(7);
  const named = hello.bundles ?? [];
  await channel.send(Kind.hello, encodeHello({ ...own, ticket, ...hello }));
  try {
    return decodeWelcome(await channel.receiveUpTo(Kind.welcome, 4096), named, 0);
  } finally {
    channel.close();
    await local.settled();
  }
}

describe('a client whose link was lost', () => {
  beforeEach(() => start());
  afterEach(stop);

  it('comes back to what it had prepared, and to right answers', async () => {
    const session = await connected();
    await session.prepare({ inferences: 3 });
    await expectRight(session);
    await lose(session);
    expect(of('closed').at(-1)).toMatchObject({ unused: 2, kept: 2 });
    expect(await failureOf(session.infer(pixels))).toMatchObject({ code: 'closed' });
    const again = await session.reconnect();
    expect(of('session').map(({ resumed }) => resumed)).toEqual([0, 2]);
    expect(again.available).toBe(2);
    await expectRight(again);
    await expectRight(again);
    // And to fresh ones, whose numbers go on.
    await expectRight(again);
    expect(of('inference').map(({ bundle }) => bundle)).toEqual([0, 1, 2, 3]);
    await again.close();
  });

  it('comes back with nothing left, and prepares and asks again', async () => {
    const session = await connected();
    await expectRight(session);
    await lose(session);
    const again = await session.reconnect();
    await expectRight(again);
    expect(of('inference').map(({ bundle }) => bundle)).toEqual([0, 1]);
    await again.close();
  });

  it('comes back more than once, and room is counted with what it has', async () => {
    let session = await connected();
    await session.prepare({ inferences: 16 });
    for (let left = 16; left > 13; left--) {
      await lose(session);
      session = await session.reconnect();
      expect(session.available).toBe(left);
      await expectRight(session);
    }
    expect(await failureOf(session.prepare({ inferences: 4 }))).toMatchObject({ code: 'refused' });
    await session.prepare({ inferences: 3 });
    await session.close();
  });

  it('loses what was in use, and nothing else', async () => {
    let arrived = 0;
    const session = await connected({
      onProgress: () => {
        // In the middle of the second inference: after its first layer.
        if (of('inference').length === 1 && ++arrived === 1) link.cut();
      },
    });
    await session.prepare({ inferences: 3 });
    await session.infer(pixels, { onProgress: () => {} });
    expect(await failureOf(session.infer(pixels))).toMatchObject({ code: 'closed' });
    const again = await session.reconnect({});
    expect(again.available).toBe(1);
    await expectRight(again);
    expect(of('inference').map(({ bundle }) => bundle)).toEqual([0, 2]);
    await again.close();
  });

  it('comes back before the server has missed it', async () => {
    const session = await connected();
    await session.prepare({ inferences: 2 });
    link.freeze();
    expect(server.sessions).toBe(1);
    const again = await within(5000, session.reconnect());
    expect(server.sessions).toBe(1);
    expect(again.available).toBe(2);
    await expectRight(again);
    await again.close();
  });

  it('keeps what it had when a call is cancelled', async () => {
    const session = await connected();
    await session.prepare({ inferences: 3 });
    const cancel = new AbortController();
    const running = session.infer(pixels, {
      signal: cancel.signal,
      onProgress: () => cancel.abort(),
    });
    expect(await failureOf(running)).toMatchObject({ name: 'AbortError' });
    expect(session.available).toBe(0);
    const again = await session.reconnect();
    expect(again.available).toBe(2);
    await again.close();
  });

  it('may try again when it does not reach the server', async () => {
    const session = await connected();
    await session.prepare();
    await lose(session);
    const { port } = link;
    const aborted = session.reconnect({ signal: AbortSignal.abort() });
    expect(await failureOf(aborted)).toMatchObject({ name: 'AbortError' });
    const again = await session.reconnect();
    expect([link.port, again.available]).toEqual([port, 1]);
    await again.close();
  });

  it('has nothing left after a goodbye', async () => {
    const session = await connected();
    await session.prepare({ inferences: 2 });
    await session.close();
    const again = await session.reconnect();
    expect(again.available).toBe(0);
    expect(of('closed')[0]).toMatchObject({ unused: 2, kept: 0 });
    await again.close();
  });
});

describe('what a session leaves', () => {
  afterEach(stop);

  it('is forgotten after a time', async () => {
    await start({ limits: { resumeMs: 100 } });
    const session = await connected();
    await session.prepare();
    await lose(session);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const again = await session.reconnect();
    expect(again.available).toBe(0);
    await expectRight(again);
    await again.close();
  });

  it('is nothing where the operator wants it so', async () => {
    await start({ limits: { resumeMs: 0 } });
    const session = await connected();
    await session.prepare();
    await lose(session);
    expect(of('closed')[0]).toMatchObject({ unused: 1, kept: 0 });
    await (await session.reconnect()).close();
  });

  it('makes room for sessions, the oldest first', async () => {
    await start({ limits: { sessions: 2 } });
    const lost: Session[] = [];
    for (let i = 0; i < 3; i++) {
      const session = await connected();
      await session.prepare();
      await lose(session);
      lost.push(session);
    }
    const last = await lost[2]!.reconnect();
    expect(last.available).toBe(1);
    expect((await lost[0]!.reconnect()).available).toBe(0);
    await last.close();
  });
});

describe('a ticket', () => {
  const hello = async (local: LocalServer, bundles: number[], ticket = 7) =>
    (await greeted(local, { bundles, ticket: new Uint8Array(32).fill(ticket) })).bundles;

  /** A server with which a client of ticket 7 has left bundles 0, 1 and 2. */
  async function withLeft(): Promise<LocalServer> {
    const local = new LocalServer(models, { tickets: new Tickets({ resumeMs: 60_000, most: 4 }) });
    const resume = { ticket: new Uint8Array(32).fill(7), bundles: new BundleStore<never>() };
    const channel = local.accept();
    const session = await openLocal(channel, {}, undefined, resume);
    await session.prepare({ inferences: 3 });
    channel.close(new Error('the cable'));
    await local.settled();
    return local;
  }

  it('gets at what was left under it, not under another', async () => {
    const local = await withLeft();
    expect(await hello(local, [0, 1, 2], 8)).toEqual([]);
    expect(await hello(local, [0, 2, 5])).toEqual([0, 2]);
    // What the client no longer names is gone.
    expect(await hello(local, [0, 1, 2])).toEqual([0, 2]);
    expect(await hello(local, [])).toEqual([]);
    expect(await hello(local, [0, 1, 2])).toEqual([]);
  });

  it('numbers what is prepared behind all that either side has had', async () => {
    const local = await withLeft();
    expect((await greeted(local, { bundles: [] })).next).toBe(3);
    expect((await greeted(local, { bundles: [9] })).next).toBe(10);
    expect((await greeted(local, { bundles: [9], next: 12 })).next).toBe(12);
    expect((await greeted(local, { bundles: [LAST_BUNDLE - 1] })).next).toBe(LAST_BUNDLE);
  });

  it('is worth nothing after a session that broke the protocol', async () => {
    const local = await withLeft();
    const channel = local.accept();
    const own = { nonce: new Uint8Array(32), otK: 4, model: null, next: 0 };
    const ticket = new Uint8Array(32).fill(7);
    await channel.send(Kind.hello, encodeHello({ ...own, ticket, bundles: [0, 1, 2] }));
    await channel.send(Kind.result, new Uint8Array(3));
    await local.settled();
    expect(local.of('error').at(-1)).toMatchObject({ code: 'bad-message' });
    expect(await hello(local, [0, 1, 2])).toEqual([]);
  });

  it.each([
    ['in no order', { bundles: [2, 1] }],
    ['twice', { bundles: [1, 1] }],
    ['beyond the last number', { bundles: [LAST_BUNDLE] }],
    ['that are no numbers', { bundles: ['1'] }],
    ['in thousands', { bundles: Array.from({ length: 1025 }, (_, i) => i) }],
    ['under a short ticket', { ticket: new Uint8Array(31) }],
  ])('does not get at bundles named %s', async (_, change) => {
    const local = new LocalServer(models);
    const error = await failureOf(greeted(local, change as Partial<Hello>));
    expect(error).toMatchObject({ code: 'bad-message' });
  });

  it.each([
    [
      'resumes what was not named',
      { bundles: [1] },
      'the server resumes a bundle that was not named',
    ],
    ['numbers bundles again', { next: 4 }, 'the server numbers bundle 4 again'],
  ])('is refused by its client where a server %s', async (_, change, message) => {
    const [near, far] = memoryPair();
    const bundles = new BundleStore<never>();
    bundles.add({ number: 4 } as never);
    const opening = openLocal(near, {}, undefined, { ticket: new Uint8Array(32), bundles });
    await far.receiveUpTo(Kind.hello, 4096);
    const welcome = {
      nonce: new Uint8Array(32),
      model: 'tiny',
      programBytes: 100,
      generation: 0,
      hint: new Uint8Array(32),
      weights: new Uint8Array(32),
      maxBundles: 1,
      bundles: [4],
      next: 5,
    };
    await far.send(Kind.welcome, encodeWelcome({ ...welcome, ...change }));
    expect(await failureOf(opening)).toMatchObject({ code: 'bad-message', message });
  });

  it('is sent by no earlier version, which is told of its version', async () => {
    const local = new LocalServer(models);
    const channel = local.accept();
    const earlier = { version: 8, agreement: new Uint8Array(32), nonce: new Uint8Array(32) };
    await channel.send(Kind.hello, encodeControl({ ...earlier, otK: 4, model: null }));
    expect(await failureOf(channel.receiveUpTo(Kind.welcome, 4096))).toMatchObject({
      code: 'version-mismatch',
    });
  });
});
