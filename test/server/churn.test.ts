/**
 * One `sotto serve` and sixteen clients that come, prepare, ask, abort, lose their link and come back, for a long time: SOTTO_LONG=churn runs
 * it for 15 minutes, SOTTO_CHURN_MINUTES for another number. What the server holds is measured while it is quiet.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { openSession, type Session } from '../../client/index.ts';
import { freshResumption, type Resumption } from '../../client/link.ts';
import { CLIENT_SOCKET_OPTIONS, socketChannel } from '../../protocol/channel/websocket.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { Prg, randomBytes } from '../../protocol/random/index.ts';
import { isLong } from '../support/long.ts';
import { seedOf } from '../support/model.ts';
import {
  distance,
  notBuilt,
  plainAnswer,
  somePixels,
  threadPool,
  tinyModel,
  within,
} from '../system/support.ts';
import { numberOf, samplesOf } from './samples.ts';

const CLIENTS = 16;
const MINUTES = Number(process.env['SOTTO_CHURN_MINUTES'] ?? 15);
const WARM_MINUTES = Math.min(2, MINUTES / 3);

/** The longest that a call may take, in ms. */
const CALL_MS = 60_000;

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const model = tinyModel();
const inputs = Array.from({ length: 8 }, (_, i) => {
  const pixels = somePixels(model, i);
  return { pixels, plain: plainAnswer(model, pixels) };
});

const skipped = isLong('churn')
  ? (notBuilt ?? (process.platform === 'linux' ? undefined : 'it reads /proc'))
  : 'SOTTO_LONG=churn is not set';
if (skipped !== undefined) console.log(`skipped, for ${skipped}`);

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const dice = new Prg(seedOf(1600));
/** Uniform in 0..1, the same numbers in each run. */
const chance = (): number => new Uint32Array(randomBytes(dice, 4).buffer)[0]! / 2 ** 32;
const upTo = (n: number): number => Math.floor(n * chance());

