/**
 * The offline phase: both parties prepare one bundle, before the input exists. protocol/README has the algebra.
 *
 *     client                                                     server
 *  1    |  ---- prepare; per linear layer: its upload ----------->  |
 *  2    |  <--- per linear layer: its response; per lane: --------  |
 *       |       choices in the product OTs                          |
 *       |       c = W*mask - s of every layer                       |   s
 *  3    |  ---- per lane: choices in the label OTs, corrections ->  |
 *  4    |  <--- per lane: tables ---------------------------------  |   states of the lanes
 *
 * Two round trips, whatever the depth: masks are chosen by the client alone, so that all linear layers go at once. The
 * layers of a flight stream: each is sent when it is ready, and the other side works on it while the next is made. A lane is
 * one task of the pool for each party and flight. What uploads and responses are is the business of protocol/linear.
 *
 * Both sides take OTs and hash tweaks in the order of layers and lanes, which is all the state they share.
 */

import { argmax } from '../gadgets/argmax.ts';
import type { LaneState } from '../gadgets/gadget.ts';
import { gadgetOf, type Lane } from '../gadgets/index.ts';
import { cotBytes } from '../ot/correlations.ts';
import type { LinearWeights, Model } from '../program/model.ts';
import { walkAsync } from '../program/walk.ts';
import { deriveSeed, freshSeed, Prg, randomRing } from '../random/index.ts';
import { sizeOf } from '../ring/shape.ts';
import type { ArgmaxStored, ClientBundle, ServerBundle } from './bundle.ts';
import { Deferred, Ordered, together } from './flow.ts';
import {
  type ActivationLayout,
  gather,
  type Layout,
  type LinearLayout,
  localOf,
} from './layout.ts';
import { answerUpload, receiveShare, sendUpload } from './linear.ts';
import { Command, encodeCommand, Kind, receiveMessage, sendMessage } from './messages.ts';
import type { ClientSession, Progress, ServerSession } from './session.ts';

const labelCount = (lane: Lane) => gadgetOf(lane).labelCots(lane.params) * lane.elements.length;
const productCount = (lane: Lane) => gadgetOf(lane).productCots(lane.params) * lane.elements.length;

/** Counts the layers that a phase has done. */
function counting(progress: Progress | undefined, total: number): (step: string) => void {
  let done = 0;
  return (step) => progress?.(++done, total, step);
}

// ------------------------------------------------------------------------------------------------------- client

/** A bundle that the client is making. */
interface ClientWork {
  readonly session: ClientSession;
  /** What its masks and all else that is random come from. */
  readonly seed: Uint8Array;
  readonly inputMask: Int32Array;
  /** The mask of each activation layer's results, by the index of its step. */
  readonly masks: ReadonlyMap<number, Int32Array>;
  readonly advance: (step: string) => void;
}

/** The client's half. */
export async function prepareClient(
  session: ClientSession,
  progress?: Progress,
): Promise<ClientBundle> {
  const { channel, layout, random } = session;
  const { activations, linears } = layout;
  const number = session.nextBundle++;
  const seed = freshSeed(random);
  const advance = counting(progress, linears.length + activations.length);
  const work = { session, seed, advance, ...drawMasks(layout, seed) };
  await channel.send(Kind.command, encodeCommand(Command.prepare, number));

  // Flights 1 and 2.
  const [, { lanes, outputShare }] = await together(
    channel,
    sendUploads(work),
    receiveResponses(work),
  );

  // Flights 3 and 4. What a lane is opened to waits for its tables; nobody may wait for a lane that is not opened.
  const opened = lanes.map(() => new Deferred<LaneState>());
  const [own, { layers, tables }] = await together(
    channel,
    openLanes(work, lanes, opened)
      .then(() => openOutput(session, outputShare))
      .catch((error: Error) => {
        for (const lane of opened) lane.reject(error);
        throw error;
      }),
    receiveTables(work, opened),
  );
  const output = own === undefined ? outputShare : { ...own, tables };
  return { number, inputMask: work.inputMask, layers, output };
}

function drawMasks(
  { program, activations }: Layout,
  seed: Uint8Array,
): Pick<ClientWork, 'inputMask' | 'masks'> {
  const draw = (size: number, label: string, ...index: number[]) =>
    randomRing(new Prg(deriveSeed(seed, label, ...index)), size);
  return {
    inputMask: draw(sizeOf(program.input.shape), 'input mask'),
    masks: new Map(activations.map(({ index, size }) => [index, draw(size, 'mask', index)])),
  };
}

