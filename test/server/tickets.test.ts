/** Sessions whose link is lost, and what their clients find when they come back. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import {
  type ConnectOptions,
  connect,
  openSession,
  type Session,
  type SessionStatus,
} from '../../client/index.ts';
import { freshResumption, type Resumption } from '../../client/link.ts';
import { encodeControl } from '../../protocol/channel/codec.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { memoryPair } from '../../protocol/channel/memory.ts';
import { CLIENT_SOCKET_OPTIONS, socketChannel } from '../../protocol/channel/websocket.ts';
import { ProtocolError } from '../../protocol/errors.ts';
import { BundleStore } from '../../protocol/inference/bundle.ts';
import {
  decodeWelcome,
  encodeHello,
  encodeWelcome,
  type Hello,
  LAST_BUNDLE,
  PROTOCOL_VERSION,
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

let statuses: SessionStatus[];

const connected = (options: ConnectOptions = {}) => {
  statuses = [];
  const onStatus = (status: SessionStatus) => void statuses.push(status);
  return connect(`ws://127.0.0.1:${link.port}`, { pool, onStatus, ...options });
};

/** Waits until the session has lost its link and come back so often. */
const resumed = (times = 1) =>
  until(() => statuses.filter((status) => status === 'resumed').length === times);

async function expectRight(session: Session): Promise<void> {
  const { logits } = await session.infer(pixels);
  expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
}

/** A session that does not come back by itself, and how its cable is pulled out. */
async function plainSession(resume: Resumption) {
  const channel = socketChannel(new WebSocket(server.url, CLIENT_SOCKET_OPTIONS));
  const session = await openSession({ channel, pool, resume });
  const lose = async () => {
    const before = of('closed').length;
    channel.close(new ProtocolError('lost', 'the cable'));
    await session.closed;
    await until(() => of('closed').length > before);
  };
  return { session, lose };
}

/** What a server answers to a hello. */
async function greeted(local: LocalServer, hello: Partial<Hello>) {
  const channel = local.accept();
  const own = { nonce: new Uint8Array(32), otK: 4 as const, model: null, bundles: [], next: 0 };
  const ticket = new Uint8Array(32).fill(7);
  const named = hello.bundles ?? [];
  await channel.send(Kind.hello, encodeHello({ ...own, ticket, ...hello }));
  try {
    return decodeWelcome(await channel.receiveUpTo(Kind.welcome, 4096), {
      bundles: named,
      next: hello.next ?? 0,
    });
  } finally {
    channel.close();
    await local.settled();
  }
}

