/**
 * The server: offers models for private inference.
 *
 *     const server = await serve([await loadModelFile('digits.sotto')], { port: 8443 });
 *     console.log(server.url);
 *     await server.close();
 *
 * Contract
 * - Clients are independent: what one does wrong, or what goes wrong for it, ends its session alone. It learns a code and
 *   one sentence about its own behaviour; the operator sees more in `onEvent`, which must not throw.
 * - All sessions share one pool of threads and one copy of each model's weights.
 * - Prepared inferences live in memory, and wait there for a client whose link was lost; with `spill` on disk as well. Each is used once.
 * - Beyond this machine the protocol needs TLS, for it does not authenticate the server: `serve` refuses to listen there
 *   without, unless `insecure` says that something in front of it provides it.
 */

import { setMaxListeners } from 'node:events';
import type { Channel } from '../protocol/channel/index.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import { createPool } from '../protocol/inference/threads.ts';
import type { Authorize } from './authorize.ts';
import { Connections } from './connections.ts';
import { loadDemo, type ModelCard } from './demo.ts';
import { healthRequests } from './health.ts';
import {
  type AllowQuery,
  checkLimits,
  limitsOf,
  type OnGrant,
  type ServerEvent,
  type ServerLimits,
} from './limits.ts';
import { isLoopback, listen, type Tls } from './listen.ts';
import { type Listed, listingRequests } from './listing.ts';
import { Load, type Overload } from './load.ts';
import type { NamedModel, OfferOptions } from './models.ts';
import { type ModelNames, Offers } from './offers.ts';
import { hintRequests } from './publish.ts';
import { openQuotas, type Quotas } from './quotas.ts';
import { type ConnectionRequest, originsOf, proxiesOf } from './request.ts';
import { SHUT_DOWN, serveSession } from './session.ts';
import { Spill } from './spill.ts';
import { Tickets } from './tickets.ts';

export type { Bytes, Cost, PhaseCost, StepCost } from '../protocol/inference/cost.ts';
export type { ProtocolPool } from '../protocol/inference/session.ts';
export { type Authorize, authorizeByUrl, type Refusal } from './authorize.ts';
export type { ModelCard, ModelSummary } from './demo.ts';
export type { ModelFile } from './hints.ts';
export type {
  AllowQuery,
  Decision,
  Grant,
  Lack,
  Later,
  MadeHint,
  Moved,
  OnGrant,
  Query,
  ServerEvent,
  ServerLimits,
  SessionEnd,
  Who,
  Work,
} from './limits.ts';
export type { Tls } from './listen.ts';
export type { Overload } from './load.ts';
export { loadModelFile, type NamedModel } from './models.ts';
export type { ModelNames } from './offers.ts';
export type { Quotas } from './quotas.ts';
export type { ConnectionRequest } from './request.ts';

/** How long workers may take to show that they are there: when the server starts, and when it is asked, in ms. LOCAL. */
const PROBE_MS = { start: 60_000, healthy: 5_000 };

/** Why a loaded server takes no sessions. */
const UNREADY: Readonly<Record<Overload, string>> = {
  queue: "the server's tasks wait longer for a thread than they may",
  memory: 'the server has as much memory as it may',
};

/** Options of {@link serve}. */
export interface ServeOptions {
  /** TCP port; 0 for any that is free. */
  readonly port: number;
  /** Address to listen on; default: 127.0.0.1. */
  readonly host?: string | undefined;
  /** Threads of the server's own pool; default: as many as the machine runs at a time. LOCAL. */
  readonly workers?: number | undefined;
  /** A pool to use instead of one of its own; the caller closes it. */
  readonly pool?: ProtocolPool | undefined;
  readonly tls?: Tls | undefined;
  /** Listen beyond this machine without TLS. */
  readonly insecure?: boolean | undefined;
  readonly limits?: Partial<ServerLimits> | undefined;
  /** Serve the demo page as well, at the same address by HTTP; with what it may say of the models, by name. */
  readonly demo?: boolean | ReadonlyMap<string, ModelCard> | undefined;
  /** Called as a hint is made, before anybody can connect: the model, output tiles done, of how many, the layer. */
  readonly onHint?: OfferOptions['onHint'];
  /** Keeps what is prepared on disk as well, encrypted, so that it outlives the process; default: in memory alone. */
  readonly spill?: SpillFolder | undefined;
  readonly onEvent?: ((event: ServerEvent) => void) | undefined;
  /** Asked who a client is, before anything is read from it, for `limits.handshakeMs` at most; default: its address says so. */
  readonly authorize?: Authorize | undefined;
  /** Origins whose pages are let in, beside programs that state none; default: all. */
  readonly origins?: readonly string[] | undefined;
  /** Addresses or CIDRs of proxies that state in X-Forwarded-For whom they speak for; default: none. */
  readonly trustProxies?: readonly string[] | undefined;
  /** What each principal may have; default: no end. */
  readonly quotas?: Quotas | undefined;
  /** Asked before each query, which is one preparation of an inference, and before it is counted; default: all go on. */
  readonly allowQuery?: AllowQuery | undefined;
  /** Told of queries before they are granted: what it cannot record is refused. */
  readonly onGrant?: OnGrant | undefined;
  /** Called as each task of a session starts, with the ms that it waited, and whether it is an inference's. Must not throw. */
  readonly onTask?: ((waitMs: number, urgent: boolean) => void) | undefined;
  /** Puts a decorator around each connection's channel: to see what leaves, or to slow it down. */
  readonly decorate?: ((channel: Channel) => Channel) | undefined;
}

