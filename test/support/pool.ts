/** Pools that do something else with their tasks. */

import type { ProtocolPool } from '../../protocol/inference/session.ts';

/** `pool` with another run(), which is that of its runners as well. */
export function withRun(
  pool: ProtocolPool,
  run: (task: never, input: never, options: never) => Promise<unknown>,
): ProtocolPool {
  const { workers, failed } = pool;
  const runner = { workers, run: run as ProtocolPool['run'] };
  return {
    ...runner,
    failed,
    get running() {
      return pool.running;
    },
    get waiting() {
      return pool.waiting;
    },
    runner: () => runner,
    close: () => pool.close(),
  };
}
