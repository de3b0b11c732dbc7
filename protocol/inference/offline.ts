/**
 * The offline phase: both parties prepare one bundle, before the input exists. protocol/README has the algebra.
 *
 *     client                                                     server
 *       |  ---- draw: choices of its offset -------------------->  |   drawn ahead: with the bundle before, or the
 *       |  <--- trees, choices of its offset --------------------  |   setup
 *       |  <--- per batch: choices in the product OTs; seal -----  |
 *  1    |  ---- prepare; per linear layer: keys, corrections --->  |
 *       |       c = W*mask - s of every layer                      |   s
 *       |  ---- trees ------------------------------------------>  |
 *       |  ---- per batch: choices in label OTs, corrections --->  |
 *       |       seal                                               |
 *  2    |  <--- per batch: tables; seal -------------------------  |   states of the lanes
 *
 * One round trip, whatever the depth: the phases of linear layers are the masks, or masks are given, so that the client knows
 * its shares of all pre-activations at once. The layers of a flight stream: each is sent when it is ready, and the other
 * side works on it while the next is made. A batch of lanes (batches.ts) is one task of the pool for each party and flight.
 *
 * Choices of a batch are checked by the task that uses them, before it makes anything that depends on an offset; both offsets
 * are of this bundle alone (ot/offsets.ts).
 *
 * A mask is a phase less a fraction e of half a unit at most (linear/hint), and what the next layer multiplies with is off
 * by e. The client cuts c - e 2^f in place of c where an activation truncates by f bits and only that layer reads the result:
 * its share is then rounded once, not twice, and an identity errs with a variance of 1/6 ULP^2, not 1/4.
 *
 * Both sides take OTs and hash tweaks in the order of batches and lanes, which is all the state they share.
 */

import { ProtocolError } from '../errors.ts';
import { argmax } from '../gadgets/argmax.ts';
import type { LaneState } from '../gadgets/gadget.ts';
import { gadgetOf, type Lane } from '../gadgets/index.ts';
import { TweakSource } from '../garble/tweaks.ts';
import { cotBytes } from '../ot/correlations.ts';
import { type BundleName, type ClientCots, joinOffsets, type ServerCots } from '../ot/offsets.ts';
import { treeBytes } from '../ot/softspoken.ts';
import { kindOf } from '../program/kinds.ts';
import { deriveSeed } from '../random/index.ts';
import {
  type BatchLane,
  batchBytes,
  batchesOf,
  cut,
  type LaneBatch,
  labelCount,
  over,
  productCount,
} from './batches.ts';
import type { ArgmaxStored, ClientBundle, ServerBundle, ServerDraw } from './bundle.ts';
import {
  type ArrivingDraw,
  type AskedDraw,
  laneInput,
  receiveDraw,
  sendDraw,
  takeDraw,
} from './draw.ts';
import { Deferred, Ordered, rejectAll, type Slots, slotsOf, together } from './flow.ts';
import { type Layout, pickElements } from './layout.ts';
import { receiveLayer } from './linear.ts';
import { type ClientShares, type MaskSet, sendLayers, shareLayers } from './masks.ts';
import { Command, encodeCommand, Kind, receiveMessage, sendMessage } from './messages.ts';
import { bundleSeed, type ClientSession, type Progress, type ServerSession } from './session.ts';

/** Hash tweaks of a bundle: under the server's offset (labels) and under the client's (products). */
interface BundleTweaks {
  readonly labels: TweakSource;
  readonly products: TweakSource;
}

function bundleTweaks({ sessionId, number }: BundleName): BundleTweaks {
  return {
    labels: new TweakSource(deriveSeed(sessionId, 'label tweaks', number)),
    products: new TweakSource(deriveSeed(sessionId, 'product tweaks', number)),
  };
}

/** The tweaks of a lane; both parties take them in the order of lanes. */
function laneTweaks({ kind, params, n }: BatchLane, { labels, products }: BundleTweaks) {
  const gadget = gadgetOf({ kind, params });
  return {
    labelTweaks: labels.take(gadget.labelTweaks(params, n)),
    productTweaks: products.take(gadget.productTweaks(params, n)),
  };
}

