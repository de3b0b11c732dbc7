/** A server that listens for clients, with or without TLS. They come by WebSocket (websocket.ts): another transport is another file beside it. */

import {
  createServer as createHttp,
  type RequestListener,
  type Server,
  type ServerOptions,
} from 'node:http';
import { createServer as createHttps, type Server as TlsServer } from 'node:https';
import { type AddressInfo, BlockList, isIP } from 'node:net';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { WebSocketServer } from 'ws';
import { SOCKET_OPTIONS } from '../protocol/channel/websocket.ts';
import type { Arrival } from './arrival.ts';
import { DEFAULT_SERVER_LIMITS, type ServerLimits } from './limits.ts';
import { type ConnectionRequest, requestOf } from './request.ts';
import { webSocketArrival } from './websocket.ts';

/** A certificate chain and its key, PEM. */
export interface Tls {
  readonly cert: string | Uint8Array;
  readonly key: string | Uint8Array;
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: Tls | undefined;
  /** Answers requests that are no WebSocket's; default: there is no such page. */
  readonly onRequest?: RequestListener | undefined;
  /** Proxies that are believed whom they speak for. */
  readonly proxies?: BlockList | undefined;
  readonly limits?: Pick<ServerLimits, 'connections' | 'handshakeMs' | 'queuedBytes'>;
  /** Whether a client may have a channel at all, else it is told 403 by HTTP; default: all may. */
  readonly allows?: (request: ConnectionRequest) => boolean;
  /** A client has connected. */
  readonly onChannel: (arrival: Arrival, request: ConnectionRequest) => void;
}

/** A server that listens. */
export interface Listener {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /**
   * Checks another certificate.
   * @returns has further connections served with it
   * @throws Error as {@link listen} does; TypeError where it listens without TLS
   */
  checked(tls: Tls): () => void;
  /** Takes no further clients; resolves when the last socket is gone. */
  close(): Promise<void>;
}

/** How long sockets have to close by themselves when the server does, in ms. LOCAL. */
const CLOSING_MS = 1000;

/**
 * Sockets for each connection that there may be, all the others are cut as they come: those that have not asked for anything yet, that ask
 * for pages and hints, and that are told that there is no room. LOCAL.
 */
const SOCKETS = 4;

/** How often sockets are looked through for those that take too long, in ms, or more often where they have less time. LOCAL. */
const LOOKING_MS = 1000;

/** Cuts sockets whose request does not come in time. */
export function patienceOf({ handshakeMs }: Pick<ServerLimits, 'handshakeMs'>): ServerOptions {
  return {
    headersTimeout: handshakeMs,
    requestTimeout: handshakeMs,
    connectionsCheckingInterval: Math.min(LOOKING_MS, handshakeMs),
  };
}

/** All of 127/8, also as IPv6 writes it (::ffff:127.0.0.1), and ::1. */
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Does traffic to this host stay on this machine? */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  if (family === 0) return host.toLowerCase() === 'localhost';
  return LOOPBACK.check(host, family === 4 ? 'ipv4' : 'ipv6');
}

/** @throws Error with one sentence when it cannot listen there, or the certificate is not usable */
export async function listen({
  host,
  port,
  tls,
  onRequest = refusePages,
  proxies,
  allows = () => true,
  limits = DEFAULT_SERVER_LIMITS,
  onChannel,
}: ListenOptions): Promise<Listener> {
  const patience = patienceOf(limits);
  const secure =
    tls === undefined
      ? undefined
      : createHttps({
          ...{ ...secureOptions(tls), ...patience },
          handshakeTimeout: limits.handshakeMs,
        });
  const server: Server | TlsServer = secure ?? createHttp(patience);
  server.maxConnections = SOCKETS * limits.connections;
  server.on('request', onRequest);
  const sockets = new WebSocketServer({
    ...SOCKET_OPTIONS,
    server,
    verifyClient: ({ req }, done) => done(allows(requestOf(req, proxies)), 403),
  });
  sockets.on('connection', (socket, request) => {
    const arrival = webSocketArrival(socket, request.socket, limits.queuedBytes);
    onChannel(arrival, requestOf(request, proxies));
  });
  await new Promise<void>((resolve, reject) => {
    // It repeats the server's errors.
    sockets.once('error', (cause: NodeJS.ErrnoException) => {
      const what = `cannot listen on ${host}:${port}: ${explain(cause)}`;
      reject(new Error(what, { cause }));
    });
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  const shown = host.includes(':') ? `[${host}]` : host;
  return {
    url: `${tls === undefined ? 'ws' : 'wss'}://${shown}:${address.port}`,
    host,
    port: address.port,
    checked(renewed) {
      if (secure === undefined) throw new TypeError('tls: this server listens without TLS');
      const options = secureOptions(renewed);
      return () => secure.setSecureContext(options);
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      sockets.close();
      server.closeIdleConnections();
      const cut = setTimeout(() => {
        for (const socket of sockets.clients) socket.terminate();
        server.closeAllConnections();
      }, CLOSING_MS);
      await closed;
      clearTimeout(cut);
    },
  };
}

/** Says that there is no page. */
export const refusePages: RequestListener = (_, response) => {
  response.writeHead(426, { connection: 'close', upgrade: 'websocket' });
  response.end('This server speaks WebSocket.\n');
};

/** @throws Error with one sentence when the certificate and key are not usable */
function secureOptions({ cert, key }: Tls): SecureContextOptions {
  const options: SecureContextOptions = {
    cert: typeof cert === 'string' ? cert : Buffer.from(cert),
    key: typeof key === 'string' ? key : Buffer.from(key),
    minVersion: 'TLSv1.3',
  };
  try {
    createSecureContext(options);
    return options;
  } catch (cause) {
    throw new Error('the TLS certificate and key are not a usable pair of PEM files', { cause });
  }
}

/** Why it cannot listen. */
export function explain({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'something else listens there already';
    case 'EACCES':
      return 'this user may not use that port';
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return 'this machine has no such address';
    default:
      return message;
  }
}
