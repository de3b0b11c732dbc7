/** `sotto serve` that is told to stop while many clients are at work: nothing that is prepared or runs is lost. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect } from '../../client/index.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import {
  distance,
  failureOf,
  notBuilt,
  plainAnswer,
  somePixels,
  threadPool,
  tinyModel,
  within,
} from '../system/support.ts';

const CLIENTS = 16;
const PREPARED = 3;

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const model = tinyModel();

let folder: string;
let pool: ProtocolPool;
let server: ChildProcess | undefined;

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-drain-'));
  writeFileSync(join(folder, 'tiny.sotto'), encodeModel(model));
  if (!notBuilt) pool = threadPool(1);
});
afterAll(async () => {
  server?.kill('SIGKILL');
  await pool?.close();
  rmSync(folder, { recursive: true });
});

it.skipIf(notBuilt)(
  `a drain under the load of ${CLIENTS} clients loses no inference that runs or is prepared`,
  async () => {
    const args = [cli, 'serve', '--model', join(folder, 'tiny.sotto'), '--port', '0', '--json'];
    server = spawn(process.execPath, [...args, '--workers', '1'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const events: { type: string; code?: string }[] = [];
    const url = await new Promise<string>((resolve) => {
      createInterface({ input: server!.stderr! }).on('line', (line) => {
        const event = JSON.parse(line);
        events.push(event);
        if (event.type === 'listening') resolve(event.url);
      });
    });
    const exited = once(server, 'exit');
    const sessions = await within(
      60_000,
      Promise.all(
        Array.from({ length: CLIENTS }, async () => {
          const session = await connect(url, { pool, hints: false });
          await session.prepare({ inferences: PREPARED });
          return session;
        }),
      ),
    );
    /** Uses all that is prepared, and tells when the first has begun. */
    const answers = sessions.map(async (session, i) => {
      for (let j = 0; j < PREPARED; j++) {
        const pixels = somePixels(model, PREPARED * i + j);
        const { logits } = await session.infer(pixels);
        const plain = plainAnswer(model, pixels);
        expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
      }
    });
    // In the middle of some, and before the first of others.
    while (!events.some(({ type }) => type === 'inference')) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    server.kill('SIGTERM');
    await within(60_000, Promise.all(answers));
    expect(await failureOf(sessions[0]!.prepare())).toMatchObject({ retryable: true });
    expect(await within(30_000, exited)).toEqual([0, null]);
    const count = (wanted: string) => events.filter(({ type }) => type === wanted).length;
    expect(count('inference')).toBe(CLIENTS * PREPARED);
    const before = events.findIndex(({ type }) => type === 'draining');
    const answered = events.slice(0, before).filter(({ type }) => type === 'inference').length;
    console.log(`${answered} of ${CLIENTS * PREPARED} were answered before the drain`);
    expect(answered).toBeLessThan(CLIENTS * PREPARED);
    // Who tries to come back is told no.
    expect(events.filter(({ type, code }) => type === 'error' && code !== 'draining')).toEqual([]);
  },
);
