/** Clients that are stopped in the middle, as a laptop that is closed: their sockets stay open and take nothing. */

import { type ChildProcess, spawn } from 'node:child_process';
import { expect, it } from 'vitest';
import { connect } from '../../client/index.ts';
import { localPool, notBuilt, somePixels, within } from '../system/support.ts';
import { model, withTiny } from './serving.ts';

const client = new URL('../../dist/client/index.js', import.meta.url).href;

/** A client in a separate process that prepares without end. */
function busyClient(url: string): ChildProcess {
  const script = `
    import { connect } from '${client}';
    const session = await connect('${url}', { hints: false, workers: 1 });
    for (;;) {
      await session.prepare({ inferences: 4 });
      for (let i = 0; i < 4; i++) await session.infer(new Float32Array(36));
    }`;
  return spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'ignore' });
}

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

it.skipIf(notBuilt || process.platform === 'win32')(
  'a frozen peer is missed after the time of a frame, and its place is free',
  async () => {
    const limits = { sessions: 1, stallMs: 2000, idleMs: 2000 };
    await withTiny({ limits }, async ({ url, server, of }) => {
      const frozen = busyClient(url);
      try {
        while (of('inference').length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
        frozen.kill('SIGSTOP');
        const missed = async () => {
          while (server.sessions > 0) await new Promise((resolve) => setTimeout(resolve, 10));
        };
        await within(15_000, missed());
        expect(of('closed')[0]!.reason).toMatch(/^(timeout|idle)$/);
        const session = await connect(url, { pool: localPool(), hints: false });
        await session.infer(somePixels(model));
        await session.close();
      } finally {
        frozen.kill('SIGKILL');
      }
    });
  },
);