/** What a running server is given anew; what is left out stays. */
export interface Reload {
  /** In place of those of the same name; a new name is offered beside the others. */
  readonly models?: readonly NamedModel[] | undefined;
  /** For further connections. */
  readonly tls?: Tls | undefined;
}

/** Where prepared inferences are kept on disk. */
export interface SpillFolder {
  /** A folder for the server's user alone, on a disk of this machine; made when it is not there. Several processes may share it. */
  readonly folder: string;
  /** A file with 32 random bytes, best on another disk; made when it is not there. */
  readonly keyFile: string;
  /** Bytes at most; default: 1 GiB. */
  readonly mostBytes?: number | undefined;
}

/** A server that runs. */
export interface RunningServer extends AsyncDisposable {
  /** ws://HOST:PORT or wss://HOST:PORT. */
  readonly url: string;
  readonly address: { readonly host: string; readonly port: number };
  /** Sessions at this moment. */
  readonly sessions: number;
  /** Connections at this moment, those without a session included. */
  readonly connections: number;
  /** What is offered at this moment. */
  readonly models: readonly ModelNames[];
  readonly limits: ServerLimits;
  /** Threads, and tasks at this moment. */
  readonly pool: Pick<ProtocolPool, 'workers' | 'running' | 'waiting'>;
  /**
   * Resolves with the cause when the server cannot work any more, for its pool has failed: every session ends with an error from
   * then on, until it is closed and another is started. Never rejects.
   */
  readonly failed: Promise<Error>;
  /** Whether a worker does a task within 5 s, before all that waits. Never rejects. */
  healthy(): Promise<boolean>;
  /** Why it takes no sessions at this moment, in one sentence; undefined when it does. */
  unready(): string | undefined;
  /**
   * Exchanges models and certificate without a stop: all that is given, or nothing when it throws. Sessions keep the model that they began
   * with until they end; hints are read, or made, first.
   * @throws TypeError, RangeError, Error as {@link serve} does; TypeError for a certificate where it listens without TLS
   */
  reload(changed: Reload): Promise<void>;
  /**
   * Stops without loss: takes no new sessions and prepares nothing more, answers what is prepared, and closes when the last session
   * is over or `graceMs` have passed. Never rejects.
   */
  drain(graceMs: number): Promise<void>;
  /** Ends all sessions and frees everything. Resolves when it is done; never rejects. */
  close(): Promise<void>;
}

/**
 * Starts a server. It listens once every worker has done a task: one that lacks some would be slower than it should be, and
 * nobody would know.
 * @param models - the first is what a client gets that names none
 * @throws TypeError, RangeError for options that cannot be right or a model that cannot be run
 * @throws Error when it cannot listen there, or its workers do not start
 */
