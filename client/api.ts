/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Private inference with a Sotto server.
 *
 *     const session = await connect('wss://host:8443');
 *     await session.prepare({ inferences: 3 });
 *     const pixels = pixelsOf(await readImage(file), session.program.input.shape);
 *     const { label, logits } = await session.infer(pixels);
 *     await session.close();
 *
 * The same calls in Node and in browsers; the conditions of the package choose the platform. This is what both offer, with what
 * they share: index.ts has the rest for Node, browser.ts for browsers.
 */

import type { ListedModel } from '../protocol/inference/listing.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import type { Shape } from '../protocol/ring/shape.ts';
import type { CommonConnectOptions } from './connect.ts';
import type { Session } from './contract.ts';
import type { HintCache } from './hints.ts';
import type { Fit, Image, ImageSource } from './images.ts';
import type { SessionOptions } from './options.ts';
import type { SessionParts } from './session.ts';

export type { Traffic } from '../protocol/channel/counted.ts';
export type { EndpointOptions } from '../protocol/channel/endpoint.ts';
export type { Channel } from '../protocol/channel/index.ts';
export { type Socket, socketChannel } from '../protocol/channel/websocket.ts';
export {
  isAbortError,
  isProtocolError,
  ProtocolError,
  type ProtocolErrorCode,
} from '../protocol/errors.ts';
export type { ListedModel, PhaseBytes } from '../protocol/inference/listing.ts';
export type {
  HintDownload,
  HintSource,
  ProtocolPool,
  ProtocolRunner,
} from '../protocol/inference/session.ts';
export type { Pool, Runner, RunnerOptions, RunOptions } from '../protocol/pool/index.ts';
export type { Input, Output, TaskTable } from '../protocol/pool/task.ts';
export {
  type PixelTensor,
  pixelsOfRgba,
  pixelsOfTensor,
  type RgbaImage,
} from '../protocol/program/pixels.ts';
export type { ResultTensor } from '../protocol/program/results.ts';
export type { Random } from '../protocol/random/index.ts';
export type { Shape } from '../protocol/ring/shape.ts';
export type { ClientLimits, Expectation } from './accept.ts';
export type { Inference } from './answers.ts';
export type { Classification, ClassifyOptions, ClassOptions } from './classify.ts';
export type { CommonConnectOptions } from './connect.ts';
export type { Session } from './contract.ts';
export { type HintCache, memoryHints } from './hints.ts';
export type { Fit, Frame, Image, ImageArgument, ImageSource } from './images.ts';
export type { PhaseStats } from './link.ts';
export type {
  CallOptions,
  PrepareOptions,
  SessionOptions,
  SessionStatus,
} from './options.ts';
export type { OnProgress, SessionPhase, SessionProgress } from './reporter.ts';
export type { SessionParts } from './session.ts';
export type { WireMessage } from './watched.ts';

/** Options of {@link connect}. */
export interface ConnectOptions extends CommonConnectOptions {
  /** In Node: certificate authorities (PEM) to trust instead of the well-known ones, for wss:// URLs. */
  readonly ca?: string | undefined;
  /**
   * In Node: further headers of the request for the WebSocket, such as `authorization`. A browser sets none: its pages have the
   * URL's query, and cookies.
   */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Where the module `sotto/worker` is, when a bundler has put it elsewhere; an absolute URL. */
  readonly workerUrl?: string | URL | undefined;
}

/** Options of {@link models}. */
export interface ModelsOptions extends Pick<ConnectOptions, 'ca' | 'headers'> {
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@link createPool}. */
export interface PoolOptions {
  /** Workers; default: as many as the machine runs at a time, in a browser at most eight. LOCAL. */
  readonly workers?: number | undefined;
  /** As in {@link ConnectOptions}. */
  readonly workerUrl?: string | URL | undefined;
}

/** Options of {@link storedHints}. */
export interface StoredHintsOptions {
  /** Bytes of all hints together; default: 2 GiB, in a browser as long as it grants them. LOCAL. */
  readonly maxBytes?: number | undefined;
  /** In Node: the folder, made when it is not there; by default what SOTTO_CACHE names, else the user's folder for caches. */
  readonly folder?: string | undefined;
  /** In Node: told, once, in one sentence, why hints are not kept or cannot be read. */
  readonly onTrouble?: ((reason: string) => void) | undefined;
}

/**
 * Connects to a server and opens a session.
 * @param url - wss://HOST:PORT or ws://HOST:PORT, with a path and a query where the server asks for them; pages that are https://
 *   may use wss:// alone
 * @throws TypeError when `url` is not such a URL, an option is given that a browser has not, or in a browser a pool that is none of
 *   createPool()
 * @throws RangeError when a limit, `workers` or `bitsPerSecond` is out of its range
 * @throws ProtocolError `unreachable`, `busy`, `refused` when it has no such model or does not let this client in, `limit` (see `limits`),
 *   `version-mismatch`, `program-mismatch` (see `expect`), or another code: {@link ProtocolErrorCode}
 * @throws AbortError when `signal` fires first
 */
export declare function connect(url: string, options?: ConnectOptions): Promise<Session>;

/**
 * Opens a session over a channel of the caller's, which belongs to the session from here on. It ends with that channel.
 * @throws TypeError for an option that there is not
 * @throws RangeError when `bitsPerSecond` is not a positive number, or a limit is out of its range
 * @throws ProtocolError as {@link connect} does
 * @throws AbortError when `signal` fires first
 */
export declare function openSession(
  parts: SessionParts,
  options?: SessionOptions,
): Promise<Session>;

/**
 * What a server offers, in its order; the first is what a client gets that names none. Asked by HTTP, as hints are: `models`
 * beside the WebSocket's address, with the URL's query. A browser sends cookies along to its page's own origin alone.
 * @param url - as of {@link connect}
 * @throws TypeError when `url` is not such a URL, or an option is given that there is not, or that a browser has not
 * @throws ProtocolError `unreachable`, `refused` when it does not let this client in, `timeout` when it
 *   stops to answer, `version-mismatch` when it is of another release, `bad-message` when what it answers is no such list
 * @throws AbortError when `signal` fires first
 */
export declare function models(url: string, options?: ModelsOptions): Promise<ListedModel[]>;

/**
 * Workers for sessions: threads in Node, web workers in a browser. The caller closes them.
 * @throws RangeError when `workers` is out of its range
 */
export declare function createPool(options?: PoolOptions): ProtocolPool;

/**
 * Keeps hints where the platform keeps such things: in a folder of files, or in the Cache storage of the page's origin. Beyond its
 * limit, those go first that were not used for longest; in a browser, that were saved first.
 */
export declare function storedHints(options?: StoredHintsOptions): HintCache;

/**
 * Reads an image file: in Node a PNG file of 64 MiB at most, in a browser whatever it can show.
 * @param source - a file or blob, a URL, or in Node the path of a file
 * @throws Error, with one sentence, when there is no such file, or it is not such an image
 */
export declare function readImage(source: string | URL | Blob): Promise<Image>;

/**
 * The pixels of an image, 0..1, [channels, height, width]. A program of one channel gets the luminance (Rec. 601), one
 * of three red, green and blue; opacity is ignored.
 * @param shape - the program's: `session.program.input.shape`
 * @param fit - for images of another size, which are refused without it
 * @throws RangeError when the image does not have the size that the program takes, or is empty or damaged
 * @throws TypeError when it is nothing that holds an image on this platform
 */
export declare function pixelsOf(image: ImageSource, shape: Shape, fit?: Fit): Float32Array;
