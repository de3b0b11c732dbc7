/** Models and certificates that change while a server runs. */

import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connect, type Session } from '../../client/index.ts';
import { encodeModel, type Model } from '../../protocol/program/model.ts';
import { type RunningServer, type ServeOptions, serve } from '../../server/index.ts';
import { ServedFiles } from '../../server/served-files.ts';
import { residualModel } from '../support/model.ts';
import { type Served, serveProcess } from '../system/serving.ts';
import {
  distance,
  failureOf,
  localPool,
  notBuilt,
  plainAnswer,
  somePixels,
  tinyModel,
  within,
} from '../system/support.ts';
import { cert, key, renewed } from './certificate.ts';
import { numberOf, samplesOf } from './samples.ts';

const folder = mkdtempSync(join(tmpdir(), 'sotto-reload-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

/** The same network with other weights. */
function changed(model: Model, by: number): Model {
  const weights = model.weights.map((step) =>
    step !== undefined && 'bias' in step ? { ...step, bias: step.bias.map((b) => b + by) } : step,
  );
  return { ...model, weights };
}

const old = tinyModel();
const fresh = changed(old, 3000);
const pixels = somePixels(old);
const pool = localPool();

/** Checks that a session answers as a model does. */
async function answersAs(session: Session, model: Model): Promise<void> {
  const own = somePixels(model);
  const { logits } = await session.infer(own);
  const plain = plainAnswer(model, own);
  expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
}

/** The certificate that a port shows. */
async function shown(port: number): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerX509Certificate()!;
  socket.destroy();
  return fingerprint256;
}

it('the models of these tests answer differently, by more than they err', () => {
  const [one, two] = [plainAnswer(old, pixels), plainAnswer(fresh, pixels)];
  expect(distance(one.logits, two.logits)).toBeGreaterThan(one.tolerance + two.tolerance);
});

describe('a server', () => {
  let server: RunningServer;
  afterEach(() => server.close());

  const start = async (options: Partial<ServeOptions> = {}) => {
    server = await serve([{ name: 'net', model: old }], { port: 0, pool, ...options });
  };
  const exchange = (model: Model, name = 'net') => server.reload({ models: [{ name, model }] });
  const statusOf = async (hint: string) =>
    (await fetch(`${server.url.replace('ws', 'http')}/hints/${hint}`)).status;

  it('exchanges a model: its sessions keep the old one with all they have prepared, later ones get the new', async () => {
    await start();
    const [{ hint, weights }] = server.models as [RunningServer['models'][0]];
    const before = await connect(server.url, { pool });
    await before.prepare({ inferences: 2 });
    const preparing = before.prepare({ inferences: 2 });
    await exchange(fresh);
    expect(server.models).toMatchObject([{ name: 'net', program: before.digest }]);
    const after = await connect(server.url, { pool });
    expect(before.weights).toBe(weights);
    expect(after.weights).toBe(server.models[0]!.weights);
    expect(after.weights).not.toBe(weights);
    await preparing;
    for (let i = 0; i < 5; i++) await answersAs(before, old);
    await answersAs(after, fresh);
    const next = server.models[0]!.hint;
    expect([await statusOf(hint), await statusOf(next)]).toEqual([200, 200]);
    await Promise.all([before.close(), after.close()]);
    // Nobody may need the old hint any more.
    while (server.connections > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    expect([await statusOf(hint), await statusOf(next)]).toEqual([404, 200]);
  });

  it('exchanges a model for another program, and offers a new name beside it', async () => {
    await start();
    await server.reload({
      models: [
        { name: 'net', model: residualModel() },
        { name: 'other', model: fresh },
      ],
    });
    expect(server.models.map(({ name }) => name)).toEqual(['net', 'other']);
    const [first, other] = [
      await connect(server.url, { pool }),
      await connect(server.url, { pool, model: 'other' }),
    ];
    expect(first.model).toBe('net');
    await answersAs(first, residualModel());
    await answersAs(other, fresh);
    await Promise.all([first.close(), other.close()]);
  });

  it('changes nothing when one of the models, or the certificate, cannot be used', async () => {
    await start({ tls: { cert, key }, host: 'localhost' });
    const before = [...server.models];
    const unfit = { ...fresh, weights: fresh.weights.slice(1) };
    const both = [
      { name: 'net', model: fresh },
      { name: 'unfit', model: unfit },
    ];
    expect(await failureOf(server.reload({ models: both, tls: renewed }))).toBeInstanceOf(
      RangeError,
    );
    const tls = { cert: renewed.cert, key };
    const models = [{ name: 'net', model: fresh }];
    expect((await failureOf(server.reload({ models, tls }))).message).toBe(
      'the TLS certificate and key are not a usable pair of PEM files',
    );
    expect(server.models).toEqual(before);
    const session = await connect(server.url, { pool, ca: cert });
    await answersAs(session, old);
    await session.close();
  });

  it('takes the last of several reloads that are asked for at once', async () => {
    await start();
    await Promise.all([1, 2, 3].map((i) => exchange(changed(old, 1000 * i))));
    const session = await connect(server.url, { pool });
    await answersAs(session, changed(old, 3000));
    await session.close();
  });

  it('exchanges its certificate for further connections', async () => {
    await start({ tls: { cert, key }, host: 'localhost' });
    const session = await connect(server.url, { pool, ca: cert });
    const { port } = server.address;
    const first = await shown(port);
    await server.reload({ tls: renewed });
    expect(await shown(port)).not.toBe(first);
    expect((await failureOf(connect(server.url, { pool, ca: cert }))).message).toMatch(
      /its certificate is of no authority that is trusted here/,
    );
    const next = await connect(server.url, { pool, ca: renewed.cert });
    await answersAs(next, old);
    // What was connected stays connected.
    await answersAs(session, old);
    await Promise.all([session.close(), next.close()]);
    // An old version of TLS is refused as before.
    const weak = connectTls({ port, maxVersion: 'TLSv1.2', rejectUnauthorized: false });
    expect(await once(weak, 'error')).toMatchObject([{ code: expect.stringMatching(/ALERT/) }]);
  });

  it('without TLS takes no certificate', async () => {
    await start();
    expect((await failureOf(server.reload({ tls: renewed }))).message).toBe(
      'tls: this server listens without TLS',
    );
  });
});

describe('the files of a demo', () => {
  it('give the first model with half gates as well, where that is another and has a name', async () => {
    const garbled = { ...old, program: { ...old.program, comparison: 'garbled' as const } };
    for (const [name, model] of Object.entries({ one: old, two: old, garbled })) {
      writeFileSync(at(`${name}.sotto`), encodeModel(model));
    }
    writeFileSync(at('one.json'), JSON.stringify({ about: 'Insects' }));
    writeFileSync(at('two-half-gates.sotto'), encodeModel(fresh));
    const offered = async (names: string[], halfGates = true) => {
      const models = names.map((name) => at(`${name}.sotto`));
      const files = await ServedFiles.read({ models, tls: undefined, halfGates });
      return { names: files.offered.map(({ name }) => name), cards: files.cards };
    };
    const { names, cards } = await offered(['one', 'two']);
    expect(names).toEqual(['one', 'two', 'one-half-gates']);
    expect(cards.get('one-half-gates')).toMatchObject({ about: 'Insects', halfGatesOf: 'one' });
    expect(cards.get('one')!.halfGatesOf).toBe(undefined);
    expect((await offered(['one', 'two'], false)).names).toEqual(['one', 'two']);
    expect((await offered(['garbled', 'one'])).names).toEqual(['garbled', 'one']);
    const taken = ['two', 'two-half-gates'];
    expect((await offered(taken)).names).toEqual(taken);
  });
});

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

describe.skipIf(notBuilt || process.platform === 'win32')('`sotto serve` at SIGHUP', () => {
  let served: Served;
  const model = () => at('net.sotto');

  beforeAll(async () => {
    writeFileSync(model(), encodeModel(old));
    writeFileSync(at('cert.pem'), cert);
    writeFileSync(at('key.pem'), key);
    served = await serveProcess([
      ...['--model', model(), '--port', '0', '--host', 'localhost', '--workers', '1'],
      ...['--tls-cert', at('cert.pem'), '--tls-key', at('key.pem')],
      ...['--metrics-port', '0', '--audit', at('audit')],
    ]);
    await served.next('started');
  });

  afterAll(() => served.kill());

  /** Sends the signal, and waits for an event that it causes. */
  const hangUp = <T extends 'reloaded' | 'kept'>(type: T) => {
    const seen = served.events.length;
    served.child.kill('SIGHUP');
    return served.next(type, seen);
  };
  const client = (ca = cert) => connect(served.url, { pool, ca, hints: false });

  it('has said with what it runs, and no secret', async () => {
    const started = await served.next('started');
    const session = await client();
    const { digest: program, weights } = session;
    expect(started).toMatchObject({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      protocol: 10,
      pid: served.child.pid,
      url: served.url,
      models: [{ name: 'net', file: model(), program, weights }],
      workers: 1,
      limits: { sessions: 32 },
      tls: { cert: at('cert.pem'), key: at('key.pem') },
      audit: at('audit'),
      metrics: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/),
    });
    const secret = JSON.parse(readFileSync(`${model()}.hint-secret`, 'utf8')).secret;
    const said = JSON.stringify(served.events);
    expect(said).not.toContain(secret);
    expect(said).not.toContain('PRIVATE KEY');
    for (const { time, run } of served.events) {
      expect(new Date(time).toISOString()).toBe(time);
      expect(run).toBe(started.run);
    }
    await session.close();
  });

  it('exchanges the first model of a demo in both its comparisons', async () => {
    const file = at('shown.sotto');
    writeFileSync(file, encodeModel(old));
    const demo = await serveProcess(['--demo', '--model', file, '--port', '0', '--workers', '1']);
    try {
      const names = ['shown', 'shown-half-gates'];
      const { models } = await demo.next('started');
      expect(models).toMatchObject(names.map((name) => ({ name, file })));
      const answer = async (model: Model) => {
        for (const [i, name] of names.entries()) {
          const session = await connect(demo.url, { pool, model: name, hints: false });
          expect(session.program.comparison).toBe(['encoded', 'garbled'][i]);
          await answersAs(session, model);
          await session.close();
        }
      };
      await answer(old);
      writeFileSync(file, encodeModel(fresh));
      const seen = demo.events.length;
      demo.child.kill('SIGHUP');
      await demo.next('reloaded', seen);
      await answer(fresh);
    } finally {
      await demo.kill();
    }
  });

  it('exchanges a model that has changed, with sessions of the old one', async () => {
    const before = await client();
    await before.prepare();
    writeFileSync(at('next'), encodeModel(fresh));
    renameSync(at('next'), model());
    const { file, model: names } = await hangUp('reloaded');
    const after = await client();
    expect({ file, names }).toMatchObject({ file: model(), names: { weights: after.weights } });
    await answersAs(before, old);
    await answersAs(after, fresh);
    await Promise.all([before.close(), after.close()]);
  });

  it('keeps a model whose file is broken, not there, or of something else, and says so', async () => {
    const bytes = encodeModel(old);
    for (const spoil of [
      () => writeFileSync(model(), bytes.subarray(0, 100)),
      () => writeFileSync(model(), 'not a model'),
      () => truncateSync(model(), 0),
      () => rmSync(model()),
    ]) {
      spoil();
      const { file, message } = await hangUp('kept');
      expect(file).toBe(model());
      expect(message.startsWith(`cannot load ${model()}: `), message).toBe(true);
      const session = await client();
      await answersAs(session, fresh);
      await session.close();
    }
    // With the secret that others may read no hint is made.
    writeFileSync(model(), encodeModel(changed(old, 10)));
    chmodSync(`${model()}.hint-secret`, 0o644);
    expect((await hangUp('kept')).message).toMatch(/others may use the secret/);
    chmodSync(`${model()}.hint-secret`, 0o600);
    await hangUp('reloaded');
  });

  it('uses one of the models, whole, while they replace each other and signals come', async () => {
    const variants = [1, 2, 3, 4].map((i) => changed(old, 1000 * i));
    const done = { writing: false };
    const seen = served.events.length;
    const write = async () => {
      for (let i = 0; i < 40; i++) {
        const name = at(`variant-${i}`);
        writeFileSync(name, encodeModel(variants[i % 4]!));
        renameSync(name, model());
        served.child.kill('SIGHUP');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      done.writing = true;
    };
    const use = async () => {
      while (!done.writing) {
        const session = await client();
        const { logits } = await session.infer(pixels);
        const fits = [...variants, changed(old, 10)].map((variant) => {
          const plain = plainAnswer(variant, pixels);
          return distance(logits!, plain.logits) <= plain.tolerance;
        });
        expect(fits).toContain(true);
        await session.close();
      }
    };
    await Promise.all([write(), use(), use()]);
    // The last file is the one that is offered in the end.
    writeFileSync(model(), encodeModel(old));
    const wanted = () => served.events.filter(({ type }) => type === 'reloaded').length;
    served.child.kill('SIGHUP');
    await within(
      30_000,
      (async () => {
        for (let count = -1; count !== wanted(); ) {
          count = wanted();
          await new Promise((resolve) => setTimeout(resolve, 1000));
        }
      })(),
    );
    const session = await client();
    await answersAs(session, old);
    await session.close();
    const unwanted = served.events.slice(seen).filter(({ type }) => /^(kept|error)$/.test(type));
    expect(unwanted).toEqual([]);
  });

  it('exchanges the certificate when it belongs to its key, and keeps it otherwise', async () => {
    const first = await shown(served.port);
    writeFileSync(at('cert.pem'), renewed.cert);
    const { file, message } = await hangUp('kept');
    expect(file).toBe(at('cert.pem'));
    expect(message).toMatch(/is not the key of the first certificate/);
    expect(await shown(served.port)).toBe(first);
    writeFileSync(at('key.pem'), renewed.key);
    expect(await hangUp('reloaded')).toMatchObject({ file: at('cert.pem') });
    expect(await shown(served.port)).not.toBe(first);
    const session = await client(renewed.cert);
    await answersAs(session, old);
    await session.close();
  });

  it('opens its records again, each of which names run, session and weights', async () => {
    renameSync(at('audit'), at('audit.1'));
    served.child.kill('SIGHUP');
    while (!existsSync(at('audit'))) await new Promise((resolve) => setTimeout(resolve, 10));
    const session = await client(renewed.cert);
    await session.prepare({ inferences: 2 });
    const records = readFileSync(at('audit'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((l) => JSON.parse(l));
    const { run } = await served.next('started');
    const { digest: program, weights } = session;
    const address = expect.stringMatching(/127\.0\.0\.1$|^::1$/);
    const bytes = expect.any(Number);
    const peer = { address, principal: address, port: expect.any(Number) };
    const named = { run, ...peer, bytes, model: 'net', program, weights, inferences: 2 };
    expect(records).toEqual([{ time: expect.any(String), session: expect.any(Number), ...named }]);
    expect(readFileSync(at('audit.1'), 'utf8').trimEnd().split('\n').length).toBeGreaterThan(5);
    await session.close();
  });

  it('has counted all of it, and says at the end why it stopped', async () => {
    const { metrics } = await served.next('started');
    const samples = samplesOf(await (await fetch(metrics!)).text());
    const answered = served.events.filter(({ type }) => type === 'inference').length;
    expect(numberOf(samples, 'sotto_inferences_total', { model: 'net' })).toBe(answered);
    served.child.kill('SIGTERM');
    const stopped = await served.next('stopped');
    expect(stopped).toMatchObject({ why: 'SIGTERM', inferences: answered, errors: 0 });
  });
});
