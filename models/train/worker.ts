/** What a worker thread of Node loads to train. */

import { serveTasks } from '../../protocol/pool/node.ts';
import type { Request } from '../../protocol/pool/task.ts';
import { trainTasks } from './shard.ts';

export const run: (request: Request) => unknown = serveTasks(trainTasks);