export async function serve(
  models: readonly NamedModel[],
  options: ServeOptions,
): Promise<RunningServer> {
  const { port, host = '127.0.0.1', tls, onGrant, onEvent = () => {} } = options;
  const limits = limitsOf(options.limits);
  checkLimits(limits);
  if (!(Number.isInteger(port) && port >= 0 && port <= 65535)) {
    throw new RangeError(`port: expected an integer from 0 to 65535, got ${port}`);
  }
  if (tls === undefined && !isLoopback(host) && !options.insecure) {
    throw new RangeError(
      `${host} is reached from other machines: give a TLS certificate and key, or allow an insecure server`,
    );
  }
  const proxies = options.trustProxies && proxiesOf(options.trustProxies);
  const origins = options.origins && originsOf(options.origins);
  const own = options.pool === undefined ? createPool({ workers: options.workers }) : undefined;
  const pool = options.pool ?? (own as ProtocolPool);
  const closers = [async () => own?.close()];
  const free = (): Promise<unknown> => Promise.all(closers.map((close) => close()));
  const freed = async (error: Error): Promise<never> => {
    await free();
    throw error;
  };
  const quotas = await openQuotas(options.quotas ?? {}, onEvent).catch(freed);
  closers.push(quotas.close);
  const probe = (ms: number) =>
    pool.run('probe', undefined, { urgent: true, signal: AbortSignal.timeout(ms) });
  // Started together, they go to a worker each.
  const probes = Array.from({ length: pool.workers }, () => probe(PROBE_MS.start));
  await Promise.all(probes).catch(freed);
  const offers = await Offers.of(models, {
    pool,
    onHint: options.onHint,
    onMade: (made) => onEvent({ type: 'hint', ...made }),
  }).catch(freed);
  const demo = options.demo === true ? new Map<string, ModelCard>() : options.demo || undefined;
  const page = demo && (await loadDemo(offers.models, demo).catch(freed));
  const onSent = (hint: string, bytes: number) => onEvent({ type: 'download', hint, bytes });

  const allowQuery: AllowQuery = async (query) => {
    const decision = options.allowQuery === undefined || (await options.allowQuery(query));
    return decision === true ? quotas.allowQuery(query) : decision;
  };
  const draining = new AbortController();
  // Each session listens.
  setMaxListeners(0, draining.signal);
  const { idleMs, resumeMs, sessions: most } = limits;
  const keepMs = resumeMs + idleMs;
  const spill = options.spill && (await openSpill(options.spill, keepMs, onEvent).catch(freed));
  const tickets = new Tickets({ resumeMs, most, spill });
  closers.push(async () => {
    tickets.close();
    spill?.close();
  });
  const load = new Load(pool, limits);
  load.count(() => tickets.bundles);
  closers.push(async () => load.close());
  const asked = { allowQuery, onGrant, tickets, load, draining: draining.signal };
  const parts = { offers: offers.models, limits, onEvent, ...asked };
  const connections = new Connections({
    limits,
    load,
    onEvent,
    authorize: options.authorize,
    // A proxy on this machine speaks for everybody, unless it is named and says for whom.
    counts: (address) => proxies !== undefined || !isLoopback(address),
    onSession: quotas.session,
    decorate: options.decorate,
    serve: (channel, connection) =>
      serveSession(
        { ...parts, pool: pool.runner({ onStart: options.onTask }) },
        channel,
        connection,
      ),
  });
  let failed = false;
  void pool.failed.then(() => {
    failed = true;
  });
  const watched = {
    healthy: () =>
      probe(PROBE_MS.healthy).then(
        () => true,
        () => false,
      ),
    unready() {
      if (draining.signal.aborted || stopping) return 'the server is about to stop';
      if (failed) return "the server's threads have failed";
      if (connections.sessions >= limits.sessions) {
        return 'the server has as many sessions as it may';
      }
      if (connections.size >= limits.connections) {
        return 'the server has as many connections as it may';
      }
      return load.over && UNREADY[load.over];
    },
  };
  const lets = ({ origin }: ConnectionRequest): boolean =>
    origin === undefined || origins === undefined || origins.has(origin);
  const listed: Listed = {
    offers: offers.models,
    maxBundles: limits.bundlesPerSession,
    proxies,
    async admit(request) {
      if (!lets(request)) throw connections.forbid(request);
      await connections.admit(request);
    },
  };
  const pages = hintRequests(offers.hints, page, onSent);
  const onRequest = healthRequests(watched, listingRequests(listed, pages));
  const listener = await listen({
    host,
    port,
    tls,
    onRequest,
    proxies,
    allows(request) {
      const allowed = lets(request);
      if (!allowed) connections.forbid(request);
      return allowed;
    },
    onSocket: (socket, connection, request) => connections.take(socket, connection, request),
  }).catch(freed);

  const stop = async (): Promise<void> => {
    const closed = listener.close();
    connections.end(SHUT_DOWN);
    await connections.settled();
    await closed;
    await free();
  };
  let stopping: Promise<void> | undefined;
  const close = (): Promise<void> => {
    stopping ??= stop();
    return stopping;
  };
  const drain = async (graceMs: number): Promise<void> => {
    onEvent({ type: 'draining', sessions: connections.sessions });
    draining.abort();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, graceMs);
    });
    await Promise.race([connections.settled(), late]);
    clearTimeout(timer);
    await close();
  };
  const reload = async ({ models = [], tls }: Reload): Promise<void> => {
    const renew = tls && listener.checked(tls);
    if (models.length > 0) {
      await offers.exchange(models, () => connections.settled());
    }
    renew?.();
  };
  const shown = page && { page: `${listener.url.replace('ws', 'http')}/` };
  onEvent({ type: 'listening', url: listener.url, models: [...offers.models.keys()], ...shown });
  return {
    url: listener.url,
    address: { host: listener.host, port: listener.port },
    get sessions() {
      return connections.sessions;
    },
    get connections() {
      return connections.size;
    },
    get models() {
      return offers.names;
    },
    limits,
    pool,
    failed: pool.failed,
    ...watched,
    reload,
    drain,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function openSpill(
  spill: SpillFolder,
  keepMs: number,
  onEvent: (event: ServerEvent) => void,
): Promise<Spill> {
  return Spill.open({
    ...spill,
    mostBytes: spill.mostBytes ?? 2 ** 30,
    keepMs,
    onTrouble: (message) => onEvent({ type: 'spill', message }),
  });
}
