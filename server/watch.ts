/** The port of those who watch a server: GET /metrics, /healthz and /readyz. Nobody else needs to reach it. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RequestHandler } from './demo.ts';
import { healthRequests } from './health.ts';
import type { RunningServer } from './index.ts';
import { explain, patienceOf } from './listen.ts';
import { type ServerMetrics, serverMetrics } from './metrics.ts';

export { serverMetrics };

/** A port that listens. */
export interface WatchPort {
  /** http://HOST:PORT/metrics. */
  readonly url: string;
  close(): Promise<void>;
}

/** Sockets at a time; all the others are cut as they come. LOCAL. */
const SOCKETS = 256;

/** @throws Error with one sentence when it cannot listen there */
export async function listenWatch(
  { host, port }: { readonly host: string; readonly port: number },
  server: RunningServer,
  metrics: ServerMetrics,
): Promise<WatchPort> {
  const answer = healthRequests(server, metricsRequests(server, metrics));
  const http = createServer(patienceOf(server.limits), answer);
  http.maxConnections = SOCKETS;
  await new Promise<void>((resolve, reject) => {
    http.once('error', (cause: NodeJS.ErrnoException) => {
      const what = `cannot listen for metrics on ${host}:${port}: ${explain(cause)}`;
      reject(new Error(what, { cause }));
    });
    http.listen(port, host, resolve);
  });
  const shown = host.includes(':') ? `[${host}]` : host;
  return {
    url: `http://${shown}:${(http.address() as AddressInfo).port}/metrics`,
    close() {
      const closed = new Promise<void>((resolve) => http.close(() => resolve()));
      http.closeAllConnections();
      return closed;
    },
  };
}

function metricsRequests(server: RunningServer, metrics: ServerMetrics): RequestHandler {
  return async ({ method, url }, response) => {
    const say = (status: number, type: string, text: string): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
      response.end(method === 'HEAD' ? undefined : text);
    };
    if (method !== 'GET' && method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      say(405, 'text/plain', 'Metrics are only read.\n');
    } else if (url?.split('?', 1)[0] !== '/metrics') {
      say(404, 'text/plain', 'Here are /metrics, /healthz and /readyz.\n');
    } else {
      say(200, metrics.contentType, await metrics.text(server));
    }
  };
}
