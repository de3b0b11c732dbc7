/**
 * A server under steady load: `npm run bench:steady -- [SESSIONS] [SECONDS] [own]`. Each session prepares a few inferences of
 * the digit network, runs them, and begins again without a pause. The server is a process, all clients are another, and both
 * compete for the cores. Clients have one pool between them, which leaves the cores to the server; with `own` each has a
 * thread, as strangers have, and the server is one of many.
 */

import { connect, type Session } from '../client/index.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import type { tasks } from '../protocol/inference/tasks.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { loadDigits } from './digits.ts';
import { processorTime, quantile, timed } from './measure.ts';
import { startServer } from './server-process.ts';

/** Inferences that a session prepares at a time. */
const PREPARED = 4;

/** How long all sessions run before they are measured, in ms: until they are out of step. */
const WARM_MS = 5_000;

const [sessions = 32, seconds = 30] = process.argv.slice(2, 4).map(Number);
const { path, images } = loadDigits();
const server = await startServer(path);
const pool: ProtocolPool = createThreadPool<typeof tasks>(
  new URL('../protocol/inference/worker.js', import.meta.url),
);
const clientPool = process.argv[4] === 'own' ? { workers: 1 } : { pool };

const setup: number[] = [];
const offline: number[] = [];
const online: number[] = [];
let counting = false;
let stopping = false;

/** What one client does. */
async function use(session: Session): Promise<void> {
  while (!stopping) {
    const { ms } = await timed(() => session.prepare({ inferences: PREPARED }));
    if (counting) offline.push(ms / PREPARED);
    for (let i = 0; i < PREPARED && !stopping; i++) {
      const { ms } = await timed(() => session.infer(images[i]!));
      if (counting) online.push(ms);
    }
  }
  await session.close();
}

try {
  const opened = Array.from({ length: sessions }, async () => {
    const { ms, result } = await timed(() => connect(server.url, clientPool));
    setup.push(ms);
    return result;
  });
  const clients = opened.map(async (session) => use(await session));
  await Promise.all(opened);
  await wait(WARM_MS);
  counting = true;
  const before = processorTime();
  const { ms } = await timed(() => wait(1000 * seconds));
  counting = false;
  const busy = (processorTime() - before) / ms;
  stopping = true;
  await Promise.all(clients);
  const figures = {
    sessions,
    perSecond: (1000 * online.length) / ms,
    online: [quantile(online, 0.5), quantile(online, 0.95)],
    offline: [quantile(offline, 0.5), quantile(offline, 0.95)],
    setup: [quantile(setup, 0.5), quantile(setup, 0.95)],
    clientCores: busy,
  };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
} finally {
  await pool.close();
  await server.stop();
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
