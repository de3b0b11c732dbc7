/** What a web worker of a browser loads: it serves a pool, or has a session. Its URL stands in browser.ts. */

import * as tasks from '../protocol/inference/tasks.ts';
import { serveWorker, type WorkerScope } from '../protocol/pool/web.ts';
import { hostSession } from './host.ts';

const scope = globalThis as unknown as WorkerScope;
hostSession(scope);
serveWorker(scope, tasks);
