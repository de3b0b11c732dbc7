/** What a worker thread of Node loads: the protocol's tasks. */

import { serveTasks } from '../pool/node.ts';
import type { Request } from '../pool/task.ts';
import * as tasks from './tasks.ts';

export const run: (request: Request) => unknown = serveTasks(tasks);
