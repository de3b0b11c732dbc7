/** Records of grants: a grant leaves when it is on record, and otherwise it is none. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { connect } from '../../client/index.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { openAudit } from '../../server/audit.ts';
import {
  type RunningServer,
  type ServeOptions,
  type ServerEvent,
  serve,
} from '../../server/index.ts';
import { serveProcess } from '../system/serving.ts';
import {
  failureOf,
  LocalServer,
  localPool,
  notBuilt,
  somePixels,
  tinyModel,
  within,
} from '../system/support.ts';

const folder = mkdtempSync(join(tmpdir(), 'sotto-audit-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const recordsIn = (name: string) =>
  readFileSync(at(name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('a file of records', () => {
  it('has them in the order of the calls, behind what was there, for its user alone', async () => {
    const first = await openAudit(at('order'));
    await Promise.all(Array.from({ length: 200 }, (_, i) => first.write({ i })));
    await first.close();
    const second = await openAudit(at('order'));
    await second.write({ i: 200 });
    await second.close();
    expect(recordsIn('order')).toEqual(Array.from({ length: 201 }, (_, i) => ({ i })));
    if (process.platform !== 'win32') expect(statSync(at('order')).mode & 0o777).toBe(0o600);
  });

  it('has whole records behind one that was cut short', async () => {
    writeFileSync(at('cut'), '{"i":0}\n{"i":');
    const audit = await openAudit(at('cut'));
    await audit.write({ i: 2 });
    await audit.write({ i: 3 });
    await audit.close();
    expect(readFileSync(at('cut'), 'utf8')).toBe('{"i":0}\n{"i":\n{"i":2}\n{"i":3}\n');
  });

  it('goes on in a new one after a rotation, and in the old one where there cannot be a new one', async () => {
    const audit = await openAudit(at('turned'));
    const written = Promise.all([audit.write({ i: 0 }), audit.write({ i: 1 })]);
    renameSync(at('turned'), at('turned.1'));
    await written;
    await audit.write({ i: 2 });
    await Promise.all([audit.reopen(), audit.write({ i: 3 })]);
    expect(recordsIn('turned.1')).toEqual([{ i: 0 }, { i: 1 }, { i: 2 }]);
    expect(recordsIn('turned')).toEqual([{ i: 3 }]);
    await audit.close();
    const none = join(at('none'), 'audit');
    expect((await failureOf(openAudit(none))).message).toBe(
      `the audit file ${none} cannot be opened: its folder is not there`,
    );
  });

  it('says why where the disk is full', async () => {
    const audit = await openAudit(at('full'));
    const handle = await open(at('full'));
    const full = Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
    const append = vi.spyOn(Object.getPrototypeOf(handle), 'appendFile').mockRejectedValue(full);
    await handle.close();
    expect((await failureOf(audit.write({}))).message).toBe(
      `the audit file ${at('full')} cannot be written: the disk is full`,
    );
    append.mockRestore();
    await audit.close();
  });

  it.skipIf(process.platform === 'win32')('is no folder, pipe or device', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    for (const [path, what] of [
      [folder, 'a folder'],
      [at('pipe'), 'a pipe'],
      ['/dev/null', 'a device'],
    ] as const) {
      // A pipe that is opened waits for its other end.
      expect((await within(5000, failureOf(openAudit(path)))).message).toBe(
        `${path} cannot be written: it is ${what}, not a file`,
      );
    }
  });
});

describe('a server with records', () => {
  const model = tinyModel();
  const pixels = somePixels(model);
  const models = [{ name: 'tiny', model }];
  const pool = localPool();
  let server: RunningServer;
  let events: ServerEvent[];

  afterEach(() => server.close());

  async function start(options: Partial<ServeOptions>): Promise<void> {
    events = [];
    const onEvent = (event: ServerEvent) => void events.push(event);
    server = await serve(models, { port: 0, pool, onEvent, ...options });
  }

  const refused = () => events.filter(({ type }) => type === 'refused');

  it('writes one for each grant, before the client has it, and none for what it refuses', async () => {
    const audit = await openAudit(at('grants'));
    const allowQuery = ({ inferences }: { inferences: number }) => inferences < 3;
    await start({ onGrant: (grant) => audit.write(grant), allowQuery });
    const session = await connect(server.url, { pool });
    await session.prepare({ inferences: 2 });
    expect(await failureOf(session.prepare({ inferences: 3 }))).toMatchObject({ code: 'quota' });
    await session.infer(pixels);
    await session.infer(pixels);
    await session.infer(pixels);
    const { weights, digest: program } = session;
    const peer = { address: '127.0.0.1', principal: '127.0.0.1' };
    const record = { session: 1, ...peer, model: 'tiny', program, weights };
    expect(recordsIn('grants')).toMatchObject([
      { ...record, inferences: 2 },
      { ...record, inferences: 1 },
    ]);
    expect(server.models).toMatchObject([{ name: 'tiny', program, weights }]);
    await session.close();
    await audit.close();
  });

  it('waits for the record before it grants', async () => {
    let record = () => {};
    const onGrant = () =>
      new Promise<void>((resolve) => {
        record = resolve;
      });
    await start({ onGrant });
    const session = await connect(server.url, { pool });
    const prepared = session.prepare();
    const early = await Promise.race([
      prepared.then(() => 'prepared'),
      new Promise((resolve) => setTimeout(resolve, 300, 'waiting')),
    ]);
    expect(early).toBe('waiting');
    expect(events.some(({ type }) => type === 'bundle')).toBe(false);
    record();
    await within(5000, prepared);
    await session.close();
  });

  it('grants nothing that it cannot record, and the session goes on', async () => {
    let full = false;
    const why = [new Error('the audit file cannot be written: the disk is full'), undefined];
    const onGrant = () => (full ? Promise.reject(why.shift()) : undefined);
    await start({ onGrant });
    const session = await connect(server.url, { pool });
    await session.prepare();
    full = true;
    for (let i = 0; i < 2; i++) {
      expect(await failureOf(session.prepare({ inferences: 2 }))).toMatchObject({
        code: 'quota',
        message: 'the server answers no more queries of this client for now',
      });
    }
    expect(refused()).toMatchObject([
      { reason: 'audit', inferences: 2, message: expect.stringMatching(/the disk is full$/) },
      { reason: 'audit', message: 'undefined' },
    ]);
    // What is on record is still answered.
    await session.infer(pixels);
    full = false;
    await session.infer(pixels);
    await session.close();
  });
});

it('a server grants nothing where the record does not come in time', async () => {
  const models = [{ name: 'tiny', model: tinyModel() }];
  // After one session the setup of another takes no time.
  await (await new LocalServer(models).connect()).close();
  const server = new LocalServer(models, {
    onGrant: () => new Promise<void>(() => {}),
    limits: { stallMs: 300 },
  });
  const session = await server.connect();
  expect(await failureOf(session.prepare())).toMatchObject({ code: 'quota' });
  expect(server.of('refused')).toMatchObject([
    { reason: 'audit', message: 'onGrant: no record for 300 ms' },
  ]);
  expect(server.of('bundle')).toEqual([]);
  await session.close();
  await server.settled();
});

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

/** Whether what a process may write to files can be bounded while it runs. */
const bounds = spawnSync('prlimit', ['--version']).status === 0;
if (!bounds) console.log('skipped in part: there is no prlimit');

it.skipIf(notBuilt || !bounds)(
  '`sotto serve --audit` on a disk that takes no more answers nothing, and says why',
  async () => {
    const path = at('tiny.sotto');
    writeFileSync(path, encodeModel(tinyModel()));
    const audit = at('bounded');
    const args = ['--model', path, '--port', '0', '--workers', '1', '--audit', audit];
    const served = await serveProcess(args);
    execFileSync('prlimit', ['--pid', `${served.child.pid}`, '--fsize=0']);
    const session = await connect(served.url, { pool: localPool() });
    expect(await failureOf(session.prepare())).toMatchObject({ code: 'quota' });
    expect(await served.next('refused')).toMatchObject({
      reason: 'audit',
      message: `the audit file ${audit} cannot be written: it is larger than files may be here`,
    });
    await session.close();
    expect((await served.next('closed')).reason).toBe('goodbye');
    await served.kill();
  },
);
