/**
 * The offline phase: both parties prepare one bundle, before the input exists. protocol/README has the algebra.
 *
 *     client                                                     server
 *       |  <--- per lane: choices in the product OTs; seal ------  |   drawn ahead: with the bundle before, or the setup
 *  1    |  ---- prepare; per linear layer: keys, corrections --->  |
 *       |       c = W*mask - s of every layer                      |   s
 *       |  ---- per lane: choices in the label OTs, corrections ->  |
 *       |       seal                                                |
 *  2    |  <--- per lane: tables; seal ---------------------------  |   states of the lanes
 *
 * One round trip, whatever the depth: the phases of linear layers are the masks, or masks are given, so that the client knows
 * its shares of all pre-activations at once. The layers of a flight stream: each is sent when it is ready, and the other
 * side works on it while the next is made. A lane is one task of the pool for each party and flight.
 *
 * A mask is a phase less a fraction e of half a unit at most (linear/hint), and what the next layer multiplies with is off
 * by e. The client cuts c - e 2^f in place of c where an activation truncates by f bits and only that layer reads the result:
 * its share is then rounded once, not twice, and an identity errs with a variance of 1/6 ULP^2, not 1/4.
 *
 * Both sides take OTs and hash tweaks in the order of layers and lanes, which is all the state they share.
 */

import { ProtocolError } from '../errors.ts';
import { argmax } from '../gadgets/argmax.ts';
import type { LaneState } from '../gadgets/gadget.ts';
import { gadgetOf, type Lane } from '../gadgets/index.ts';
import { cotBytes } from '../ot/correlations.ts';
import { kindOf } from '../program/kinds.ts';
import { deriveSeed } from '../random/index.ts';
import type { ArgmaxStored, ClientBundle, DrawnLane, ServerBundle } from './bundle.ts';
import { Deferred, Ordered, together } from './flow.ts';
import { gather, type Layout } from './layout.ts';
import { receiveLayer } from './linear.ts';
import { type ClientShares, type MaskSet, sendLayers, shareLayers } from './masks.ts';
import { Command, encodeCommand, Kind, receiveMessage, sendMessage } from './messages.ts';
import { bundleSeed, type ClientSession, type Progress, type ServerSession } from './session.ts';

const labelCount = (lane: Lane) => gadgetOf(lane).labelCots(lane.params) * lane.elements.length;
const productCount = (lane: Lane) => gadgetOf(lane).productCots(lane.params) * lane.elements.length;

/** All lanes of a program, in order. */
const lanesOf = ({ activations }: Layout) => activations.flatMap(({ lanes }) => lanes);

/** Counts the layers that a phase has done. */
function counting(progress: Progress | undefined, total: number): (step: string) => void {
  let done = 0;
  return (step) => progress?.(++done, total, step);
}

// ------------------------------------------------------------------------------------------------------- client

/**
 * Client: takes the server's choices of the next bundle ahead of it, which saves its preparation a round trip. Does nothing
 * when it has them.
 */
export async function drawClient(session: ClientSession): Promise<void> {
  if (session.drawn !== undefined) return;
  await session.channel.send(Kind.command, encodeCommand(Command.draw, session.nextBundle));
  session.drawn = await takeChoices(session);
}

async function takeChoices(session: ClientSession): Promise<Uint8Array[]> {
  const drawn = lanesOf(session.layout).map(() => new Deferred<Uint8Array>());
  await receiveChoices(session, drawn);
  return Promise.all(drawn.map(({ promise }) => promise));
}

/** What one loop gets from another, lane by lane. Who has taken a lane's empties its slot, so that it can be let go. */
type Slots<T> = (Deferred<T> | undefined)[];

async function receiveChoices(
  { channel, layout, otK }: ClientSession,
  drawn: Slots<Uint8Array>,
): Promise<void> {
  for (const [i, lane] of lanesOf(layout).entries()) {
    const bytes = cotBytes(productCount(lane), otK);
    drawn[i]!.resolve(await receiveMessage(channel, Kind.productChoices, bytes));
  }
  await channel.expectSeal();
}

/**
 * The client's half.
 * @param drawNext - takes the choices of the next bundle as well, in the same round trip
 */
