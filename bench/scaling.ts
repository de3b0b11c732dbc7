/**
 * What a second worker brings: the offline phase of ResNet-20, both parties in one process over a channel in memory with
 * one pool between them, of one worker and of two. Beside it what the machine allows: the same task on two threads at
 * once, against one after the other. Two threads of one physical core are not two cores.
 */

import { performance } from 'node:perf_hooks';
import { resNetCifar } from '../models/networks/index.ts';
import { memoryPair } from '../protocol/channel/memory.ts';
import { drawServer } from '../protocol/inference/draw.ts';
import { COMMAND_BYTES, decodeCommand, Kind } from '../protocol/inference/messages.ts';
import { prepareClient, prepareServer } from '../protocol/inference/offline.ts';
import { openClient, openServer, type ProtocolPool } from '../protocol/inference/session.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import type { Model } from '../protocol/program/model.ts';
import { systemRandom } from '../protocol/random/index.ts';
import { linearInputSize, weightCount } from '../protocol/ring/shape.ts';
import { offerModels } from '../server/models.ts';
import { CONVOLUTION } from './kernels.ts';
import { type Summary, summarise, timed } from './measure.ts';
import { compileOnNoise } from './networks.ts';

export interface ScalingResult {
  /** Offline ms with one worker and with two. */
  readonly one: Summary;
  readonly two: Summary;
  /** one / two, pair by pair. */
  readonly gain: Summary;
  /** The same of independent tasks that do nothing but compute. */
  readonly ceiling: Summary;
  /** Share of the time that the event loop of both parties is busy beside two workers, 0..1. */
  readonly loop: Summary;
}

/** Tasks of a comparison of the threads alone. LOCAL */
const TASKS = 40;

const WORKER = new URL('../protocol/inference/worker.js', import.meta.url);

/** Compares one worker with two, in turn. */
export async function benchScaling(repetitions: number): Promise<ScalingResult> {
  const { model } = compileOnNoise('ResNet-20', resNetCifar(20));
  const pools = [1, 2].map((workers): ProtocolPool => createThreadPool(WORKER, { workers }));
  try {
    const prepare = await Promise.all(pools.map((pool) => openBoth(model, pool)));
    const one: number[] = [];
    const two: number[] = [];
    const ceiling: number[] = [];
    const loop: number[] = [];
    // The first round warms up and does not count.
    for (let i = 0; i <= repetitions; i++) {
      const alone = await timed(prepare[0]!);
      const before = performance.eventLoopUtilization();
      const together = await timed(prepare[1]!);
      const { utilization } = performance.eventLoopUtilization(before);
      const limit = await machineGain(pools[1]!);
      if (i === 0) continue;
      one.push(alone.ms);
      two.push(together.ms);
      ceiling.push(limit);
      loop.push(utilization);
    }
    return {
      one: summarise(one),
      two: summarise(two),
      gain: summarise(one.map((ms, i) => ms / two[i]!)),
      ceiling: summarise(ceiling),
      loop: summarise(loop),
    };
  } finally {
    await Promise.all(pools.map((pool) => pool.close()));
  }
}

/** Opens a session; what it returns prepares one bundle on both sides and drops it. */
async function openBoth(model: Model, pool: ProtocolPool): Promise<() => Promise<void>> {
  const [near, far] = memoryPair();
  const offers = await offerModels([{ name: 'scaling', model }], { pool });
  const offer = offers.get('scaling')!;
  const hints = { load: () => Promise.resolve(offer.hint.bytes), save: () => Promise.resolve() };
  const party = { pool, random: systemRandom };
  const [client, server] = await Promise.all([
    openClient({ ...party, channel: near }, { hints }),
    openServer({ ...party, channel: far }, () => ({ offer })),
  ]);
  return async () => {
    const serve = async () => {
      const command = () => server.channel.receive(Kind.command, COMMAND_BYTES);
      await drawServer(server, decodeCommand(await command()).bundle);
      await prepareServer(server, decodeCommand(await command()).bundle);
    };
    await Promise.all([prepareClient(client), serve()]);
  };
}

/** An integer convolution of some milliseconds, over and over: one after the other, against two at once, in time. */
async function machineGain(pool: ProtocolPool): Promise<number> {
  const shape = CONVOLUTION;
  const shared = (length: number) => new Int32Array(new SharedArrayBuffer(4 * length));
  const x = shared(linearInputSize(shape));
  const kernel = shared(weightCount(shape));
  const bias = shared(shape.outChannels);
  const range = { from: 0, to: shape.outChannels };
  const task = () => pool.run('linearOnline', { shape, x, kernel, bias, range });
  const apart = await timed(async () => {
    for (let i = 0; i < TASKS; i++) await task();
  });
  const paired = await timed(async () => {
    for (let i = 0; i < TASKS; i += 2) await Promise.all([task(), task()]);
  });
  return apart.ms / paired.ms;
}
