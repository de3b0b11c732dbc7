/** What a server does, as metrics in the format of OpenMetrics: fed by its events and tasks, rendered with its state at that moment. */

import {
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  type OpenMetricsContentType,
  Registry,
} from 'prom-client';
import type { RunningServer } from './index.ts';
import type { ServerEvent, Work } from './limits.ts';

/** Metrics of one server, in a registry that no other shares. Labels are names of models, codes and the like, never who a client is. */
export interface ServerMetrics {
  /** For `onEvent` of the server. */
  readonly onEvent: (event: ServerEvent) => void;
  /** For `onTask` of the server. */
  readonly onTask: (waitMs: number, urgent: boolean) => void;
  /** The content type of {@link text}. */
  readonly contentType: string;
  /** All metrics, as OpenMetrics has them. */
  text(
    server: Pick<RunningServer, 'sessions' | 'connections' | 'kept' | 'pool' | 'unready'>,
  ): Promise<string>;
}

/** Bounds of the histograms, in seconds. LOCAL. */
const BUCKETS = {
  wait: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
  work: [0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 30, 60],
};

/**
 * Makes the metrics of a server, and those of the process.
 *
 *     import { serverMetrics } from '@sotto/server/metrics';
 *     const metrics = serverMetrics();
 *     const server = await serve(models, { port, onEvent: metrics.onEvent, onTask: metrics.onTask });
 *     await metrics.text(server);
 */
export function serverMetrics(): ServerMetrics {
  const registry = new Registry<OpenMetricsContentType>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  collectDefaultMetrics({ register: registry });
  const { wait, onEvent, ready } = fedByEvents(registry);
  const gauge = (name: string, help: string) => {
    const own = new Gauge({ name: `sotto_${name}`, help, registers: [registry] });
    return (value: number) => own.set(value);
  };
  const workers = gauge('pool_workers', 'Threads of the pool');
  const running = gauge('pool_running', 'Tasks that run');
  const waiting = gauge('pool_waiting', 'Tasks that wait for a thread');
  const sessions = gauge('sessions', 'Sessions');
  const connections = gauge('connections', 'Connections, those without a session included');
  const bundles = gauge(
    'bundles_ready',
    'Prepared inferences that wait to be used, of sessions and of clients whose link was lost',
  );
  const takes = gauge('ready', '1 when the server takes sessions, otherwise 0');
  return {
    onEvent,
    onTask: (waitMs, urgent) => wait.observe({ urgent: `${urgent}` }, waitMs / 1000),
    contentType: registry.contentType,
    text(server) {
      workers(server.pool.workers);
      running(server.pool.running);
      waiting(server.pool.waiting);
      sessions(server.sessions);
      connections(server.connections);
      bundles(ready() + server.kept);
      takes(server.unready() === undefined ? 1 : 0);
      return registry.metrics();
    },
  };
}

/** The metrics that events and tasks count up. */
function fedByEvents(registry: Registry<OpenMetricsContentType>) {
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Counter({ name: `sotto_${name}_total`, help, labelNames, registers });
  const histogram = <L extends string>(
    name: string,
    help: string,
    labelNames: L[],
    buckets = BUCKETS.work,
  ) => new Histogram({ name: `sotto_${name}_seconds`, help, labelNames, buckets, registers });
  const wait = histogram(
    'task_wait',
    'Time that tasks of sessions waited for a thread; urgent ones are of inferences',
    ['urgent'],
    BUCKETS.wait,
  );
  const setup = histogram('setup', 'Handshake and setup of a session', ['model']);
  const offline = histogram('offline', 'Preparation of an inference', ['model']);
  const online = histogram('online', 'Answer of a prepared inference', ['model']);
  const inferences = counter('inferences', 'Inferences that were answered', 'model');
  const bytes = counter('bytes', 'Bytes of sessions, up from clients or down', 'direction');
  const unused = counter(
    'bundles_unused',
    'Prepared inferences that died with their session, and do not wait for their client',
  );
  const refused = counter('refusals', 'Reservations that were refused', 'reason');
  const busy = counter(
    'busy',
    'Clients that were not let in for lack of room, and of which',
    'reason',
  );
  const errors = counter('errors', 'Sessions, or attempts at one, that failed', 'code');
  const closed = counter('closed', 'Connections that have ended', 'reason');
  const made = counter('hints_made', 'Hints that were not there and have been made');
  const sent = counter('hints_sent', 'Hints that clients have got', 'over');
  /** Prepared inferences by session. */
  const ready = new Map<number, number>();
  const moved = ({ bytesUp, bytesDown }: Pick<Work, 'bytesUp' | 'bytesDown'>) => {
    bytes.inc({ direction: 'up' }, bytesUp);
    bytes.inc({ direction: 'down' }, bytesDown);
  };
  const worked = (work: Work, seconds: typeof offline) => {
    moved(work);
    seconds.observe({ model: work.model }, work.ms / 1000);
    ready.set(work.session, work.ready);
  };
  const onEvent = (event: ServerEvent): void => {
    switch (event.type) {
      case 'session':
        moved(event);
        setup.observe({ model: event.model }, event.ms / 1000);
        ready.set(event.session, event.resumed);
        break;
      case 'bundle':
        worked(event, offline);
        break;
      case 'inference':
        inferences.inc({ model: event.model });
        worked(event, online);
        break;
      case 'refused':
        refused.inc({ reason: event.reason });
        break;
      case 'busy':
        busy.inc({ reason: event.reason });
        break;
      case 'error':
        errors.inc({ code: event.code });
        break;
      case 'closed':
        ready.delete(event.session);
        unused.inc(event.unused - event.kept);
        closed.inc({ reason: event.reason });
        break;
      case 'hint':
        made.inc();
        break;
      case 'download':
        sent.inc({ over: event.session === undefined ? 'http' : 'session' });
        break;
    }
  };
  return { wait, onEvent, ready: () => [...ready.values()].reduce((sum, n) => sum + n, 0) };
}
