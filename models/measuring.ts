/** Measuring for commands: on all threads of the machine, with a line that says how far it is. Node only. */

import { createThreadPool } from '../protocol/pool/node.ts';
import { showStatus } from '../protocol/terminal.ts';
import { type Measured, measureAll, type measureTasks, type Wanted } from './compile/measure.ts';
import type { Graph } from './graph/index.ts';

/** Measures values on preprocessed images, see {@link measureAll}. */
export async function measureOnThreads(
  graph: Graph,
  wanted: ReadonlyMap<string, Wanted>,
  images: readonly Float32Array[],
  signal?: AbortSignal,
): Promise<Measured> {
  const pool = createThreadPool<typeof measureTasks>(
    new URL('./compile/worker.js', import.meta.url),
  );
  const say = (done: number, total: number) =>
    showStatus(`measuring ${done} of ${total} image${total === 1 ? '' : 's'}`);
  say(0, images.length);
  try {
    return await measureAll(pool, graph, wanted, images, { onProgress: say, signal });
  } finally {
    await pool.close();
    showStatus('');
  }
}
