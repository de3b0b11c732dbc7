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
 * - Prepared inferences live in memory, belong to their session and die with it. Each is used once.
 * - Beyond this machine the protocol needs TLS, for it does not authenticate the server: `serve` refuses to listen there
 *   without, unless `insecure` says that something in front of it provides it.
 */

import { socketChannel } from '../protocol/channel/websocket.ts';
import { ProtocolError } from '../protocol/errors.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import type { tasks } from '../protocol/inference/tasks.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { loadDemo, type ModelCard } from './demo.ts';
import { healthRequests } from './health.ts';
import {
  type AllowQuery,
  checkLimits,
  DEFAULT_LIMITS,
  type OnGrant,
  type ServerEvent,
  type ServerLimits,
} from './limits.ts';
import { isLoopback, listen, type Tls } from './listen.ts';
import type { NamedModel, OfferOptions } from './models.ts';
import { type ModelNames, Offers } from './offers.ts';
import { hintRequests } from './publish.ts';
import { SHUT_DOWN, serveSession } from './session.ts';

export type { Cost, PhaseCost, StepCost } from '../protocol/inference/cost.ts';
export type { ProtocolPool } from '../protocol/inference/session.ts';
export type { ModelCard, ModelSummary } from './demo.ts';
export type {
  AllowQuery,
  Grant,
  OnGrant,
  Query,
  ServerEvent,
  ServerLimits,
  SessionEnd,
  Work,
} from './limits.ts';
export type { Tls } from './listen.ts';
export { loadModelFile, type NamedModel } from './models.ts';
export type { ModelNames } from './offers.ts';

/** How often a session's client hears from the server at least, in ms. LOCAL. */
const BEAT_MS = 15_000;

/** How long workers may take to show that they are there: when the server starts, and when it is asked, in ms. LOCAL. */
const PROBE_MS = { start: 60_000, healthy: 5_000 };

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
  readonly onEvent?: ((event: ServerEvent) => void) | undefined;
  /** Asked before each query, which is one preparation of an inference; default: all go on. */
  readonly allowQuery?: AllowQuery | undefined;
  /** Told of queries before they are granted: what it cannot record is refused. */
  readonly onGrant?: OnGrant | undefined;
  /** Called as each task of a session starts, with the ms that it waited, and whether it is an inference's. Must not throw. */
  readonly onTask?: ((waitMs: number, urgent: boolean) => void) | undefined;
}

/** What a running server is given anew; what is left out stays. */
export interface Reload {
  /** In place of those of the same name; a new name is offered beside the others. */
  readonly models?: readonly NamedModel[] | undefined;
  /** For further connections. */
  readonly tls?: Tls | undefined;
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
  const { port, host = '127.0.0.1', tls, allowQuery, onGrant, onEvent = () => {} } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  checkLimits(limits);
  if (!(Number.isInteger(port) && port >= 0 && port <= 65535)) {
    throw new RangeError(`port: expected an integer from 0 to 65535, got ${port}`);
  }
  if (tls === undefined && !isLoopback(host) && !options.insecure) {
    throw new RangeError(
      `${host} is reached from other machines: give a TLS certificate and key, or allow an insecure server`,
    );
  }
  const own =
    options.pool === undefined
      ? createThreadPool<typeof tasks>(
          new URL('../protocol/inference/worker.js', import.meta.url),
          options.workers === undefined ? {} : { workers: options.workers },
        )
      : undefined;
  const pool = options.pool ?? (own as ProtocolPool);
  const freed = async (error: Error): Promise<never> => {
    await own?.close();
    throw error;
  };
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

  /** Connections, and how each is ended. */
  const connections = new Map<Promise<void>, (reason: Error) => void>();
  /** How many come from an address. */
  const from = new Map<string, number>();
  /** Those that have a session. */
  const sessions = new Set<object>();
  const draining = new AbortController();
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
      if (sessions.size >= limits.sessions) return 'the server has as many sessions as it may';
      if (connections.size < limits.connections) return undefined;
      return 'the server has as many connections as it may';
    },
  };
  const onRequest = healthRequests(watched, hintRequests(offers.hints, page, onSent));
  const asked = { allowQuery, onGrant, draining: draining.signal };
  const parts = { offers: offers.models, limits, onEvent, ...asked };
  const busy = (what: string) => new ProtocolError('refused', `${what}, try again later`);
  let count = 0;
  const listener = await listen({
    host,
    port,
    tls,
    onRequest,
    onSocket(socket, address, port) {
      const channel = socketChannel(socket, {
        maxQueuedBytes: limits.queuedBytes,
        beatMs: BEAT_MS,
      });
      const who = { session: ++count, address, port };
      const others = from.get(address) ?? 0;
      const full =
        connections.size >= limits.connections
          ? busy('the server has too many connections')
          : others >= limits.connectionsPerAddress && !isLoopback(address)
            ? busy('too many connections come from this address')
            : undefined;
      if (full !== undefined) {
        channel.close(full);
        onEvent({ type: 'error', ...who, code: full.code, message: full.message });
        return;
      }
      from.set(address, others + 1);
      const enter = (): void => {
        if (sessions.size >= limits.sessions) throw busy('the server is busy');
        sessions.add(who);
      };
      const own = { ...parts, pool: pool.runner({ onStart: options.onTask }) };
      const session = serveSession(own, channel, { ...who, enter });
      connections.set(session, (reason) => channel.close(reason));
      void session.finally(() => {
        connections.delete(session);
        sessions.delete(who);
        const left = from.get(address)! - 1;
        if (left > 0) from.set(address, left);
        else from.delete(address);
      });
    },
  }).catch(freed);

  const stop = async (): Promise<void> => {
    const closed = listener.close();
    for (const end of connections.values()) end(SHUT_DOWN);
    await Promise.all(connections.keys());
    await closed;
    await own?.close();
  };
  let stopping: Promise<void> | undefined;
  const close = (): Promise<void> => {
    stopping ??= stop();
    return stopping;
  };
  const drain = async (graceMs: number): Promise<void> => {
    onEvent({ type: 'draining', sessions: sessions.size });
    draining.abort();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, graceMs);
    });
    await Promise.race([Promise.all(connections.keys()), late]);
    clearTimeout(timer);
    await close();
  };
  const reload = async ({ models = [], tls }: Reload): Promise<void> => {
    const renew = tls && listener.checked(tls);
    if (models.length > 0) {
      await offers.exchange(models, () => Promise.all(connections.keys()));
    }
    renew?.();
  };
  const shown = page && { page: `${listener.url.replace('ws', 'http')}/` };
  onEvent({ type: 'listening', url: listener.url, models: [...offers.models.keys()], ...shown });
  return {
    url: listener.url,
    address: { host: listener.host, port: listener.port },
    get sessions() {
      return sessions.size;
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
