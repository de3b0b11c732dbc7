/** Prepared inferences on disk: for sessions that outlive the process, used once whatever happens, and readable by nobody. */

import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connect, type Session } from '../../client/index.ts';
import { Decorator } from '../../protocol/channel/decorator.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { ProtocolError } from '../../protocol/errors.ts';
import type { ServerBundle } from '../../protocol/inference/bundle.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import { Prg } from '../../protocol/random/index.ts';
import {
  type RunningServer,
  type ServeOptions,
  type ServerEvent,
  serve,
} from '../../server/index.ts';
import { type OfferedModel, offerModels } from '../../server/models.ts';
import { Spill } from '../../server/spill.ts';
import { openSessions, prepareBoth, residualModel, seedOf } from '../support/model.ts';
import { relay } from '../support/relay.ts';
import {
  distance,
  failureOf,
  localPool,
  plainAnswer,
  somePixels,
  tinyModel,
} from '../system/support.ts';

const model = tinyModel();
const pixels = somePixels(model);
const plain = plainAnswer(model, pixels);

let pool: ProtocolPool;
let root: string;
let events: ServerEvent[];
let folder: string;
let keyFile: string;

beforeAll(() => {
  pool = localPool();
});

afterAll(() => pool.close());

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sotto-spill-'));
  [folder, keyFile] = [join(root, 'bundles'), join(root, 'key')];
  events = [];
});

afterEach(() => rmSync(root, { recursive: true }));

const start = (options: Partial<ServeOptions> = {}): Promise<RunningServer> =>
  serve([modelFile()], {
    port: 0,
    pool,
    spill: { folder, keyFile },
    onEvent: (event) => void events.push(event),
    ...options,
  });

/** The model as from a file, so that its hint is the same at each start. */
function modelFile() {
  const path = join(root, 'tiny.sotto');
  return { name: 'tiny', model, file: { path, digest: new Uint8Array(32) } };
}

/** All files of bundles. */
const files = (): string[] =>
  readdirSync(folder).flatMap((name) =>
    readdirSync(join(folder, name)).map((file) => join(folder, name, file)),
  );

async function expectRight(session: Session): Promise<void> {
  const { logits } = await session.infer(pixels);
  expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
}

