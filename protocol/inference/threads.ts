/** Node's threads for the tasks of both parties. */

import { createThreadPool, type ThreadPoolOptions } from '../pool/node.ts';
import type { ProtocolPool } from './session.ts';
import type * as tasks from './tasks.ts';

/** Options of {@link createPool}. */
export interface PoolOptions {
  /** Threads, 1024 at most; default: as many as the machine runs at a time. LOCAL. */
  readonly workers?: number | undefined;
  /** Where the module of its threads is, worker.ts, when it is not beside this one. */
  readonly workerUrl?: string | URL | undefined;
}

/**
 * A pool of threads for sessions. The caller closes it.
 * @throws RangeError when `workers` is out of its range
 * @throws TypeError when `workerUrl` is no absolute URL
 */
export function createPool({ workers, workerUrl }: PoolOptions = {}): ProtocolPool {
  const options: ThreadPoolOptions = workers === undefined ? {} : { workers };
  const url = workerUrl === undefined ? new URL('./worker.js', import.meta.url) : workerUrl;
  return createThreadPool<typeof tasks>(new URL(url), options);
}
