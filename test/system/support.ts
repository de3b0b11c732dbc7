/** A small model, and a server whose clients come over memory channels. */

import { existsSync } from 'node:fs';
import { serialize } from 'node:v8';
import type { Session } from '../../client/contract.ts';
import type { Resumption } from '../../client/link.ts';
import type { SessionOptions } from '../../client/options.ts';
import { sessionOver } from '../../client/session.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { memoryPair } from '../../protocol/channel/memory.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import * as tasks from '../../protocol/inference/tasks.ts';
import type { RunOptions } from '../../protocol/pool/index.ts';
import { createInlinePool } from '../../protocol/pool/inline.ts';
import { createThreadPool } from '../../protocol/pool/node.ts';
import { runClear } from '../../protocol/program/clear.ts';
import { decodeLogits, encodeInput } from '../../protocol/program/input.ts';
import type { Model } from '../../protocol/program/model.ts';
import type { OutputStep } from '../../protocol/program/program.ts';
import { deriveSeed, Prg } from '../../protocol/random/index.ts';
import { sizeOf } from '../../protocol/ring/shape.ts';
import { indexOfLargest } from '../../protocol/ring/tensor.ts';
import {
  type AllowQuery,
  DEFAULT_SERVER_LIMITS,
  type OnGrant,
  type ServerEvent,
  type ServerLimits,
} from '../../server/limits.ts';
import { type NamedModel, offerModels } from '../../server/models.ts';
import { serveSession } from '../../server/session.ts';
import type { Tickets } from '../../server/tickets.ts';
import { ModelBuilder, seedOf } from '../support/model.ts';
import { withRun } from '../support/pool.ts';

/** A few elements of each kind, three classes; of the tests' images, the errors of private runs leave the label clear. */
export function tinyModel(reveal: 'logits' | 'label' = 'logits'): Model {
  const net = new ModelBuilder([1, 6, 6], seedOf(714));
  net.conv(2, 3, 2);
  net.activation();
  net.dense(3);
  const { program, weights } = net.finish(reveal);
  return { program: { ...program, labels: ['ant', 'bee', 'cat'] }, weights };
}

/** Pixels 0..1 for a model. */
export function somePixels({ program }: Model, index = 0): Float32Array {
  const bytes = new Uint8Array(sizeOf(program.input.shape));
  new Prg(deriveSeed(new Uint8Array(16), 'pixels', index)).fill(bytes);
  return Float32Array.from(bytes, (byte) => byte / 255);
}

/** The plaintext answer, and how far a private logit may be from it. */
export function plainAnswer(model: Model, pixels: Float32Array) {
  const { program } = model;
  const result = runClear(model, encodeInput(program, pixels));
  const output = program.steps.at(-1) as OutputStep;
  const alone = output.reveal === 'label';
  return {
    label: alone ? result[0]! : indexOfLargest(result),
    logits: decodeLogits(program, result),
    tolerance: output.tolerance / 2 ** output.fractionBits,
  };
}

/** The largest difference of two vectors. */
export function distance(a: Float32Array, b: Float32Array): number {
  return Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));
}

/** What a rejected promise rejected with. */
export async function failureOf(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected a rejection');
}

/** Fails instead of hanging. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still waiting after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** Seeds of every session of a {@link LocalServer}: the same each time, so that what both sides send is the same too. */
const SERVER_SEED = seedOf(801);
const CLIENT_SEED = seedOf(802);

const setups = new Map<string, unknown>();

/**
 * An inline pool that computes each setup once. Tasks are pure and sessions start from the same seeds, so this changes
 * nothing but the time: public-key work is most of a small session.
 */
export function localPool(): ProtocolPool {
  const pool = createInlinePool(tasks);
  const run = async (task: string, input: unknown, options?: RunOptions) => {
    const key = task.endsWith('Setup')
      ? `${task} ${serialize(input).toString('latin1')}`
      : undefined;
    const known = key === undefined ? undefined : setups.get(key);
    if (known !== undefined) return structuredClone(known);
    const output = await pool.run(task as 'chooseSetup', input as never, options);
    if (key !== undefined) setups.set(key, structuredClone(output));
    return output;
  };
  return withRun(pool, run as never);
}

export interface LocalServerOptions {
  readonly limits?: Partial<ServerLimits>;
  readonly pool?: ProtocolPool;
  /** The two ends of a new connection, the client's first. */
  readonly pair?: () => [Channel, Channel];
  readonly allowQuery?: AllowQuery | undefined;
  readonly onGrant?: OnGrant | undefined;
  readonly tickets?: Tickets | undefined;
}

/** A server without sockets. */
export class LocalServer {
  readonly pool: ProtocolPool;
  readonly events: ServerEvent[] = [];
  readonly #offers: ReturnType<typeof offerModels>;
  readonly #limits: ServerLimits;
  readonly #pair: () => [Channel, Channel];
  readonly #asked: Pick<LocalServerOptions, 'allowQuery' | 'onGrant' | 'tickets'>;
  readonly #served: Promise<void>[] = [];

  constructor(models: readonly NamedModel[], options: LocalServerOptions = {}) {
    this.pool = options.pool ?? localPool();
    this.#offers = offerModels(models, { pool: this.pool, random: new Prg(SERVER_SEED) });
    this.#pair = options.pair ?? memoryPair;
    this.#limits = { ...DEFAULT_SERVER_LIMITS, ...options.limits };
    const { allowQuery, onGrant, tickets } = options;
    this.#asked = { allowQuery, onGrant, tickets };
  }

  /** Serves a new connection; the client's end of it. */
  accept(): Channel {
    const [near, far] = this.#pair();
    const session = this.#served.length + 1;
    const served = this.#offers.then((offers) =>
      serveSession(
        {
          offers,
          pool: this.pool,
          limits: this.#limits,
          onEvent: (event) => this.events.push(event),
          ...this.#asked,
          random: new Prg(SERVER_SEED),
        },
        far,
        { session, address: 'memory', principal: 'memory' },
      ),
    );
    this.#served.push(served);
    return near;
  }

  /** An honest client. */
  connect(options: SessionOptions = {}): Promise<Session> {
    return openLocal(this.accept(), options);
  }

  /** Waits until it is through with all its clients. */
  async settled(): Promise<void> {
    await within(10_000, Promise.all(this.#served));
  }

  /** Events of one type. */
  of<T extends ServerEvent['type']>(type: T): Extract<ServerEvent, { type: T }>[] {
    return this.events.filter((event) => event.type === type) as Extract<
      ServerEvent,
      { type: T }
    >[];
  }
}

/** An honest client on a channel. */
export function openLocal(
  channel: Channel,
  options: SessionOptions = {},
  release?: () => Promise<void>,
  resume?: Resumption,
): Promise<Session> {
  const parts = { channel, pool: localPool(), random: new Prg(CLIENT_SEED), release, resume };
  return sessionOver(parts, options);
}

const worker = new URL('../../dist/protocol/inference/worker.js', import.meta.url);

/** Why tests of threads and processes are skipped, if they are. */
export const notBuilt: string | undefined =
  existsSync(worker) && existsSync(new URL('../../dist/cli.js', import.meta.url))
    ? undefined
    : 'the project is not built: npm run build';

/** The threads of the built project. */
export function threadPool(workers = 2): ProtocolPool {
  return createThreadPool<typeof tasks>(worker, { workers });
}
