/** What a linear layer takes on this machine: one task of each sort is timed and scaled to all of them. */

import { deriveSeed, Prg, randomRing } from '../random/index.ts';
import { linearInputSize, linearOutput, macsOf, sizeOf, weightCount } from '../ring/shape.ts';
import type { LinearPlan, Part } from './backend.ts';
import { linear } from './index.ts';
import { linearOnline, packedOf } from './online.ts';

/** Milliseconds of one core, and bytes that each party keeps of one bundle. */
export interface LinearPrice {
  readonly clientOffline: number;
  readonly serverOffline: number;
  readonly clientOnline: number;
  readonly serverOnline: number;
  readonly clientStored: number;
  readonly serverStored: number;
}

/** Multiply-accumulates of the measured part of the online pass. LOCAL. */
const MEASURED_MACS = 2 ** 22;

/** @param time - milliseconds that some work takes, by the caller's clock */
export function measureLayer(plan: LinearPlan, time: (work: () => unknown) => number): LinearPrice {
  const { shape } = plan;
  const seed = new Uint8Array(16).fill(7);
  const random = (label: string) => new Prg(deriveSeed(seed, label));
  const { linearKey, linearUpload, linearReceive, linearResponse, linearShare } = linear.tasks;
  const name = linear.keyOf(plan);
  const { own, message: keyMessage } = linearKey({ key: name, seed });
  const theirs = linear.takeKey(name, keyMessage);
  const mask = randomRing(random('values'), linearInputSize(shape));
  const kernel = randomRing(random('kernel'), weightCount(shape)).map((weight) => weight % 64);
  const outputs = linearOutput(shape);
  const bias = new Int32Array(outputs[0]);

  const [uploads, responses] = [linear.uploads(plan), linear.responses(plan)];
  const encode = ({ range }: Part) => linearUpload({ plan, key: own, mask, range, seed });
  const upload = joined(uploads.map(encode));
  const received = linearReceive({ plan, upload });
  const { range } = responses[0]!;
  const answer = () => linearResponse({ plan, key: theirs, kernel, received, range, seed });
  const { response } = answer();

  const channels = Math.floor((outputs[0] * MEASURED_MACS) / macsOf(shape));
  const packed = packedOf(shape, kernel);
  const part = { from: 0, to: Math.min(outputs[0], Math.max(1, channels)) };
  return {
    clientOffline:
      time(() => encode(uploads[0]!)) * share(uploads) +
      time(() => linearShare({ plan, key: own, response, range, seed })) * share(responses),
    serverOffline: time(() => linearReceive({ plan, upload })) + time(answer) * share(responses),
    clientOnline: 0,
    serverOnline:
      (time(() => linearOnline({ shape, x: mask, kernel: packed, bias, range: part })) *
        outputs[0]) /
      part.to,
    clientStored: 0,
    serverStored: 4 * sizeOf(outputs),
  };
}

/** All units of a message by those of its first part. */
function share(parts: readonly Part[]): number {
  const [from, to] = parts[0]!.range;
  return parts.at(-1)!.range[1] / (to - from);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
