/**
 * A channel over a WebSocket, the browser's own or the one of the `ws` package: one frame is one binary message.
 *
 * Between two sockets of `ws` a large payload is not copied: it leaves as a second fragment behind the header's, and
 * the receiver takes it as it arrived. A browser joins fragments by itself.
 */

import { ProtocolError } from '../errors.ts';
import { nextTurn } from '../slices.ts';
import { Endpoint, type EndpointOptions, type Transport } from './endpoint.ts';
import { FRAME_HEADER_BYTES, joinFrame, MAX_FRAME_BYTES } from './frames.ts';
import type { Channel } from './index.ts';

/**
 * The part of a WebSocket that is used; both kinds have it. The last three, and fragments, are the `ws` package's own:
 * without pause() an impatient peer is disconnected instead of slowed down.
 */
export interface Socket {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: Uint8Array<ArrayBuffer>, options: { fin: boolean }): void;
  close(code?: number): void;
  addEventListener(type: 'open' | 'error' | 'close', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  pause?(): void;
  resume?(): void;
  terminate?(): void;
}

/** Options of `ws` for servers and clients. */
export interface SocketOptions {
  readonly maxPayload: number;
  /** Browsers may split a message, but not into crumbs. */
  readonly maxFragments: number;
  /** Nor may a message arrive in crumbs, each of which takes more memory than it carries: 512 bytes for each of the largest. */
  readonly maxBufferedChunks: number;
  readonly perMessageDeflate: false;
}

/**
 * What a `ws` socket or server must be made with: it refuses what cannot be a frame while it arrives, and never
 * compresses (compressing secrets beside a peer's bytes tells about the secrets by length).
 */
export const SOCKET_OPTIONS: SocketOptions = {
  maxPayload: MAX_FRAME_BYTES,
  maxFragments: 1024,
  maxBufferedChunks: 32 * 1024,
  perMessageDeflate: false,
};

/**
 * What a `ws` client is made with: besides `SOCKET_OPTIONS`, a mask of zeros. Masks keep a hostile page's bytes from
 * looking like HTTP to a proxy (RFC 6455, section 10.3); this program is no page, its bytes are ciphertexts, and XOR
 * with a number that travels beside them hides nothing. A mask of zeros costs nothing, others some ms a megabyte.
 */
export const CLIENT_SOCKET_OPTIONS: SocketOptions & {
  readonly generateMask: (mask: Uint8Array) => void;
} = {
  ...SOCKET_OPTIONS,
  generateMask(mask) {
    mask.fill(0);
  },
};

/** Payloads below this are joined with their header: a copy is cheaper than a fragment then. LOCAL. */
const FRAGMENT_BYTES = 16 * 1024;

/** Bytes waiting in the socket above which send() waits. LOCAL. */
const HIGH_WATER_BYTES = 4 * 1024 * 1024;

/** Bytes after which a browser's socket lets its thread have a turn, which copies them: with openSession it is the page's. LOCAL. */
const TURN_BYTES = 256 * 1024;

/** How often a full socket is asked whether it has drained, in ms: no WebSocket tells by an event. LOCAL. */
const DRAIN_POLL_MS = 2;

/** How long a failed connection may take to say goodbye before it is cut, in ms. LOCAL. */
const LINGER_MS = 500;

/**
 * A channel over `socket`, which may still be connecting (send() waits for it then). The channel owns the socket from
 * here on. Call it in the same turn in which the socket was made or handed over, or its first message is lost.
 *
 * A socket of `ws`, or its server, is made with `SOCKET_OPTIONS`.
 */
export function socketChannel(socket: Socket, options: EndpointOptions = {}): Channel {
  const transport = new SocketTransport(socket);
  const endpoint = new Endpoint(transport, options);
  transport.attach(endpoint);
  return endpoint;
}

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 3;

