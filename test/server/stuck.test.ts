/** A server whose thread is stuck in a task: its session fails, and the thread is replaced. */

import { expect, it } from 'vitest';
import { connect, type Session } from '../../client/index.ts';
import type * as tasks from '../../protocol/inference/tasks.ts';
import { createThreadPool } from '../../protocol/pool/node.ts';
import { failureOf, localPool, notBuilt, somePixels, within } from '../system/support.ts';
import { model, withTiny } from './serving.ts';

const worker = new URL('../support/stuck-worker.mjs', import.meta.url);

const prepared = async (opening: Promise<Session>) => (await opening).prepare();

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

it.skipIf(notBuilt)(
  'a stuck thread costs the session whose task it has, and is replaced',
  async () => {
    process.env['SOTTO_TEST_STUCK'] = 'yes';
    const pool = createThreadPool<typeof tasks>(worker, { workers: 1, taskMs: 4000 });
    try {
      await withTiny({ pool }, async ({ url, server, of }) => {
        // The thread that is started next is a good one.
        delete process.env['SOTTO_TEST_STUCK'];
        const open = () => connect(url, { pool: localPool(), hints: false });
        const failed = await within(30_000, failureOf(prepared(open())));
        expect(failed).toMatchObject({ message: 'the peer gave up: the other side failed' });
        expect(of('error')).toMatchObject([
          {
            session: 1,
            code: 'internal',
            message: expect.stringMatching(/ran for more than 4 s$/),
          },
        ]);
        const other = await open();
        await other.infer(somePixels(model));
        expect(await server.healthy()).toBe(true);
        await other.close();
      });
    } finally {
      delete process.env['SOTTO_TEST_STUCK'];
      await pool.close();
    }
  },
);
