/**
 * The connections of a server: who comes in, how many at a time, and how all of them end.
 *
 * A connection is counted before anything is asked of it, and asked who it is before anything is read from it: until then the client's
 * bytes wait in the system's buffers.
 */

import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { printable } from '../protocol/channel/frames.ts';
import type { Channel } from '../protocol/channel/index.ts';
import { socketChannel } from '../protocol/channel/websocket.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { type Authorize, decisionOf, type Refusal } from './authorize.ts';
import type { Lack, ServerEvent, ServerLimits } from './limits.ts';
import type { Load } from './load.ts';
import type { ConnectionRequest } from './request.ts';
import type { Connection } from './session.ts';

/** How often a session's client hears from the server at least, in ms. LOCAL. */
const BEAT_MS = 15_000;

/**
 * Bytes that a client may send outside of a session: its first message, and what was on its way when the session ended. Of a message that
 * has not ended its socket holds as much, and there may be many such clients. LOCAL.
 */
const OUTSIDE_BYTES = 2 ** 20;

/** How long a client whose session is over may take to close its socket, in ms. LOCAL. */
const CLOSING_MS = 2000;

/** What a client is told. */
const SENTENCES: Readonly<Record<Lack, string>> = {
  connections: 'the server has too many connections',
  address: 'too many connections come from this address',
  sessions: 'the server is busy',
  principal: 'this client has as many sessions as it may',
  queue: 'the server is busy',
  memory: 'the server is busy',
};

/** What a connection is held to, and who serves it. */
export interface ConnectionsOptions {
  readonly limits: ServerLimits;
  readonly load: Pick<Load, 'over'>;
  readonly onEvent: (event: ServerEvent) => void;
  /** Who a client is; by default its address says so. */
  readonly authorize: Authorize | undefined;
  /** Whether connections from this address are counted by it. */
  readonly counts: (address: string) => boolean;
  /** Called when a session begins; what it rejects with refuses it. */
  readonly onSession: (connection: Connection) => Promise<void>;
  /** Serves a client that has come in, until its channel has ended. Never rejects. */
  readonly serve: (channel: Channel, connection: Connection) => Promise<void>;
  /** Puts a decorator around each connection's channel; default: none. */
  readonly decorate?: ((channel: Channel) => Channel) | undefined;
}

export class Connections {
  readonly #options: ConnectionsOptions;
  /** All, and how each is ended. */
  readonly #open = new Map<Promise<void>, (reason: Error) => void>();
  /** How many come from an address. */
  readonly #from = new Map<string, number>();
  /** Principals of those that have a session, by their number. */
  readonly #sessions = new Map<number, string>();
  #count = 0;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** Connections at this moment, those without a session included. */
  get size(): number {
    return this.#open.size;
  }

  /** Sessions at this moment. */
  get sessions(): number {
    return this.#sessions.size;
  }

