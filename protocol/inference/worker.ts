/** What a worker thread of Node loads: the protocol's tasks. */

import { serveTasks } from '../pool/node.ts';
import { tasks } from './tasks.ts';

export const run = serveTasks(tasks);
