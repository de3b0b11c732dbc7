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
import { createWebPool, type WebPoolOptions } from '../protocol/pool/web.ts';
import { type CommonConnectOptions, connectOn, type Platform } from './connect.ts';
import { storedHints } from './hint-storage.ts';
import type { Session } from './session.ts';

export type { EndpointOptions } from '../protocol/channel/endpoint.ts';
export type { Channel } from '../protocol/channel/index.ts';
export { type Socket, socketChannel } from '../protocol/channel/websocket.ts';
export { ProtocolError, type ProtocolErrorCode } from '../protocol/errors.ts';
export type { ProtocolPool, ProtocolRunner } from '../protocol/inference/session.ts';
export type { WebPoolOptions } from '../protocol/pool/web.ts';
export {
  type PixelTensor,
  pixelsOfRgba,
  pixelsOfTensor,
  type RgbaImage,
} from '../protocol/program/pixels.ts';
export type { Random } from '../protocol/random/index.ts';
export type { Shape } from '../protocol/ring/shape.ts';
export type { ClientLimits, Expectation } from './accept.ts';
export { type Fit, type ImageSource, pixelsOf, readImage } from './canvas.ts';
export type { CommonConnectOptions } from './connect.ts';
export { storedHints } from './hint-storage.ts';
export { type HintCache, memoryHints } from './hints.ts';
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
export type ConnectOptions = CommonConnectOptions;

/** Web workers for sessions: one for each core, at most eight, unless `workers` says otherwise. The caller closes it. */
export function createPool(options: WebPoolOptions = {}): ProtocolPool {
  // Bundlers find the worker's module by these very words.
  const spawn = () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  return createWebPool<typeof tasks>(spawn, options);
}

const browser: Platform<ConnectOptions> = {
  options: [],
  createPool,
  hints: storedHints,
  openSocket(url) {
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

/**
 * Connects to a server and opens a session.
 * @param url - wss://HOST:PORT, or ws://HOST:PORT from pages that are not https://
 * @throws TypeError when `url` is not such a URL
 * @throws ProtocolError `closed` when the server cannot be reached, `refused` when it is busy or has no such model,
 *   `version-mismatch`, `program-mismatch` (see `expect`), or another code when it breaks the protocol
 * @throws AbortError when `signal` fires first
 */
export function connect(url: string, options: ConnectOptions = {}): Promise<Session> {
  return connectOn(browser, url, options);
}
