/**
 * The bytes of a session under fixed seeds: the same whoever does the work, and the same as ever. A change of the wire
 * format changes a row here, and must raise PROTOCOL_VERSION. This is no test of secrecy: the loss of a secret changes the
 * bytes no otherwise than a change that is meant, and says nothing of what leaks.
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import type { ProtocolPool } from '../../../protocol/inference/session.ts';
import * as tasks from '../../../protocol/inference/tasks.ts';
import { createInlinePool } from '../../../protocol/pool/inline.ts';
import { createThreadPool } from '../../../protocol/pool/node.ts';
import {
  inferBoth,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  seedOf,
} from '../../support/model.ts';
import { recorded } from '../../support/recorded.ts';

/** SHA-256 of what each side sent in a session of two inferences, and of the results. */
async function digests(pool: ProtocolPool): Promise<Record<string, string>> {
  const model = residualModel();
  const [near, far] = memoryPair();
  const tape = recorded(near);
  const sessions = await openSessions(model, seedOf(80), pool, [tape, far]);
  const results: Int32Array[] = [];
  // Two bundles ahead, then two inferences.
  for (let i = 0; i < 2; i++) await prepareBoth(sessions);
  for (let i = 0; i < 2; i++) {
    results.push(await inferBoth(sessions, randomInput(model, seedOf(81 + i))));
  }
  await pool.close();
  const digest = (parts: readonly Uint8Array[]) => {
    const hash = createHash('sha256');
    for (const part of parts) hash.update(part);
    return hash.digest('hex').slice(0, 24);
  };
  const sent = (way: 'sent' | 'received') =>
    digest(
      tape.transcript
        .filter(({ direction }) => direction === way)
        .flatMap(({ kind, payload }) => [Uint8Array.of(kind), payload]),
    );
  return {
    client: sent('sent'),
    server: sent('received'),
    results: digest(results.map((r) => new Uint8Array(r.buffer))),
  };
}

const worker = new URL('../../../dist/protocol/inference/worker.js', import.meta.url);

describe('the wire', () => {
  it('carries the same bytes as ever under the same seeds', async () => {
    expect(await digests(createInlinePool(tasks))).toEqual({
      client: '61550e574fff322704b7c371',
      server: '35a3c982ce6c231e47ac438b',
      results: 'fa88d0770ea4e254bb275dc3',
    });
  });

  it.skipIf(!existsSync(worker))('does not depend on the number of workers', async () => {
    const inline = await digests(createInlinePool(tasks));
    for (const workers of [1, 2, 4]) {
      const pool = createThreadPool<typeof tasks>(worker, { workers });
      expect(await digests(pool)).toEqual(inline);
    }
  });

  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it.skipIf(!existsSync(worker))('nor on shared memory', async () => {
    const inline = await digests(createInlinePool(tasks));
    const unshared = new URL('../../support/unshared-worker.mjs', import.meta.url);
    const pool = createThreadPool<typeof tasks>(unshared, { workers: 2 });
    // The pool's own threads are started with shared memory; what the protocol does afterwards has none.
    vi.stubGlobal('SharedArrayBuffer', undefined);
    expect(await digests(pool)).toEqual(inline);
  });
});