class SocketTransport implements Transport {
  readonly #socket: Socket;
  #endpoint!: Endpoint;
  /** Whether this is a socket of `ws`. */
  readonly #fragments: boolean;
  /** Frames written before the socket was open. */
  #backlog: (readonly [header: Uint8Array, payload: Uint8Array])[] = [];
  #paused = false;
  /** Bytes that a browser's socket has copied since it last let the page have a turn. */
  #copied = 0;
  #polling: ReturnType<typeof setTimeout> | undefined;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#fragments = socket.terminate !== undefined;
    socket.binaryType = this.#fragments ? 'fragments' : 'arraybuffer';
  }

  attach(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
    const socket = this.#socket;
    let opened = socket.readyState !== CONNECTING;
    const lost = (): void => {
      const what = opened ? 'the connection ended' : 'could not connect';
      endpoint.ended(new ProtocolError('lost', what));
    };
    socket.addEventListener('open', () => {
      opened = true;
      for (const frame of this.#backlog.splice(0)) this.#push(...frame);
      this.#whenDrained();
    });
    socket.addEventListener('message', ({ data }) => {
      // An ArrayBuffer is this message alone: the payload behind the 16-byte header is aligned and ours.
      if (data instanceof ArrayBuffer) endpoint.deliver(new Uint8Array(data));
      else if (Array.isArray(data)) deliverFragments(endpoint, data);
      else endpoint.close(new ProtocolError('bad-message', 'expected a binary message, got text'));
    });
    socket.addEventListener('error', lost);
    socket.addEventListener('close', () => {
      clearTimeout(this.#polling);
      clearTimeout(this.#linger);
      lost();
    });
    if (socket.readyState > OPEN) lost();
  }

  write(header: Uint8Array, payload: Uint8Array): boolean {
    if (this.#socket.readyState === CONNECTING) {
      this.#backlog.push([header, payload]);
      return false;
    }
    this.#push(header, payload);
    if (!this.#fragments) this.#copied += payload.length;
    if (this.#copied < TURN_BYTES && this.#socket.bufferedAmount <= HIGH_WATER_BYTES) return true;
    void nextTurn().then(() => this.#whenDrained());
    return false;
  }

  pause(): boolean {
    this.#socket.pause?.();
    this.#paused = this.#socket.pause !== undefined;
    return this.#paused;
  }

  resume(): void {
    if (this.#paused) this.#socket.resume?.();
    this.#paused = false;
  }

  close(orderly: boolean): void {
    const socket = this.#socket;
    clearTimeout(this.#polling);
    if (socket.readyState === CLOSED) return;
    // A paused socket would never read the peer's side of the closing handshake.
    this.resume();
    socket.close(1000);
    // After an orderly end the frames written last may still be on their way; `ws` cuts a silent peer after 30 s.
    if (!orderly && socket.terminate) {
      this.#linger = setTimeout(() => socket.terminate?.(), LINGER_MS);
    }
  }

  #push(header: Uint8Array, payload: Uint8Array): void {
    if (this.#socket.readyState !== OPEN) return;
    if (this.#fragments && payload.length >= FRAGMENT_BYTES) {
      this.#socket.send(header as Uint8Array<ArrayBuffer>, { fin: false });
      this.#socket.send(payload as Uint8Array<ArrayBuffer>, { fin: true });
    } else {
      this.#socket.send(joinFrame(header, payload), { fin: true });
    }
  }

  #whenDrained(): void {
    this.#copied = 0;
    clearTimeout(this.#polling);
    if (this.#socket.readyState > OPEN) return;
    if (this.#socket.bufferedAmount <= HIGH_WATER_BYTES) this.#endpoint.drained();
    else this.#polling = setTimeout(() => this.#whenDrained(), DRAIN_POLL_MS);
  }
}

/** Hands on a message in the fragments it came in: at best header and payload, in general any. */
function deliverFragments(endpoint: Endpoint, fragments: readonly Uint8Array[]): void {
  const [header, payload] = fragments;
  if (
    fragments.length === 2 &&
    header!.length === FRAME_HEADER_BYTES &&
    payload!.length === payload!.buffer.byteLength
  ) {
    endpoint.deliverParts(header!, new Uint8Array(payload!.buffer));
    return;
  }
  const bytes = new Uint8Array(fragments.reduce((sum, { length }) => sum + length, 0));
  fragments.reduce((at, fragment) => {
    bytes.set(fragment, at);
    return at + fragment.length;
  }, 0);
  endpoint.deliver(bytes);
}
