/** Threads of Node in the clothes of web workers. */

import { existsSync } from 'node:fs';
import { type Transferable, Worker } from 'node:worker_threads';
import type { WebWorker } from '../../../protocol/pool/web.ts';

/** Tasks of support/pool-worker.mjs. */
export type Tasks = {
  square(x: number): number;
  spin(ms: number): number;
  range(): never;
  protocol(): never;
  unclonable(): unknown;
  exit(): never;
  arrays(length: number): { whole: Int32Array; part: Uint8Array };
};

const script = new URL('../../support/web-worker.mjs', import.meta.url);
export const table = new URL('../../support/pool-worker.mjs', import.meta.url).href;
export const broken = new URL('../../support/broken-worker.mjs', import.meta.url).href;
export const isBuilt = existsSync(new URL('../../../dist/protocol/pool/web.js', import.meta.url));
if (!isBuilt) console.log('web pool tests skipped: dist/ is missing, run `npm run build` first');

/** Workers that are alive. */
export const alive = new Set<Worker>();

/** A thread in the clothes of a web worker: a thread that ends by itself is to a page one that broke. */
export function spawn(tasks = table): WebWorker {
  const worker = new Worker(script, { workerData: tasks });
  alive.add(worker);
  let ended = false;
  return {
    postMessage: (message, transfer) => worker.postMessage(message, transfer as Transferable[]),
    terminate() {
      ended = true;
      alive.delete(worker);
      void worker.terminate();
    },
    addEventListener(type: string, listener: (event: never) => void) {
      if (type === 'message') worker.on('message', (data) => listener({ data } as never));
      if (type === 'error') {
        // Node brings errors and ends by another way than messages, on a busy machine before them; a browser keeps their order.
        const later = (message: string) => setTimeout(() => listener({ message } as never), 20);
        worker.on('error', ({ message }) => later(message));
        worker.on('exit', () => {
          if (!ended) later('it ended');
        });
      }
    },
  };
}

export async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected a rejection');
}
