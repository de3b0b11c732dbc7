/** What a worker thread of Node loads to measure and score images. */

import { serveTasks } from '../../protocol/pool/node.ts';
import type { Request } from '../../protocol/pool/task.ts';
import { measureTasks } from './measure.ts';
import { scoreTasks } from './score.ts';

export const run: (request: Request) => unknown = serveTasks({ ...scoreTasks, ...measureTasks });