export async function prepareClient(
  session: ClientSession,
  progress?: Progress,
  drawNext = false,
): Promise<ClientBundle> {
  const { channel, layout } = session;
  const lanes = lanesOf(layout);
  const drawn: Slots<Uint8Array> = lanes.map(() => new Deferred<Uint8Array>());
  const known = session.drawn !== undefined;
  session.drawn?.forEach((choices, i) => {
    drawn[i]!.resolve(choices);
  });
  session.drawn = undefined;
  const number = session.nextBundle++;
  const seed = bundleSeed(session);
  const advance = counting(progress, layout.linears.length + layout.activations.length);
  if (!known) await channel.send(Kind.command, encodeCommand(Command.draw, number));
  await channel.send(Kind.command, encodeCommand(Command.prepare, number));

  // What a lane is opened to waits for its tables; nobody may wait for a lane that is not opened.
  const opened: Slots<LaneState> = lanes.map(() => new Deferred<LaneState>());
  const send = async () => {
    const masks = await sendLayers(session, seed, advance);
    const shares = await shareLayers(session, seed, masks);
    await openLanes({ session, seed, masks, shares, drawn, opened });
    const own = await openOutput(session, shares.output);
    await channel.seal();
    if (drawNext) await channel.send(Kind.command, encodeCommand(Command.draw, number + 1));
    return { inputMask: masks.of.get(0)!, outputShare: shares.output, own };
  };
  const receive = async () => {
    if (!known) await receiveChoices(session, drawn);
    const tables = await receiveTables(session, opened, advance);
    if (drawNext) session.drawn = await takeChoices(session);
    return tables;
  };
  const [{ inputMask, outputShare, own }, { layers, tables }] = await together(
    channel,
    send().catch((error: Error) => {
      for (const lane of opened) lane?.reject(error);
      throw error;
    }),
    receive().catch((error: Error) => {
      for (const lane of drawn) lane?.reject(error);
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
  /** The server's choices in the product OTs of all lanes. */
  readonly drawn: Slots<Uint8Array>;
  readonly opened: Slots<LaneState>;
}

/** Sends choices and corrections of all lanes in order; what a layer was opened with is let go. */
async function openLanes({ session, seed, masks, shares, drawn, opened }: Opening): Promise<void> {
  const { channel, pool, layout, cots, labelTweaks, productTweaks } = session;
  const parts = new Ordered<() => Promise<void>>(pool.workers + 1, (emit) => emit());
  let i = 0;
  for (const { index, lanes } of layout.activations) {
    for (const lane of lanes) {
      const { kind, params, elements } = lane;
      const gadget = gadgetOf(lane);
      const at = i++;
      const own = opened[at]!;
      const c = gather(shares.preactivations.get(index)!, elements);
      subtractFractions(lane, c, masks.fractions.get(index + 1));
      const mask = gather(masks.of.get(index + 1)!, elements);
      const choices = await drawn[at]!.promise;
      drawn[at] = undefined;
      const input = {
        kind,
        params,
        c,
        mask,
        drawn: choices,
        labels: cots.receiver.ticket(labelCount(lane)),
        labelTweaks: labelTweaks.take(gadget.labelTweaks(params, c.length)),
        products: cots.sender.ticket(productCount(lane)),
        productTweaks: productTweaks.take(gadget.productTweaks(params, c.length)),
        seed: deriveSeed(seed, 'lane', at),
      };
      const work = pool.run('openLane', input, { give: { c, mask, drawn: choices } });
      await parts.add(
        work.then(({ choices, corrections, state }) => async () => {
          own.resolve(state);
          await sendMessage(channel, Kind.labelChoices, choices);
          await sendMessage(channel, Kind.corrections, corrections);
        }),
      );
    }
    shares.preactivations.delete(index);
    masks.of.delete(index + 1);
    masks.fractions.delete(index + 1);
  }
  await parts.drain();
}

/** Takes the fractions of a lane's masks from its shares of what it truncates: see the head. */
function subtractFractions(
  { kind, params: { shift }, elements }: Lane,
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
  { channel, pool, layout, cots, labelTweaks }: ClientSession,
  c: Int32Array,
): Promise<Omit<ArgmaxStored, 'tables'> | undefined> {
  const params = layout.output.argmax;
  if (params === undefined) return undefined;
  const ticket = cots.receiver.ticket(argmax.labelCots(params));
  const { message, blocks } = await pool.run('openArgmax', { params, c, ticket });
  await sendMessage(channel, Kind.labelChoices, message);
  return { labels: blocks, tweaks: labelTweaks.take(argmax.labelTweaks(params)) };
}

/** The states of all lanes by layer, and the tables of a garbled argmax, of no bytes when there is none. */
async function receiveTables(
  { channel, layout: { activations, output } }: ClientSession,
  opened: Slots<LaneState>,
  advance: (step: string) => void,
): Promise<{ layers: LaneState[][]; tables: Uint8Array }> {
  const layers: LaneState[][] = [];
  let i = 0;
  for (const { step, lanes } of activations) {
    const stored: LaneState[] = [];
    for (const lane of lanes) {
      const state = await opened[i]!.promise;
      opened[i++] = undefined;
      const gadget = gadgetOf(lane);
      const n = lane.elements.length;
      const { tables: bytes } = gadget.bytes(lane.params, n);
      const tables = await receiveMessage(channel, Kind.tables, bytes);
      stored.push(gadget.store(lane.params, n, state, tables));
    }
    layers.push(stored);
    if (step !== activations.at(-1)!.step) advance(step.name);
  }
  const { argmax: params } = output;
  const bytes = params === undefined ? 0 : argmax.bytes(params).tables;
  const last = await receiveMessage(channel, Kind.tables, bytes);
  await channel.expectSeal();
  // The last layer is done when all has come.
  for (const { step } of activations.slice(-1)) advance(step.name);
  return { layers, tables: last };
}

// ------------------------------------------------------------------------------------------------------- server

/**
 * Server: draws its choices for the product OTs of bundle `number`, and sends them; the client's command has been read.
 * @throws ProtocolError `bad-message` when they are drawn already
 */
export async function drawServer(session: ServerSession, number: number): Promise<void> {
  const { channel, pool, layout, cots } = session;
  if (session.drawn !== undefined) {
    throw new ProtocolError('bad-message', `the choices of a bundle are drawn before ${number}`);
  }
  const seed = bundleSeed(session);
  const lanes: DrawnLane[] = [];
  const messages = new Ordered<() => Promise<void>>(pool.workers + 1, (send) => send());
  for (const [i, lane] of lanesOf(layout).entries()) {
    const { kind, params, elements } = lane;
    const work = pool.run('drawLane', {
      kind,
      params,
      n: elements.length,
      ticket: cots.receiver.ticket(productCount(lane)),
      seed: deriveSeed(seed, 'lane', i),
    });
    await messages.add(
      work.then(({ message, ...own }) => async () => {
        lanes.push({ lane, ...own });
        await sendMessage(channel, Kind.productChoices, message);
      }),
    );
  }
  await messages.drain();
  await channel.seal();
  session.drawn = { number, seed, lanes };
}

/**
 * The server's half; the client's command has been read.
 * @throws ProtocolError `bad-message` when no choices were drawn for this bundle
 */
export async function prepareServer(
  session: ServerSession,
  number: number,
  progress?: Progress,
): Promise<ServerBundle> {
  const { channel, pool, layout, layers, otK, cots } = session;
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
  const states = await prepareLanes(session, drawn.lanes, seed);
  const outputBytes =
    output.argmax === undefined ? 0 : cotBytes(argmax.labelCots(output.argmax), otK);
  const choices = await receiveMessage(channel, Kind.labelChoices, outputBytes);
  await channel.expectSeal();
  if (output.argmax === undefined) await channel.seal();
  const prepared = activations.map(({ lanes }) => states.splice(0, lanes.length));
  for (const { step } of activations) advance(step.name);
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
  const ticket = cots.sender.ticket(argmax.labelCots(params));
  const { message, state } = await pool.run('prepareArgmax', {
    params,
    ticket,
    tweaks: session.labelTweaks.take(argmax.labelTweaks(params)),
    choices,
    seed: deriveSeed(seed, 'argmax'),
  });
  await sendMessage(channel, Kind.tables, message);
  await channel.seal();
  return { ...bundle, output: state };
}

/** Takes the client's choices and corrections lane by lane, and sends the tables. */
async function prepareLanes(
  { channel, pool, otK, cots, labelTweaks, productTweaks }: ServerSession,
  drawn: readonly DrawnLane[],
  seed: Uint8Array,
): Promise<LaneState[]> {
  const states: LaneState[] = [];
  const parts = new Ordered<{ message: Uint8Array; state: LaneState }>(
    pool.workers + 1,
    async ({ message, state }) => {
      states.push(state);
      await sendMessage(channel, Kind.tables, message);
    },
  );
  for (const [i, { lane, blocks, choices }] of drawn.entries()) {
    const { kind, params, elements } = lane;
    const gadget = gadgetOf(lane);
    const n = elements.length;
    const labels = cots.sender.ticket(labelCount(lane));
    const bought = await receiveMessage(channel, Kind.labelChoices, cotBytes(labels.count, otK));
    const { corrections: bytes } = gadget.bytes(params, n);
    const corrections = await receiveMessage(channel, Kind.corrections, bytes);
    const input = {
      kind,
      params,
      n,
      labels,
      labelTweaks: labelTweaks.take(gadget.labelTweaks(params, n)),
      choices: bought,
      products: { blocks, choices, tweaks: productTweaks.take(gadget.productTweaks(params, n)) },
      corrections,
      seed: deriveSeed(seed, 'lane', i),
    };
    await parts.add(pool.run('prepareLane', input, { give: { bought, blocks, corrections } }));
  }
  await parts.drain();
  return states;
}
