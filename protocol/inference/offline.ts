/**
 * The offline phase: both parties prepare one bundle, before the input exists. protocol/README has the algebra.
 *
 *     client                                                     server
 *  1    |  ---- prepare; per linear layer: Enc(mask) ------------->  |
 *  2    |  <--- per linear layer: response; per lane: -------------  |
 *       |       its choices in the product OTs                       |
 *       |       c = W*mask - s of every layer                        |   s
 *  3    |  ---- per lane: choices in the label OTs, corrections -->  |
 *  4    |  <--- per lane: tables ----------------------------------  |   states of the lanes
 *
 * Two round trips, whatever the depth: masks are chosen by the client alone, so that all linear layers go at once. The
 * layers of a flight stream: each is sent when it is ready, and the other side works on it while the next is made. A lane is
 * one task of the pool for each party and flight.
 *
 * Both sides take OTs and hash tweaks in the order of layers and lanes, which is all the state they share.
 */

import { bulkBytes } from '../bulk.ts';
import { type ArgmaxParams, argmax } from '../gadgets/argmax.ts';
import type { LaneState } from '../gadgets/gadget.ts';
import { gadgetOf, type Lane } from '../gadgets/index.ts';
import {
  type PolynomialRange,
  placeShares,
  responseBytes,
  uploadBytes,
} from '../linear/rlwe/index.ts';
import { cotBytes } from '../ot/correlations.ts';
import type { LinearWeights, Model } from '../program/model.ts';
import { walkAsync } from '../program/walk.ts';
import { deriveSeed, freshSeed, Prg, randomRing } from '../random/index.ts';
import { sizeOf } from '../ring/shape.ts';
import type { ArgmaxStored, ClientBundle, ServerBundle } from './bundle.ts';
import { Deferred, Ordered, together } from './flow.ts';
import { type ActivationLayout, gather, type LinearLayout, localOf } from './layout.ts';
import { Command, encodeCommand, Kind, receiveMessage, sendMessage } from './messages.ts';
import type { ClientSession, Progress, ServerSession } from './session.ts';
import { responseJobs, uploadJobs, uploadRangeBytes } from './split.ts';

const labelCount = (lane: Lane) => gadgetOf(lane).labelCots(lane.params) * lane.elements.length;
const productCount = (lane: Lane) => gadgetOf(lane).productCots(lane.params) * lane.elements.length;

// ------------------------------------------------------------------------------------------------------- client

/** The client's half. */
export async function prepareClient(
  session: ClientSession,
  progress?: Progress,
): Promise<ClientBundle> {
  const { channel, layout, random } = session;
  const { program, activations, linears, output } = layout;
  const number = session.nextBundle++;
  const total = linears.length + activations.length;
  let done = 0;
  const advance = (step: string) => progress?.(++done, total, step);
  const seed = freshSeed(random);
  const inputMask = randomRing(
    new Prg(deriveSeed(seed, 'input mask')),
    sizeOf(program.input.shape),
  );
  const masks = new Map(
    activations.map(({ index, size }) => [
      index,
      randomRing(new Prg(deriveSeed(seed, 'mask', index)), size),
    ]),
  );
  const maskOf = (index: number) => masks.get(index) as Int32Array;
  const linearAt = new Map(linears.map((layer) => [layer.index, layer]));
  const activationAt = new Map(activations.map((layer) => [layer.index, layer]));
  await channel.send(Kind.command, encodeCommand(Command.prepare, number));

  // Flight 1. A value the client does not know yet is undefined; checkProgram keeps it out of linear layers.
  const uploads = walkAsync<Int32Array | undefined>(program, {
    input: () => inputMask,
    async linear(_, x, index) {
      const layer = linearAt.get(index) as LinearLayout;
      await sendUpload(session, layer, x as Int32Array, deriveSeed(seed, 'upload', index));
      return undefined;
    },
    local: (step, inputs) =>
      inputs.includes(undefined) ? undefined : localOf(layout, step, inputs as Int32Array[]),
    activation: (_, __, index) => maskOf(index),
    output: () => undefined,
  });

  // Flight 2: c of every pre-activation, and the server's choices, which wait for their turn.
  const waiting: WaitingLane[] = [];
  let outputShare: Int32Array | undefined;
  const responses = walkAsync<Int32Array>(program, {
    input: () => inputMask,
    async linear({ name }, _, index) {
      const c = await receiveResponse(session, linearAt.get(index) as LinearLayout);
      advance(name);
      return c;
    },
    local: (step, inputs) => localOf(layout, step, inputs),
    async activation(_, c, index) {
      const { lanes } = activationAt.get(index) as ActivationLayout;
      for (const lane of lanes) {
        const bytes = cotBytes(productCount(lane), session.otK);
        const drawn = await receiveMessage(channel, Kind.productChoices, bytes);
        const mask = gather(maskOf(index), lane.elements);
        waiting.push({ lane, c: gather(c, lane.elements), mask, drawn });
      }
      return maskOf(index);
    },
    output(_, c) {
      outputShare = c;
      return c;
    },
  });
  await together(channel, uploads, responses);

  // Flight 3, and flight 4 behind it.
  const opened = waiting.map(() => new Deferred<LaneState>());
  const openedOutput = new Deferred<Omit<ArgmaxStored, 'tables'>>();
  const send = openLanes(session, waiting, seed, (i, state) => opened[i]!.resolve(state)).then(
    async () => {
      if (output.argmax === undefined) return;
      openedOutput.resolve(await openArgmax(session, output.argmax, outputShare!));
    },
  );
  const receive = async () => {
    const layers: LaneState[][] = [];
    let i = 0;
    for (const { step, lanes } of activations) {
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
    if (output.argmax === undefined) return { layers, output: outputShare! };
    const own = await openedOutput.promise;
    const { tables: bytes } = argmax.bytes(output.argmax);
    const tables = await receiveMessage(channel, Kind.tables, bytes);
    return { layers, output: { ...own, tables } };
  };
  const fail = (error: Error) => {
    for (const lane of [...opened, openedOutput]) lane.reject(error);
    throw error;
  };
  const received = receive();
  await together(channel, send.catch(fail), received);
  return { number, inputMask, ...(await received) };
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

/** Flight 3: sends choices and corrections of all lanes in order. */
async function openLanes(
  { channel, pool, cots, labelTweaks, productTweaks }: ClientSession,
  waiting: WaitingLane[],
  seed: Uint8Array,
  opened: (index: number, state: LaneState) => void,
): Promise<void> {
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
        opened(i, state);
        await sendMessage(channel, Kind.labelChoices, choices);
        await sendMessage(channel, Kind.corrections, corrections);
      }),
    );
  }
  await parts.drain();
}

