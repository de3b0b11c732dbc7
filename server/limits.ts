/** What a server grants its clients, and what it tells its operator. */

import { totalmem } from 'node:os';
import { MAX_FRAME_BYTES } from '../protocol/channel/index.ts';
import { MAX_TIMER_MS } from '../protocol/channel/lifetime.ts';
import type { ProtocolErrorCode } from '../protocol/errors.ts';
import type { Overload } from './load.ts';

/** Limits of a server. LOCAL. */
export interface ServerLimits {
  /**
   * Sessions at a time, counted from a client's first message; further clients are refused. Those that wait for their client to come back
   * are counted too, but make room.
   */
  readonly sessions: number;
  /**
   * Sessions at a time of one principal; default: half of all, so that one that opens as many as it can leaves room for others. Where the
   * principal is an address, it is counted as in `connectionsPerAddress`.
   */
  readonly sessionsPerPrincipal: number;
  /** Connections at a time, those that have said nothing yet included. */
  readonly connections: number;
  /**
   * Connections at a time from one address; where no proxies are named, those from this machine, where one may be, are not
   * counted.
   */
  readonly connectionsPerAddress: number;
  /** How long a client may take for its first message, in ms. */
  readonly handshakeMs: number;
  /** Prepared inferences that a session may keep waiting: they hold memory here. */
  readonly bundlesPerSession: number;
  /** How long what a session has prepared waits for its client to come back when the link is lost, in ms; 0: not at all. */
  readonly resumeMs: number;
  /** How long a session may rest between two requests, in ms; 2^31 - 1 at most. */
  readonly idleMs: number;
  /** How long a client may take for one frame while a request runs, in ms: covers its slowest computation and link; 2^31 - 1 at most. */
  readonly stallMs: number;
  /** Bytes of a session that may wait to be read before its client is slowed down; at least one frame, 16 MiB. */
  readonly queuedBytes: number;
  /** How long the first task of a client may wait for a thread, in ms: where it waits longer, sessions and preparations are refused. */
  readonly queueMs: number;
  /**
   * Resident memory of the process, in bytes: beyond it, and as long as inferences are prepared, sessions and preparations are refused.
   * Default: 0.8 of what the machine or the container has.
   */
  readonly memoryBytes: number;
}

/** Memory of the container, or else of the machine. */
function memoryOfMachine(): number {
  // 0 where there is no container's limit to be found, and far too much where it is none.
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

/** The default limits. LOCAL. */
export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  sessions: 32,
  sessionsPerPrincipal: 16,
  connections: 256,
  connectionsPerAddress: 32,
  handshakeMs: 10_000,
  bundlesPerSession: 16,
  resumeMs: 5 * 60_000,
  idleMs: 10 * 60_000,
  stallMs: 60_000,
  queuedBytes: 32 * 1024 * 1024,
  queueMs: 10_000,
  memoryBytes: Math.floor(0.8 * memoryOfMachine()),
};

/** What is given, and defaults for the rest. */
export function limitsOf(given: Partial<ServerLimits> = {}): ServerLimits {
  const { sessions = DEFAULT_SERVER_LIMITS.sessions } = given;
  return { ...DEFAULT_SERVER_LIMITS, sessionsPerPrincipal: Math.ceil(sessions / 2), ...given };
}

/** Least and largest value of each limit. */
const RANGES: Readonly<Record<keyof ServerLimits, readonly [least: number, most: number]>> = {
  sessions: [1, Number.MAX_SAFE_INTEGER],
  sessionsPerPrincipal: [1, Number.MAX_SAFE_INTEGER],
  connections: [1, Number.MAX_SAFE_INTEGER],
  connectionsPerAddress: [1, Number.MAX_SAFE_INTEGER],
  handshakeMs: [1, MAX_TIMER_MS],
  // It travels in the welcome.
  bundlesPerSession: [1, 0xffffffff],
  resumeMs: [0, MAX_TIMER_MS],
  idleMs: [1, MAX_TIMER_MS],
  stallMs: [1, MAX_TIMER_MS],
  queuedBytes: [MAX_FRAME_BYTES, Number.MAX_SAFE_INTEGER],
  queueMs: [1, MAX_TIMER_MS],
  memoryBytes: [1, Number.MAX_SAFE_INTEGER],
};

/** @throws RangeError with the range when a limit is not an integer in its range */
export function checkLimits(limits: ServerLimits): void {
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const value = limits[name as keyof ServerLimits];
    if (!(Number.isInteger(value) && value >= least && value <= most)) {
      throw new RangeError(
        `limits.${name}: expected an integer from ${least} to ${most}, got ${value}`,
      );
    }
  }
}

/** Whose connection it is. */
export interface Who {
  /** Counts connections. */
  readonly session: number;
  /** Where it comes from, trusted proxies left out. */
  readonly address: string;
  /** Its TCP port there, or a proxy's. */
  readonly port?: number | undefined;
  /** What `authorize` names the client; without it, and until it has decided, the address. */
  readonly principal: string;
}

