/** Messages that do not end: what they hold is bounded, and who is slow and honest is not cut. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../client/index.ts';
import { encodeHeader } from '../../protocol/channel/frames.ts';
import { encodeHello } from '../../protocol/inference/hello.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { localPool, notBuilt, tinyModel, within } from '../system/support.ts';

const MIB = 2 ** 20;
const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** A WebSocket's head for `length` bytes, masked by zeros: opcode 2 begins a message, 0 goes on with it. */
function head(length: number, opcode: number, fin: boolean): Buffer {
  const bytes = Buffer.alloc(14);
  bytes[0] = opcode | (fin ? 0x80 : 0);
  bytes[1] = 0x80 | 127;
  bytes.writeBigUInt64BE(BigInt(length), 2);
  return bytes;
}

const whole = (payload: Uint8Array): Buffer =>
  Buffer.concat([head(payload.length, 2, true), payload]);

/** A frame as one message. */
const frame = (kind: number, sequence: number, payload: Uint8Array): Buffer =>
  whole(Buffer.concat([encodeHeader(kind, sequence, payload.length), payload]));

const hello = (): Buffer => {
  const ticket = crypto.getRandomValues(new Uint8Array(32));
  const own = { nonce: new Uint8Array(32), otK: 4, model: null, ticket, bundles: [], next: 0 };
  return frame(Kind.hello, 0, encodeHello(own));
};

/** Also where it was reset. */
const closed = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

describe.skipIf(notBuilt || process.platform !== 'linux')('messages that do not end', () => {
  let folder: string;
  let server: ChildProcess;
  let url: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-flood-'));
    writeFileSync(join(folder, 'tiny.sotto'), encodeModel(tinyModel()));
    const args = ['serve', '--model', join(folder, 'tiny.sotto'), '--port', '0', '--json'];
    server = spawn(process.execPath, [cli, ...args, '--workers', '1'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const lines = createInterface({ input: server.stderr! });
    url = await new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        const event = line.startsWith('{') ? JSON.parse(line) : console.log(line);
        if (event?.type === 'listening') resolve(event.url);
      });
      server.once('exit', () => reject(new Error('the server did not listen')));
    });
  });

  afterAll(() => {
    server.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  const resident = (): number => {
    const status = readFileSync(`/proc/${server.pid}/status`, 'latin1');
    return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]);
  };

  /** A WebSocket by hand; what the server sends is thrown away. */
  async function upgraded(): Promise<Socket> {
    const { port } = new URL(url);
    const socket = connectTcp(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    socket.setNoDelay(true);
    socket.write(
      'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    await within(30_000, once(socket, 'data'));
    return socket;
  }

  /** Most resident memory while `flood` runs. */
  async function peakOf(flood: () => Promise<unknown>): Promise<number> {
    let peak = resident();
    const timer = setInterval(() => {
      peak = Math.max(peak, resident());
    }, 20);
    await flood();
    clearInterval(timer);
    return Math.max(peak, resident());
  }

  /** Sends as much as the server takes; resolves when all is sent or the server has cut it. */
  const pour = (socket: Socket, bytes: Buffer): Promise<unknown> =>
    Promise.race([new Promise((resolve) => socket.write(bytes, resolve)), closed(socket)]);

  const unfinished = Buffer.concat([head(16 * MIB, 2, true), Buffer.alloc(15 * MIB)]);

  it('by 200 connections without a session hold 0.5 GB at most, and an honest client is served', async () => {
    const before = resident();
    const sockets = await Promise.all(Array.from({ length: 200 }, upgraded));
    const peak = await peakOf(async () => {
      await within(60_000, Promise.all(sockets.map((socket) => pour(socket, unfinished))));
      const session = await connect(url, { pool: localPool(), hints: false });
      await session.close();
    });
    console.log(`${((peak - before) / MIB).toFixed(0)} MiB more for 200 unfinished messages`);
    expect(peak - before).toBeLessThan(512 * MIB);
    for (const socket of sockets) socket.destroy();
  });

  it('by as many as get a session hold a message each, and no more', async () => {
    const before = resident();
    const sockets = await Promise.all(Array.from({ length: 200 }, upgraded));
    const peak = await peakOf(async () => {
      for (const socket of sockets) socket.write(hello());
      await new Promise((resolve) => setTimeout(resolve, 500));
      await within(60_000, Promise.all(sockets.map((socket) => pour(socket, unfinished))));
    });
    console.log(`${((peak - before) / MIB).toFixed(0)} MiB more with 32 sessions of 200`);
    // 32 sessions of 16 MiB, and what the others had on its way.
    expect(peak - before).toBeLessThan((32 * 16 + 512) * MIB);
    for (const socket of sockets) socket.destroy();
  });

  it('of a slow and honest client arrive whole', async () => {
    const socket = await upgraded();
    const said: Buffer[] = [];
    socket.on('data', (data) => said.push(data));
    socket.write(hello());
    // Not what is due, which the server finds out when it has all of it.
    const slow = frame(Kind.setupOffer, 1, new Uint8Array(2 * MIB));
    for (let at = 0; at < slow.length; at += 32 * 1024) {
      socket.write(slow.subarray(at, at + 32 * 1024));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await within(10_000, closed(socket));
    const all = Buffer.concat(said);
    // The error is the last message before the goodbye of the WebSocket.
    const at = all.indexOf('expected', 0, 'latin1');
    expect(all.subarray(at).toString('latin1')).toContain(`${2 * MIB} bytes`);
  });
});
