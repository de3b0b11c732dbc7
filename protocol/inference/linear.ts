/**
 * Linear layers over a channel and a pool: the steps of protocol/linear, one layer at a time. Parts run ahead on the pool
 * while the ones before them travel.
 */

import { bulkCopy, isBulk } from '../bulk.ts';
import {
  bundleBytes,
  correctionBytes,
  type HintPlan,
  type InputLayout,
  keyBytes,
  placeMasks,
  placeShares,
  type TileRange,
} from '../linear/index.ts';
import { linearOnline, onlineRanges, packedOf } from '../linear/online.ts';
import type { LinearWeights } from '../program/model.ts';
import type { LinearStep } from '../program/program.ts';
import { linearOutput, sizeOf } from '../ring/shape.ts';
import { addInto } from '../ring/tensor.ts';
import type { ServedLayer } from './hint.ts';
import { inputRanges, outputRanges } from './hint.ts';
import type { LinearLayout } from './layout.ts';
import { Kind, receiveMessage } from './messages.ts';
import type { ClientSession, ServerSession } from './session.ts';

/**
 * A plan with the layouts of input tiles [from, to) alone, none of them by default: handing a task what it does not read
 * takes longer than some tasks do.
 */
function planFor(plan: HintPlan, [from, to]: TileRange = [0, 0]): HintPlan {
  const { spatialTiles } = plan.packing;
  const inputs = new Array<InputLayout>(plan.inputs.length);
  for (let i = from * spatialTiles; i < to * spatialTiles; i++) inputs[i] = plan.inputs[i]!;
  return { ...plan, inputs };
}

/** What the client has of a layer once its masks are drawn. */
export interface MaskedLayer {
  /** Keys and corrections, for the server. */
  readonly message: Uint8Array;
  /** The masks of the layer's input. */
  readonly masks: Int32Array;
  /** How far each free phase is above its mask, in 256ths of a unit; 0 elsewhere. */
  readonly fractions: Int8Array;
}

/**
 * Client: a layer's keys and corrections.
 * @param masks - of the layer's input: given, or uniform numbers, in whose place come the masks that are free
 */
export async function maskLayer(
  { pool, hint: { generation } }: ClientSession,
  { plan }: LinearLayout,
  seed: Uint8Array,
  masks: Int32Array,
): Promise<MaskedLayer> {
  const message = new Uint8Array(bundleBytes(plan));
  const fractions = new Int8Array(masks.length);
  const free = plan.masks === 'free';
  const given = free ? undefined : masks;
  const parts = inputRanges(plan).map(async (range) => {
    const input = { plan: planFor(plan, range), range, generation, seed, given };
    const made = await pool.run('maskInput', input);
    // The task that has the first input tile makes the layer's keys too; they stand in front of all corrections.
    if (made.keys !== undefined) message.set(made.keys);
    message.set(made.corrections, keyBytes(plan) + correctionBytes(plan, 0, range[0]));
    if (!free) return;
    placeMasks(plan, made.masks, range, masks);
    placeMasks(plan, made.fractions, range, fractions);
  });
  await Promise.all(parts);
  return { message, masks, fractions };
}

/** Client: its share c of a layer's product, from the seed of what it sent. */
export async function shareLayer(
  { pool, hint, layout }: ClientSession,
  layer: number,
  seed: Uint8Array,
): Promise<Int32Array> {
  const { plan } = layout.linears[layer]!;
  const c = new Int32Array(sizeOf(linearOutput(plan.shape)));
  const own = planFor(plan);
  const parts = outputRanges(plan).map(async (range, i) => {
    const of = await hint.tiles(layer, i);
    placeShares(plan, await pool.run('clientShares', { plan: own, range, seed, ...of }), range, c);
  });
  await Promise.all(parts);
  return c;
}

/** Server: takes a layer's message and starts on its share s of the product, which comes later. */
export async function receiveLayer(
  { channel, pool }: ServerSession,
  { plan, weights, rows }: ServedLayer,
  seed: Uint8Array,
): Promise<{ readonly share: Promise<Int32Array> }> {
  const message = await receiveMessage(channel, Kind.layer, bundleBytes(plan));
  const split = keyBytes(plan);
  const [keys, corrections] = [message.subarray(0, split), message.subarray(split)];
  const exact = plan.masks === 'exact';
  const s = new Int32Array(sizeOf(linearOutput(plan.shape)));
  const own = planFor(plan);
  const shares = outputRanges(plan).map(async (range, i) => {
    const input = { plan: own, range, keys, ...(await rows(i)) };
    const part = exact
      ? pool.run('exactServerShares', { ...input, corrections, weights, seed })
      : pool.run('serverShares', input);
    placeShares(plan, await part, range, s);
  });
  const product =
    exact || corrections.length === 0
      ? undefined
      : pool.run('correctLayer', {
          plan,
          corrections,
          weights: packedOf(plan.shape, weights),
        });
  const share = Promise.all([product, ...shares]).then(([own]) => {
    if (own !== undefined) addInto(s, own);
    return s;
  });
  // Whoever waits for it hears of its error.
  share.catch(() => {});
  return { share };
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
    const own = { shape, x: input, kernel, bias, range };
    const part = await pool.run('linearOnline', own, { urgent: true });
    out.set(part, range.from * output[1] * output[2]);
  });
  await Promise.all(work);
  return out;
}
