/** A server of one small model on a free port, for tests of who is let in. */

import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { WebSocket } from 'ws';
import { decodeError, ERROR_KIND, FRAME_HEADER_BYTES } from '../../protocol/channel/frames.ts';
import type { ProtocolError } from '../../protocol/errors.ts';
import {
  type RunningServer,
  type ServeOptions,
  type ServerEvent,
  serve,
} from '../../server/index.ts';
import { localPool, tinyModel, within } from '../system/support.ts';

export const model = tinyModel();

/** Events of one type. */
export type EventOf<T extends ServerEvent['type']> = Extract<ServerEvent, { type: T }>;

/** A server, and what it has told its operator. */
export interface Serving {
  readonly server: RunningServer;
  readonly url: string;
  readonly events: ServerEvent[];
  of<T extends ServerEvent['type']>(type: T): EventOf<T>[];
}

/** Starts a server; the caller closes it. */
export async function serveTiny(options: Partial<ServeOptions> = {}): Promise<Serving> {
  const events: ServerEvent[] = [];
  const server = await serve([{ name: 'tiny', model }], {
    port: 0,
    pool: localPool(),
    onEvent: (event) => void events.push(event),
    ...options,
  });
  const of = <T extends ServerEvent['type']>(type: T) =>
    events.filter((event) => event.type === type) as EventOf<T>[];
  return { server, url: server.url, events, of };
}

/** Runs `work` with a server, and closes it. */
export async function withTiny(
  options: Partial<ServeOptions>,
  work: (serving: Serving) => Promise<void>,
): Promise<void> {
  const serving = await serveTiny(options);
  try {
    await work(serving);
  } finally {
    await within(5000, serving.server.close());
  }
}

/** Asks for a WebSocket and says nothing: the error that the server ends it with. */
export async function turnedAway(
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<ProtocolError> {
  const socket = new WebSocket(url, { headers });
  const [data] = (await within(5000, once(socket, 'message'))) as [Buffer];
  socket.terminate();
  if (data[1] !== ERROR_KIND) throw new Error(`expected an ERROR frame, got kind ${data[1]}`);
  return decodeError(data.subarray(FRAME_HEADER_BYTES));
}

/** The status with which a request for a WebSocket is answered that has these lines as further headers. */
export async function statusOf(url: string, lines: readonly string[]): Promise<number> {
  const { hostname, port } = new URL(url);
  const socket = connectTcp(Number(port), hostname);
  const request = [
    'GET / HTTP/1.1',
    `Host: ${hostname}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...lines,
  ];
  socket.on('error', () => {});
  socket.write(`${request.join('\r\n')}\r\n\r\n`);
  const [head] = (await within(5000, once(socket, 'data'))) as [Buffer];
  socket.destroy();
  return Number(/^HTTP\/1\.1 (\d+)/.exec(head.toString('latin1'))?.[1]);
}
