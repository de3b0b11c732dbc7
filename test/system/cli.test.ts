/** The `sotto` command as its users meet it: processes, exit codes, one sentence for what goes wrong. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeModel, encodeModel } from '../../protocol/program/model.ts';
import type { ServerEvent } from '../../server/index.ts';
import { distance, notBuilt, plainAnswer, somePixels, tinyModel, within } from './support.ts';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const model = tinyModel();
const names = model.program.labels;

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

const sotto = (args: readonly string[], environment = {}) => run([cli, ...args], environment);

async function run(args: readonly string[], environment = {}, cwd?: string): Promise<Outcome> {
  const env = { ...process.env, SOTTO_DEBUG: '', ...environment };
  const child = spawn(process.execPath, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => {
    out += data;
  });
  child.stderr.on('data', (data) => {
    err += data;
  });
  const [code] = await within(30_000, once(child, 'close'));
  return { code, out, err };
}

describe.skipIf(notBuilt)('the command', () => {
  let folder: string;
  let server: ChildProcess;
  let url: string;
  const events: ServerEvent[] = [];
  const file = (name: string) => join(folder, name);

  /** Writes a gray PNG. */
  function writeImage(name: string, size: number, pixels: Float32Array): void {
    const png = new PNG({ width: size, height: size });
    pixels.forEach((pixel, i) => {
      const value = Math.round(255 * pixel);
      png.data.set([value, value, value, 255], 4 * i);
    });
    writeFileSync(file(name), PNG.sync.write(png, { colorType: 0 }));
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-cli-'));
    const bytes = encodeModel(model);
    writeFileSync(file('tiny.sotto'), bytes);
    writeFileSync(file('cut.sotto'), bytes.subarray(0, bytes.length - 40));
    writeFileSync(file('text.png'), 'this is a text and not an image at all');
    for (const i of [0, 1]) writeImage(`${i}.png`, 6, somePixels(model, i));
    writeImage('large.png', 32, new Float32Array(1024));
    const args = [cli, 'serve', '--model', file('tiny.sotto'), '--port', '0', '--json'];
    server = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const lines = createInterface({ input: server.stderr! });
    lines.on('line', (line) => events.push(JSON.parse(line)));
    const listening = () => events.find(({ type }) => type === 'listening');
    await within(
      30_000,
      (async () => {
        while (listening() === undefined) await once(lines, 'line');
      })(),
    );
    const first = listening();
    if (first?.type !== 'listening') throw new Error('the server did not say where it listens');
    url = first.url;
  });

  afterAll(() => {
    server.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  it('answers over two processes, for programs and for people', async () => {
    const images = [file('0.png'), file('1.png')];
    const [json, text] = await Promise.all([
      sotto(['infer', '--server', url, '--workers', '1', '--json', ...images]),
      sotto(['infer', '--server', url, '--workers', '1', '--model', 'tiny', ...images]),
    ]);
    expect(json).toMatchObject({ code: 0, err: '' });
    const document = JSON.parse(json.out);
    expect(document).toMatchObject({ server: url, model: 'tiny' });
    const plain = [0, 1].map((i) => plainAnswer(model, somePixels(model, i)));
    document.results.forEach((result: { logits: number[] }, i: number) => {
      const { label, logits, tolerance } = plain[i]!;
      expect(result).toMatchObject({ image: images[i], label, labelName: names[label] });
      expect(distance(Float32Array.from(result.logits), logits)).toBeLessThanOrEqual(tolerance);
    });
    expect(text).toMatchObject({ code: 0, err: '' });
    const lines = text.out.trimEnd().split('\n');
    expect(lines).toHaveLength(2);
    lines.forEach((line, i) => {
      expect(line).toMatch(new RegExp(`^${i}\\.png: ${names[plain[i]!.label]}  \\(prepared in .*`));
    });
  });

  it('several images are answered in their order over one session, with as many preparations', async () => {
    const seen = events.length;
    const images = [1, 0, 1].map((i) => file(`${i}.png`));
    const args = ['infer', '--server', url, '--workers', '1', '--top', '2', '--json', ...images];
    const { code, out, err } = await sotto(args);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const { results } = JSON.parse(out);
    expect(results.map(({ image }: { image: string }) => image)).toEqual(images);
    for (const [i, { classes, label }] of results.entries()) {
      const { logits } = plainAnswer(model, somePixels(model, [1, 0, 1][i]));
      const sum = logits.reduce((a, b) => a + Math.exp(b), 0);
      expect(classes).toHaveLength(2);
      expect(classes[0]).toMatchObject({ index: label, label: names[label] });
      expect(classes[0].score).toBeCloseTo(Math.exp(logits[label]!) / sum, 2);
      expect(classes[1].score).toBeLessThanOrEqual(classes[0].score);
    }
    const closed = () => events.slice(seen).find(({ type }) => type === 'closed');
    await within(
      10_000,
      until(() => closed() !== undefined),
    );
    expect(closed()).toMatchObject({ inferences: 3, unused: 0 });
    const sessions = events.slice(seen).filter(({ type }) => type === 'session');
    expect(sessions).toHaveLength(1);
    const text = await sotto([
      'infer',
      '--server',
      url,
      '--workers',
      '1',
      '--top',
      '9',
      images[0]!,
    ]);
    expect(text.out.trimEnd().split('\n')).toHaveLength(4);
    expect(text.out).toMatch(/^1\.png: .*\n {2,4}[\d.]+ % {2}(ant|bee|cat)\n/);
  });

  it('that is cancelled by SIGINT is exit code 130', async () => {
    const deaf = createServer().listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    const { port } = deaf.address() as AddressInfo;
    const args = [cli, 'infer', '--server', `ws://127.0.0.1:${port}`, file('0.png')];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let err = '';
    child.stderr.on('data', (data) => {
      err += data;
    });
    await within(30_000, once(deaf, 'connection'));
    child.kill('SIGINT');
    expect(await within(10_000, once(child, 'close'))).toEqual([130, null]);
    expect(err).toMatch(/^sotto: [^\n]+ was cancelled\n$/);
    deaf.close();
  });

  it.each<[string, () => string[], RegExp]>([
    ['an image of another size', () => ['large.png'], /^large\.png is 32x32, the model takes 6x6$/],
    ['a file that is no image', () => ['text.png'], /^text\.png is not a PNG file$/],
    ['a file that is not there', () => ['none.png'], /none\.png: there is no such file$/],
  ])('%s is one sentence and exit code 1', async (_, images, sentence) => {
    const outcome = await sotto(['infer', '--server', url, ...images().map(file)]);
    expectFailure(outcome, sentence);
  });

  it('a server that is not there, or has no such model, likewise', async () => {
    const image = file('0.png');
    const nowhere = 'ws://127.0.0.1:1';
    expectFailure(
      await sotto(['infer', '--server', nowhere, image]),
      /^cannot connect to ws:\/\/127\.0\.0\.1:1: no server listens there$/,
    );
    expectFailure(
      await sotto(['infer', '--server', url, '--model', 'other', '--json', image]),
      /^the peer gave up: this server offers no model named "other"; it offers tiny$/,
    );
    const debug = await sotto(['infer', '--server', nowhere, image], { SOTTO_DEBUG: '1' });
    expect(debug.err).toContain('\n    at ');
  });

  it('a model that is cut short, likewise', async () => {
    expectFailure(
      await sotto(['serve', '--port', '0', '--model', file('cut.sotto')]),
      /cut\.sotto: model file: .+$/,
    );
  });

  it('a plan for clients without their rate, likewise; with it, it says what they take', async () => {
    const plan = ['plan', file('tiny.sotto'), '--clients', '70'];
    expectFailure(await sotto(plan), /^--clients and --rate are needed together$/, 2);
    const { code, out } = await sotto([...plan, '--rate', '60/min', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out).capacity).toMatchObject({
      processes: 3,
      coresPerProcess: 1,
      sessionsPerProcess: 24,
    });
  });

  it('what is no file is refused before it is opened, by every command', async () => {
    if (process.platform === 'win32') return;
    execFileSync('mkfifo', [file('pipe')]);
    const zoo = fileURLToPath(new URL('../../models/zoo/', import.meta.url));
    const network = join(zoo, 'digits.sottonet');
    const images = join(zoo, 'digits-images');
    const data = ['--data', file('pipe'), '--budget', '1', '-o', file('x')];
    const served = ['--model', file('tiny.sotto')];
    const pem = ['--tls-cert', file('pipe'), '--tls-key', file('pipe')];
    const commands = [
      ['serve', '--port', '0', '--model', file('pipe')],
      ['serve', '--port', '0', ...served, ...pem],
      ['serve', '--port', '0', ...served, '--audit', file('pipe')],
      ['serve', '--port', '0', ...served, '--spill', file('s'), '--spill-key', file('pipe')],
      ['serve', '--port', '0', ...served, '--spill', file('pipe'), '--spill-key', file('k')],
      ['hint', file('pipe')],
      ['plan', file('pipe')],
      ['infer', '--server', url, file('pipe')],
      ['infer', '--server', url, '--ca', file('pipe'), file('0.png')],
      ['check', file('pipe'), '--network', 'resnet20'],
      ['compile', network, '--calibrate', file('pipe'), '-o', file('x.sotto')],
      ['compile', network, '--calibrate', images, '--labels', file('pipe'), '-o', file('x.sotto')],
      ['compile', network, '--calibrate', images, '-o', file('pipe')],
      ['reduce', network, ...data],
      ['audit', network, '--data', file('pipe')],
      ['audit', network, '--data', images, '--svg', file('pipe')],
      ['bench', '--output', file('pipe')],
    ];
    symlinkSync('pipe', file('pipe.sottonet'));
    commands.push(['check', file('pipe.sottonet')]);
    // The card of a model is done without: the port is what is wrong.
    writeFileSync(file('carded.sotto'), encodeModel(model));
    execFileSync('mkfifo', [file('carded.json')]);
    expectFailure(
      await sotto(['serve', '--port', '65536', '--model', file('carded.sotto')]),
      /^port: expected an integer from 0 to 65535, got 65536$/,
    );
    for (const args of commands) {
      const outcome = await sotto(args);
      expect(outcome.err, args.join(' ')).toMatch(/pipe/);
      expectFailure(
        outcome,
        /pipe(\.sottonet)?(: it is a pipe, not a file| cannot be written: it is a pipe, not a file| cannot be made: a file of that name is there| should be an \.onnx, \.safetensors or \.sottonet file)$/,
      );
    }
  });

  it('a reader of its output that has gone loses no file', async () => {
    const zoo = fileURLToPath(new URL('../../models/zoo/', import.meta.url));
    const args = [join(zoo, 'digits.sottonet'), '--calibrate', join(zoo, 'digits-images')];
    const own = ['--images', '2', '--compare-bits', '8', '-o', file('made.sotto')];
    const child = spawn(process.execPath, [cli, 'compile', ...args, ...own], { stdio: 'pipe' });
    child.stdout.destroy();
    child.stderr.destroy();
    expect(await within(30_000, once(child, 'exit'))).toEqual([0, null]);
    expect(decodeModel(readFileSync(file('made.sotto'))).program.name).toBe('digits');
  });

  it('wrong usage is exit code 2, help and version 0', async () => {
    const wrong = [
      [],
      ['unknown'],
      ['serve', '--port', '0'],
      ['serve', '--port', '80x', '--model', file('tiny.sotto')],
      ['infer', file('0.png')],
      ['serve', '--port', '0', '--model', file('tiny.sotto'), '--max-sessions', '0'],
      ['serve', '--port', '0', '--model', file('tiny.sotto'), '--max-bundles', '1e3'],
      ['hint', file('tiny.sotto'), '--workers', '9999999999'],
      ['plan', file('tiny.sotto'), '--clients', '3', '--rate', '6'],
      ['serve', '--port', '0', '--model', file('tiny.sotto'), '--tls-cert', 'x.pem'],
    ];
    const outcomes = await Promise.all(wrong.map((args) => sotto(args)));
    expect(outcomes.map(({ code }) => code)).toEqual(wrong.map(() => 2));
    for (const { out, err } of outcomes) {
      expect(out).toBe('');
      expect(err).not.toContain('    at ');
    }
    const [help, version] = await Promise.all([sotto(['infer', '--help']), sotto(['--version'])]);
    expect(help).toMatchObject({ code: 0, err: '' });
    expect(help.out).toContain('--server <URL>');
    expect(version.out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each<[string, string[], RegExp]>([
    ['a command', ['inferr'], /unknown command 'inferr'\n\(Did you mean infer\?\)/],
    ['an option', ['plan', 'x', '--bandwith', '1gbit'], /\(Did you mean --bandwidth\?\)/],
    ['an option of serve', ['serve', '--prot', '0'], /\(Did you mean --port\?\)/],
    ['an option of models', ['models', '--sever', 'x'], /\(Did you mean --server\?\)/],
    [
      'a choice',
      ['reduce', 'x', '--method', 'deepreduse'],
      /It must be one of autorep, .*deepreduce.*\. \(Did you mean deepreduce\?\)/,
    ],
    [
      'a choice that is near none',
      ['check', 'x', '--layout', 'sideways'],
      /'sideways' is invalid\. It must be one of NCHW, NHWC\.\n$/,
    ],
    [
      'a size',
      ['serve', '--port', '0', '--quota-bytes', '10GBit/day'],
      /It must be a size a day, such as 500MB\/day or 10GiB\/day\.\n$/,
    ],
    ['a rate', ['plan', 'x', '--bandwidth', '100'], /It must be a rate such as 800kbit, /],
    ['a time', ['serve', '--port', '0', '--grace', '1:30'], /5min; without a unit it is in s\.\n$/],
    [
      'too long a time',
      ['serve', '--port', '0', '--grace', '25d'],
      /It must be 24 days at most\.\n$/,
    ],
  ])(
    '%s that cannot be right is told with what would be, as wrong usage',
    async (_, args, error) => {
      const { code, out, err } = await sotto(args);
      expect(err).toMatch(/^error: /);
      expect(err).toMatch(error);
      expect({ code, out }).toEqual({ code: 2, out: '' });
    },
  );

  it('units may be written in several ways', async () => {
    const plan = async (...args: string[]) => {
      const { out, err } = await sotto(['plan', file('tiny.sotto'), '--json', ...args]);
      return { profile: out && JSON.parse(out).profile, err };
    };
    const wanted = { err: '', profile: { bitsPerSecond: 20e6, roundTripMs: 40 } };
    expect(await plan('--bandwidth', '20mbit', '--rtt', '40')).toMatchObject(wanted);
    expect(await plan('--bandwidth', '20 Mbit/s', '--rtt', '0.04s')).toMatchObject(wanted);
  });

  it('a model that ships goes by its name, a file of that name before it', async () => {
    const planned = async (args: string[], cwd?: string) => {
      const { code, out, err } = await run([cli, 'plan', '--json', ...args], {}, cwd);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      return JSON.parse(out).hint.bytes;
    };
    const path = fileURLToPath(new URL('../../models/zoo/digits.sotto', import.meta.url));
    const digits = await planned([path]);
    expect(await planned(['digits'])).toBe(digits);
    const own = file('own');
    mkdirSync(join(own, 'fashion'), { recursive: true });
    writeFileSync(join(own, 'digits'), encodeModel(model));
    expect(await planned(['digits'], own)).toBeLessThan(digits);
    // A folder is no model.
    expect(await planned(['fashion'], own)).toBe(await planned(['fashion']));
  });

  it.each([
    ['plan', 'digts'],
    ['hint', 'digts'],
    ['serve', '--port', '0', '--model', 'digts'],
  ])('%s of a model that there is not lists those that ship', async (...args) => {
    expectFailure(
      await sotto(args),
      /^there is no file and no model named "digts"; did you mean digits\? the models that ship are digits, fashion, /,
    );
  });

  it('the models of a server are listed as a table and as JSON', async () => {
    const [text, json] = await Promise.all([
      sotto(['models', '--server', url]),
      sotto(['models', '--server', url, '--json']),
    ]);
    expect(text).toMatchObject({ code: 0, err: '' });
    const [head, row, ...rest] = text.out.trimEnd().split('\n');
    expect(head).toMatch(/^model +input +classes +hint, once +prepare up +down /);
    expect(row).toMatch(/^tiny +1x6x6 +3 +[\d.]+ kB .* 1 \+ 2 +16 +[0-9a-f]{12}…$/);
    expect(rest).toEqual([]);
    expect(json).toMatchObject({ code: 0, err: '' });
    const document = JSON.parse(json.out);
    expect(document).toMatchObject({ server: url, models: [{ name: 'tiny', labels: names }] });
    expectFailure(
      await sotto(['models', '--server', 'ws://127.0.0.1:1']),
      /^cannot connect to ws:\/\/127\.0\.0\.1:1: no server listens there$/,
    );
  });

  it('a server that is told to stop says goodbye and exits with 0', async () => {
    const types = new Set(events.map(({ type }) => type));
    for (const type of ['listening', 'session', 'bundle', 'inference', 'closed'] as const) {
      expect(types).toContain(type);
    }
    const closed = once(server, 'close');
    server.kill('SIGTERM');
    expect(await within(5000, closed)).toEqual([0, null]);
  });
});

describe.skipIf(notBuilt)('the demo', () => {
  it('answers like the plaintext network on every digit that ships', async () => {
    const demo = fileURLToPath(new URL('../../dist/demo.js', import.meta.url));
    const { code, out, err } = await run([demo, '--json']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const { failed, tolerance, results } = JSON.parse(out);
    expect(failed).toBe(0);
    expect(results).toHaveLength(10);
    for (const { truth, label, plain, difference } of results) {
      expect([label, plain]).toEqual([truth, truth]);
      expect(difference).toBeLessThanOrEqual(tolerance);
    }
  });
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Nothing on stdout, one sentence on stderr, exit code 1 or another. */
function expectFailure({ code, out, err }: Outcome, sentence: RegExp, expected = 1): void {
  expect(err).toMatch(/^sotto: [^\n]+\n$/);
  expect(err.slice('sotto: '.length, -1)).toMatch(sentence);
  expect(out).toBe('');
  expect(code).toBe(expected);
}
