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

import type { BlockList } from 'node:net';
import type { Channel } from '../protocol/channel/index.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import { createPool } from '../protocol/inference/threads.ts';
import type { Authorize } from './authorize.ts';
import { Connections } from './connections.ts';
import { loadDemo, type ModelCard } from './demo.ts';
import { healthRequests } from './health.ts';
import { allWorkers, Lifetime, Resources } from './lifetime.ts';
import {
  type AllowQuery,
  checkLimits,
  limitsOf,
  type OnGrant,
  type ServerEvent,
  type ServerLimits,
} from './limits.ts';
import { isLoopback, type Listener, listen, type Tls } from './listen.ts';
import { type Listed, listingRequests } from './listing.ts';
import { Load } from './load.ts';
import type { NamedModel, OfferOptions } from './models.ts';
import { type ModelNames, Offers } from './offers.ts';
import { hintRequests } from './publish.ts';
import { openQuotas, type Quotas } from './quotas.ts';
import { type ConnectionRequest, originsOf, proxiesOf } from './request.ts';
import { serveSession } from './session.ts';
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

/** Where a server listens by default. */
const HOST = '127.0.0.1';

/** Options of {@link serve}. */
export interface ServeOptions {
  /** TCP port; 0 for any that is free. */
  readonly port: number;
  /** Address to listen on; default: 127.0.0.1. */
  readonly host?: string | undefined;
  /** Threads of the server's own pool; default: as many as the machine runs at a time. LOCAL. */
  readonly workers?: number | undefined;
  /** A pool to use; default: the server makes its own. The caller closes it. */
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
  /** What each principal may have, which is the name that `authorize` gives a client, else its address; default: unlimited. */
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
  /** Prepared inferences that wait in memory at this moment for clients whose link was lost. */
  readonly kept: number;
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
  const limits = limitsOf(options.limits);
  checkLimits(limits);
  checkAddress(options);
  const proxies = options.trustProxies && proxiesOf(options.trustProxies);
  const origins = options.origins && originsOf(options.origins);
  const resources = new Resources();
  try {
    return await start(models, options, { limits, proxies, origins, resources });
  } catch (error) {
    await resources.free();
    throw error;
  }
}

/** @throws RangeError when it may not listen there */
function checkAddress({ port, host = HOST, tls, insecure }: ServeOptions): void {
  if (!(Number.isInteger(port) && port >= 0 && port <= 65535)) {
    throw new RangeError(`port: expected an integer from 0 to 65535, got ${port}`);
  }
  if (tls === undefined && !isLoopback(host) && !insecure) {
    throw new RangeError(
      `${host} is reached from other machines: give a TLS certificate and key, or allow an insecure server`,
    );
  }
}

/** Options that were checked, and where to put what is to be freed. */
interface Checked {
  readonly limits: ServerLimits;
  readonly proxies: BlockList | undefined;
  readonly origins: ReadonlySet<string> | undefined;
  readonly resources: Resources;
}