/** A client asks for queries: for the preparation of inferences, one or several. Nothing in it is secret. */
export interface Query extends Who {
  /** Name of the model. */
  readonly model: string;
  /** How many it asks for: all of them are prepared, or none. */
  readonly inferences: number;
  /** What preparing and running all of them moves, both ways. */
  readonly bytes: number;
}

/** When queries that are refused may be asked for again. */
export interface Later {
  /** In s from now, rounded up; 0: that is not known. */
  readonly retryAfterSeconds: number;
}

/**
 * Whether queries may go on. False or {@link Later} refuses them with `quota`, and the session goes on; what it throws ends the session, as a
 * fault of the server's, and so does a decision that takes longer than `stallMs`. A query is counted when it is prepared, whether its inference
 * is run or not (protocol/DECISIONS.md).
 */
export type AllowQuery = (query: Query) => Decision | Promise<Decision>;

/** What {@link AllowQuery} decides. */
export type Decision = boolean | Later;

/** Queries that go on, and what they are of. */
export interface Grant extends Query {
  /** SHA-256 of the program, 64 hexadecimal digits. */
  readonly program: string;
  /** What names the weights, 64 hexadecimal digits: see `session.weights` of a client. */
  readonly weights: string;
}

/**
 * Told of queries that are about to be granted, for records. When it throws, rejects, or takes longer than `stallMs`, they are refused
 * with `quota` instead, and the session goes on: what is on no record is not answered.
 */
export type OnGrant = (grant: Grant) => void | Promise<void>;

/**
 * How a connection ended: with its client's `goodbye`; the client `left` between two requests, or rested too long (`idle`); the
 * server was `stopped`, or is `draining`; otherwise the code of the error that ended it.
 */
export type SessionEnd = 'goodbye' | 'left' | 'stopped' | ProtocolErrorCode | 'internal';

/** What happened, for logs and counters. Nothing in it is secret; times are in ms, `session` counts connections. */
export type ServerEvent =
  | {
      readonly type: 'listening';
      readonly url: string;
      readonly models: readonly string[];
      /** Where the demo page is, when it is served. */
      readonly page?: string;
    }
  /** A hint that was not there has been made; `unkept` says why it is in memory alone, if it is. */
  | ({ readonly type: 'hint' } & MadeHint)
  /** A client is through handshake and setup. */
  | ({
      readonly type: 'session';
      readonly ms: number;
      readonly model: string;
      /** Prepared inferences that it goes on with from an earlier session. */
      readonly resumed: number;
    } & Who &
      Moved)
  /** An inference has been prepared. */
  | ({ readonly type: 'bundle' } & Work)
  /** An inference has been answered. */
  | ({ readonly type: 'inference' } & Work)
  /** A client has got a hint: over its session, or whoever asks by HTTP, where there is no `session`. */
  | {
      readonly type: 'download';
      readonly session?: number;
      /** SHA-256 of the hint, 64 hexadecimal digits. */
      readonly hint: string;
      readonly bytes: number;
    }
  /** A session, or an attempt at one, failed. `internal`: the fault is this server's. */
  | ({
      readonly type: 'error';
      readonly model?: string | undefined;
      readonly code: ProtocolErrorCode | 'internal';
      readonly message: string;
    } & Who)
  /** The server is about to stop: `sessions` have something that they may still finish. */
  | { readonly type: 'draining'; readonly sessions: number }
  /** Preparations were refused; the session goes on. `audit`: for `message`, they could not be put on record. */
  | ({
      readonly type: 'refused';
      readonly model: string;
      readonly inferences: number;
      readonly reason: 'full' | 'quota' | 'draining' | 'audit' | Overload;
      readonly message?: string | undefined;
    } & Who)
  /** A client was not let in for lack of room, and of which; an `error` says what it was told. */
  | ({ readonly type: 'busy'; readonly reason: Lack } & Who)
  /** The store of quotas does not count, so that a session or preparations were refused. */
  | ({ readonly type: 'uncounted'; readonly message: string } & Who)
  /** A connection is over, unless it was refused before anything was read from it: `unused` bundles were left, `kept` wait for the client. */
  | {
      readonly type: 'closed';
      readonly session: number;
      /** Of a connection that has asked for one that there is. */
      readonly model?: string | undefined;
      readonly reason: SessionEnd;
      readonly inferences: number;
      readonly unused: number;
      readonly kept: number;
    }
  /** Prepared inferences are not kept on disk. */
  | { readonly type: 'spill'; readonly message: string };

/** Of what a server has no more for a client: of which limit, or what it is loaded with. */
export type Lack = 'connections' | 'address' | 'sessions' | 'principal' | Overload;

/** A hint that was not there. */
export interface MadeHint {
  /** Name of the model. */
  readonly model: string;
  readonly bytes: number;
  readonly ms: number;
  /** Why it is in memory alone, if it is: the next start makes another. */
  readonly unkept?: string | undefined;
}

/** One request of a client. */
export interface Work extends Moved {
  readonly session: number;
  readonly model: string;
  readonly bundle: number;
  /** Inferences that are prepared now. */
  readonly ready: number;
  readonly ms: number;
}

/** Bytes on the wire. */
export interface Moved {
  /** From the client, and to it. */
  readonly bytesUp: number;
  readonly bytesDown: number;
}