describe.skipIf(skipped !== undefined)('a server whose clients come and go', () => {
  let folder: string;
  let pool: ProtocolPool;
  let server: ChildProcess;
  let port: number;
  let metrics: string;

  /** Tickets by the client's TCP port, and by the server's number of the session. */
  const byPort = new Map<number, string>();
  const bySession = new Map<number, string>();
  /** Numbers of answered bundles by ticket. */
  const used = new Map<string, Set<number>>();
  const counts = { sessions: 0, resumed: 0, answers: 0, wrong: 0, twice: 0, aborts: 0, cuts: 0 };
  const surprises: string[] = [];

  /** Follows the server's log. */
  function follow(line: string): void {
    const event = JSON.parse(line);
    if (event.type === 'started') metrics = event.metrics;
    if (event.type === 'listening') port = Number(new URL(event.url).port);
    if (event.type === 'session') bySession.set(event.session, byPort.get(event.port)!);
    if (event.type === 'closed') bySession.delete(event.session);
    if (event.type === 'error' && event.code !== 'lost') surprises.push(line);
    if (event.type === 'spill') surprises.push(line);
    if (event.type !== 'inference') return;
    const ticket = bySession.get(event.session)!;
    const numbers = used.get(ticket) ?? new Set();
    used.set(ticket, numbers);
    if (numbers.has(event.bundle)) counts.twice++;
    numbers.add(event.bundle);
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-churn-'));
    writeFileSync(join(folder, 'tiny.sotto'), encodeModel(model));
    pool = threadPool(1);
    const files = ['--model', 'tiny.sotto', '--spill', 'bundles', '--spill-key', 'key'];
    const options = ['--port', '0', '--workers', '1', '--json', '--metrics-port', '0'];
    const args = [cli, 'serve', ...files, ...options, '--resume', '1'];
    server = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    createInterface({ input: server.stderr! }).on('line', (line) => {
      if (line.startsWith('{')) follow(line);
      else surprises.push(line);
    });
    while (metrics === undefined) await sleep(10);
  });

  afterAll(async () => {
    server.kill('SIGKILL');
    await pool.close();
    rmSync(folder, { recursive: true });
  });

  /** A session over a socket that can be cut. */
  async function open(resume: Resumption): Promise<{ session: Session; cut: () => void }> {
    const tcp = connectTcp(port, '127.0.0.1');
    tcp.once('connect', () => {
      byPort.set(tcp.localPort!, Buffer.from(resume.ticket).toString('hex'));
    });
    const socket = new WebSocket(`ws://127.0.0.1:${port}`, {
      ...CLIENT_SOCKET_OPTIONS,
      createConnection: () => tcp,
    });
    const session = await within(
      CALL_MS,
      openSession({ channel: socketChannel(socket), pool, resume }),
    );
    counts.sessions++;
    counts.resumed += session.available;
    return { session, cut: () => tcp.destroy() };
  }

  async function infer(session: Session, signal?: AbortSignal): Promise<void> {
    const { pixels, plain } = inputs[upTo(inputs.length)]!;
    const { logits } = await within(CALL_MS, session.infer(pixels, { signal }));
    counts.answers++;
    if (distance(logits!, plain.logits) > plain.tolerance) counts.wrong++;
  }

  const prepare = (session: Session, signal?: AbortSignal) =>
    within(CALL_MS, session.prepare({ inferences: 1 + upTo(3), signal }));

  /** Does one thing at random; true when the session has said goodbye. */
  async function act({ session, cut }: Awaited<ReturnType<typeof open>>): Promise<boolean> {
    const what = chance();
    const work = chance() < 0.5 && session.available < 8 ? prepare : infer;
    if (what < 0.7) await work(session);
    else if (what < 0.8) {
      counts.aborts++;
      await work(session, AbortSignal.timeout(1 + upTo(100)));
    } else if (what < 0.9) {
      counts.cuts++;
      setTimeout(cut, upTo(100));
      await work(session);
    } else if (what < 0.95) await sleep(upTo(500));
    else {
      await within(CALL_MS, session.close());
      return true;
    }
    return false;
  }

  /** One client, until it is told to stop. */
  async function churn(end: number): Promise<void> {
    let resume = freshResumption();
    while (performance.now() < end) {
      let cut = (): void => {};
      try {
        const opened = await open(resume);
        cut = opened.cut;
        while (performance.now() < end) {
          if (!(await act(opened))) continue;
          resume = freshResumption();
          break;
        }
      } catch (error) {
        const { name, code, message } = error as Error & { code?: string };
        const expected = name === 'AbortError' || name === 'TimeoutError' || code === 'lost';
        if (!expected) surprises.push(`client: ${code ?? name}: ${message}`);
      }
      cut();
    }
  }

  /** What the server holds when nobody is there. */
  async function held() {
    const text = async () => samplesOf(await (await fetch(metrics)).text());
    while (numberOf(await text(), 'sotto_connections') > 0) await sleep(100);
    let heap = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 20; i++) {
      heap = Math.min(heap, numberOf(await text(), 'nodejs_heap_size_used_bytes'));
      await sleep(250);
    }
    const status = readFileSync(`/proc/${server.pid}/status`, 'latin1');
    return {
      heapMB: heap / 1e6,
      residentMB: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1000,
      threads: Number(/^Threads:\s+(\d+)$/m.exec(status)![1]),
      // Without the connection of this look at it.
      descriptors: readdirSync(`/proc/${server.pid}/fd`).length,
      spilled: readdirSync(join(folder, 'bundles'), { recursive: true }).length,
    };
  }

  async function run(minutes: number): Promise<Awaited<ReturnType<typeof held>>> {
    const end = performance.now() + 60_000 * minutes;
    await Promise.all(Array.from({ length: CLIENTS }, () => churn(end)));
    const now = await held();
    console.log(JSON.stringify({ ...now, ...counts }));
    return now;
  }

  it(
    `for ${MINUTES} minutes answers rightly, uses nothing twice, and holds no more than at the beginning`,
    async () => {
      const before = await run(WARM_MINUTES);
      const after = await run(MINUTES - WARM_MINUTES);
      expect(surprises).toEqual([]);
      expect({ wrong: counts.wrong, twice: counts.twice }).toEqual({ wrong: 0, twice: 0 });
      expect(counts.answers).toBeGreaterThan(CLIENTS);
      expect(counts.resumed).toBeGreaterThan(0);
      expect(after.threads).toBe(before.threads);
      expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 2);
      expect(after.heapMB).toBeLessThan(before.heapMB + 10);
      expect(after.residentMB).toBeLessThan(1.2 * before.residentMB + 32);
    },
    (MINUTES + 5) * 60_000,
  );
});
