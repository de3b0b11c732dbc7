/**
 * A server that is killed while it prepares and answers, at many points: what a client has seen anything of is never used again, what is
 * left is used with right answers. SOTTO_LONG=killed kills it 200 times.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { openSession } from '../../client/index.ts';
import { freshResumption } from '../../client/link.ts';
import { Decorator } from '../../protocol/channel/decorator.ts';
import { laneOf } from '../../protocol/channel/frames.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { CLIENT_SOCKET_OPTIONS, socketChannel } from '../../protocol/channel/websocket.ts';
import { ProtocolError } from '../../protocol/errors.ts';
import { decodeWelcome, encodeHello } from '../../protocol/inference/hello.ts';
import { decodeCommand, Kind } from '../../protocol/inference/messages.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { isLong } from '../support/long.ts';
import {
  distance,
  localPool,
  notBuilt,
  plainAnswer,
  somePixels,
  tinyModel,
} from '../system/support.ts';

const POINTS = isLong('killed') ? 200 : 6;

const model = tinyModel();
const pixels = somePixels(model);
const plain = plainAnswer(model, pixels);
const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

let pool: ProtocolPool;
let root: string;

beforeAll(() => {
  pool = localPool();
  root = mkdtempSync(join(tmpdir(), 'sotto-killed-'));
  writeFileSync(join(root, 'tiny.sotto'), encodeModel(model));
});

afterAll(async () => {
  await pool.close();
  rmSync(root, { recursive: true });
});

/** A server in a separate process that keeps what it prepares on disk. */
async function start(): Promise<{ process: ChildProcess; url: string }> {
  const files = ['--model', 'tiny.sotto', '--spill', 'bundles', '--spill-key', 'key'];
  const options = ['serve', ...files, '--port', '0', '--workers', '1', '--json'];
  const process = spawn(globalThis.process.execPath, [cli, ...options], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  for await (const line of createInterface({ input: process.stderr })) {
    const event = JSON.parse(line);
    if (event.type === 'listening') return { process, url: event.url };
  }
  throw new Error('the server did not listen');
}

/** Notes which bundle the server has sent anything of that depends on it. */
class Noting extends Decorator {
  readonly #used: Set<number>;
  #running: number | undefined;

  constructor(inner: Channel, used: Set<number>) {
    super(inner);
    this.#used = used;
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    if (kind === Kind.infer) this.#running = decodeCommand(payload).bundle;
    return super.send(kind, payload);
  }

  override async receive(kind: number, bytes: number): Promise<Uint8Array> {
    const payload = await super.receive(kind, bytes);
    if (this.#running !== undefined && laneOf(kind) === 1) this.#used.add(this.#running);
    return payload;
  }
}

const channelTo = (url: string): Channel =>
  socketChannel(new WebSocket(url, CLIENT_SOCKET_OPTIONS));

describe.skipIf(notBuilt !== undefined)('a server that is killed', () => {
  it(
    `${POINTS} times uses no bundle again that it has answered with`,
    async () => {
      const resume = freshResumption();
      const used = new Set<number>();
      let answers = 0;
      let resumed = 0;
      for (let point = 0; point < POINTS; point++) {
        const { process, url } = await start();
        const ended = once(process, 'exit');
        // A client that lies: it names all there ever was.
        const liar = channelTo(url);
        const named = Array.from({ length: 1000 }, (_, i) => i);
        const own = {
          nonce: new Uint8Array(32),
          otK: 4,
          model: null,
          ticket: resume.ticket,
          next: 0,
        };
        await liar.send(Kind.hello, encodeHello({ ...own, bundles: named }));
        const { bundles } = decodeWelcome(await liar.receiveUpTo(Kind.welcome, 65536), {
          bundles: named,
          next: 0,
        });
        expect(bundles.filter((number) => used.has(number))).toEqual([]);
        liar.close(new ProtocolError('lost', 'the cable'));

        const channel = new Noting(channelTo(url), used);
        const session = await openSession({ channel, pool, resume });
        resumed += session.available;
        // The first one after an answer, however slow the machine is.
        const kill = () => process.kill('SIGKILL');
        const killing = point === 0 ? undefined : setTimeout(kill, 10 + ((point * 97) % 260));
        try {
          for (;;) {
            if (point === 0 && answers > 0) kill();
            if (session.available < 3) await session.prepare({ inferences: 3 });
            const { logits } = await session.infer(pixels);
            expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
            answers++;
          }
        } catch (error) {
          if (!['lost', 'unreachable'].includes((error as { code: string }).code)) throw error;
        }
        clearTimeout(killing);
        await ended;
      }
      console.log(`${POINTS} kills: ${answers} answers, ${resumed} inferences resumed`);
      expect(answers).toBeGreaterThan(0);
      expect(resumed).toBeGreaterThan(0);
    },
    POINTS * 10_000,
  );
});
