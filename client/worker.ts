/** What a web worker of a browser loads: the protocol's tasks. Its URL stands in browser.ts. */

import * as tasks from '../protocol/inference/tasks.ts';
import { serveWorker, type WorkerScope } from '../protocol/pool/web.ts';

serveWorker(globalThis as unknown as WorkerScope, tasks);
