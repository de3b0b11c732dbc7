/**
 * The client for Node: private inference with a Sotto server.
 *
 *     const session = await connect('ws://localhost:8443');
 *     await session.prepare({ inferences: 3 });
 *     const { label, logits } = await session.infer(pixels);
 *     await session.close();
 *
 * The session itself is in session.ts and knows no platform; its contract is in contract.ts. Here are the socket and the threads.
 */

import { get as httpGet, type IncomingMessage } from 'node:http';
import { get as httpsGet } from 'node:https';
import { WebSocket } from 'ws';
import { CLIENT_SOCKET_OPTIONS } from '../protocol/channel/websocket.ts';
import type { ListedModel } from '../protocol/inference/listing.ts';
import { createPool } from '../protocol/inference/threads.ts';
import type { ConnectOptions, ModelsOptions } from './api.ts';
import { connectOn, type Platform } from './connect.ts';
import type { Session } from './contract.ts';
import { unreachedBecause } from './explain.ts';
import { folderHints } from './hint-folder.ts';
import { pixelsOf, readImage } from './image.ts';
import { pixelReader } from './images.ts';
import { type Answer, listModels, Unreached } from './models.ts';
import type { SessionOptions } from './options.ts';
import { type SessionParts, sessionOver } from './session.ts';
import { connectingBy } from './socket.ts';

export { createPool } from '../protocol/inference/threads.ts';
export * from './api.ts';
export { folderHints as storedHints } from './hint-folder.ts';
export { pixelsOf, readImage };

const readPixels = pixelReader(readImage, pixelsOf);

const node: Platform<ConnectOptions> = {
  createPool,
  readPixels,
  hints: folderHints,
  async digest(hint) {
    // WebCrypto does not read shared memory.
    const own = hint.buffer instanceof ArrayBuffer ? hint : new Uint8Array(hint);
    return new Uint8Array(await crypto.subtle.digest('SHA-256', own as Uint8Array<ArrayBuffer>));
  },
  open(url, { ca, headers }) {
    const socket = new WebSocket(url, {
      ...CLIENT_SOCKET_OPTIONS,
      ...(ca === undefined ? {} : { ca }),
      ...(headers === undefined ? {} : { headers }),
    });
    let cause: (Error & { code?: string }) | undefined;
    socket.on('error', (error) => {
      cause ??= error;
    });
    return connectingBy(socket, () => ({ reason: unreachedBecause(cause), cause }));
  },
};

/** Connects to a server and opens a session: see api.ts. */
export function connect(url: string, options: ConnectOptions = {}): Promise<Session> {
  return connectOn(node, url, options);
}

/** Asks by HTTP. */
async function get(
  address: URL,
  { ca, headers, signal }: ModelsOptions & { readonly signal: AbortSignal },
): Promise<Answer> {
  const get = address.protocol === 'https:' ? httpsGet : httpGet;
  const options = { signal, agent: false, ...(ca && { ca }), ...(headers && { headers }) };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(address, options, resolve).on('error', (cause) => {
      reject(new Unreached(unreachedBecause(cause), { cause }));
    });
  });
  return {
    status: response.statusCode ?? 0,
    // Node has the names in lower case, as Answer asks for them.
    header: (name) => response.headers[name]?.toString(),
    body: response,
  };
}

/** What a server offers: see api.ts. */
export function models(url: string, options: ModelsOptions = {}): Promise<ListedModel[]> {
  return listModels(get, url, options);
}

/** Opens a session over a channel: see api.ts. */
export function openSession(parts: SessionParts, options?: SessionOptions): Promise<Session> {
  return sessionOver({ readPixels, ...parts }, options);
}