/** Calls `advance` for each activation layer whose last batch is done; called for one batch after the other. */
function byLayer(
  { activations }: Layout,
  batches: readonly LaneBatch[],
  advance: (step: string) => void,
): (batch: number) => void {
  let layer = 0;
  return (i) => {
    const next = batches[i + 1]?.[0]?.layer ?? activations.length;
    for (; layer < next; layer++) advance(activations[layer]!.step.name);
  };
}

/** Counts the layers that a phase has done. */
function counting(progress: Progress | undefined, total: number): (step: string) => void {
  let done = 0;
  return (step) => progress?.(++done, total, step);
}

// ------------------------------------------------------------------------------------------------------- client

/**
 * The client's half.
 * @param drawNext - draws the next bundle as well, in the same round trip
 */
export async function prepareClient(
  session: ClientSession,
  progress?: Progress,
  drawNext = false,
): Promise<ClientBundle> {
  const { channel, layout, drawn } = session;
  const batches = batchesOf(layout);
  const arriving: ArrivingDraw = {
    offsets: new Deferred(),
    choices: slotsOf<Uint8Array>(batches),
  };
  if (drawn !== undefined) {
    arriving.offsets.resolve(drawn);
    drawn.choices.forEach((choices, i) => {
      arriving.choices[i]!.resolve(choices);
    });
  }
  session.drawn = undefined;
  const number = session.nextBundle++;
  const seed = bundleSeed(session);
  const advance = counting(progress, layout.linears.length + layout.activations.length);
  const asked = drawn === undefined ? await sendDraw(session, number) : undefined;
  await channel.send(Kind.command, encodeCommand(Command.prepare, number));

  // What a batch is opened to waits for its tables; nobody may wait for a batch that is not opened.
  const opened = slotsOf<LaneState[]>(batches);
  const next = new Deferred<AskedDraw>();
  const send = async () => {
    const masks = await sendLayers(session, seed, advance);
    const shares = await shareLayers(session, seed, masks);
    const { cots, trees } = await arriving.offsets.promise;
    await channel.send(Kind.labelTrees, trees);
    const tweaks = bundleTweaks({ sessionId: session.id, number });
    const { choices: drawn } = arriving;
    await openBatches({ session, seed, masks, shares, batches, cots, tweaks, drawn, opened });
    const own = await openOutput(session, cots, tweaks, shares.output);
    await channel.seal();
    if (drawNext) next.resolve(await sendDraw(session, number + 1));
    return { inputMask: masks.of.get(0)!, outputShare: shares.output, own };
  };
  const receive = async () => {
    if (asked !== undefined) await receiveDraw(session, asked, batches, arriving);
    const tables = await receiveTables(session, batches, opened, advance);
    if (drawNext) session.drawn = await takeDraw(session, await next.promise);
    return tables;
  };
  const [{ inputMask, outputShare, own }, { layers, tables }] = await together(
    channel,
    send().catch((error: Error) => {
      rejectAll(opened, error);
      next.reject(error);
      throw error;
    }),
    receive().catch((error: Error) => {
      rejectAll(arriving.choices, error);
      arriving.offsets.reject(error);
      throw error;
    }),
  );
  const output = own === undefined ? outputShare : { ...own, tables };
  return { number, inputMask, layers, output };
}

interface Opening {
  readonly session: ClientSession;
  readonly seed: Uint8Array;
  readonly masks: MaskSet;
  readonly shares: ClientShares;
  readonly batches: readonly LaneBatch[];
  readonly cots: ClientCots;
  readonly tweaks: BundleTweaks;
  /** The server's choices in the product OTs. */
  readonly drawn: Slots<Uint8Array>;
  readonly opened: Slots<LaneState[]>;
}