describe('a client whose link was lost', () => {
  beforeEach(() => start());
  afterEach(stop);

  it('comes back by itself to what it had prepared, and to right answers', async () => {
    const session = await connected();
    await session.prepare({ inferences: 3 });
    await expectRight(session);
    link.cut();
    await resumed();
    expect(statuses).toEqual(['connecting', 'ready', 'lost', 'resumed']);
    expect(of('closed').at(-1)).toMatchObject({ unused: 2, kept: 2 });
    expect(of('session').map((event) => event.resumed)).toEqual([0, 2]);
    expect(session.available).toBe(2);
    await expectRight(session);
    await expectRight(session);
    // And to fresh ones, whose numbers go on.
    await expectRight(session);
    expect(of('inference').map(({ bundle }) => bundle)).toEqual([0, 1, 2, 3]);
    await session.close();
    expect(statuses.at(-1)).toBe('closed');
    expect(await session.closed).toBeUndefined();
  });

  it('comes back with nothing left, and prepares and asks again', async () => {
    const session = await connected();
    await expectRight(session);
    link.cut();
    await resumed();
    await expectRight(session);
    expect(of('inference').map(({ bundle }) => bundle)).toEqual([0, 1]);
    await session.close();
  });

  it('comes back, and gets its hint anew, after the signal of its opening has fired', async () => {
    const opening = new AbortController();
    const session = await connected({ hints: false, signal: opening.signal });
    opening.abort();
    link.cut();
    await resumed();
    await expectRight(session);
    await session.close();
  });

  it('comes back more than once, and room is counted with what it has', async () => {
    const session = await connected();
    await session.prepare({ inferences: 16 });
    for (const times of [1, 2, 3]) {
      link.cut();
      await resumed(times);
      expect(session.available).toBe(17 - times);
      await expectRight(session);
    }
    expect(await failureOf(session.prepare({ inferences: 4 }))).toMatchObject({ code: 'refused' });
    await session.prepare({ inferences: 3 });
    await session.close();
  });

  it('loses what was in use, and goes on with the calls that wait', async () => {
    const session = await connected();
    await session.prepare({ inferences: 3 });
    await session.infer(pixels);
    let arrived = 0;
    // In the middle of the second inference: after its first layer.
    const onProgress = () => {
      if (++arrived === 1) link.cut();
    };
    const cut = failureOf(session.infer(pixels, { onProgress }));
    const waiting = session.infer(pixels);
    expect(await cut).toMatchObject({ code: 'lost' });
    await waiting;
    expect(session.available).toBe(0);
    expect(of('inference').map(({ bundle }) => bundle)).toEqual([0, 2]);
    await session.close();
  });

  it('comes back before the server has missed it', async () => {
    let own: Channel | undefined;
    const session = await connected({ decorate: (channel) => (own = channel) });
    await session.prepare({ inferences: 2 });
    link.freeze();
    expect(server.sessions).toBe(1);
    // As the client's own patience does, in half a minute.
    own?.close(new ProtocolError('timeout', 'nothing came'));
    await within(5000, resumed());
    expect(server.sessions).toBe(1);
    expect(session.available).toBe(2);
    await expectRight(session);
    await session.close();
  });

  it('keeps trying while there is no server, and ends when it is another one', async () => {
    const session = await connected();
    await session.prepare();
    const other = [{ name: 'tiny', model: tinyModel('label') }];
    const { port } = server.address;
    await server.close();
    await until(() => statuses.at(-1) === 'lost');
    expect(session.available).toBe(0);
    // A call waits for one try, and the session goes on trying.
    expect(await within(5000, failureOf(session.infer(pixels)))).toMatchObject({
      code: 'unreachable',
    });
    expect(statuses.at(-1)).toBe('lost');
    server = await serve(other, { port, pool });
    expect(await within(10_000, session.closed)).toMatchObject({ code: 'program-mismatch' });
  });
});

describe('what a session leaves', () => {
  afterEach(stop);

  it('is nothing after a goodbye', async () => {
    await start();
    const resume = freshResumption();
    const { session } = await plainSession(resume);
    await session.prepare({ inferences: 2 });
    await session.close();
    await until(() => of('closed').length === 1);
    expect(of('closed')[0]).toMatchObject({ unused: 2, kept: 0 });
    expect(resume.bundles.available).toBe(0);
  });

  it('is forgotten after a time', async () => {
    await start({ limits: { resumeMs: 100 } });
    const resume = freshResumption();
    const first = await plainSession(resume);
    await first.session.prepare();
    await first.lose();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { session } = await plainSession(resume);
    expect(session.available).toBe(0);
    await expectRight(session);
    await session.close();
  });

  it('is nothing where the operator wants it so', async () => {
    await start({ limits: { resumeMs: 0 } });
    const { session, lose } = await plainSession(freshResumption());
    await session.prepare();
    await lose();
    expect(of('closed')[0]).toMatchObject({ unused: 1, kept: 0 });
  });

  it('makes room for sessions, the oldest first', async () => {
    await start({ limits: { sessions: 2 } });
    const left = [freshResumption(), freshResumption(), freshResumption()];
    for (const resume of left) {
      const { session, lose } = await plainSession(resume);
      await session.prepare();
      await lose();
    }
    const last = await plainSession(left[2]!);
    expect(last.session.available).toBe(1);
    const first = await plainSession(left[0]!);
    expect(first.session.available).toBe(0);
    await Promise.all([first.session.close(), last.session.close()]);
  });
});

/** Waits for what the other side does in its own time. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

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
    channel.close(new ProtocolError('lost', 'the cable'));
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
    await channel.send(Kind.grant, new Uint8Array(3));
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
      message: `the peer gave up: the peer speaks protocol version 8, this side version ${PROTOCOL_VERSION}`,
    });
  });
});
