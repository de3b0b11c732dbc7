/** What a worker thread of Node loads to measure and score images. */

import { serveTasks } from '../../protocol/pool/node.ts';
import { measureTasks } from './measure.ts';
import { scoreTasks } from './score.ts';

export const run = serveTasks({ ...scoreTasks, ...measureTasks });
