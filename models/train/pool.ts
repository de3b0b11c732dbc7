/** Threads that train. */

import { createThreadPool } from '../../protocol/pool/node.ts';
import type { TrainingPool } from './loop.ts';
import type { trainTasks } from './shard.ts';

/**
 * A pool for training; whoever made it closes it.
 * @param workers threads, default: those of the machine; no part of a result
 */
export function createTrainingPool(workers?: number): TrainingPool {
  return createThreadPool<typeof trainTasks>(
    new URL('./worker.js', import.meta.url),
    workers === undefined ? {} : { workers },
  );
}
