/** What a worker thread of Node loads to score images. */

import { serveTasks } from '../../protocol/pool/node.ts';
import { scoreTasks } from './score.ts';

export const run = serveTasks(scoreTasks);
