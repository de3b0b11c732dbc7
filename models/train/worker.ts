/** What a worker thread of Node loads to train. */

import { serveTasks } from '../../protocol/pool/node.ts';
import { trainTasks } from './shard.ts';

export const run = serveTasks(trainTasks);
