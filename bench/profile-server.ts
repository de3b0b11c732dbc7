/** The server of a profiled run: a thread with its own event loop and pool, which traces itself when it is told to. */

import type { AddressInfo } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { WebSocketServer } from 'ws';
import { SOCKET_OPTIONS, socketChannel } from '../protocol/channel/websocket.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { DEFAULT_LIMITS } from '../server/limits.ts';
import { loadModelFile, offerModels } from '../server/models.ts';
import { serveSession } from '../server/session.ts';
import type { TracedTasks } from './profile-worker.ts';
import { Tracer } from './trace.ts';

const { path, workers } = workerData as { path: string; workers: number };
const worker = new URL('./profile-worker.js', import.meta.url);
const tracer = new Tracer(createThreadPool<TracedTasks>(worker, { workers }));
const offers = await offerModels([await loadModelFile(path)], { pool: tracer.pool });
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, ...SOCKET_OPTIONS });

server.on('connection', (socket) => {
  tracer.watch(socket);
  const parts = { offers, pool: tracer.pool, limits: DEFAULT_LIMITS, onEvent: () => {} };
  const who = { session: 0, address: 'profile', principal: 'profile' };
  void serveSession(parts, socketChannel(socket), who);
});
server.on('listening', () => {
  parentPort!.postMessage(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
parentPort!.on('message', async (order: 'start' | 'stop') => {
  parentPort!.postMessage(await tracer[order]());
});