/** Flight 3 of a garbled argmax. */
async function openArgmax(
  { channel, pool, cots, labelTweaks }: ClientSession,
  params: ArgmaxParams,
  c: Int32Array,
): Promise<Omit<ArgmaxStored, 'tables'>> {
  const ticket = cots.receiver.ticket(argmax.labelCots(params));
  const { message, blocks } = await pool.run('openArgmax', { params, c, ticket });
  await sendMessage(channel, Kind.labelChoices, message);
  return { labels: blocks, tweaks: labelTweaks.take(argmax.labelTweaks(params)) };
}

async function sendUpload(
  { channel, pool, secretKeys }: ClientSession,
  { plan }: LinearLayout,
  values: Int32Array,
  seed: Uint8Array,
): Promise<void> {
  const secretKey = secretKeys.get(plan.degree)!;
  const parts = new Ordered<Uint8Array>(pool.workers + 1, (part) =>
    sendMessage(channel, Kind.upload, part),
  );
  for (const range of uploadJobs(plan)) {
    await parts.add(pool.run('encryptUpload', { plan, secretKey, values, range, seed }));
  }
  await parts.drain();
}

async function receiveResponse(
  { channel, pool, secretKeys }: ClientSession,
  { plan, outputSize }: LinearLayout,
): Promise<Int32Array> {
  const secretKey = secretKeys.get(plan.degree)!;
  const c = new Int32Array(outputSize);
  const parts = new Ordered<{ range: PolynomialRange; shares: Int32Array }>(
    pool.workers + 1,
    ({ range, shares }) => placeShares(plan, shares, range, c),
  );
  for (const range of responseJobs(plan)) {
    const response = await receiveMessage(channel, Kind.response, responseBytes(plan, ...range));
    const input = { plan, secretKey, response, range };
    const work = pool.run('decryptResponse', input, { give: response });
    await parts.add(work.then((shares) => ({ range, shares })));
  }
  await parts.drain();
  return c;
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
  const total = linears.length + 2 * activations.length;
  let done = 0;
  const advance = (step: string) => progress?.(++done, total, step);
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

/** Numbers for kernels: workers know by them which transformed weights they have kept. */
const kernelIds = new WeakMap<Int32Array, number>();
let kernelCount = 0;

function idOf(kernel: Int32Array): number {
  let id = kernelIds.get(kernel);
  if (id === undefined) kernelIds.set(kernel, (id = kernelCount++));
  return id;
}

/** Takes an upload and queues its answers; the share s it returns is complete when they have been sent. */
async function answerUpload(
  { channel, pool, publicKeys }: ServerSession,
  { plan, outputSize }: LinearLayout,
  kernel: Int32Array,
  seed: Uint8Array,
  answers: Ordered<() => Promise<void>>,
): Promise<Int32Array> {
  const publicKey = publicKeys.get(plan.degree)!;
  const upload = bulkBytes(uploadBytes(plan));
  let at = 0;
  for (const range of uploadJobs(plan)) {
    const part = await receiveMessage(channel, Kind.upload, uploadRangeBytes(plan, range));
    upload.set(part, at);
    at += part.length;
  }
  const ciphertexts = await pool.run('decodeUpload', { plan, upload });
  const s = new Int32Array(outputSize);
  for (const range of responseJobs(plan)) {
    const layer = { plan, publicKey, kernel, kernelId: idOf(kernel), ciphertexts };
    const work = pool.run('evaluateLayer', { ...layer, range, seed });
    await answers.add(
      work.then(({ shares, response }) => async () => {
        placeShares(plan, shares, range, s);
        await sendMessage(channel, Kind.response, response);
      }),
    );
  }
  return s;
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
