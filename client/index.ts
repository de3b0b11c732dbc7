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
import type { tasks } from '../protocol/inference/tasks.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { type CommonConnectOptions, connectOn, type Platform } from './connect.ts';
import { folderHints } from './hint-folder.ts';
import type { Session } from './session.ts';

export type { Channel } from '../protocol/channel/index.ts';
export { ProtocolError, type ProtocolErrorCode } from '../protocol/errors.ts';
export type { ProtocolPool, ProtocolRunner } from '../protocol/inference/session.ts';
export {
  type PixelTensor,
  pixelsOfRgba,
  pixelsOfTensor,
  type RgbaImage,
} from '../protocol/program/pixels.ts';
export type { Random } from '../protocol/random/index.ts';
export type { Shape } from '../protocol/ring/shape.ts';
export type { ClientLimits, Expectation } from './accept.ts';
export type { CommonConnectOptions } from './connect.ts';
export { type FolderHintsOptions, folderHints } from './hint-folder.ts';
export { type HintCache, memoryHints } from './hints.ts';
export { type Image, pixelsOf, readImage } from './image.ts';
export type { OnProgress } from './reporter.ts';
export type {
  CallOptions,
  Inference,
  PhaseStats,
  PrepareOptions,
  ResultTensor,
  Session,
  SessionOptions,
  SessionParts,
  SessionPhase,
  SessionProgress,
  SessionStatus,
} from './session.ts';
export { openSession } from './session.ts';

/** Options of {@link connect}. */
export interface ConnectOptions extends CommonConnectOptions {
  /** Certificate authorities (PEM) to trust instead of the well-known ones, for wss:// URLs. */
  readonly ca?: string | undefined;
  /**
   * Further headers of the request for the WebSocket, such as `authorization`. A browser sets none: its pages have the URL's query,
   * and cookies.
   */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

const node: Platform<ConnectOptions> = {
  options: ['ca', 'headers'],
  createPool: ({ workers }) =>
    createThreadPool<typeof tasks>(
      new URL('../protocol/inference/worker.js', import.meta.url),
      workers === undefined ? {} : { workers },
    ),
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

/**
 * Connects to a server and opens a session.
 * @param url - ws://HOST:PORT or wss://HOST:PORT, with a path and a query where the server asks for them
 * @throws TypeError when `url` is not such a URL
 * @throws RangeError when a limit, `workers` or `bitsPerSecond` is out of its range
 * @throws ProtocolError `closed` when the server cannot be reached, `refused` when it is busy or has no such model,
 *   `version-mismatch`, `program-mismatch` (see `expect`), or another code when it breaks the protocol
 * @throws AbortError when `signal` fires first
 */
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
