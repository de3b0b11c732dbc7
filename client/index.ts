/**
 * The client for Node: private inference with a Sotto server.
 *
 *     const session = await connect('ws://localhost:8443');
 *     await session.prepare({ inferences: 3 });
 *     const { label, logits } = await session.infer(pixels);
 *     await session.close();
 *
 * The session itself, with its contract, is in session.ts and knows no platform. Here are the socket and the threads.
 */

import { WebSocket } from 'ws';
import { CLIENT_SOCKET_OPTIONS } from '../protocol/channel/websocket.ts';
import { createPool } from '../protocol/inference/threads.ts';
import type { ConnectOptions } from './api.ts';
import { connectOn, type Platform } from './connect.ts';
import { folderHints } from './hint-folder.ts';
import { pixelsOf, readImage } from './image.ts';
import { pixelReader } from './images.ts';
import type { SessionOptions } from './options.ts';
import { openSession as openOver, type Session, type SessionParts } from './session.ts';

export { createPool } from '../protocol/inference/threads.ts';
export * from './api.ts';
export { folderHints as storedHints } from './hint-folder.ts';
export { pixelsOf, readImage };

const readPixels = pixelReader(readImage, pixelsOf);

const node: Platform<ConnectOptions> = {
  createPool,
  readPixels,
  hints: folderHints,
  openSocket(url, { ca, headers }) {
    const socket = new WebSocket(url, {
      ...CLIENT_SOCKET_OPTIONS,
      ...(ca === undefined ? {} : { ca }),
      ...(headers === undefined ? {} : { headers }),
    });
    let cause: (Error & { code?: string }) | undefined;
    socket.on('error', (error) => {
      cause ??= error;
    });
    return { socket, failure: () => ({ reason: explain(cause), cause }) };
  },
};

/** Connects to a server and opens a session: see api.ts. */
export function connect(url: string, options: ConnectOptions = {}): Promise<Session> {
  return connectOn(node, url, options);
}

function explain({ code, message }: Partial<Error & { code: string }> = {}): string {
  switch (code) {
    case 'ECONNREFUSED':
      return 'no server listens there';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'there is no such host';
    default:
      return message || code || 'the connection failed';
  }
}

/** Opens a session over a channel: see api.ts. */
export function openSession(parts: SessionParts, options?: SessionOptions): Promise<Session> {
  return openOver({ readPixels, ...parts }, options);
}
