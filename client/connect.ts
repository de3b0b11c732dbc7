/** Connecting: what the clients of Node and of browsers share. The platform gives sockets and workers. */

import { sha256 } from '@noble/hashes/sha2.js';
import type { Channel } from '../protocol/channel/index.ts';
import { ProtocolError } from '../protocol/errors.ts';
import type { HintSource, ProtocolPool } from '../protocol/inference/session.ts';
import { hexOf } from '../protocol/program/encode.ts';
import { clientLimits } from './accept.ts';
import { checkUrl, place } from './address.ts';
import { fetchHint, type HintCache } from './hints.ts';
import type { PixelReader } from './images.ts';
import { freshResumption, Link, type Resumption } from './link.ts';
import { CONNECT_OPTIONS, checkOptions, type SessionOptions } from './options.ts';
import { LocalSession } from './session.ts';
import { type WireMessage, watched } from './watched.ts';

/** Options of connecting, on every platform. */
export interface CommonConnectOptions extends SessionOptions {
  /** Workers of the session's own pool; default: as many as the machine runs at a time. LOCAL. */
  readonly workers?: number | undefined;
  /** A pool to share between sessions, in a browser one of createPool(); default: each session makes its own. The caller closes it. */
  readonly pool?: ProtocolPool | undefined;
  /** Where hints are kept; by default where the platform keeps such things. `false`: nowhere. */
  readonly hints?: HintCache | false | undefined;
  /** In Node: puts a decorator around the channel of each of the session's links. */
  readonly decorate?: ((channel: Channel) => Channel) | undefined;
  /** Message callback: what the session sends and gets, for those who show it. Must not throw. */
  readonly onMessage?: ((message: WireMessage) => void) | undefined;
}

/** What a platform provides. */
export interface Platform<Options extends CommonConnectOptions> {
  /** A pool for one session. */
  createPool(options: Options): ProtocolPool;
  /** Reads images. */
  readonly readPixels: PixelReader;
  /** Where hints are kept when the options do not say. */
  hints(): HintCache;
  /** SHA-256 of a hint. */
  digest(hint: Uint8Array): Promise<Uint8Array>;
  /** Begins to connect. */
  open(url: string, options: Options): Connecting;
}

/** A channel that begins to connect. */
export interface Connecting {
  /** What is sent waits until it is connected. */
  readonly channel: Channel;
  /** Resolves when it is connected; never rejects. */
  readonly opened: Promise<void>;
  /** Why it is not, as far as that is known, which may be a little later. */
  failure(): Failure | Promise<Failure>;
}

/** Why there is no connection: a sentence, and the error itself. */
export interface Failure {
  readonly reason: string;
  readonly cause?: Error | undefined;
}

/** How long the connection itself may take, in ms. LOCAL. */
export const CONNECTING_MS = 15_000;

/** Connects on a platform; the contract is that of its `connect`. */
export async function connectOn<Options extends CommonConnectOptions>(
  platform: Platform<Options>,
  url: string,
  options: Options,
): Promise<LocalSession> {
  checkUrl(url);
  checkOptions(options, CONNECT_OPTIONS);
  // Before a pool or a socket is made.
  clientLimits(options.limits);
  const own = options.pool === undefined ? platform.createPool(options) : undefined;
  const pool = options.pool?.runner() ?? (own as ProtocolPool);
  const cache = options.hints ?? platform.hints();
  const left = freshResumption();
  return LocalSession.begin(
    {
      left,
      readPixels: platform.readPixels,
      lasting: true,
      release: own && (() => own.close()),
      async open(linkOptions) {
        // `options.signal` is for the first link alone.
        const hints = hintSource(platform.digest, cache, url, linkOptions.signal);
        const connection = platform.open(routed(url, left), options);
        return openOver(connection, place(url), options, (channel) =>
          Link.open({ channel, pool, hints }, linkOptions, left),
        );
      },
    },
    options,
  );
}

/** Opens a link over a channel that begins to connect. */
async function openOver(
  connection: Connecting,
  place: string,
  { decorate = (channel) => channel, onMessage }: CommonConnectOptions,
  open: (channel: Channel) => Promise<Link>,
): Promise<Link> {
  const inner = decorate(connection.channel);
  const channel = onMessage === undefined ? inner : watched(inner, onMessage);
  const unreached = ({ reason, cause }: Failure) =>
    new ProtocolError('unreachable', `cannot connect to ${place}: ${reason}`, { cause });
  const late = unreached({ reason: `no answer within ${CONNECTING_MS / 1000} s` });
  const slow = setTimeout(() => channel.close(late), CONNECTING_MS);
  let opened = false;
  void connection.opened.then(() => {
    opened = true;
    clearTimeout(slow);
  });
  try {
    return await open(channel);
  } catch (error) {
    const lost = error instanceof ProtocolError && error.code === 'lost';
    throw !opened && lost && error !== late ? unreached(await connection.failure()) : error;
  } finally {
    clearTimeout(slow);
  }
}

/**
 * The URL with a name of the client's ticket, `session=16 hexadecimal digits`: a proxy in front of several servers sends a client that
 * comes back to the one that has its bundles. It says nothing of the ticket.
 */
function routed(url: string, { ticket }: Resumption): string {
  const name = hexOf(sha256(ticket).subarray(0, 8));
  return `${url}${url.includes('?') ? '&' : '?'}session=${name}`;
}

/** A hint from the cache, or from the server by HTTP. */
function hintSource(
  digest: Platform<CommonConnectOptions>['digest'],
  cache: HintCache | false,
  url: string,
  signal: AbortSignal | undefined,
): HintSource {
  let kept: Uint8Array | undefined;
  return {
    async load(digest, bytes, onProgress) {
      kept = cache ? await cache.load(hexOf(digest), bytes) : undefined;
      return kept ?? (await fetchHint(url, hexOf(digest), bytes, { signal, onProgress }));
    },
    async save(digest, hint) {
      if (cache && hint !== kept) await cache.save(hexOf(digest), hint);
    },
    digest,
  };
}