/** A layer's seed, of its upload and of what becomes of the response. */
const uploadSeed = ({ seed }: ClientWork, index: number) => deriveSeed(seed, 'upload', index);

/** Flight 1. A value the client does not know yet is undefined; checkProgram keeps it out of linear layers. */
async function sendUploads(work: ClientWork): Promise<void> {
  const { session, inputMask, masks } = work;
  const { layout } = session;
  const linearAt = new Map(layout.linears.map((layer) => [layer.index, layer]));
  await walkAsync<Int32Array | undefined>(layout.program, {
    input: () => inputMask,
    async linear(_, x, index) {
      const layer = linearAt.get(index) as LinearLayout;
      await sendUpload(session, layer, x as Int32Array, uploadSeed(work, index));
      return undefined;
    },
    local: (step, inputs) =>
      inputs.includes(undefined) ? undefined : localOf(layout, step, inputs as Int32Array[]),
    activation: (_, __, index) => masks.get(index),
    output: () => undefined,
  });
}

/** A lane between flights 2 and 3. */
interface WaitingLane {
  readonly lane: Lane;
  /** The client's share of its elements. */
  readonly c: Int32Array;
  /** The mask of its results. */
  readonly mask: Int32Array;
  /** The server's choices in its product OTs. */
  readonly drawn: Uint8Array;
}

/** Flight 2: c of every pre-activation and of the output, and the server's choices, which wait for their turn. */
async function receiveResponses(
  work: ClientWork,
): Promise<{ lanes: WaitingLane[]; outputShare: Int32Array }> {
  const { session, inputMask, masks, advance } = work;
  const { channel, layout, otK } = session;
  const linearAt = new Map(layout.linears.map((layer) => [layer.index, layer]));
  const activationAt = new Map(layout.activations.map((layer) => [layer.index, layer]));
  const waiting: WaitingLane[] = [];
  const outputShare = await walkAsync<Int32Array>(layout.program, {
    input: () => inputMask,
    async linear({ name }, _, index) {
      const layer = linearAt.get(index) as LinearLayout;
      const c = await receiveShare(session, layer, uploadSeed(work, index));
      advance(name);
      return c;
    },
    local: (step, inputs) => localOf(layout, step, inputs),
    async activation(_, c, index) {
      const { lanes } = activationAt.get(index) as ActivationLayout;
      const results = masks.get(index)!;
      for (const lane of lanes) {
        const bytes = cotBytes(productCount(lane), otK);
        const drawn = await receiveMessage(channel, Kind.productChoices, bytes);
        const mask = gather(results, lane.elements);
        waiting.push({ lane, c: gather(c, lane.elements), mask, drawn });
      }
      return results;
    },
    output: (_, c) => c,
  });
  return { lanes: waiting, outputShare };
}

/** Flight 3: sends choices and corrections of all lanes in order. */
async function openLanes(
  { session, seed }: ClientWork,
  waiting: readonly WaitingLane[],
  opened: readonly Deferred<LaneState>[],
): Promise<void> {
  const { channel, pool, cots, labelTweaks, productTweaks } = session;
  const parts = new Ordered<() => Promise<void>>(pool.workers + 1, (emit) => emit());
  for (const [i, { lane, c, mask, drawn }] of waiting.entries()) {
    const { kind, params } = lane;
    const gadget = gadgetOf(lane);
    const input = {
      kind,
      params,
      c,
      mask,
      drawn,
      labels: cots.receiver.ticket(labelCount(lane)),
      labelTweaks: labelTweaks.take(gadget.labelTweaks(params, c.length)),
      products: cots.sender.ticket(productCount(lane)),
      productTweaks: productTweaks.take(gadget.productTweaks(params, c.length)),
      seed: deriveSeed(seed, 'lane', i),
    };
    const work = pool.run('openLane', input, { give: { c, mask, drawn } });
    await parts.add(
      work.then(({ choices, corrections, state }) => async () => {
        opened[i]!.resolve(state);
        await sendMessage(channel, Kind.labelChoices, choices);
        await sendMessage(channel, Kind.corrections, corrections);
      }),
    );
  }
  await parts.drain();
}

