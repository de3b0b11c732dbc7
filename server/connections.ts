/**
 * The connections of a server: who comes in, how many at a time, and how all of them end.
 *
 * A connection is counted before anything is asked of it, and asked who it is before anything is read from it: until then the client's
 * bytes wait in the system's buffers.
 */

import type { WebSocket } from 'ws';
import { printable } from '../protocol/channel/frames.ts';
import type { Channel } from '../protocol/channel/index.ts';
import { socketChannel } from '../protocol/channel/websocket.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { type Authorize, decisionOf, type Refusal } from './authorize.ts';
import type { ServerEvent, ServerLimits } from './limits.ts';
import type { ConnectionRequest } from './request.ts';
import type { Connection } from './session.ts';

/** How often a session's client hears from the server at least, in ms. LOCAL. */
const BEAT_MS = 15_000;

/** What a connection is held to, and who serves it. */
export interface ConnectionsOptions {
  readonly limits: ServerLimits;
  readonly onEvent: (event: ServerEvent) => void;
  /** Who a client is; by default its address says so. */
  readonly authorize: Authorize | undefined;
  /** Whether connections from this address are counted by it. */
  readonly counts: (address: string) => boolean;
  /** Called when a session begins; what it rejects with refuses it. */
  readonly onSession: (connection: Connection) => Promise<void>;
  /** Serves a client that has come in, until its channel has ended. Never rejects. */
  readonly serve: (channel: Channel, connection: Connection) => Promise<void>;
}

export class Connections {
  readonly #options: ConnectionsOptions;
  /** All, and how each is ended. */
  readonly #open = new Map<Promise<void>, (reason: Error) => void>();
  /** How many come from an address. */
  readonly #from = new Map<string, number>();
  /** Those that have a session, by their number. */
  readonly #sessions = new Set<number>();
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
  take(socket: WebSocket, request: ConnectionRequest): void {
    const { limits } = this.#options;
    const { address, port } = request;
    const channel = socketChannel(socket, {
      maxQueuedBytes: limits.queuedBytes,
      beatMs: BEAT_MS,
    });
    const who = { session: ++this.#count, address, port, principal: address };
    const others = this.#from.get(address) ?? 0;
    const full =
      this.#open.size >= limits.connections
        ? busy('the server has too many connections')
        : others >= limits.connectionsPerAddress && this.#options.counts(address)
          ? busy('too many connections come from this address')
          : undefined;
    if (full !== undefined) {
      this.#refuse(channel, who, full);
      return;
    }
    this.#from.set(address, others + 1);
    const served = this.#serve(socket, channel, request, who);
    this.#open.set(served, (reason) => channel.close(reason));
    void served.finally(() => {
      this.#open.delete(served);
      this.#sessions.delete(who.session);
      const left = this.#from.get(address)! - 1;
      if (left > 0) this.#from.set(address, left);
      else this.#from.delete(address);
    });
  }

  /** A page of another origin has asked, and was told no by HTTP. */
  forbid({ address, port, origin = '' }: ConnectionRequest): void {
    const message = `pages of the origin ${printable(origin)} are not let in`;
    const who = { session: ++this.#count, address, port, principal: address };
    this.#options.onEvent({ type: 'error', ...who, code: 'refused', message });
  }

  /** Ends all. */
  end(reason: Error): void {
    for (const end of this.#open.values()) end(reason);
  }

  /** Resolves when those of this moment are over. */
  async settled(): Promise<void> {
    await Promise.all(this.#open.keys());
  }

  async #serve(
    socket: WebSocket,
    channel: Channel,
    request: ConnectionRequest,
    who: Connection,
  ): Promise<void> {
    const { limits, onSession, serve } = this.#options;
    const principal = await this.#identify(socket, channel, request, who);
    if (principal === undefined) return;
    const known = { ...who, principal };
    const enter = async (): Promise<() => void> => {
      if (this.#sessions.size >= limits.sessions) throw busy('the server is busy');
      this.#sessions.add(who.session);
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
      this.#refuse(channel, who, busy('who you are cannot be decided now'), failure);
    } else if (typeof decision === 'object') {
      this.#refuse(channel, who, refusalOf(decision));
    }
    return typeof decision === 'string' ? decision : undefined;
  }

  /** @param failure - why, when the fault is this server's */
  #refuse(channel: Channel, who: Connection, refusal: ProtocolError, failure?: Error): void {
    channel.close(refusal);
    const code = failure === undefined ? refusal.code : 'internal';
    const { message } = failure ?? refusal;
    this.#options.onEvent({ type: 'error', ...who, code, message });
  }
}

const busy = (what: string) => new ProtocolError('refused', `${what}, try again later`);

/** An error's frame has no room for a number, so the sentence says when to come again. */
function refusalOf({ message, retryAfterSeconds: seconds }: Refusal): ProtocolError {
  const when = seconds === undefined ? '' : `, try again in ${Math.ceil(seconds)} s`;
  return new ProtocolError('refused', printable(message).slice(0, 150) + when);
}
