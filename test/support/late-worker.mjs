/** A worker that never is ready in every second thread. */

import { threadId } from 'node:worker_threads';
import * as tasks from '../../dist/protocol/inference/tasks.js';
import { serveTasks } from '../../dist/protocol/pool/node.js';

if (threadId % 2 === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);

export const run = serveTasks(tasks);
