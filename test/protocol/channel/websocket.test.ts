import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { MAX_FRAME_BYTES } from '../../../protocol/channel/frames.ts';
import type { Channel } from '../../../protocol/channel/index.ts';
import {
  CLIENT_SOCKET_OPTIONS,
  SOCKET_OPTIONS,
  type Socket,
  socketChannel,
} from '../../../protocol/channel/websocket.ts';
import { encodeFrame } from '../../support/frames.ts';
import { describeChannel, failure } from './conformance.ts';

let server: WebSocketServer;
let url: string;

beforeAll(async () => {
  server = new WebSocketServer({ ...SOCKET_OPTIONS, host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  for (const socket of server.clients) socket.terminate();
  server.close();
});

/** A raw socket on the client's side, a channel on the server's. */
async function rawClient(): Promise<[WebSocket, Channel, WebSocket]> {
  const client = new WebSocket(url, SOCKET_OPTIONS);
  const [socket] = await once(server, 'connection');
  const channel = socketChannel(socket as WebSocket);
  if (client.readyState !== WebSocket.OPEN) await once(client, 'open');
  return [client, channel, socket as WebSocket];
}

describeChannel('socketChannel', async () => {
  const socket = new WebSocket(url, CLIENT_SOCKET_OPTIONS);
  const client = socketChannel(socket);
  const [accepted] = await once(server, 'connection');
  const channel = socketChannel(accepted as WebSocket);
  if (socket.readyState !== WebSocket.OPEN) await once(socket, 'open');
  return [client, channel];
});

it('frames sent while the socket is still connecting arrive in order', async () => {
  const client = socketChannel(new WebSocket(url, SOCKET_OPTIONS));
  const sent = [client.send(1, Uint8Array.of(1)), client.send(2, Uint8Array.of(2))];
  const [socket] = await once(server, 'connection');
  const channel = socketChannel(socket as WebSocket);
  expect(await channel.receive(1, 1)).toEqual(Uint8Array.of(1));
  expect(await channel.receive(2, 1)).toEqual(Uint8Array.of(2));
  await Promise.all(sent);
  client.close();
});

it.each<[string, (client: WebSocket, frame: Uint8Array) => void]>([
  ['in one piece', (client, frame) => client.send(frame)],
  [
    'cut where no frame of ours is cut',
    (client, frame) => {
      client.send(frame.slice(0, 7), { fin: false });
      client.send(frame.slice(7, 40_000), { fin: false });
      client.send(frame.slice(40_000));
    },
  ],
])('a masked frame that arrives %s', async (_, send) => {
  const [client, channel] = await rawClient();
  const payload = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251);
  send(client, encodeFrame(1, 0, payload));
  const received = await channel.receive(1, payload.length);
  expect(received.byteOffset % 16).toBe(0);
  expect(Buffer.compare(received, payload)).toBe(0);
  client.terminate();
});

it('a server that is not there is an error of every call', async () => {
  const channel = socketChannel(new WebSocket('ws://127.0.0.1:1'));
  const calls = [failure(channel.send(1, new Uint8Array())), failure(channel.receive(1, 1))];
  for (const error of await Promise.all(calls)) {
    expect(error).toMatchObject({ code: 'lost', message: 'could not connect' });
  }
});

it('a channel closed while connecting does not connect', async () => {
  const channel = socketChannel(new WebSocket(url, SOCKET_OPTIONS));
  const sending = failure(channel.send(1, new Uint8Array()));
  channel.close();
  expect(await sending).toMatchObject({ code: 'closed' });
});

it.each<[string, (client: WebSocket) => void]>([
  ['a text message', (client) => client.send('hello')],
  ['a message that is no frame', (client) => client.send(new Uint8Array(10))],
  ['a frame out of turn', (client) => client.send(encodeFrame(1, 1, new Uint8Array(4)))],
])('%s ends the channel, and the socket with it', async (_, misbehave) => {
  const [client, channel] = await rawClient();
  const closed = once(client, 'close');
  misbehave(client);
  expect(await failure(channel.receive(1, 4))).toMatchObject({ code: 'bad-message' });
  await closed;
});

it('a message beyond the largest frame is refused while it arrives', async () => {
  const [client, channel, socket] = await rawClient();
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
  });
  client.on('error', () => {});
  client.send(new Uint8Array(MAX_FRAME_BYTES + 1));
  expect(await failure(channel.receive(1, 4))).toMatchObject({ code: 'lost' });
  await closed;
});

it('a connection cut in the middle is an error of what waits', async () => {
  const [client, channel] = await rawClient();
  const waiting = failure(channel.receive(1, 4));
  client.terminate();
  expect(await waiting).toMatchObject({ code: 'lost' });
});

it('a peer that ignores the closing handshake is cut soon after an error', async () => {
  const [client, channel, socket] = await rawClient();
  client.pause();
  const closed = once(socket, 'close');
  const start = performance.now();
  channel.close(new Error('ours'));
  await closed;
  expect(performance.now() - start).toBeLessThan(2000);
  client.terminate();
});

it("a browser's socket, which copies what it is given, lets the page have a turn after each quarter of a megabyte", async () => {
  const order: string[] = [];
  const socket: Socket = {
    binaryType: '',
    readyState: 1,
    bufferedAmount: 0,
    send: () => order.push('frame'),
    close: () => {},
    addEventListener: () => {},
  };
  const channel = socketChannel(socket);
  let turn = setImmediate(function page() {
    order.push('page');
    turn = setImmediate(page);
  });
  for (let i = 0; i < 8; i++) await channel.send(1, new Uint8Array(2 ** 17));
  clearImmediate(turn);
  channel.close();
  expect(order.join(' ')).toBe('frame frame page '.repeat(4).trim());
});