async function start(
  models: readonly NamedModel[],
  options: ServeOptions,
  { limits, proxies, origins, resources }: Checked,
): Promise<RunningServer> {
  const { port, host = HOST, tls, onEvent = () => {}, decorate = (plain) => plain } = options;
  const pool = options.pool ?? createPool({ workers: options.workers });
  if (options.pool === undefined) resources.add(() => pool.close());
  const quotas = await openQuotas(options.quotas ?? {}, onEvent);
  resources.add(quotas.close);
  await allWorkers(pool);
  const offers = await Offers.of(models, {
    pool,
    onHint: options.onHint,
    onMade: (made) => onEvent({ type: 'hint', ...made }),
  });
  const demo = options.demo === true ? new Map<string, ModelCard>() : options.demo || undefined;
  const page = demo && (await loadDemo(offers.models, demo));
  const draining = new AbortController();
  const tickets = await openTickets(options, limits, resources);
  const load = new Load(pool, limits);
  load.count(() => tickets.bundles);
  resources.add(() => load.close());
  const session = {
    ...{ offers: offers.models, limits, onEvent, tickets, load, draining: draining.signal },
    onGrant: options.onGrant,
    allowQuery: inOrder(options.allowQuery, quotas.allowQuery),
  };
  const connections = new Connections({
    ...{ limits, load, onEvent, authorize: options.authorize },
    // A proxy on this machine speaks for everybody, unless it is named and says for whom.
    counts: (address) => proxies !== undefined || !isLoopback(address),
    onSession: quotas.session,
    serve: (channel, connection) =>
      serveSession(
        { ...session, pool: pool.runner({ onStart: options.onTask }) },
        channel,
        connection,
      ),
  });
  const life = new Lifetime({ pool, limits, load, connections, resources, draining, onEvent });
  const gate = gateOf(connections, origins);
  const listed: Listed = {
    ...{ offers: offers.models, maxBundles: limits.bundlesPerSession, proxies },
    admit: gate.admit,
  };
  const pages = hintRequests(offers.hints, page, (hint, bytes) =>
    onEvent({ type: 'download', hint, bytes }),
  );
  const listener = await listen({
    ...{ host, port, tls, proxies, limits, allows: gate.allows },
    onRequest: healthRequests(life, listingRequests(listed, pages)),
    onChannel: (arrival, request) =>
      connections.take({ ...arrival, channel: decorate(arrival.channel) }, request),
  });
  const shown = page && { page: `${listener.url.replace('ws', 'http')}/` };
  onEvent({ type: 'listening', url: listener.url, models: [...offers.models.keys()], ...shown });
  return running({ listener, connections, tickets, offers, limits, pool, life });
}

/** Who may have a connection by the page that it comes from. */
function gateOf(connections: Connections, origins: ReadonlySet<string> | undefined) {
  const lets = ({ origin }: ConnectionRequest): boolean =>
    origin === undefined || origins === undefined || origins.has(origin);
  return {
    /** A client that asks for a channel. */
    allows(request: ConnectionRequest): boolean {
      const allowed = lets(request);
      if (!allowed) connections.forbid(request);
      return allowed;
    },
    /** A client that asks by HTTP; rejects with why it is not let in. */
    async admit(request: ConnectionRequest): Promise<void> {
      if (!lets(request)) throw connections.forbid(request);
      await connections.admit(request);
    },
  };
}

/** A query goes on when both let it. */
function inOrder(first: AllowQuery | undefined, second: AllowQuery): AllowQuery {
  return async (query) => {
    const decision = first === undefined || (await first(query));
    return decision === true ? second(query) : decision;
  };
}

async function openTickets(
  { spill: folder, onEvent = () => {} }: ServeOptions,
  { idleMs, resumeMs, sessions: most }: ServerLimits,
  resources: Resources,
): Promise<Tickets> {
  const spill =
    folder &&
    (await Spill.open({
      ...folder,
      mostBytes: folder.mostBytes ?? 2 ** 30,
      keepMs: resumeMs + idleMs,
      onTrouble: (message) => onEvent({ type: 'spill', message }),
    }));
  const tickets = new Tickets({ resumeMs, most, spill });
  resources.add(() => {
    tickets.close();
    spill?.close();
  });
  return tickets;
}

/** What the caller of {@link serve} has of a server. */
function running({
  listener,
  connections,
  tickets,
  offers,
  limits,
  pool,
  life,
}: {
  readonly listener: Listener;
  readonly connections: Connections;
  readonly tickets: Tickets;
  readonly offers: Offers;
  readonly limits: ServerLimits;
  readonly pool: ProtocolPool;
  readonly life: Lifetime;
}): RunningServer {
  const close = () => life.close(listener);
  return {
    url: listener.url,
    address: { host: listener.host, port: listener.port },
    get sessions() {
      return connections.sessions;
    },
    get connections() {
      return connections.size;
    },
    get kept() {
      return tickets.bundles;
    },
    get models() {
      return offers.names;
    },
    limits,
    pool,
    failed: pool.failed,
    healthy: () => life.healthy(),
    unready: () => life.unready(),
    async reload({ models = [], tls }) {
      const renew = tls && listener.checked(tls);
      if (models.length > 0) {
        await offers.exchange(models, () => connections.settled());
      }
      renew?.();
    },
    drain: (graceMs) => life.drain(listener, graceMs),
    close,
    [Symbol.asyncDispose]: close,
  };
}
