/** What a server does that cannot go on: it says why and ends, so that another can be started. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../client/index.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { localPool, notBuilt, somePixels, tinyModel, within } from './support.ts';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const faults = fileURLToPath(new URL('../support/faults.mjs', import.meta.url));
const model = tinyModel();

describe.skipIf(notBuilt)('sotto serve', () => {
  let folder: string;
  let child: ChildProcess | undefined;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-faults-'));
    writeFileSync(join(folder, 'tiny.sotto'), encodeModel(model));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  afterEach(() => child?.kill('SIGKILL'));

  /** A server with few descriptors, and what it says. */
  function spawned(fault: string) {
    const args = [process.execPath, '--import', faults, cli, 'serve', '--port', '0', '--json'];
    const all = [...args, '--workers', '2', '--model', join(folder, 'tiny.sotto')];
    const server = spawn('sh', ['-c', 'ulimit -n 400; exec "$@"', 'sh', ...all], {
      env: { ...process.env, FAULT: fault, SOTTO_DEBUG: '' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child = server;
    const lines: string[] = [];
    const reader = createInterface({ input: server.stderr });
    reader.on('line', (line) => void lines.push(line));
    return { server, lines, reader };
  }

  /** As that, when it listens. */
  async function start(fault: string) {
    const { server, lines, reader } = spawned(fault);
    const url = await new Promise<string>((resolve, reject) => {
      reader.on('line', (line) => {
        const event = line.startsWith('{') ? JSON.parse(line) : {};
        if (event.type === 'listening') resolve(event.url);
      });
      server.once('close', () => reject(new Error(lines.join('\n'))));
    });
    return { server, lines, url };
  }

  it.each([
    ['descriptors', /^sotto: pool: a worker could not start: .*EMFILE/],
    ['exception', /^sotto: nobody expected this$/],
    ['rejection', /^sotto: nobody waited for this$/],
  ])('says why and ends: %s', async (fault, said) => {
    const { server, lines } = await start(fault);
    server.kill('SIGUSR2');
    expect(await within(30_000, once(server, 'close'))).toEqual([1, null]);
    expect(lines.at(-1)).toMatch(said);
    const stopped = lines.filter((line) => line.includes('"type":"stopped"'));
    expect(stopped.map((line) => JSON.parse(line))).toMatchObject([
      { why: 'failed', message: lines.at(-1)!.slice('sotto: '.length) },
    ]);
  });

  it('says why and ends when a thread does not start, before it listens', async () => {
    const { server, lines } = spawned('start');
    expect(await within(60_000, once(server, 'close'))).toEqual([1, null]);
    expect(lines.at(-1)).toMatch(/^sotto: pool: /);
    expect(lines.filter((line) => line.includes('"listening"'))).toEqual([]);
  });

  it('goes on when threads crash that can be replaced', async () => {
    const { server, lines, url } = await start('crash');
    const pool = localPool();
    for (let i = 0; i < 2; i++) {
      const session = await within(30_000, connect(url, { pool }));
      await session.infer(somePixels(model));
      await session.close();
      server.kill('SIGUSR2');
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    expect(server.exitCode).toBeNull();
    expect(lines.filter((line) => line.includes('"inference"'))).toHaveLength(2);
    await pool.close();
  });
});
