/** What systemd hears of a server, on a real datagram socket, and the unit that ships. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { layoutOf } from '../../protocol/inference/layout.ts';
import { measureProgram } from '../../protocol/inference/price.ts';
import { decodeModel, encodeModel } from '../../protocol/program/model.ts';
import { DEFAULT_SERVER_LIMITS } from '../../server/limits.ts';
import { memoryOf } from '../../server/memory.ts';
import { notifier } from '../../server/systemd.ts';
import { root } from '../system/serving.ts';
import { notBuilt, tinyModel, within } from '../system/support.ts';

const has = (program: string) => spawnSync(program, ['--version']).status === 0;
const cannot = ['python3', 'systemd-notify'].filter((program) => !has(program));
if (cannot.length > 0) console.log(`skipped: there is no ${cannot.join(', no ')}`);
if (notBuilt) console.log(`skipped in part, for ${notBuilt}`);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-systemd-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const LISTENER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = sys.argv[1]
s.bind('\\0' + name[1:] if name.startswith('@') else name)
print('bound', flush=True)
while True:
    print(s.recv(4096).decode().strip().replace('\\n', ' '), flush=True)
`;

/** Binds a datagram socket; the messages that come, one a line. */
async function listen(name: string): Promise<{
  heard: string[];
  until(message: RegExp): Promise<void>;
  close(): void;
}> {
  const reader: ChildProcess = spawn('python3', ['-c', LISTENER, name], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const heard: string[] = [];
  const lines = createInterface({ input: reader.stdout! });
  lines.on('line', (line) => {
    if (line !== 'BARRIER=1') heard.push(line);
  });
  const until = (message: RegExp) =>
    within(
      20_000,
      (async () => {
        while (!heard.some((line) => message.test(line))) await once(lines, 'line');
      })(),
    );
  await until(/^bound$/);
  heard.length = 0;
  return { heard, until, close: () => reader.kill() };
}

describe.skipIf(cannot.length > 0)('systemd hears', () => {
  it.each(['/notify', '@sotto-test'])(
    'a process that starts, reloads and stops: %s',
    async (name) => {
      const socket = name.startsWith('@') ? `${name}-${process.pid}` : join(folder, name);
      const { heard, close } = await listen(socket);
      const system = notifier({ ...process.env, NOTIFY_SOCKET: socket });
      await system.ready();
      await system.reloading();
      await system.stopping();
      close();
      expect(heard).toEqual([
        `READY=1 MAINPID=${process.pid}`,
        expect.stringMatching(/^RELOADING=1 MONOTONIC_USEC=\d+$/),
        'STOPPING=1',
      ]);
    },
  );

  it('that it is well as long as it is, and for this process alone', async () => {
    const socket = join(folder, 'watch');
    const { heard, until, close } = await listen(socket);
    const environment = { ...process.env, NOTIFY_SOCKET: socket, WATCHDOG_USEC: '100000' };
    let asked = 0;
    const stop = notifier(environment).watch(async () => {
      asked++;
      if (asked === 1) return false;
      if (asked === 2) throw new Error('unwell');
      return true;
    });
    const other = notifier({ ...environment, WATCHDOG_PID: '1' }).watch(async () => {
      throw new Error('asked for another process');
    });
    await until(/^WATCHDOG=1$/);
    stop();
    other();
    expect(asked).toBeGreaterThanOrEqual(3);
    expect(new Set(heard)).toEqual(new Set(['WATCHDOG=1']));
    // One that does not answer is asked once.
    let open = 0;
    const hang = notifier(environment).watch(() => {
      open++;
      return new Promise(() => {});
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    hang();
    expect(open).toBe(1);
    // Longer than a timer of JavaScript can be.
    const years = { ...environment, WATCHDOG_USEC: '1e15' };
    let early = 0;
    const rest = notifier(years).watch(async () => ++early > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    rest();
    expect(early).toBe(0);
    close();
  });

  it.skipIf(notBuilt)(
    'a server that serves, is well, reads its files again, and stops',
    async () => {
      const socket = join(folder, 'server');
      const path = join(folder, 'tiny.sotto');
      writeFileSync(path, encodeModel(tinyModel()));
      const { heard, until, close } = await listen(socket);
      const cli = join(root, 'dist/cli.js');
      const args = ['serve', '--model', path, '--port', '0', '--workers', '1'];
      const server = spawn(process.execPath, [cli, ...args], {
        env: { ...process.env, NOTIFY_SOCKET: socket, WATCHDOG_USEC: '400000' },
        stdio: 'ignore',
      });
      await until(/^WATCHDOG=1$/);
      expect(heard[0]).toBe(`READY=1 MAINPID=${server.pid}`);
      server.kill('SIGHUP');
      await until(/^RELOADING=1 MONOTONIC_USEC=\d+$/);
      const again = () => heard.slice(heard.findIndex((line) => line.startsWith('RELOADING')));
      while (!again().some((line) => line.startsWith('READY=1 '))) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const exited = once(server, 'exit');
      server.kill('SIGTERM');
      expect(await within(10_000, exited)).toEqual([0, null]);
      await until(/^STOPPING=1$/);
      close();
    },
  );
});

describe('where systemd is not', () => {
  it('nothing is done', async () => {
    const told: string[] = [];
    const system = notifier({ WATCHDOG_USEC: '1' }, { onTrouble: (why) => told.push(why) });
    system.watch(async () => {
      throw new Error('asked');
    })();
    await Promise.all([system.ready(), system.stopping()]);
    expect(told).toEqual([]);
  });

  it('or its program is not, the operator hears it once', async () => {
    const told: string[] = [];
    const environment = { NOTIFY_SOCKET: join(folder, 'none'), PATH: folder };
    const system = notifier(environment, { onTrouble: (why) => told.push(why) });
    await system.ready();
    await system.stopping();
    expect(told).toEqual([
      'systemd cannot be told how the server is: there is no program systemd-notify',
    ]);
  });
});

describe('the unit', () => {
  const path = join(root, 'server/deploy/sotto.service');
  const unit = readFileSync(path, 'utf8');

  /** What systemd says of a unit, with a program that is there in place of the installed one. */
  function verify(text: string) {
    const copy = join(folder, 'sotto.service');
    copyFileSync(path, copy);
    writeFileSync(copy, text.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', copy], { encoding: 'utf8' });
    const own = stderr.split('\n').filter((line) => line.includes('sotto.service'));
    return { status, own };
  }

  it('is one that systemd takes', ({ skip }) => {
    if (!has('systemd-analyze')) {
      console.log('skipped: there is no systemd-analyze');
      return skip();
    }
    expect(verify(unit)).toEqual({ status: 0, own: [] });
    expect(verify(unit.replace('Type=notify', 'Typ=notify')).own).not.toEqual([]);
  });

  it('has one credential a line: further ones in it would be part of a path, and the unit would not start', () => {
    const credentials = unit.split('\n').filter((line) => line.startsWith('LoadCredential'));
    expect(credentials).toHaveLength(2);
    for (const line of credentials) expect(line).toMatch(/^LoadCredential=[\w.]+:\/\S+$/);
  });

  it('has the memory that the page plans for digits', () => {
    const { program } = decodeModel(readFileSync(join(root, 'models/zoo/digits.sotto')));
    const { steps } = measureProgram(layoutOf(program));
    const kept = steps.reduce((sum, { serverStored }) => sum + serverStored, 0);
    const planned = memoryOf(DEFAULT_SERVER_LIMITS, kept);
    const [, mebibytes] = /^MemoryMax=(\d+)M$/m.exec(unit)!;
    const given = Number(mebibytes) * 2 ** 20;
    expect(given).toBeGreaterThanOrEqual(planned);
    expect(given).toBeLessThan(1.1 * planned);
  });
});