describe('prepared inferences on disk', () => {
  it('outlive the server, and are used once', async () => {
    let server = await start();
    const { port } = server.address;
    const session = await connect(server.url, { pool });
    await session.prepare({ inferences: 3 });
    await expectRight(session);
    await until(() => files().length === 2);
    await server.close();
    server = await start({ port });
    await until(() => session.available === 2);
    await expectRight(session);
    await until(() => files().length === 1);
    await session.prepare();
    await expectRight(session);
    await expectRight(session);
    await until(() => files().length === 0);
    await session.close();
    expect(events.flatMap((event) => (event.type === 'inference' ? event.bundle : []))).toEqual([
      0, 1, 2, 3,
    ]);
    await server.close();
  });

  it('are removed from the disk before anything that depends on them leaves', async () => {
    const server = await start();
    const seen: number[] = [];
    const session = await connect(server.url, {
      pool,
      decorate: (channel) => new Watching(channel, () => seen.push(files().length)),
    });
    await session.prepare({ inferences: 2 });
    await until(() => files().length === 2);
    await expectRight(session);
    await expectRight(session);
    expect(seen).toEqual([1, 0]);
    await session.close();
    await server.close();
  });

  it('are used by one of two processes that both have them in memory', async () => {
    const [first, second] = [await start(), await start()];
    const link = await relay(first.address.port);
    let own: Channel | undefined;
    const decorate = (channel: Channel) => (own = channel);
    const session = await connect(`ws://127.0.0.1:${link.port}`, { pool, decorate });
    await session.prepare({ inferences: 2 });
    await until(() => files().length === 2);
    // The first process does not see that the client has left.
    link.freeze();
    link.to(second.address.port);
    own?.close(new ProtocolError('timeout', 'nothing came'));
    await until(() => session.available === 2);
    await expectRight(session);
    expect(first.sessions).toBe(1);
    // A thief of the ticket, and of the client's half, finds the other process without it.
    const [name] = readdirSync(folder);
    rmSync(join(folder, name!, '1'));
    const error = await failureOf(session.infer(pixels));
    expect(error).toMatchObject({ code: 'bad-message' });
    expect(error.message).toMatch(/bundle 1 is not ready: it is spent/);
    link.close();
    await Promise.all([first.close(), second.close()]);
  });

  it('are used once by a client that goes from one process to another and back', async () => {
    const [first, second] = [await start(), await start()];
    const link = await relay(first.address.port);
    const session = await connect(`ws://127.0.0.1:${link.port}`, { pool });
    await session.prepare({ inferences: 3 });
    await until(() => files().length === 3);
    const go = async (server: RunningServer): Promise<void> => {
      link.to(server.address.port);
      events.length = 0;
      link.cut();
      await until(() => events.some(({ type }) => type === 'session'));
    };
    await go(second);
    await expectRight(session);
    await session.prepare();
    await go(first);
    // The first process still had all three in memory.
    expect(events.find(({ type }) => type === 'session')).toMatchObject({ resumed: 3 });
    expect(files().map((path) => path.split('/').at(-1))).toEqual(['1', '2', '3']);
    for (let i = 0; i < 3; i++) await expectRight(session);
    const used = events.flatMap((event) => (event.type === 'inference' ? event.bundle : []));
    expect(used).toEqual([1, 2, 3]);
    await session.close();
    link.close();
    await Promise.all([first.close(), second.close()]);
  });

  it('go with a goodbye, and with a fault of the client', async () => {
    const server = await start();
    for (const end of [
      (session: Session) => session.close(),
      async (_: Session, channel: Channel) => {
        await channel.send(Kind.result, new Uint8Array(1));
        await channel.closed;
      },
    ]) {
      let own!: Channel;
      const session = await connect(server.url, { pool, decorate: (channel) => (own = channel) });
      await session.prepare();
      await until(() => files().length === 1);
      await end(session, own);
      await session.close();
      await until(() => files().length === 0);
      events.length = 0;
    }
    await server.close();
  });

  it('go with a goodbye that comes while the server is still busy with the last', async () => {
    const server = await start({ decorate: (channel) => new Busy(channel) });
    const session = await connect(server.url, { pool });
    await session.prepare();
    await until(() => files().length === 1);
    await session.close();
    await until(() => events.some(({ type }) => type === 'closed'));
    expect(events.at(-1)).toMatchObject({ reason: 'goodbye', unused: 1, kept: 0 });
    expect(files()).toEqual([]);
    await server.close();
  });

  it('are kept in memory alone where there is no room, which is said once', async () => {
    const server = await start({ spill: { folder, keyFile, mostBytes: 1000 } });
    const session = await connect(server.url, { pool });
    await session.prepare({ inferences: 3 });
    expect(files()).toEqual([]);
    for (let i = 0; i < 3; i++) await expectRight(session);
    expect(events.filter(({ type }) => type === 'spill')).toEqual([
      {
        type: 'spill',
        message: 'prepared inferences are kept in memory alone: they have more than 1000 bytes',
      },
    ]);
    await session.close();
    await server.close();
  });

  it('are swept away when their client does not come back', async () => {
    const first = await start();
    const session = await connect(first.url, { pool });
    await session.prepare();
    await until(() => files().length === 1);
    await first.close();
    const [name] = readdirSync(folder);
    const old = Date.now() / 1000 - 3600;
    utimesSync(join(folder, name!), old, old);
    const second = await start();
    expect(readdirSync(folder)).toEqual([]);
    await second.close();
  });

  it('are not kept where others may read them', async () => {
    mkdirSync(folder);
    chmodSync(folder, 0o750);
    expect((await failureOf(start())).message).toBe(
      `${folder} may be read or changed by other users: chmod go= ${folder}`,
    );
    chmodSync(folder, 0o700);
    writeFileSync(keyFile, new Uint8Array(31), { mode: 0o644 });
    expect((await failureOf(start())).message).toBe(
      `${keyFile} may be read or changed by other users: chmod go= ${keyFile}`,
    );
    chmodSync(keyFile, 0o600);
    expect((await failureOf(start())).message).toBe(
      `${keyFile}: expected a key of 32 bytes, got 31`,
    );
  });
});

