/** A client that has connected by WebSocket. */

import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { socketChannel } from '../protocol/channel/websocket.ts';
import type { Arrival } from './arrival.ts';

/** How often a client hears from the server at least, in ms. LOCAL. */
const BEAT_MS = 15_000;

/** How often a socket is asked for a sign of life, in ms: one that gives none until the time after the next is cut. LOCAL. */
const PING_MS = 15_000;

/**
 * Takes a socket over, in the turn in which it was opened.
 * @param connection - what carries it
 * @param maxQueuedBytes - frames of the client's that may wait to be read, in bytes
 */
export function webSocketArrival(
  socket: WebSocket,
  connection: Socket,
  maxQueuedBytes: number | undefined,
): Arrival {
  watch(socket, connection);
  return {
    channel: socketChannel(socket, {
      beatMs: BEAT_MS,
      ...(maxQueuedBytes !== undefined && { maxQueuedBytes }),
    }),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    onBytes: (see) => void connection.on('data', ({ length }: Uint8Array) => see(length)),
    cut: () => socket.terminate(),
  };
}

/** Cuts a connection from which nothing comes, not even what it answers to a ping: its peer or the link is gone. */
function watch(socket: WebSocket, connection: Socket): void {
  let seen = connection.bytesRead;
  let missed = 0;
  const timer = setInterval(() => {
    // What this side does not read is no fault of the peer's.
    missed = socket.isPaused || connection.bytesRead !== seen ? 0 : missed + 1;
    seen = connection.bytesRead;
    if (missed === 2) socket.terminate();
    else socket.ping();
  }, PING_MS);
  socket.once('close', () => clearInterval(timer));
}
