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

import type { ListedModel } from '../protocol/inference/listing.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import type * as tasks from '../protocol/inference/tasks.ts';
import { hintDigestInPieces } from '../protocol/linear/index.ts';
import { createWebPool } from '../protocol/pool/web.ts';
import { inSlices } from '../protocol/slices.ts';
import type { ConnectOptions, ModelsOptions, PoolOptions } from './api.ts';
import { pixelsOf, readImage } from './canvas.ts';
import { connectOn, type Platform, place } from './connect.ts';
import { storedHints } from './hint-storage.ts';
import { pixelReader } from './images.ts';
import { type Answer, listModels, Unreached } from './models.ts';
import type { SessionOptions } from './options.ts';
import { type Session, type SessionParts, sessionOver } from './session.ts';
import { connectingBy } from './socket.ts';

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

/** How long a page may wait to hear of a violation of its policy, in ms. LOCAL. */
const VIOLATION_MS = 20;

/** Sees what the page's content security policy blocks; why nothing answers is then known, which a browser does not tell otherwise. */
function watchPolicy(): { reason(): Promise<string>; end(): void } {
  let blocked = false;
  const see = ({ effectiveDirective }: SecurityPolicyViolationEvent): void => {
    blocked ||= effectiveDirective === 'connect-src';
  };
  const page = globalThis as Partial<Pick<Window, 'addEventListener' | 'removeEventListener'>>;
  const end = (): void => page.removeEventListener?.('securitypolicyviolation', see);
  page.addEventListener?.('securitypolicyviolation', see);
  return {
    async reason() {
      // A page hears of a violation after it has heard that there is no connection.
      await new Promise((resolve) => setTimeout(resolve, VIOLATION_MS));
      end();
      if (globalThis.navigator?.onLine === false) return 'this device is offline';
      return blocked
        ? 'the content security policy of this page does not name it in connect-src'
        : 'no server answers there';
    },
    end,
  };
}

/** @throws TypeError when an option is given that Node alone has */
function refuseNodes({ ca, headers }: Pick<ConnectOptions, 'ca' | 'headers'>): void {
  if (ca !== undefined || headers !== undefined) {
    throw new TypeError('ca, headers: a browser lets no page set them');
  }
}

/** What a browser does not do for a page that came by https:. */
function mixed(url: string, cause: unknown): TypeError {
  const what = `this page may not connect to ${place(url)}: pages that come by https: may use wss: alone`;
  return new TypeError(`url: ${what}`, { cause });
}

const browser: Platform<ConnectOptions> = {
  createPool,
  readPixels,
  hints: storedHints,
  // Not by WebCrypto, which copies what it hashes, on the page's main thread.
  digest: (hint) => inSlices(hintDigestInPieces(hint)),
  open(url, { ca, headers }) {
    refuseNodes({ ca, headers });
    const policy = watchPolicy();
    let socket: WebSocket;
    try {
      socket = new WebSocket(url);
    } catch (cause) {
      policy.end();
      throw mixed(url, cause);
    }
    socket.addEventListener('open', policy.end);
    return connectingBy(socket, async () => ({ reason: await policy.reason() }));
  },
};

/** Connects to a server and opens a session: see api.ts. */
export function connect(url: string, options: ConnectOptions = {}): Promise<Session> {
  return connectOn(browser, url, options);
}

/** Opens a session over a channel: see api.ts. */
export function openSession(parts: SessionParts, options?: SessionOptions): Promise<Session> {
  return sessionOver({ readPixels, ...parts }, options);
}

/** What a server offers: see api.ts. */
export async function models(url: string, options: ModelsOptions = {}): Promise<ListedModel[]> {
  refuseNodes(options);
  return listModels(get, url, options);
}

/** Asks by HTTP. */
async function get(address: URL, { signal }: { readonly signal: AbortSignal }): Promise<Answer> {
  const policy = watchPolicy();
  const response = await fetch(address, {
    signal,
    redirect: 'error',
    credentials: 'same-origin',
    referrerPolicy: 'no-referrer',
    cache: 'no-store',
  })
    .catch(async (cause) => {
      // This machine's own addresses are as good as https:.
      if (
        globalThis.location?.protocol === 'https:' &&
        /^http:\/\/(?!localhost|127\.|\[::1)/.test(address.href)
      ) {
        throw mixed(new URL('.', address).href.replace('http', 'ws'), cause);
      }
      throw new Unreached(await policy.reason(), { cause });
    })
    .finally(policy.end);
  return {
    status: response.status,
    header: (name) => response.headers.get(name) ?? undefined,
    body: piecesOf(response.body),
  };
}

/** Not all browsers iterate over streams. */
async function* piecesOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader();
  for (;;) {
    const piece = await reader?.read();
    if (piece?.value === undefined) return;
    yield piece.value;
  }
}