describe('a bundle on disk', () => {
  let offer: OfferedModel;
  let bundles: ServerBundle[];
  const ticket = seedOf(5);

  beforeAll(async () => {
    const own = residualModel('label');
    const offers = await offerModels([{ name: 'residual', model: own }], {
      pool,
      random: new Prg(seedOf(1)),
    });
    offer = offers.get('residual')!;
    const sessions = await openSessions(own);
    await prepareBoth(sessions);
    await prepareBoth(sessions);
    bundles = [0, 1].map((number) => sessions.serverBundles.take(number));
  });

  const open = (mostBytes = 2 ** 30) =>
    Spill.open({ folder, keyFile, keepMs: 60_000, mostBytes, onTrouble: () => {} });

  it('is read as it was written, by nobody without the ticket, the key, the number and the model', async () => {
    let spill = await open();
    const own = await spill.of(ticket, offer);
    for (const bundle of bundles) await own.keep(bundle);
    spill.close();
    spill = await open();
    const load = async (by = ticket, of = offer) => (await spill.of(by, of)).load([0, 1, 2]);
    expect(await load()).toEqual(bundles);
    expect(await load(seedOf(6))).toEqual([]);
    const hint = { ...offer.hint, digest: new Uint8Array(32) };
    expect(await load(ticket, { ...offer, hint })).toEqual([]);
    expect(await load(ticket, { ...offer, weights: new Uint8Array(32) })).toEqual([]);
    const program = offer.program.slice();
    program[0]! ^= 1;
    expect(await load(ticket, { ...offer, program })).toEqual([]);
    const [one, two] = files();
    renameSync(one!, `${one}.x`);
    renameSync(two!, one!);
    renameSync(`${one}.x`, two!);
    expect(await load()).toEqual([]);
    spill.close();
    writeFileSync(keyFile, new Uint8Array(32).fill(9));
    spill = await open();
    expect(await load()).toEqual([]);
    spill.close();
  });

  it('shows nothing of its secrets, and has no reader but its owner', async () => {
    const spill = await open();
    await (await spill.of(ticket, offer)).keep(bundles[0]!);
    const [path] = files();
    const file = readFileSync(path!);
    const planted = readable(bundles[0]!);
    expect(planted.length).toBeGreaterThan(3);
    for (const secret of planted) expect(file.includes(Buffer.from(secret))).toBe(false);
    for (const name of [folder, join(path!, '..'), path!, keyFile]) {
      expect(statSync(name).mode & 0o077).toBe(0);
    }
    expect(path).not.toContain(Buffer.from(ticket).toString('hex').slice(0, 8));
    spill.close();
  });

  it('counts as long as it is there, whoever has written it, and no longer', async () => {
    await (await (await open()).of(ticket, offer)).keep(bundles[0]!);
    const [first] = files();
    const mostBytes = statSync(first!).size + 100;
    // A start later.
    const spill = await open(mostBytes);
    for (let again = 0; again < 3; again++) {
      const own = await spill.of(ticket, offer);
      await own.keep(bundles[1]!);
      expect(files()).toHaveLength(1);
      await own.burn(0);
      await own.keep(bundles[1]!);
      expect(files()).toEqual([join(first!, '..', '1')]);
      await own.burn(1);
      await own.keep(bundles[0]!);
      expect(files()).toEqual([first]);
    }
    spill.close();
  });

  it('is not replaced by one of the same number that another process has prepared', async () => {
    const [one, two] = [await open(), await open()];
    const [mine, other] = [await one.of(ticket, offer), await two.of(ticket, offer)];
    await mine.keep(bundles[0]!);
    expect(await failureOf(other.keep(bundles[0]!))).toMatchObject({ code: 'lost' });
    expect(await mine.load([0])).toEqual([bundles[0]]);
    one.close();
    two.close();
  });

  it('is not taken for one when it is damaged or cut short', async () => {
    const spill = await open();
    await (await spill.of(ticket, offer)).keep(bundles[0]!);
    const [path] = files();
    const file = readFileSync(path!);
    for (const [at, length] of [
      [0, file.length],
      [20, file.length],
      [file.length - 1, file.length],
      [-1, file.length - 1],
      [-1, 20],
      [-1, 0],
    ] as const) {
      const other = Buffer.from(file.subarray(0, length));
      if (at >= 0) other[at]! ^= 1;
      writeFileSync(path!, other);
      expect(await (await spill.of(ticket, offer)).load([0])).toEqual([]);
    }
    spill.close();
  });

  it('has one key, whoever starts first', async () => {
    const spills = await Promise.all([open(), open(), open()]);
    await (await spills[0].of(ticket, offer)).keep(bundles[0]!);
    for (const spill of spills) {
      expect(await (await spill.of(ticket, offer)).load([0])).toHaveLength(1);
      spill.close();
    }
    expect(readdirSync(root).sort()).toEqual(['bundles', 'key']);
  });
});

/** Waits for what the server does when its client already has what it wants. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** The first 16 bytes of each array in a bundle. */
function readable(value: unknown): Uint8Array[] {
  if (value instanceof Uint8Array || value instanceof Int32Array) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, Math.min(16, value.byteLength));
    return new Set(bytes).size > 4 ? [bytes] : [];
  }
  if (value instanceof Map) return [...value.values()].flatMap(readable);
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(readable) : [];
}

/** Comes late to each request of the offline lane: the goodbye and the end of the link are there before. */
class Busy extends Decorator {
  override async receive(kind: number, bytes: number): Promise<Uint8Array> {
    if (kind === Kind.command) await new Promise((resolve) => setTimeout(resolve, 200));
    return super.receive(kind, bytes);
  }
}

/** Calls back as the first frame of an inference arrives. */
class Watching extends Decorator {
  readonly #onFirst: () => void;
  #due = false;

  constructor(inner: Channel, onFirst: () => void) {
    super(inner);
    this.#onFirst = onFirst;
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    if (kind === Kind.maskedInput) this.#due = true;
    return super.send(kind, payload);
  }

  override async receive(kind: number, bytes: number): Promise<Uint8Array> {
    const payload = await super.receive(kind, bytes);
    if (kind === Kind.material && this.#due) {
      this.#due = false;
      this.#onFirst();
    }
    return payload;
  }
}
