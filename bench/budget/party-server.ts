/** The server of a measured run. */

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { delayed, type Link } from '../../protocol/channel/delayed.ts';
import { SOCKET_OPTIONS, socketChannel } from '../../protocol/channel/websocket.ts';
import { createThreadPool } from '../../protocol/pool/node.ts';
import { DEFAULT_LIMITS, type ServerEvent } from '../../server/limits.ts';
import { loadModelFile, offerModels } from '../../server/models.ts';
import { serveSession } from '../../server/session.ts';
import type { TracedTasks } from '../profile-worker.ts';
import { Tracer } from '../trace.ts';
import { TRACED } from './attribution.ts';
import { preciseClock } from './links.ts';
import { obey, usage } from './party.ts';

const worker = new URL('../profile-worker.js', import.meta.url);
const tracer = new Tracer(createThreadPool<TracedTasks>(worker), TRACED);

export interface ListenOrder {
  /** A `.sotto` file. */
  readonly path: string;
  readonly host: string;
  /** What lies in front of all it sends. */
  readonly link: Link | undefined;
}

const orders = {
  /** Its URL. */
  async listen({ path, host, link }: ListenOrder): Promise<string> {
    const offers = await offerModels([await loadModelFile(path)], { pool: tracer.pool });
    const server = new WebSocketServer({ host, port: 0, ...SOCKET_OPTIONS });
    let sessions = 0;
    server.on('connection', (socket) => {
      const channel = socketChannel(socket);
      void serveSession(
        { offers, pool: tracer.pool, limits: DEFAULT_LIMITS, onEvent: complain },
        link === undefined ? channel : delayed(channel, link, preciseClock),
        { session: sessions++, address: host, principal: host },
      );
    });
    await once(server, 'listening');
    return `ws://${host}:${(server.address() as AddressInfo).port}`;
  },
  usage,
  startTrace: () => tracer.start(),
  stopTrace: () => tracer.stop(),
};

/** An error of a session is the client's to report; what is this side's own fault would be lost there. */
function complain(event: ServerEvent): void {
  if (event.type === 'error' && event.code === 'internal')
    process.stderr.write(`${event.message}\n`);
}

export type ServerOrders = typeof orders;

obey(orders);
