/** Connecting by WebSocket, the browser's or that of `ws`. Another transport is another file beside this one. */

import { type Socket, socketChannel } from '../protocol/channel/websocket.ts';
import type { Connecting } from './connect.ts';

/** How long a server may be silent, which beats every 15 s, in ms. LOCAL. */
const SILENCE_MS = 35_000;

/** Takes over a socket that begins to connect, in the turn in which it was made. */
export function connectingBy(socket: Socket, failure: Connecting['failure']): Connecting {
  return {
    channel: socketChannel(socket, { silenceMs: SILENCE_MS }),
    opened: new Promise((resolve) => socket.addEventListener('open', () => resolve())),
    failure,
  };
}