/** Flight 3 of a garbled argmax; undefined when there is none. */
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

/** Flight 4: the states of all lanes by layer, and the tables of a garbled argmax, of no bytes when there is none. */
async function receiveTables(
  { session, advance }: ClientWork,
  opened: readonly Deferred<LaneState>[],
): Promise<{ layers: LaneState[][]; tables: Uint8Array }> {
  const { channel, layout } = session;
  const layers: LaneState[][] = [];
  let i = 0;
  for (const { step, lanes } of layout.activations) {
    const stored: LaneState[] = [];
    for (const lane of lanes) {
      const state = await opened[i++]!.promise;
      const gadget = gadgetOf(lane);
      const n = lane.elements.length;
      const { tables: bytes } = gadget.bytes(lane.params, n);
      const tables = await receiveMessage(channel, Kind.tables, bytes);
      stored.push(gadget.store(lane.params, n, state, tables));
    }
    layers.push(stored);
    advance(step.name);
  }
  const { argmax: params } = layout.output;
  const bytes = params === undefined ? 0 : argmax.bytes(params).tables;
  return { layers, tables: await receiveMessage(channel, Kind.tables, bytes) };
}

// ------------------------------------------------------------------------------------------------------- server

/** The server's half; the client's command has been read. */
export async function prepareServer(
  session: ServerSession,
  model: Model,
  number: number,
  progress?: Progress,
): Promise<ServerBundle> {
  const { channel, pool, layout, cots, random } = session;
  const { activations, linears, output } = layout;
  const advance = counting(progress, linears.length + 2 * activations.length);
  const seed = freshSeed(random);

  // Flights 1 and 2, in the order of steps; a layer is worked on while the answers to the last are still under way.
  const shares = new Map<number, Int32Array>();
  const drawn: DrawnLane[] = [];
  const answers = new Ordered<() => Promise<void>>(pool.workers + 1, (send) => send());
  const layers = [...linears, ...activations].sort((x, y) => x.index - y.index);
  let laneCount = 0;
  for (const layer of layers) {
    if ('plan' in layer) {
      const { kernel } = model.weights[layer.index] as LinearWeights;
      const own = deriveSeed(seed, 'response', layer.index);
      shares.set(layer.index, await answerUpload(session, layer, kernel, own, answers));
    } else {
      for (const lane of layer.lanes) {
        const { kind, params, elements } = lane;
        const work = pool.run('drawLane', {
          kind,
          params,
          n: elements.length,
          ticket: cots.receiver.ticket(productCount(lane)),
          seed: deriveSeed(seed, 'lane', laneCount++),
        });
        await answers.add(
          work.then(({ message, ...own }) => async () => {
            drawn.push({ lane, ...own });
            await sendMessage(channel, Kind.productChoices, message);
          }),
        );
      }
    }
    advance(layer.step.name);
  }
  await answers.drain();

  // Flights 3 and 4.
  const states = await prepareLanes(session, drawn, seed);
  const prepared = activations.map(({ lanes }) => states.splice(0, lanes.length));
  for (const { step } of activations) advance(step.name);
  if (output.argmax === undefined) {
    return { number, linears: shares, layers: prepared, output: undefined };
  }
  const params = output.argmax;
  const ticket = cots.sender.ticket(argmax.labelCots(params));
  const { message, state } = await pool.run('prepareArgmax', {
    params,
    ticket,
    tweaks: session.labelTweaks.take(argmax.labelTweaks(params)),
    choices: await receiveMessage(channel, Kind.labelChoices, cotBytes(ticket.count, session.otK)),
    seed: deriveSeed(seed, 'argmax'),
  });
  await sendMessage(channel, Kind.tables, message);
  return { number, linears: shares, layers: prepared, output: state };
}

/** A lane of the server between flights 2 and 4: its product OTs. */
interface DrawnLane {
  readonly lane: Lane;
  readonly blocks: Uint8Array;
  readonly choices: Uint8Array;
}

/** Flights 3 and 4: takes the client's choices and corrections lane by lane, and sends the tables. */
async function prepareLanes(
  { channel, pool, otK, cots, labelTweaks, productTweaks }: ServerSession,
  drawn: DrawnLane[],
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