/** Sends choices and corrections of all batches in order; what a layer was opened with is let go. */
async function openBatches(opening: Opening): Promise<void> {
  const { session, seed, masks, shares, batches, cots, tweaks, drawn, opened } = opening;
  const { channel, pool, layout } = session;
  const parts = new Ordered<() => Promise<void>>(pool.workers + 1, (emit) => emit());
  for (const [i, batch] of batches.entries()) {
    const lanes = batch.map((lane) => {
      const { kind, params, n, elements, at } = lane;
      const { index } = layout.activations[lane.layer]!;
      const c = pickElements(shares.preactivations.get(index)!, elements);
      subtractFractions(lane, c, masks.fractions.get(index + 1));
      const mask = pickElements(masks.of.get(index + 1)!, elements);
      const own = { kind, params, n, c, mask, seed: deriveSeed(seed, 'lane', at) };
      return { ...own, ...laneTweaks(lane, tweaks) };
    });
    const input = {
      lanes,
      labels: cots.labels.take(over(batch, labelCount)),
      products: cots.products.take(over(batch, productCount)),
      drawn: await drawn[i]!.promise,
    };
    drawn[i] = undefined;
    const give = [lanes.map(({ c, mask }) => [c, mask]), input.drawn];
    const slot = opened[i]!;
    const work = pool.run('openBatch', input, { give });
    await parts.add(
      work.then(({ choices, corrections, states }) => async () => {
        slot.resolve(states);
        await sendMessage(channel, Kind.labelChoices, choices);
        await sendMessage(channel, Kind.corrections, corrections);
      }),
    );
    // Of the layers before the next batch nothing is needed any more.
    const next = batches[i + 1]?.[0]?.layer;
    for (const { layer } of batch) {
      if (layer === next) continue;
      const { index } = layout.activations[layer]!;
      shares.preactivations.delete(index);
      masks.of.delete(index + 1);
      masks.fractions.delete(index + 1);
    }
  }
  await parts.drain();
}

/** Takes the fractions of a lane's masks from its shares of what it truncates: see the head. */
function subtractFractions(
  { kind, params: { shift }, elements }: Pick<Lane, 'kind' | 'params' | 'elements'>,
  c: Int32Array,
  fractions: Int8Array | undefined,
): void {
  if (fractions === undefined || !kindOf(kind).merges) return;
  const half = shift < 9 ? 1 << (8 - shift) : 0;
  for (let i = 0; i < c.length; i++) {
    // A fraction is rounded down to a 256th: its middle is meant.
    const middle = 2 * fractions[elements[i]!]! + 1;
    c[i]! -= shift < 9 ? (middle + half) >> (9 - shift) : middle << (shift - 9);
  }
}

/** Choices of a garbled argmax; undefined when there is none. */
async function openOutput(
  { channel, pool, layout }: ClientSession,
  cots: ClientCots,
  tweaks: BundleTweaks,
  c: Int32Array,
): Promise<Omit<ArgmaxStored, 'tables'> | undefined> {
  const params = layout.output.argmax;
  if (params === undefined) return undefined;
  const ticket = cots.labels.take(argmax.labelCots(params));
  const { message, blocks } = await pool.run('openArgmax', { params, c, ticket });
  await sendMessage(channel, Kind.labelChoices, message);
  return { labels: blocks, tweaks: tweaks.labels.take(argmax.labelTweaks(params)) };
}

/** The states of all lanes by layer, and the tables of a garbled argmax, of no bytes when there is none. */
async function receiveTables(
  { channel, layout }: ClientSession,
  batches: readonly LaneBatch[],
  opened: Slots<LaneState[]>,
  advance: (step: string) => void,
): Promise<{ layers: LaneState[][]; tables: Uint8Array }> {
  const layers: LaneState[][] = layout.activations.map(() => []);
  const done = byLayer(layout, batches, advance);
  for (const [i, batch] of batches.entries()) {
    const states = await opened[i]!.promise;
    opened[i] = undefined;
    const message = await receiveMessage(channel, Kind.tables, batchBytes(batch, 'tables'));
    const tables = cut(batch, message, (lane) => batchBytes([lane], 'tables'));
    batch.forEach((lane, j) => {
      const stored = gadgetOf(lane).store(lane.params, lane.n, states[j]!, tables[j]!);
      layers[lane.layer]!.push(stored);
    });
    if (i < batches.length - 1) done(i);
  }
  const { argmax: params } = layout.output;
  const bytes = params === undefined ? 0 : argmax.bytes(params).tables;
  const last = await receiveMessage(channel, Kind.tables, bytes);
  await channel.expectSeal();
  // The last batch is done when all has come.
  if (batches.length > 0) done(batches.length - 1);
  return { layers, tables: last };
}

