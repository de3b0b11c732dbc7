/** A client that has connected by WebSocket. */

import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { socketChannel } from '../protocol/channel/websocket.ts';
import type { Arrival } from './arrival.ts';

/** How often a client hears from the server at least, in ms. LOCAL. */
const BEAT_MS = 15_000;

/**
 * How often a socket is asked for a sign of life, in ms: one that gives none until the time after the next is cut, so 26 to 39 s after its
 * last. LOCAL.
 */
const PING_MS = 13_000;

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

/** Cuts a connection that gives no sign of life, not even what it answers to a ping: its peer or the link is gone. */
function watch(socket: WebSocket, connection: Socket): void {
  let before = progressOf(connection);
  let missed = 0;
  const timer = setInterval(() => {
    const now = progressOf(connection);
    const came = now.read !== before.read;
    // A ping waits behind what is on its way to a peer, which has taken some of it when some of what waited leaves.
    const taken = before.waiting > 0 && now.left !== before.left;
    // What this side does not read is no fault of the peer's.
    missed = socket.isPaused || came || taken ? 0 : missed + 1;
    before = now;
    if (missed === 2) socket.terminate();
    else socket.ping();
  }, PING_MS);
  socket.once('close', () => clearInterval(timer));
}

/** Bytes that have come, that have left, and that wait to leave. */
function progressOf({ bytesRead: read, bytesWritten, writableLength: waiting }: Socket) {
  return { read, left: bytesWritten - waiting, waiting };
}
