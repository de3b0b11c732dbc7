/** The log of a server whose reader stalls or goes away. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { connect } from '../../client/index.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { lineLog } from '../../server/log.ts';
import {
  distance,
  localPool,
  notBuilt,
  plainAnswer,
  somePixels,
  tinyModel,
  within,
} from '../system/support.ts';

/** A stream that keeps what it is given until its reader goes on. */
class Stalling extends Writable {
  readonly taken: string[] = [];
  #waiting: (() => void)[] = [];
  stalled = true;

  constructor() {
    super({ highWaterMark: 16 });
  }

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.taken.push(chunk.toString());
    if (this.stalled) this.#waiting.push(done);
    else done();
  }

  resume(): void {
    this.stalled = false;
    for (const done of this.#waiting.splice(0)) done();
  }
}

const dropped = (lines: number) => `dropped ${lines}`;

describe('a log', () => {
  it('drops what does not fit, and says how much when its reader goes on', async () => {
    const stream = new Stalling();
    const log = lineLog(stream, dropped, 100);
    for (let i = 0; i < 50; i++) log.write(`line ${i}`.padEnd(9));
    expect(stream.writableLength).toBeLessThanOrEqual(100);
    expect(await log.flush(10)).toBe(false);
    stream.resume();
    expect(await log.flush(1000)).toBe(true);
    const lines = stream.taken.join('').split('\n');
    expect(lines.slice(0, 10)).toEqual(Array.from({ length: 10 }, (_, i) => `line ${i}`.padEnd(9)));
    expect(lines.slice(10)).toEqual(['dropped 40', '']);
    log.write('after');
    expect(stream.taken.at(-1)).toBe('after\n');
  });

  it('ends with its stream, and nothing else does', async () => {
    const broken = new Writable({
      write: (_, __, done) => done(Object.assign(new Error('gone'), { code: 'EPIPE' })),
    });
    const log = lineLog(broken, dropped);
    for (let i = 0; i < 3; i++) {
      log.write('line');
      await new Promise(setImmediate);
    }
    expect(await log.flush(1000)).toBe(true);
    const throwing = new Writable();
    throwing.write = () => {
      throw new Error('ENOSPC');
    };
    lineLog(throwing, dropped).write('line');
  });
});

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

describe.skipIf(notBuilt)('a server', () => {
  const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
  const model = tinyModel();
  const pixels = somePixels(model);
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-log-'));
    writeFileSync(join(folder, 'tiny.sotto'), encodeModel(model));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Starts `sotto serve` and reads where it listens, and nothing more. */
  async function start(): Promise<{ server: ChildProcess; url: string }> {
    const args = [cli, 'serve', '--model', join(folder, 'tiny.sotto'), '--port', '0'];
    const server = spawn(process.execPath, [...args, '--workers', '1'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    while (!said.includes('listening')) {
      const [data] = await within(30_000, once(server.stderr, 'data'));
      said += data;
    }
    server.stderr.pause();
    return { server, url: /listening on (\S+)/.exec(said)![1]! };
  }

  /** Asks for an inference. */
  async function answers(url: string): Promise<void> {
    const session = await connect(url, { pool: localPool(), hints: false });
    const { logits } = await session.infer(pixels);
    const plain = plainAnswer(model, pixels);
    expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
    await session.close();
  }

  /** Asks for an inference, then stops the server, which must end by itself. */
  async function works({ server, url }: Awaited<ReturnType<typeof start>>): Promise<void> {
    await answers(url);
    const exited = once(server, 'exit');
    server.kill('SIGTERM');
    expect(await within(10_000, exited)).toEqual([0, null]);
  }

  /** Connects and leaves, which makes two lines of the log each time. */
  async function leave(url: string, times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      const socket = new WebSocket(url);
      await once(socket, 'open');
      socket.terminate();
    }
  }

  it('answers when the reader of its log has gone', async () => {
    const started = await start();
    started.server.stderr!.destroy();
    await leave(started.url, 5);
    await works(started);
  });

  it('answers and stops when the reader of its log takes nothing', async () => {
    const started = await start();
    // Far more than a pipe holds, and this side reads ahead.
    await leave(started.url, 1500);
    await works(started);
  });

  it.skipIf(process.platform === 'win32')('answers behind `| head`', async () => {
    const inner = 'echo $$; exec "$@"';
    const outer = `sh -c '${inner}' sh "$@" 2>&1 | head -n 2`;
    const args = [process.execPath, cli, 'serve', '--model', join(folder, 'tiny.sotto')];
    // Its hint is kept since the tests before, so that it first says where it listens.
    const shell = spawn('sh', ['-c', outer, 'sh', ...args, '--port', '0', '--workers', '1']);
    let out = '';
    while (!/listening.*\n/.test(out)) {
      out += (await within(30_000, once(shell.stdout, 'data')))[0];
    }
    const url = /listening on (\S+)/.exec(out)![1]!;
    await leave(url, 5);
    await answers(url);
    const exited = once(shell, 'exit');
    process.kill(Number.parseInt(out, 10), 'SIGTERM');
    expect(await within(10_000, exited)).toEqual([0, null]);
  });
});
