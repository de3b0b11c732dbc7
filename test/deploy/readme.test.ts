/** The operator's page: every command on it is run, and every option and file that it should name is named. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { layoutOf } from '../../protocol/inference/layout.ts';
import { measureProgram } from '../../protocol/inference/price.ts';
import { decodeModel, encodeModel } from '../../protocol/program/model.ts';
import { DEFAULT_SERVER_LIMITS } from '../../server/limits.ts';
import { memoryOf } from '../../server/memory.ts';
import { serveOptions } from '../../server/serve-options.ts';
import { cert, key } from '../server/certificate.ts';
import { root, serveProcess } from '../system/serving.ts';
import { notBuilt, tinyModel, within } from '../system/support.ts';
import { freePort, listening, shipped, turn } from './fleet.ts';

const page = readFileSync(join(root, 'server/README.md'), 'utf8');

/** The commands of each block, lines that go on joined, remarks left out. */
const blocks = [...page.matchAll(/^```sh\n(.*?)^```/gms)].map(([, text]) =>
  text!
    .replace(/\\\n\s*/g, '')
    .trim()
    .split('\n')
    .map((line) => line.replace(/\s+#.*$/, '')),
);

/** Programs that are not run, and why. */
const UNTRIED: Readonly<Record<string, string>> = {
  docker: 'it needs a Docker daemon: files.test.ts reads its files',
  systemctl: 'it would change this system: server/systemd.test.ts has systemd read the unit',
};

const programsOf = (command: string): string[] =>
  command.split(' | ').map((part) => part.replace(/^(?:[A-Z_]+=\S+ )+/, '').split(' ')[0]!);

const has = (program: string) => spawnSync('which', [program]).status === 0;
const REDIS_PORT = 6379;

/** Why a block cannot be run here, if it cannot. */
function whyNot(commands: readonly string[]): string | undefined {
  const programs = commands.flatMap(programsOf);
  const untried = programs.find((program) => program in UNTRIED);
  if (untried !== undefined) return UNTRIED[untried];
  if (notBuilt !== undefined) return notBuilt;
  if (commands.some((line) => line.includes(`${REDIS_PORT}`))) programs.push('redis-server');
  const missing = programs.find((program) => program !== 'sotto' && !has(program));
  return missing && `there is no ${missing}`;
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-page-'));
  const write = (name: string, text: string | Uint8Array) =>
    writeFileSync(join(folder, name), text);
  write('digits.sotto', encodeModel(tinyModel()));
  write('cert.pem', cert);
  write('key.pem', key);
  write('sotto.pem', cert + key);
  write('haproxy.cfg', shipped('haproxy.cfg'));
  mkdirSync(join(folder, 'bin'));
  const cli = join(root, 'dist/cli.js');
  // Tells which process it is: a signal to the shell in front of it would end the readers of its log.
  const run = `#!/bin/sh\necho $$ > "$SOTTO_PID"\nexec "${process.execPath}" "${cli}" "$@"\n`;
  write('bin/sotto', run);
  chmodSync(join(folder, 'bin/sotto'), 0o755);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs a line as a shell does that stops at what fails in a pipe. */
function shell(line: string): ChildProcess {
  return spawn('bash', ['-o', 'pipefail', '-c', line], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PATH: `${join(folder, 'bin')}:${process.env['PATH']}`,
      SOTTO_PID: join(folder, 'pid'),
    },
  });
}

/** What has ended a line, and what it has said. */
async function ended(child: ChildProcess): Promise<{ code: number | null; said: string }> {
  let said = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (data) => {
      said += data;
    });
  }
  const [code] = await once(child, 'close');
  return { code, said };
}

const PORT = /(?<=--(?:metrics-)?port |127\.0\.0\.1:)\d+/g;

/** A free port for each that is named. */
async function freePorts(commands: readonly string[]): Promise<Map<string, string>> {
  const ports = new Map<string, string>();
  for (const [port] of commands.join('\n').matchAll(PORT)) ports.set(port, `${await freePort()}`);
  return ports;
}

