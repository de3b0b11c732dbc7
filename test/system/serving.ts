/** `sotto serve` in a separate process, and folders as a static file server shows them. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Notice } from '../../server/events-text.ts';
import type { ServerEvent } from '../../server/index.ts';
import { within } from './support.ts';

/** A line of the log. */
export type Logged = (ServerEvent | Notice) & { readonly time: string; readonly run: string };

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** A server process with what it has said. */
export interface Served {
  readonly url: string;
  readonly page: string;
  readonly port: number;
  readonly events: readonly Logged[];
  readonly child: ChildProcess;
  /** Waits for the next event of a type behind the first `seen` of all events. */
  next<T extends Logged['type']>(type: T, seen?: number): Promise<Extract<Logged, { type: T }>>;
  /** Ends it as a crash would. */
  kill(): Promise<void>;
}

/** Runs `sotto serve` of a built or installed package. */
export async function serveProcess(
  args: readonly string[],
  cli = join(root, 'dist/cli.js'),
): Promise<Served> {
  const child: ChildProcess = spawn(process.execPath, [cli, 'serve', '--json', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const events: Logged[] = [];
  const lines = createInterface({ input: child.stderr! });
  lines.on('line', (line) => events.push(JSON.parse(line)));
  const listening = () => events.find(({ type }) => type === 'listening');
  await within(
    60_000,
    (async () => {
      while (listening() === undefined) await once(lines, 'line');
    })(),
  );
  const first = listening();
  if (first?.type !== 'listening') throw new Error('the server did not say where it listens');
  const exited = once(child, 'close');
  return {
    url: first.url,
    page: first.page ?? '',
    port: Number(new URL(first.url).port),
    events,
    child,
    async next(type, seen = 0) {
      const find = () => events.slice(seen).find((event) => event.type === type);
      await within(
        30_000,
        (async () => {
          while (find() === undefined) await once(lines, 'line');
        })(),
      );
      return find() as never;
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
};

/** A plain static file server, and the paths of what it has served; its pages are not cross-origin isolated unless the headers say so. */
export async function serveFolder(
  folder: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ url: string; readonly served: ReadonlySet<string>; close(): void }> {
  const served = new Set<string>();
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://localhost');
    const path = join(folder, pathname.endsWith('/') ? `${pathname}index.html` : pathname);
    if (!existsSync(path) || !statSync(path).isFile()) {
      response.writeHead(404).end();
      return;
    }
    served.add(path);
    const type = types[extname(path)] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type, ...headers });
    // A page may still load when its test has removed the folder.
    pipeline(createReadStream(path), response, () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    served,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
