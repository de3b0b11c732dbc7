/** What a linear layer takes on this machine: one tile of each sort is timed and scaled to all of them. */

import { deriveSeed, Prg, randomRing } from '../random/index.ts';
import { linearInputSize, linearOutput, macsOf, sizeOf, weightCount } from '../ring/shape.ts';
import { correctionBytes, type HintPlan, hintBytes, keyBytes } from './index.ts';
import { linearOnline, packedOf } from './online.ts';
import * as linearTasks from './tasks.ts';

/** Milliseconds of one core, and bytes that each party keeps of one bundle. */
export interface LinearPrice {
  readonly clientOffline: number;
  readonly serverOffline: number;
  readonly clientOnline: number;
  readonly serverOnline: number;
  readonly clientStored: number;
  readonly serverStored: number;
  /** The layer's part of the hint: the server makes it once for a model, the client decodes it once a session. */
  readonly hintMade: number;
  readonly hintDecoded: number;
}

/** Multiply-accumulates of the measured part of the online pass. LOCAL. */
const MEASURED_MACS = 2 ** 22;

/** @param time - milliseconds that some work takes, by the caller's clock */
export function measureLayer(plan: HintPlan, time: (work: () => unknown) => number): LinearPrice {
  const { shape, packing } = plan;
  const { inTiles, outTiles } = packing;
  const seed = new Uint8Array(16).fill(7);
  const random = (label: string) => new Prg(deriveSeed(seed, label));
  const exact = plan.masks === 'exact';
  const mask = randomRing(random('values'), linearInputSize(shape));
  const weights = randomRing(random('kernel'), weightCount(shape)).map((weight) => weight % 64);
  const outputs = linearOutput(shape);
  const bias = new Int32Array(outputs[0]);
  const range = [0, 1] as const;
  const generation = 0;

  const part = new Uint8Array(hintBytes(plan));
  const decode = () => linearTasks.decodeHint({ plan, range, part });
  const transforms = decode();
  const given = plan.masks === 'free' ? undefined : mask;
  const masked = { plan, generation, seed, range, given };
  const seeds = new Uint8Array(16 * outTiles);
  const rows = linearTasks.transformRows({ plan, range, seeds });
  const keys = new Uint8Array(keyBytes(plan));
  const corrections = new Uint8Array(correctionBytes(plan));
  const serve = { plan, range, seeds, rows, keys };
  const answer = () =>
    exact
      ? linearTasks.exactServerShares({ ...serve, corrections, weights, seed })
      : linearTasks.serverShares(serve);

  const channels = Math.floor((outputs[0] * MEASURED_MACS) / macsOf(shape));
  const packed = packedOf(shape, weights);
  const online = { from: 0, to: Math.min(outputs[0], Math.max(1, channels)) };
  const make = () => linearTasks.makeHint({ plan, range, generation, weights, seeds });
  const pass = () => linearOnline({ shape, x: mask, kernel: packed, bias, range: online });
  return {
    clientOffline:
      time(() => linearTasks.maskInput(masked)) * inTiles +
      time(() => linearTasks.clientShares({ plan, range, seed, transforms })) * outTiles,
    serverOffline:
      time(answer) * outTiles +
      (exact ? 0 : time(() => linearTasks.correctLayer({ plan, corrections, weights }))),
    clientOnline: 0,
    serverOnline: (time(pass) * outputs[0]) / online.to,
    clientStored: 0,
    serverStored: 4 * sizeOf(outputs),
    hintMade: time(make) * outTiles,
    hintDecoded: time(decode) * outTiles,
  };
}
