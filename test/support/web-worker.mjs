/** A web worker as Node can have one: a thread whose port stands for the worker's global scope. */

import { parentPort, workerData } from 'node:worker_threads';
import { serveWorker } from '../../dist/protocol/pool/web.js';

const { tasks } = await import(workerData);

serveWorker(
  {
    postMessage: (message, transfer) => parentPort.postMessage(message, transfer),
    addEventListener: (type, listener) => parentPort.on(type, (data) => listener({ data })),
  },
  tasks,
);
