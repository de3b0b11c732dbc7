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
import { CLIENT_SOCKET_OPTIONS, socketChannel } from '../protocol/channel/websocket.ts';
import { ProtocolError } from '../protocol/errors.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import type { tasks } from '../protocol/inference/tasks.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { openSession, type Session, type SessionOptions } from './session.ts';

export type { ClientLimits, Expectation } from './accept.ts';
export { type Image, pixelsOf, readImage } from './image.ts';
export type {
  CallOptions,
  Inference,
  PhaseStats,
  PrepareOptions,
  Session,
  SessionOptions,
  SessionPhase,
  SessionProgress,
} from './session.ts';
export { openSession } from './session.ts';

/** Options of {@link connect}. */
export interface ConnectOptions extends SessionOptions {
  /** Threads of the session's own pool; as many as the machine runs at a time unless given. LOCAL. */
  readonly workers?: number | undefined;
  /** A pool to share between sessions, instead of one of its own; the caller closes it. */
  readonly pool?: ProtocolPool | undefined;
  /** Certificate authorities (PEM) to trust instead of the well-known ones, for wss:// URLs. */
  readonly ca?: string | undefined;
}

/** How long the connection itself may take, in ms. LOCAL. */
const HANDSHAKE_MS = 15_000;

/**
 * Connects to a server and opens a session.
 * @param url - ws://HOST:PORT or wss://HOST:PORT
 * @throws TypeError when `url` is not such a URL
 * @throws ProtocolError `closed` when the server cannot be reached, `refused` when it is busy or has no such model,
 *   `version-mismatch`, `program-mismatch` (see `expect`), or another code when it breaks the protocol
 * @throws AbortError when `signal` fires first
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Session> {
  if (!/^wss?:\/\/[^/#][^#]*$/.test(url) || !URL.canParse(url)) {
    throw new TypeError(`url: expected ws://HOST:PORT or wss://HOST:PORT, got "${url}"`);
  }
  const own =
    options.pool === undefined
      ? createThreadPool<typeof tasks>(
          new URL('../protocol/inference/worker.js', import.meta.url),
          options.workers === undefined ? {} : { workers: options.workers },
        )
      : undefined;
  const socket = new WebSocket(url, {
    ...CLIENT_SOCKET_OPTIONS,
    handshakeTimeout: HANDSHAKE_MS,
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  });
  let opened = false;
  let failure: (Error & { code?: string }) | undefined;
  socket.once('open', () => {
    opened = true;
  });
  socket.on('error', (error) => {
    failure ??= error;
  });
  const parts = {
    channel: socketChannel(socket),
    pool: options.pool ?? (own as ProtocolPool),
    release: own && (() => own.close()),
  };
  try {
    return await openSession(parts, options);
  } catch (error) {
    const lost = error instanceof ProtocolError && error.code === 'closed';
    if (opened || failure === undefined || !lost) throw error;
    throw new ProtocolError('closed', `cannot connect to ${url}: ${explain(failure)}`, {
      cause: failure,
    });
  }
}

function explain({ code, message }: Error & { code?: string }): string {
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