/** Runs a block: a server that it starts is stopped behind the last line. */
async function runBlock(commands: readonly string[]): Promise<void> {
  const ports = await freePorts(commands);
  const redisPort = ports.get(`${REDIS_PORT}`);
  const redis =
    redisPort && spawn('redis-server', ['--port', redisPort, '--save', ''], { stdio: 'ignore' });
  if (redis) await listening(Number(redisPort));
  let server: Promise<{ code: number | null; said: string }> | undefined;
  for (const command of commands) {
    const line = command.replaceAll(PORT, (port) => ports.get(port)!);
    const running = ended(shell(line));
    if (line.startsWith('sotto serve ')) {
      server = running;
      const port = Number(
        / --(?:metrics-port) (\d+)/.exec(line)?.[1] ?? / --port (\d+)/.exec(line)![1],
      );
      await Promise.race([
        listening(port),
        running.then(({ said }) => Promise.reject(new Error(`${line}: ${said}`))),
      ]);
    } else {
      const { code, said } = await within(60_000, running);
      expect(code, `${line}: ${said}`).toBe(0);
    }
  }
  if (server !== undefined) {
    // It listens before it is ready for a signal.
    await turn();
    process.kill(Number(readFileSync(join(folder, 'pid'), 'utf8')), 'SIGTERM');
    const { code, said } = await within(20_000, server);
    expect(code, said).toBe(0);
  }
  if (redis) redis.kill();
}

describe('on the page', () => {
  for (const commands of blocks) {
    it(`run: ${commands.join('; ')}`, async ({ skip }) => {
      const why = whyNot(commands);
      if (why !== undefined) {
        console.log(`skipped: ${why}`);
        return skip();
      }
      await runBlock(commands);
    });
  }

  it('there are commands', () => {
    expect(blocks.flat().filter((line) => line.startsWith('sotto ')).length).toBeGreaterThan(8);
  });

  it.skipIf(notBuilt)('stands what `sotto plan` says of digits', async () => {
    const [, command, sample] =
      /```sh\nsotto plan digits\.sotto (.*)\n```\n\n```\n(.*?)\n```/s.exec(page)!;
    const path = join(root, 'models/zoo/digits.sotto');
    const args = ['plan', path, ...command!.split(' ')];
    const { stdout } = spawnSync(process.execPath, [join(root, 'dist/cli.js'), ...args], {
      encoding: 'utf8',
    });
    const printed = stdout.trimEnd().split('\n').slice(-sample!.split('\n').length);
    const shape = (lines: readonly string[]) =>
      lines.map((line) =>
        line.replace(/\d+(\.\d+)?/g, 'N').replace(/\b(core|process|session)(e?s)\b/g, '$1'),
      );
    const shown = sample!.split('\n');
    expect(shape(shown)).toEqual(shape(printed));
    // What is asked, and what is moved; the times of a core are this machine's.
    expect([shown[0], shown.at(-1)]).toEqual([printed[0], printed.at(-1)]);
    const { program } = decodeModel(readFileSync(path));
    const { steps } = measureProgram(layoutOf(program));
    const kept = steps.reduce((sum, { serverStored }) => sum + serverStored, 0);
    const [, sessions, gigabytes] = /(\d+) sessions and up to (\S+) GB/.exec(sample!)!;
    const memory = memoryOf({ ...DEFAULT_SERVER_LIMITS, sessions: Number(sessions) }, kept);
    expect(gigabytes).toBe((memory / 1e9).toFixed(1));
  });

  it.skipIf(notBuilt)('stand the fields of the event `started`', async () => {
    const served = await serveProcess(['--model', join(folder, 'digits.sotto'), '--port', '0']);
    const { type, time, run, ...fields } = await served.next('started');
    await served.kill();
    const [row] = page.split('\n').filter((line) => line.startsWith(`| \`${type}\` |`));
    expect([typeof time, typeof run]).toEqual(['string', 'string']);
    expect(Object.keys(fields).filter((name) => !row!.includes(`\`${name}\``))).toEqual([]);
  });

  it('stands each option of the command', () => {
    const flags = serveOptions().options.map(({ long }) => long!);
    expect(flags.length).toBeGreaterThan(20);
    expect(flags.filter((flag) => !page.includes(`\`${flag}`))).toEqual([]);
  });

  it('stands each file of the folders', () => {
    const named = (name: string) =>
      name.endsWith('.dockerignore') || page.includes(`(deploy/${name})`);
    expect(readdirSync(join(root, 'server/deploy')).filter((name) => !named(name))).toEqual([]);
    const sources = readdirSync(join(root, 'server')).filter((name) => name.endsWith('.ts'));
    expect(sources.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  it('links lead to what is there', () => {
    const slug = (title: string) =>
      title
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-');
    const titles = (text: string) => [...text.matchAll(/^#+ (.*)$/gm)].map(([, own]) => slug(own!));
    for (const [, target] of page.matchAll(/\]\(([^)]+)\)/g)) {
      const [path, title] = target!.split('#');
      const file = join(root, 'server', path || 'README.md');
      expect(existsSync(file), target).toBe(true);
      if (title) expect(titles(readFileSync(file, 'utf8')), target).toContain(title);
    }
  });
});
