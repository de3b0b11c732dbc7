/** A worker whose preparations never end, where a variable was set when it started. */

import * as tasks from '../../dist/protocol/inference/tasks.js';
import { serveTasks } from '../../dist/protocol/pool/node.js';

const loop = () => {
  for (;;);
};

export const run = serveTasks(
  process.env.SOTTO_TEST_STUCK ? { ...tasks, drawBatch: loop, prepareBatch: loop } : tasks,
);