  /** A client has connected: its socket is taken over in the same turn. */
  take(socket: WebSocket, connection: Socket, request: ConnectionRequest): void {
    const { limits, decorate = (plain) => plain } = this.#options;
    const { queuedBytes: maxQueuedBytes } = limits;
    const channel = decorate(socketChannel(socket, { maxQueuedBytes, beatMs: BEAT_MS }));
    const who = this.#known(request);
    this.#boundOutside(socket, connection, channel, who.session);
    const lack = this.#lackOfConnections(who.address);
    if (lack !== undefined) {
      this.#refuse(channel, who, this.#busy(who, lack));
      return;
    }
    const served = this.#serve(socket, channel, request, who);
    const end = (reason: Error): void => channel.close(reason);
    void this.#counted(who.address, served, end).finally(() => {
      this.#sessions.delete(who.session);
      // It is counted no more, but may hold a message that has not ended.
      setTimeout(() => socket.terminate(), CLOSING_MS).unref();
    });
  }

  /**
   * Decides on a client that asks by HTTP what a session would tell it, as on a connection, and counts it as one meanwhile.
   * @throws ProtocolError `refused`, with the sentence that the client is told; the operator gets it as an event
   */
  async admit(request: ConnectionRequest): Promise<void> {
    const { authorize, limits } = this.#options;
    if (authorize === undefined) return;
    const who = this.#known(request);
    const lack = this.#lackOfConnections(who.address);
    if (lack !== undefined) throw this.#told(who, this.#busy(who, lack));
    const ended = new AbortController();
    const over = new Promise<never>((_, reject) => {
      ended.signal.addEventListener('abort', () => reject(ended.signal.reason));
    });
    const decided = Promise.race([decisionOf(authorize, request, limits.handshakeMs), over]);
    const settled = decided.then(
      () => {},
      () => {},
    );
    void this.#counted(who.address, settled, (reason) => ended.abort(reason));
    const decision = await decided.catch((failure: Error) => {
      throw this.#told(who, undecided(), failure);
    });
    if (typeof decision === 'object') throw this.#told(who, refusalOf(decision));
  }

  /** A page of another origin has asked, and is told no by HTTP: in this sentence, where it gets one. */
  forbid(request: ConnectionRequest): ProtocolError {
    const { origin = '' } = request;
    const message = `pages of the origin ${printable(origin)} are not let in`;
    return this.#told(this.#known(request), new ProtocolError('refused', message));
  }

  /** Ends all. */
  end(reason: Error): void {
    for (const end of this.#open.values()) end(reason);
  }

  /** Resolves when those of this moment are over. */
  async settled(): Promise<void> {
    await Promise.all(this.#open.keys());
  }

  #known({ address, port }: ConnectionRequest): Connection {
    return { session: ++this.#count, address, port, principal: address };
  }

  /** Counts what lasts as long as `open`, which never rejects. */
  async #counted(
    address: string,
    open: Promise<void>,
    end: (reason: Error) => void,
  ): Promise<void> {
    this.#from.set(address, (this.#from.get(address) ?? 0) + 1);
    this.#open.set(open, end);
    await open;
    this.#open.delete(open);
    const left = this.#from.get(address)! - 1;
    if (left > 0) this.#from.set(address, left);
    else this.#from.delete(address);
  }

  async #serve(
    socket: WebSocket,
    channel: Channel,
    request: ConnectionRequest,
    who: Connection,
  ): Promise<void> {
    const { onSession, serve } = this.#options;
    const principal = await this.#identify(socket, channel, request, who);
    if (principal === undefined) return;
    const known = { ...who, principal };
    const enter = async (): Promise<() => void> => {
      const lack = this.#lackOfSessions(known);
      if (lack !== undefined) throw this.#busy(known, lack);
      this.#sessions.set(who.session, principal);
      await onSession(known);
      return () => void this.#sessions.delete(who.session);
    };
    await serve(channel, { ...known, enter });
  }

  /** The client's principal; undefined when it is refused or gone. */
  async #identify(
    socket: WebSocket,
    channel: Channel,
    request: ConnectionRequest,
    who: Connection,
  ): Promise<string | undefined> {
    const { authorize, limits } = this.#options;
    if (authorize === undefined) return who.principal;
    socket.pause();
    let decision: string | Refusal | undefined;
    let failure: Error | undefined;
    try {
      decision = await Promise.race([
        decisionOf(authorize, request, limits.handshakeMs),
        channel.closed.then(() => undefined),
      ]);
    } catch (error) {
      failure = error as Error;
    } finally {
      // Or it would not hear the other side say goodbye.
      socket.resume();
    }
    if (failure !== undefined) {
      this.#refuse(channel, who, undecided(), failure);
    } else if (typeof decision === 'object') {
      this.#refuse(channel, who, refusalOf(decision));
    }
    return typeof decision === 'string' ? decision : undefined;
  }

  /** Cuts a client that sends more outside of a session than it may. */
  #boundOutside(socket: WebSocket, connection: Socket, channel: Channel, session: number): void {
    let bytes = 0;
    connection.on('data', ({ length }: Uint8Array) => {
      if (this.#sessions.has(session)) return;
      bytes += length;
      if (bytes <= OUTSIDE_BYTES) return;
      const what = `expected at most ${OUTSIDE_BYTES} bytes outside of a session`;
      channel.close(new ProtocolError('bad-message', what));
      socket.terminate();
    });
  }

  #lackOfConnections(address: string): Lack | undefined {
    const { limits, counts } = this.#options;
    if (this.#open.size >= limits.connections) return 'connections';
    const full = (this.#from.get(address) ?? 0) >= limits.connectionsPerAddress;
    return full && counts(address) ? 'address' : undefined;
  }

  #lackOfSessions({ address, principal }: Connection): Lack | undefined {
    const { limits, load, counts } = this.#options;
    if (this.#sessions.size >= limits.sessions) return 'sessions';
    const own = [...this.#sessions.values()].filter((other) => other === principal).length;
    const full = own >= limits.sessionsPerPrincipal;
    return full && (principal !== address || counts(address)) ? 'principal' : load.over;
  }

  #busy(who: Connection, reason: Lack): ProtocolError {
    const { session, address, port, principal } = who;
    this.#options.onEvent({ type: 'busy', session, address, port, principal, reason });
    return later(SENTENCES[reason]);
  }

  #refuse(channel: Channel, who: Connection, refusal: ProtocolError, failure?: Error): void {
    channel.close(this.#told(who, refusal, failure));
  }

  /**
   * Tells the operator of a refusal.
   * @param failure - why, when the fault is this server's
   * @returns what the client is told
   */
  #told(who: Connection, refusal: ProtocolError, failure?: Error): ProtocolError {
    const code = failure === undefined ? refusal.code : 'internal';
    const { message } = failure ?? refusal;
    this.#options.onEvent({ type: 'error', ...who, code, message });
    return refusal;
  }
}

const later = (what: string) => new ProtocolError('busy', `${what}, try again later`);

const undecided = () => later('who you are cannot be decided now');

function refusalOf({ message, retryAfterSeconds: seconds }: Refusal): ProtocolError {
  const what = printable(message).slice(0, 150);
  if (seconds === undefined) return new ProtocolError('refused', what);
  return new ProtocolError('quota', `${what}, try again in ${Math.ceil(seconds)} s`, {
    retryAfterMs: Math.ceil(1000 * seconds),
  });
}
