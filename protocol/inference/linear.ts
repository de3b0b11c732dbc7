/**
 * Linear layers over a channel and a pool: the steps of protocol/linear, one layer at a time. Parts run ahead on the pool
 * while the ones before them travel.
 */

import { bulkBytes, bulkCopy, isBulk } from '../bulk.ts';
import { bytesOfParts, linear } from '../linear/index.ts';
import { linearOnline, onlineRanges, packedOf } from '../linear/online.ts';
import type { LinearWeights } from '../program/model.ts';
import type { LinearStep } from '../program/program.ts';
import { linearOutput, sizeOf } from '../ring/shape.ts';
import { Ordered } from './flow.ts';
import type { LinearLayout } from './layout.ts';
import { Kind, receiveMessage, sendMessage } from './messages.ts';
import type { ClientSession, ServerSession } from './session.ts';

/** Client, flight 1 of the offline phase: the upload that is made of the mask of the layer's input. */
export async function sendUpload(
  { channel, pool, linearKeys }: ClientSession,
  { plan, uploads }: LinearLayout,
  mask: Int32Array,
  seed: Uint8Array,
): Promise<void> {
  const key = linearKeys.get(linear.keyOf(plan));
  const parts = new Ordered<Uint8Array>(pool.workers + 1, (part) =>
    sendMessage(channel, Kind.upload, part),
  );
  for (const { range } of uploads) {
    await parts.add(pool.run('linearUpload', { plan, key, mask, range, seed }));
  }
  await parts.drain();
}

/** Client, flight 2: its share c of the layer's product. The seed is that of the upload. */
export async function receiveShare(
  { channel, pool, linearKeys }: ClientSession,
  { plan, responses, outputSize }: LinearLayout,
  seed: Uint8Array,
): Promise<Int32Array> {
  const key = linearKeys.get(linear.keyOf(plan));
  const c = new Int32Array(outputSize);
  const parts = new Ordered<() => void>(pool.workers + 1, (place) => place());
  for (const { range, bytes } of responses) {
    const response = await receiveMessage(channel, Kind.response, bytes);
    const input = { plan, key, response, range, seed };
    const work = pool.run('linearShare', input, { give: response });
    await parts.add(work.then((shares) => () => linear.place(plan, shares, range, c)));
  }
  await parts.drain();
  return c;
}

/** Numbers for kernels: workers know by them what they have kept of one. */
const kernelIds = new WeakMap<Int32Array, number>();
let kernelCount = 0;

function idOf(kernel: Int32Array): number {
  let id = kernelIds.get(kernel);
  if (id === undefined) kernelIds.set(kernel, (id = kernelCount++));
  return id;
}

/**
 * Server, flights 1 and 2: takes an upload and queues its answers. The share s it returns is complete when they have been
 * sent.
 */
export async function answerUpload(
  { channel, pool, linearKeys }: ServerSession,
  { plan, uploads, responses, outputSize }: LinearLayout,
  kernel: Int32Array,
  seed: Uint8Array,
  answers: Ordered<() => Promise<void>>,
): Promise<Int32Array> {
  const key = linearKeys.get(linear.keyOf(plan));
  const upload = bulkBytes(bytesOfParts(uploads));
  let at = 0;
  for (const { bytes } of uploads) {
    upload.set(await receiveMessage(channel, Kind.upload, bytes), at);
    at += bytes;
  }
  const received = await pool.run('linearReceive', { plan, upload });
  const s = new Int32Array(outputSize);
  for (const { range } of responses) {
    const layer = { plan, key, kernel, kernelId: idOf(kernel), received };
    const work = pool.run('linearResponse', { ...layer, range, seed });
    await answers.add(
      work.then(({ shares, response }) => async () => {
        linear.place(plan, shares, range, s);
        await sendMessage(channel, Kind.response, response);
      }),
    );
  }
  return s;
}

/** Server, online: W*x + b, the output channels spread over the pool. */
export async function runLinear(
  { pool }: ServerSession,
  { shape }: LinearStep,
  x: Int32Array,
  weights: LinearWeights,
): Promise<Int32Array> {
  const { bias } = weights;
  const kernel = packedOf(shape, weights.kernel);
  const ranges = onlineRanges(shape);
  if (ranges.length === 0) return linearOnline({ shape, x, kernel, bias });
  const input = isBulk(x) ? bulkCopy(x, Int32Array) : x;
  const output = linearOutput(shape);
  const out = new Int32Array(sizeOf(output));
  const work = ranges.map(async (range) => {
    const part = await pool.run('linearOnline', { shape, x: input, kernel, bias, range });
    out.set(part, range.from * output[1] * output[2]);
  });
  await Promise.all(work);
  return out;
}
