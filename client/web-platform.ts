/** What sessions and lists of models stand on in a browser, in a page as in a worker. */

import { hintDigestInPieces } from '../protocol/linear/index.ts';
import { inSlices } from '../protocol/slices.ts';
import { place } from './address.ts';
import type { ConnectOptions } from './api.ts';
import type { Platform } from './connect.ts';
import { storedHints } from './hint-storage.ts';
import { type Answer, Unreached } from './models.ts';
import { connectingBy } from './socket.ts';

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
        ? 'the content security policy of this page, or of the file of its worker, does not name it in connect-src'
        : 'no server answers there';
    },
    end,
  };
}

/** What a browser does not do for a page that came by https:. */
function mixed(url: string, cause: unknown): TypeError {
  const what = `this page may not connect to ${place(url)}: pages that come by https: may use wss: alone`;
  return new TypeError(`url: ${what}`, { cause });
}

/** Those that are not closed. */
const sockets = new Set<WebSocket>();

/** How long a socket may take to close, in ms: what it has sent has left then, or never will. LOCAL. */
const CLOSING_MS = 500;

/** Waits until all sockets are closed: a worker that is ended before drops what they were about to send. */
export async function socketsClosed(): Promise<void> {
  const closed = [...sockets].map(
    (socket) => new Promise((resolve) => socket.addEventListener('close', resolve)),
  );
  await Promise.race([
    Promise.all(closed),
    new Promise((resolve) => setTimeout(resolve, CLOSING_MS)),
  ]);
}

/** All but the workers and the images, which are the page's. */
export const browser: Omit<Platform<ConnectOptions>, 'createPool' | 'readPixels'> = {
  hints: storedHints,
  // Not by WebCrypto, which copies what it hashes.
  digest: (hint) => inSlices(hintDigestInPieces(hint)),
  open(url) {
    const policy = watchPolicy();
    let socket: WebSocket;
    try {
      socket = new WebSocket(url);
    } catch (cause) {
      policy.end();
      throw mixed(url, cause);
    }
    socket.addEventListener('open', policy.end);
    sockets.add(socket);
    socket.addEventListener('close', () => sockets.delete(socket));
    return connectingBy(socket, async () => ({ reason: await policy.reason() }));
  },
};

/** Asks by HTTP. */
export async function get(
  address: URL,
  { signal }: { readonly signal: AbortSignal },
): Promise<Answer> {
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
