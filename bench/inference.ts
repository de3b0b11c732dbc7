/**
 * What one private inference takes: setup, offline and online phase of the shipped digit network, and beside it the same
 * network without privacy.
 *
 * The server is a process of its own, reached over loopback; each party has a pool of as many threads as the machine
 * runs at a time, so that on a machine of few cores they compete for them. Times are the client's. Private and plain runs
 * alternate, and their ratio is taken pair by pair: what disturbs the machine then disturbs both.
 */

import { connect } from '../client/index.ts';
import type { PhaseStats, Session } from '../client/session.ts';
import { argmax, preprocess } from '../models/graph/index.ts';
import { type Cost, costOf } from '../protocol/inference/cost.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import type { tasks } from '../protocol/inference/tasks.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { countAll, countKinds } from '../protocol/program/kinds.ts';
import { mapsOf } from '../protocol/program/program.ts';
import { type Digits, loadDigits } from './digits.ts';
import { type Summary, summarise, timed } from './measure.ts';
import { openPlain, type PlainNetwork } from './plain.ts';
import { startServer } from './server-process.ts';

/** One phase. */
export interface PhaseResult {
  readonly name: 'setup' | 'offline' | 'online';
  readonly ms: Summary;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Round trips. */
  readonly rounds: number;
}

export interface InferenceResult {
  readonly model: string;
  /** ReLUs and all activation elements of the program. */
  readonly relus: number;
  readonly activations: number;
  readonly phases: readonly PhaseResult[];
  /** The same network in onnxruntime-web; a reason when it could not be run. */
  readonly plain: { readonly ms: Summary; readonly ratio: Summary } | string;
}

/**
 * Round trips of handshake and setup, drawn in protocol/inference/session.ts, and of the first draw; TCP and WebSocket come
 * before them, and one more follows where the hint is not kept.
 */
const SETUP_ROUNDS = 4;

/** Plain runs of one sample: a single one is too short to be timed. */
const PLAIN_RUNS = 20;

export async function benchInference(repetitions: number): Promise<InferenceResult> {
  const digits = loadDigits();
  const plain = await openPlain(digits.graph).catch((error: Error) => error.message);
  const server = await startServer(digits.path);
  const pool: ProtocolPool = createThreadPool<typeof tasks>(
    new URL('../protocol/inference/worker.js', import.meta.url),
  );
  try {
    return await run(digits, plain, { url: server.url, pool }, repetitions);
  } finally {
    await pool.close();
    await server.stop();
    if (typeof plain !== 'string') await plain.close();
  }
}

async function run(
  digits: Digits,
  plain: PlainNetwork | string,
  { url, pool }: { url: string; pool: ProtocolPool },
  repetitions: number,
): Promise<InferenceResult> {
  const { program } = digits.model;
  const cost = costOf(layoutOf(program));
  const setup: PhaseStats[] = [];
  const offline: PhaseStats[] = [];
  const online: PhaseStats[] = [];
  const plainMs: number[] = [];
  // The first of each series warms up and does not count. The last session of the setups stays for the inferences.
  let session: Session | undefined;
  for (let i = 0; i <= repetitions; i++) {
    await session?.close();
    const opened = await openTimed(url, pool);
    session = opened.session;
    if (i > 0) setup.push(opened.stats);
  }
  for (let i = 0; i <= repetitions; i++) {
    const digit = i % digits.images.length;
    const image = digits.images[digit]!;
    await session!.prepare();
    const before = i % 2 === 0 ? await timePlain(plain, digits, digit) : undefined;
    const { label, stats } = await session!.infer(image);
    const ms = before ?? (await timePlain(plain, digits, digit));
    if (label !== digit) throw new Error(`the private network took digit ${digit} for ${label}`);
    checkCost(cost, stats);
    if (i === 0) continue;
    offline.push(stats.offline);
    online.push(stats.online);
    if (ms !== undefined) plainMs.push(ms);
  }
  await session!.close();
  const counts = countKinds(...mapsOf(program));
  return {
    model: program.name,
    relus: counts.relus,
    activations: countAll(counts),
    phases: [phase('setup', setup), phase('offline', offline), phase('online', online)],
    plain:
      typeof plain === 'string'
        ? plain
        : { ms: summarise(plainMs), ratio: summarise(online.map(({ ms }, i) => ms / plainMs[i]!)) },
  };
}

async function openTimed(
  url: string,
  pool: ProtocolPool,
): Promise<{ session: Session; stats: PhaseStats }> {
  let bytesUp = 0;
  let bytesDown = 0;
  const { ms, result: session } = await timed(() =>
    connect(url, {
      pool,
      onProgress: (progress) => {
        ({ bytesUp, bytesDown } = progress);
      },
    }),
  );
  return { session, stats: { ms, bytesUp, bytesDown, rounds: SETUP_ROUNDS } };
}

/** Milliseconds of one plain run; as with a private one, the image has been preprocessed before. */
async function timePlain(
  plain: PlainNetwork | string,
  { graph, images }: Digits,
  digit: number,
): Promise<number | undefined> {
  if (typeof plain === 'string') return undefined;
  const image = preprocess(graph.input, images[digit]!);
  let logits: Float32Array = new Float32Array();
  const { ms } = await timed(async () => {
    for (let i = 0; i < PLAIN_RUNS; i++) {
      logits = await plain.run(image);
    }
  });
  const label = argmax(logits);
  if (label !== digit) throw new Error(`the plain network took digit ${digit} for ${label}`);
  return ms / PLAIN_RUNS;
}

/** Holds a run to its formulas. */
export function checkCost(cost: Cost, stats: { offline: PhaseStats; online: PhaseStats }): void {
  for (const name of ['offline', 'online'] as const) {
    const { up, down } = cost[name];
    const { bytesUp, bytesDown } = stats[name];
    if (up !== bytesUp || down !== bytesDown) {
      throw new Error(
        `${name}: counted ${bytesUp} bytes up and ${bytesDown} down, the formulas say ${up} and ${down}`,
      );
    }
  }
}

function phase(name: PhaseResult['name'], runs: readonly PhaseStats[]): PhaseResult {
  const { bytesUp, bytesDown, rounds } = runs[0]!;
  return { name, ms: summarise(runs.map((run) => run.ms)), bytesUp, bytesDown, rounds };
}
