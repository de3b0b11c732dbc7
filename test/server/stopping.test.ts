/** `sotto serve` that is told to stop more than once, or whose clients do not finish. */

import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { connect, type Session } from '../../client/index.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { type Served, serveProcess } from '../system/serving.ts';
import {
  distance,
  failureOf,
  localPool,
  notBuilt,
  plainAnswer,
  somePixels,
  tinyModel,
  within,
} from '../system/support.ts';

const model = tinyModel();
const pixels = somePixels(model);
let folder: string;

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-stopping-'));
  writeFileSync(join(folder, 'tiny.sotto'), encodeModel(model));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Draining extends Served {
  readonly session: Session;
  readonly exited: Promise<unknown[]>;
}

/** A server that drains, for a client which has one inference prepared. */
async function draining(...args: string[]): Promise<Draining> {
  const served = await serveProcess([
    ...['--model', join(folder, 'tiny.sotto'), '--port', '0', '--workers', '1', ...args],
  ]);
  const exited = once(served.child, 'exit');
  // A signal before that would end it as it ends any program.
  await served.next('started');
  const session = await connect(served.url, { pool: localPool(), hints: false });
  await session.prepare();
  served.child.kill('SIGTERM');
  await served.next('draining');
  return { ...served, session, exited };
}

describe.skipIf(notBuilt)('a server that drains', () => {
  it('is not hurried by further SIGTERMs: what is prepared is answered', async () => {
    const { child, session, exited, events, next } = await draining();
    for (let i = 0; i < 3; i++) {
      child.kill('SIGTERM');
      // Signals of one kind that come together are one.
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const { logits } = await session.infer(pixels);
    const plain = plainAnswer(model, pixels);
    expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
    expect(await within(10_000, exited)).toEqual([0, null]);
    expect(await next('stopped')).toMatchObject({ why: 'SIGTERM', inferences: 1, errors: 0 });
    expect(events.filter(({ type }) => type === 'draining')).toHaveLength(1);
    await session.close();
  });

  it('ends at once, in order, at SIGINT', async () => {
    const { child, session, exited, next } = await draining('--grace', '10min');
    child.kill('SIGINT');
    expect(await within(10_000, exited)).toEqual([0, null]);
    expect(await next('closed')).toMatchObject({ reason: 'stopped', unused: 1 });
    expect(await next('stopped')).toMatchObject({ why: 'SIGINT', inferences: 0 });
    await session.close();
  });

  it('ends a session that does not finish after --grace', async () => {
    const { session, exited, next } = await draining('--grace', '300ms');
    expect(await within(10_000, exited)).toEqual([0, null]);
    expect(await next('closed')).toMatchObject({ reason: 'stopped', unused: 1 });
    expect(await next('stopped')).toMatchObject({ why: 'SIGTERM', inferences: 0 });
    expect(await failureOf(session.infer(pixels))).toMatchObject({ code: 'unreachable' });
  });
});

describe.skipIf(notBuilt)('a server that closes', () => {
  it('is killed by a second SIGINT', async () => {
    // What tells systemd takes its time, and says when it was asked.
    const bin = mkdtempSync(join(folder, 'bin-'));
    const asked = join(bin, 'asked');
    const script = `#!/bin/sh\n[ "$1" = STOPPING=1 ] || exit 0\ntouch '${asked}'\nexec sleep 4\n`;
    writeFileSync(join(bin, 'systemd-notify'), script);
    chmodSync(join(bin, 'systemd-notify'), 0o755);
    const { PATH, NOTIFY_SOCKET } = process.env;
    Object.assign(process.env, { PATH: `${bin}:${PATH}`, NOTIFY_SOCKET: join(bin, 'socket') });
    try {
      const served = await serveProcess(['--model', join(folder, 'tiny.sotto'), '--port', '0']);
      const exited = once(served.child, 'exit');
      await served.next('started');
      served.child.kill('SIGINT');
      await vi.waitUntil(() => existsSync(asked), { timeout: 30_000, interval: 10 });
      served.child.kill('SIGINT');
      expect(await within(10_000, exited)).toEqual([null, 'SIGINT']);
    } finally {
      process.env['PATH'] = PATH;
      if (NOTIFY_SOCKET === undefined) delete process.env['NOTIFY_SOCKET'];
      else process.env['NOTIFY_SOCKET'] = NOTIFY_SOCKET;
    }
  });
});