// ------------------------------------------------------------------------------------------------------- server

/**
 * The server's half; the client's command has been read.
 * @throws ProtocolError `bad-message` when this bundle is not drawn, `corrupted` when a check of OTs fails
 */
export async function prepareServer(
  session: ServerSession,
  number: number,
  progress?: Progress,
): Promise<ServerBundle> {
  const { channel, pool, id, layout, layers, otK } = session;
  const { activations, linears, output } = layout;
  const advance = counting(progress, linears.length + activations.length);
  const { drawn } = session;
  if (drawn?.number !== number) {
    throw new ProtocolError('bad-message', `no choices were drawn for bundle ${number}`);
  }
  session.drawn = undefined;
  const { seed } = drawn;

  const shares: Promise<Int32Array>[] = [];
  for (const [i, layer] of layers.entries()) {
    shares.push((await receiveLayer(session, layer, deriveSeed(seed, 'layer', i))).share);
    advance(linears[i]!.parts[0]!.step.name);
  }
  const name = { sessionId: id, number };
  const trees = await channel.receive(Kind.labelTrees, treeBytes(otK));
  const cots = joinOffsets(name, drawn.offsets, trees);
  const tweaks = bundleTweaks(name);
  const prepared = await prepareBatches(session, drawn, cots, tweaks, advance);
  const outputBytes =
    output.argmax === undefined ? 0 : cotBytes(argmax.labelCots(output.argmax), otK);
  const choices = await receiveMessage(channel, Kind.labelChoices, outputBytes);
  await channel.expectSeal();
  if (output.argmax === undefined) await channel.seal();
  const products = new Map<number, Int32Array>();
  for (const [i, { parts }] of linears.entries()) {
    const share = await shares[i]!;
    for (const { index, from, size } of parts) {
      products.set(index, share.subarray(from, from + size));
    }
  }
  const bundle = { number, linears: products, layers: prepared };
  if (output.argmax === undefined) return { ...bundle, output: undefined };
  const params = output.argmax;
  const ticket = cots.labels.take(argmax.labelCots(params));
  const { message, state } = await pool.run('prepareArgmax', {
    params,
    ticket,
    tweaks: tweaks.labels.take(argmax.labelTweaks(params)),
    choices,
    seed: deriveSeed(seed, 'argmax'),
  });
  await sendMessage(channel, Kind.tables, message);
  await channel.seal();
  return { ...bundle, output: state };
}

/** Takes the client's choices and corrections batch by batch, and sends the tables; the states of all lanes, by layer. */
async function prepareBatches(
  { channel, pool, otK, layout }: ServerSession,
  drawn: ServerDraw,
  cots: ServerCots,
  tweaks: BundleTweaks,
  advance: (step: string) => void,
): Promise<LaneState[][]> {
  const layers: LaneState[][] = layout.activations.map(() => []);
  const batches = batchesOf(layout);
  const done = byLayer(layout, batches, advance);
  const parts = new Ordered<() => Promise<void>>(pool.workers + 1, (send) => send());
  for (const [i, batch] of batches.entries()) {
    const labels = cots.labels.take(over(batch, labelCount));
    const choices = await receiveMessage(channel, Kind.labelChoices, cotBytes(labels.count, otK));
    const bytes = batchBytes(batch, 'corrections');
    const corrections = await receiveMessage(channel, Kind.corrections, bytes);
    const lanes = batch.map((lane) => ({
      ...laneInput(lane, drawn.seed),
      ...laneTweaks(lane, tweaks),
    }));
    const input = { lanes, labels, choices, products: drawn.batches[i]!, corrections };
    const give = { choices, corrections, products: input.products };
    const work = pool.run('prepareBatch', input, { give });
    await parts.add(
      work.then(({ message, states }) => async () => {
        batch.forEach((lane, j) => {
          layers[lane.layer]!.push(states[j]!);
        });
        await sendMessage(channel, Kind.tables, message);
        done(i);
      }),
    );
  }
  await parts.drain();
  return layers;
}
