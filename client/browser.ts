/**
 * The client for browsers: private inference with a Sotto server, from a page.
 *
 *     const session = await connect('wss://host:8443');
 *     await session.prepare({ inferences: 3 });
 *     const pixels = pixelsOf(canvas, session.program.input.shape);
 *     const { label, logits } = await session.infer(pixels);
 *     await session.close();
 *
 * The same calls as in Node. The cryptography runs in web workers; on pages that are cross-origin isolated they share
 * memory, on others they copy, with the same results.
 */

import type { ProtocolPool } from '../protocol/inference/session.ts';
import type { tasks } from '../protocol/inference/tasks.ts';
import { createWebPool } from '../protocol/pool/web.ts';
import type { ConnectOptions, PoolOptions } from './api.ts';
import { pixelsOf, readImage } from './canvas.ts';
import { connectOn, type Platform } from './connect.ts';
import { storedHints } from './hint-storage.ts';
import { pixelReader } from './images.ts';
import type { SessionOptions } from './options.ts';
import { openSession as openOver, type Session, type SessionParts } from './session.ts';

export * from './api.ts';
export { storedHints } from './hint-storage.ts';
export { pixelsOf, readImage };

/** Web workers for sessions: see api.ts. */
export function createPool({ workers, workerUrl }: PoolOptions = {}): ProtocolPool {
  const spawn = () =>
    workerUrl === undefined
      ? // Bundlers find the worker's module by these very words.
        new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
      : new Worker(workerUrl, { type: 'module' });
  return createWebPool<typeof tasks>(spawn, { workers });
}

const readPixels = pixelReader(readImage, pixelsOf);

const browser: Platform<ConnectOptions> = {
  createPool,
  readPixels,
  hints: storedHints,
  openSocket(url, { ca, headers }) {
    if (ca !== undefined || headers !== undefined) {
      throw new TypeError('ca, headers: a browser lets no page set them');
    }
    let socket: WebSocket;
    try {
      socket = new WebSocket(url);
    } catch (cause) {
      throw new TypeError(`url: this page may not connect to ${url}, wss:// perhaps`, { cause });
    }
    // A browser does not tell pages why.
    return { socket, failure: () => ({ reason: 'no server answers there' }) };
  },
};

/** Connects to a server and opens a session: see api.ts. */
export function connect(url: string, options: ConnectOptions = {}): Promise<Session> {
  return connectOn(browser, url, options);
}

/** Opens a session over a channel: see api.ts. */
export function openSession(parts: SessionParts, options?: SessionOptions): Promise<Session> {
  return openOver({ readPixels, ...parts }, options);
}
