/** Three processes of `sotto serve` behind the HAProxy and the nginx of server/deploy, with a Redis beside them, all on this machine. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type Session } from '../../client/index.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { cert, key } from '../server/certificate.ts';
import { type Served, serveProcess } from '../system/serving.ts';
import { localPool, notBuilt, tinyModel, within } from '../system/support.ts';

const VERSIONS = { haproxy: '-v', nginx: '-v', 'redis-server': '--version' } as const;

/** Why nothing of this can be run, if it cannot. */
export const noFleet: string | undefined =
  notBuilt ??
  Object.entries(VERSIONS)
    .filter(([program, option]) => spawnSync(program, [option]).status !== 0)
    .map(([program]) => `there is no ${program}`)[0];

export type Proxy = 'haproxy' | 'nginx';

export const model = tinyModel();

/** The text of a file of server/deploy. */
export const shipped = (name: string): string =>
  readFileSync(new URL(`../../server/deploy/${name}`, import.meta.url), 'utf8');

/** A port that is free. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export interface Fleet {
  readonly servers: readonly Served[];
  /** Where the proxy listens. */
  readonly port: number;
  readonly redis: string;
  close(): Promise<void>;
}

export interface FleetOptions {
  readonly proxy: Proxy;
  readonly spill: boolean;
  /** Further options of each `sotto serve`. */
  readonly args?: readonly string[];
}

export async function startFleet({ proxy, spill, args = [] }: FleetOptions): Promise<Fleet> {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-fleet-'));
  // nginx's workers may be another user's.
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, 'tiny.sotto'), encodeModel(model));
  const children: ChildProcess[] = [];
  const run = (program: string, options: readonly string[], env = {}): ChildProcess => {
    const stdio = ['ignore', 'ignore', 'inherit'] as const;
    const child = spawn(program, options, { stdio: [...stdio], env: { ...process.env, ...env } });
    children.push(child);
    return child;
  };
  const redisPort = await freePort();
  const redis = `redis://127.0.0.1:${redisPort}`;
  run('redis-server', ['--port', `${redisPort}`, '--save', '', '--dir', folder]);
  await listening(redisPort);
  const ports = [await freePort(), await freePort(), await freePort()];
  const kept = ['--spill', join(folder, 'prepared'), '--spill-key', join(folder, 'spill.key')];
  const servers = await Promise.all(
    ports.map((port) =>
      serveProcess([
        ...['--model', join(folder, 'tiny.sotto'), '--port', `${port}`, '--workers', '1'],
        ...['--trust-proxy', '127.0.0.1', '--quota-store', redis, '--metrics-port', '0'],
        ...(spill ? kept : []),
        ...args,
      ]),
    ),
  );
  const port = await freePort();
  if (proxy === 'haproxy') run('haproxy', haproxyIn(folder, port), haproxyPlaces(folder, ports));
  else run('nginx', nginxIn(folder, port, ports));
  await listening(port);
  return {
    servers,
    port,
    redis,
    async close() {
      await Promise.all(servers.map(({ kill }) => kill()));
      for (const child of children.reverse()) {
        const ended = once(child, 'exit');
        if (child.exitCode === null && child.kill()) await within(5000, ended);
      }
      rmSync(folder, { recursive: true });
    },
  };
}

/** haproxy.cfg as it ships, but for its port; the options to run it. */
export function haproxyIn(folder: string, port: number): string[] {
  const path = join(folder, 'haproxy.cfg');
  writeFileSync(path, shipped('haproxy.cfg').replace('bind :443 ', `bind 127.0.0.1:${port} `));
  writeFileSync(join(folder, 'sotto.pem'), cert + key);
  return ['-db', '-q', '-f', path];
}

/** Where haproxy.cfg finds the certificate and the processes. */
export function haproxyPlaces(folder: string, ports: readonly number[]): Record<string, string> {
  const [SOTTO_ONE, SOTTO_TWO, SOTTO_THREE] = ports.map((port) => `127.0.0.1:${port}`);
  const places = { SOTTO_ONE, SOTTO_TWO, SOTTO_THREE } as Record<string, string>;
  return { SOTTO_CERTIFICATE: join(folder, 'sotto.pem'), ...places };
}

/** nginx.conf as it ships, but for its ports and the folder of its cache, in the least that it is a part of; the options to run it. */
export function nginxIn(folder: string, port: number, ports: readonly number[]): string[] {
  let part = shipped('nginx.conf')
    .replace('listen 443 ', `listen 127.0.0.1:${port} `)
    .replace('/var/cache/sotto', join(folder, 'cache'));
  ports.forEach((to, i) => {
    part = part.replace(`127.0.0.1:${8441 + i}`, `127.0.0.1:${to}`);
  });
  mkdirSync(join(folder, 'sotto'), { recursive: true });
  writeFileSync(join(folder, 'sotto/cert.pem'), cert);
  writeFileSync(join(folder, 'sotto/key.pem'), key);
  writeFileSync(join(folder, 'sotto.conf'), part);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  );
  const http = ['access_log off;', ...temporary, 'include sotto.conf;'].join('\n');
  const log = join(folder, 'error.log');
  const whole = `pid ${folder}/nginx.pid;\nerror_log ${log};\nevents {}\nhttp {\n${http}\n}\n`;
  writeFileSync(join(folder, 'nginx.conf'), whole);
  const main = join(folder, 'nginx.conf');
  return ['-p', folder, '-c', main, '-e', log, '-g', 'daemon off;'];
}

/** Waits until something listens there. */
export async function listening(port: number): Promise<void> {
  const open = () =>
    new Promise<boolean>((resolve) => {
      const socket = connectTcp(port, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
  await within(
    10_000,
    (async () => {
      while (!(await open())) await turn();
    })(),
  );
}

export const turn = () => new Promise((resolve) => setTimeout(resolve, 20));

/** A client that the proxy takes for one of this address. */
export function connectAs(port: number, address: string): Promise<Session> {
  // The proxy adds the client's own, which is that of a trusted proxy here.
  const headers = { 'x-forwarded-for': address };
  return connect(`wss://127.0.0.1:${port}`, { pool: localPool(), ca: cert, headers });
}

/** Sessions that each process has had. */
export const sessionsOf = ({ servers }: Fleet): number[] =>
  servers.map(({ events }) => events.filter(({ type }) => type === 'session').length);

/** Opens a session; which process has it. */
export async function placed(fleet: Fleet, open: () => Promise<Session>) {
  const before = sessionsOf(fleet);
  const session = await open();
  const more = () => sessionsOf(fleet).findIndex((count, i) => count > before[i]!);
  await within(
    5000,
    (async () => {
      while (more() === -1) await turn();
    })(),
  );
  return { session, at: more() };
}
