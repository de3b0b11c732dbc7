/**
 * Where the time of a private inference goes: both parties in one process, each with an event loop and a pool of its own,
 * over loopback, traced on one clock.
 *
 * The parties share the machine's cores half and half, so that a worker has a core while it runs and its times are its
 * own. Sampling costs some percent.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { WebSocket } from 'ws';
import { openSession } from '../client/session.ts';
import { SOCKET_OPTIONS, socketChannel } from '../protocol/channel/websocket.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { encodeModel } from '../protocol/program/model.ts';
import { loadDigits } from './digits.ts';
import { machineInfo } from './machine.ts';
import { compileOnNoise, SUBJECTS } from './networks.ts';
import type { TracedTasks } from './profile-worker.ts';
import { now } from './samples.ts';
import { type PartyTrace, Tracer } from './trace.ts';

/** A stretch of time, in ms on the clock of the traces. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** One inference of one network, both phases. */
export interface Profile {
  readonly name: string;
  /** Name of its file. */
  readonly slug: string;
  readonly commit: string;
  readonly offline: Span;
  readonly online: Span;
  readonly client: PartyTrace;
  readonly server: PartyTrace;
}

/** Inferences before the one that is traced. */
const WARM_UPS = 2;

/** How long to warm up at least, in ms; not when it has to be quick. */
const WARM_UP_MS = 4000;

/**
 * Profiles the digit network, and unless `quick`, networks of networks.ts: one trace each, as it is done.
 * @param report - told what is done
 */
export async function* profileNetworks(
  quick: boolean,
  report: (line: string) => void,
): AsyncGenerator<Profile> {
  const digits = loadDigits();
  report('digits');
  yield await profile('digits', digits.path, digits.images, quick ? 0 : WARM_UP_MS);
  if (quick) return;
  const folder = await mkdtemp(join(tmpdir(), 'sotto-profile-'));
  try {
    for (const { name, make } of SUBJECTS.filter(({ name }) => /ResNet-(20|18)/.test(name))) {
      report(name);
      const { model, images } = compileOnNoise(name, make());
      const path = join(folder, 'model.sotto');
      await writeFile(path, encodeModel(model));
      yield await profile(name, path, images, WARM_UP_MS);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function profile(
  name: string,
  path: string,
  images: readonly Uint8Array[],
  warmUpMs: number,
): Promise<Profile> {
  const workers = Math.max(1, Math.floor(availableParallelism() / 2));
  const server = new Worker(new URL('./profile-server.js', import.meta.url), {
    workerData: { path, workers },
  });
  const worker = new URL('./profile-worker.js', import.meta.url);
  const tracer = new Tracer(createThreadPool<TracedTasks>(worker, { workers }));
  try {
    const socket = new WebSocket(await answer<string>(server), SOCKET_OPTIONS);
    tracer.watch(socket);
    const session = await openSession({ channel: socketChannel(socket), pool: tracer.pool });
    const infer = async (): Promise<{ offline: Span; online: Span }> => {
      const start = now();
      await session.prepare();
      const middle = now();
      await session.infer(images[0]!);
      return { offline: { start, end: middle }, online: { start: middle, end: now() } };
    };
    const warm = now() + warmUpMs;
    for (let i = 0; i < WARM_UPS || now() < warm; i++) await infer();
    await order(server, 'start');
    await tracer.start();
    const phases = await infer();
    const client = await tracer.stop();
    const far = (await order(server, 'stop')) as PartyTrace;
    await session.close();
    const slug = name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
    const commit = machineInfo().commit ?? 'unknown';
    return { name, slug, commit, ...phases, client, server: far };
  } finally {
    await tracer.close();
    await server.terminate();
  }
}

/** The server thread's next message. */
function answer<T>(server: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    server.once('message', resolve);
    server.once('error', reject);
  });
}

function order(server: Worker, what: 'start' | 'stop'): Promise<unknown> {
  const answered = answer<unknown>(server);
  server.postMessage(what);
  return answered;
}
