/**
 * The client for browsers: private inference with a Sotto server, from a page.
 *
 *     const session = await connect('wss://host:8443');
 *     await session.prepare({ inferences: 3 });
 *     const pixels = pixelsOf(canvas, session.program.input.shape);
 *     const { label, logits } = await session.infer(pixels);
 *     await session.close();
 *
 * The same calls as in Node. A session runs in a worker (host.ts), its cryptography in others; on pages that are cross-origin isolated they
 * share memory, on others they copy, with the same results. What a page has no need of until it asks for it is loaded then.
 */

import type { ListedModel } from '../protocol/inference/listing.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import type * as tasks from '../protocol/inference/tasks.ts';
import { createWebPool, type WebPool } from '../protocol/pool/web.ts';
import { checkUrl } from './address.ts';
import type { ConnectOptions, ModelsOptions, PoolOptions } from './api.ts';
import { pixelsOf, readImage } from './canvas.ts';
import type { Session } from './contract.ts';
import { pixelReader } from './images.ts';
import { CONNECT_OPTIONS, checkOptions, type SessionOptions } from './options.ts';
import { RemoteSession, unloaded } from './remote.ts';
import type { SessionParts } from './session.ts';

export * from './api.ts';
export { storedHints } from './hint-storage.ts';
export { pixelsOf, readImage };

/** A worker, which serves a pool or a session. */
function startWorker(workerUrl: string | URL | undefined): Worker {
  return workerUrl === undefined
    ? // Bundlers find the worker's module by these very words.
      new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
    : new Worker(workerUrl, { type: 'module' });
}

/** Web workers for sessions: see api.ts. */
export function createPool({ workers, workerUrl }: PoolOptions = {}): ProtocolPool {
  return createWebPool<typeof tasks>(() => startWorker(workerUrl), { workers });
}

const readPixels = pixelReader(readImage, pixelsOf);

/** @throws TypeError when an option is given that Node alone has */
function refuseNodes({ ca, headers, decorate }: ConnectOptions): void {
  if (ca !== undefined || headers !== undefined) {
    throw new TypeError('ca, headers: a browser lets no page set them');
  }
  if (decorate !== undefined) {
    const instead = 'openSession() takes a channel with what the page puts around it';
    throw new TypeError(`decorate: in a browser a session runs in a worker; ${instead}`);
  }
}

/** Connects to a server and opens a session: see api.ts. */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Session> {
  checkUrl(url);
  checkOptions(options, CONNECT_OPTIONS);
  refuseNodes(options);
  const { pool = createPool(options), workerUrl } = options;
  if (!('share' in pool)) throw new TypeError('pool: expected one of createPool()');
  const own = options.pool === undefined ? pool : undefined;
  const shared = pool as WebPool<typeof tasks>;
  return RemoteSession.open({
    ...{ url, options, pool: shared, readPixels },
    start: () => startWorker(workerUrl),
    release: own && (() => own.close()),
  });
}

/** Opens a session over a channel, in the page itself: see api.ts. */
export async function openSession(parts: SessionParts, options?: SessionOptions): Promise<Session> {
  const { sessionOver } = await import('./session.ts');
  return sessionOver({ readPixels, ...parts }, options);
}

/** What a server offers: see api.ts. */
export async function models(url: string, options: ModelsOptions = {}): Promise<ListedModel[]> {
  checkUrl(url);
  refuseNodes(options);
  const [{ listModels }, { get }] = await Promise.all([
    import('./models.ts'),
    import('./web-platform.ts'),
  ]).catch((cause) => {
    throw unloaded(url, cause);
  });
  return listModels(get, url, options);
}
