/**
 * The offline phase: both parties prepare one bundle, before the input exists. PROTOCOL sections 4, 5, 6 and 9.
 *
 *     client                                                     server
 *  1    |  ---- prepare; per linear layer: Enc(mask) ------------->  |
 *  2    |  <--- per linear layer: response; per activation --------  |
 *       |       layer: its choices in the product OTs                |
 *       |       c = W*mask - s of every layer                        |   s
 *  3    |  ---- per activation layer: choices in the label OTs, -->  |
 *       |       corrections                                          |
 *  4    |  <--- per lane: garbled tables --------------------------  |   states of the lanes
 *
 * Two round trips, whatever the depth: masks are chosen by the client alone, so that all linear layers go at once. The
 * layers of a flight stream: each is sent when it is ready, and the other side works on it while the next is made.
 *
 * Both sides take OTs and hash tweaks in the order of layers and lanes, which is all the state they share.
 */

import { bulkBytes } from '../bulk.ts';
import { argmax } from '../gadgets/argmax.ts';
import type { LaneState } from '../gadgets/gadget.ts';
import { gadgetOf, type Lane } from '../gadgets/index.ts';
import { type CotReceiver, type CotSender, cotBytes } from '../ot/correlations.ts';
import type { LinearWeights, Model } from '../program/model.ts';
import { walkAsync } from '../program/walk.ts';
import type { Tweaks } from '../random/hash.ts';
import { deriveSeed, freshSeed, Prg, randomRing } from '../random/index.ts';
import { sizeOf } from '../ring/shape.ts';
import { type PolynomialRange, placeShares, responseBytes, uploadBytes } from '../rlwe/index.ts';
import type { ArgmaxStored, ClientBundle, ServerBundle } from './bundle.ts';
import { inSequence, Ordered, together } from './flow.ts';
import { type ActivationLayout, gather, type LinearLayout, localOf } from './layout.ts';
import { Command, encodeCommand, Kind, receiveMessage, sendMessage } from './messages.ts';
import type { ClientSession, Progress, ProtocolPool, ServerSession } from './session.ts';
import { responseJobs, uploadJobs, uploadRangeBytes } from './split.ts';

// ---------------------------------------------------------------------------------------------------------- OTs

/** Chooses: the message for the other side, and the blocks of each choice. One flush for a whole layer. */
async function choose(
  pool: ProtocolPool,
  receiver: CotReceiver,
  choices: readonly { bits: Uint8Array; count: number }[],
): Promise<{ message: Uint8Array; blocks: Uint8Array[] }> {
  for (const { bits, count } of choices) receiver.alloc(bits, count);
  const jobs = receiver.plan().map((job) => pool.run('runReceiverJob', job));
  const message = receiver.absorb(await Promise.all(jobs));
  return { message, blocks: choices.map(({ count }) => receiver.take(count)) };
}

/** Takes the message of the other side's choices, or the means to get it, and returns the blocks q of each count. */
async function absorb(
  pool: ProtocolPool,
  sender: CotSender,
  counts: readonly number[],
  message: Uint8Array | ((bytes: number) => Promise<Uint8Array>),
): Promise<Uint8Array[]> {
  for (const count of counts) sender.alloc(count);
  const received = typeof message === 'function' ? await message(sender.messageBytes) : message;
  const jobs = sender.plan(received).map((job) => pool.run('runSenderJob', job));
  sender.absorb(await Promise.all(jobs));
  return counts.map((count) => sender.take(count));
}

const labelCount = ({ kind, params, elements }: Lane) =>
  gadgetOf(kind).labelCots(params) * elements.length;
const productCount = ({ kind, params, elements }: Lane) =>
  gadgetOf(kind).productCots(params) * elements.length;

// ------------------------------------------------------------------------------------------------------- client

/** The client's half. */
export async function prepareClient(
  session: ClientSession,
  progress?: Progress,
): Promise<ClientBundle> {
  const { channel, layout, cots, random } = session;
  const { program, activations, linears, output } = layout;
  const number = session.nextBundle++;
  const total = linears.length + 2 * activations.length;
  let done = 0;
  const advance = () => progress?.(++done, total);
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
  const shares = new Map<number, Int32Array>();
  const choices = new Map<number, Uint8Array>();
  let outputShare: Int32Array | undefined;
  const responses = walkAsync<Int32Array>(program, {
    input: () => inputMask,
    async linear(_, __, index) {
      const c = await receiveResponse(session, linearAt.get(index) as LinearLayout);
      advance();
      return c;
    },
    local: (step, inputs) => localOf(layout, step, inputs),
    async activation(_, c, index) {
      shares.set(index, c);
      const layer = activations.find((candidate) => candidate.index === index);
      const count = (layer as ActivationLayout).lanes.reduce(
        (n, lane) => n + productCount(lane),
        0,
      );
      const bytes = cotBytes(count);
      choices.set(index, await receiveMessage(channel, Kind.productChoices, bytes));
      return maskOf(index);
    },
    output(_, c) {
      outputShare = c;
      return c;
    },
  });
  await together(channel, uploads, responses);

  // Flight 3, layer after layer, and flight 4 behind it.
  const opened = inSequence(activations, async (layer) => {
    const lanes = await openLayer(
      session,
      layer,
      shares.get(layer.index) as Int32Array,
      choices.get(layer.index) as Uint8Array,
      deriveSeed(seed, 'layer', layer.index),
    );
    shares.delete(layer.index);
    choices.delete(layer.index);
    advance();
    return lanes;
  });
  const { argmax: params } = output;
  const c = outputShare as unknown as Int32Array;
  const openedOutput = (opened.at(-1) ?? Promise.resolve()).then(async () => {
    if (params === undefined) return undefined;
    const count = argmax.labelCots(params);
    const choice = { bits: argmax.choose(params, c), count };
    const { message, blocks } = await choose(session.pool, cots.receiver, [choice]);
    await sendMessage(channel, Kind.labelChoices, message);
    const tweaks = session.labelTweaks.take(argmax.labelTweaks(params));
    return { labels: blocks[0] as Uint8Array, tweaks };
  });
  const layers: { mask: Int32Array; lanes: LaneState[] }[] = [];
  let stored: Int32Array | ArgmaxStored = c;
  const tables = (async () => {
    for (const [i, layer] of activations.entries()) {
      const lanes: LaneState[] = [];
      for (const [j, lane] of layer.lanes.entries()) {
        const { state, labels, tweaks } = (await (opened[i] as (typeof opened)[0]))[
          j
        ] as OpenedLane;
        const gadget = gadgetOf(lane.kind);
        const { tables: bytes } = gadget.bytes(lane.params, lane.elements.length);
        const message = await receiveMessage(channel, Kind.tables, bytes);
        lanes.push(gadget.store(lane.params, state, labels, tweaks, message));
      }
      layers.push({ mask: maskOf(layer.index), lanes });
      advance();
    }
    const argmaxOpened = await openedOutput;
    if (params !== undefined && argmaxOpened !== undefined) {
      const bytes = argmax.bytes(params).tables;
      stored = { ...argmaxOpened, tables: await receiveMessage(channel, Kind.tables, bytes) };
    }
  })();
  await together(channel, openedOutput, tables);
  return { number, inputMask, layers, output: stored };
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
    const work = pool.run('decryptResponse', { plan, secretKey, response, range });
    await parts.add(work.then((shares) => ({ range, shares })));
  }
  await parts.drain();
  return c;
}

/** A lane between flights 3 and 4. */
interface OpenedLane {
  readonly state: LaneState;
  readonly labels: Uint8Array;
  readonly tweaks: Tweaks;
}

/** Flight 3 of one layer. */
async function openLayer(
  session: ClientSession,
  { lanes }: ActivationLayout,
  c: Int32Array,
  serverChoices: Uint8Array,
  seed: Uint8Array,
): Promise<OpenedLane[]> {
  const { channel, pool, cots, labelTweaks, productTweaks } = session;
  const values = lanes.map(({ elements }) => gather(c, elements));
  const bits = lanes.map((lane, i) => ({
    bits: gadgetOf(lane.kind).choose(lane.params, values[i] as Int32Array),
    count: labelCount(lane),
  }));
  const { message, blocks: labels } = await choose(pool, cots.receiver, bits);
  await sendMessage(channel, Kind.labelChoices, message);
  const blocks = await absorb(pool, cots.sender, lanes.map(productCount), serverChoices);
  const opened: OpenedLane[] = [];
  const parts = new Ordered<OpenedLane & { message: Uint8Array }>(
    pool.workers + 1,
    async ({ message, ...lane }) => {
      opened.push(lane);
      await sendMessage(channel, Kind.corrections, message);
    },
  );
  for (const [i, { kind, params, elements }] of lanes.entries()) {
    const gadget = gadgetOf(kind);
    const own = labels[i] as Uint8Array;
    const tweaks = labelTweaks.take(gadget.labelTweaks(params, elements.length));
    const products = {
      blocks: blocks[i] as Uint8Array,
      offset: cots.sender.offset,
      tweaks: productTweaks.take(gadget.productTweaks(params, elements.length)),
    };
    const work = pool.run('correct', {
      kind,
      params,
      c: values[i] as Int32Array,
      products,
      seed: deriveSeed(seed, 'lane', i),
    });
    await parts.add(work.then((result) => ({ ...result, labels: own, tweaks })));
  }
  await parts.drain();
  return opened;
}

// ------------------------------------------------------------------------------------------------------- server

/** The server's half; the client's command has been read. */
export async function prepareServer(
  session: ServerSession,
  model: Model,
  number: number,
  progress?: Progress,
): Promise<ServerBundle> {
  const { channel, layout, cots, random } = session;
  const { activations, linears, output } = layout;
  const total = linears.length + 2 * activations.length;
  let done = 0;
  const advance = () => progress?.(++done, total);
  const seed = freshSeed(random);
  const seedOf = (layer: ActivationLayout) => deriveSeed(seed, 'layer', layer.index);

  // Flights 1 and 2, in the order of steps; a layer is worked on while the answers to the last are still under way.
  const shares = new Map<number, Int32Array>();
  const products = new Map<number, ReceiverLane[]>();
  const answers = new Ordered<() => Promise<void>>(session.pool.workers + 1, (send) => send());
  let flush: Promise<unknown> = Promise.resolve();
  const layers = [...linears, ...activations].sort((x, y) => x.index - y.index);
  for (const layer of layers) {
    if ('plan' in layer) {
      const { kernel } = model.weights[layer.index] as LinearWeights;
      const own = deriveSeed(seed, 'response', layer.index);
      shares.set(layer.index, await answerUpload(session, layer, kernel, own, answers));
    } else {
      // One flush at a time, each behind the answers before it.
      const made = flush.then(() => chooseProducts(session, layer, seedOf(layer)));
      flush = made;
      await answers.add(
        made.then(({ message, lanes }) => async () => {
          products.set(layer.index, lanes);
          await sendMessage(channel, Kind.productChoices, message);
        }),
      );
    }
    advance();
  }
  await answers.drain();

  // Flights 3 and 4.
  const prepared: LaneState[][] = [];
  for (const layer of activations) {
    const own = products.get(layer.index) as ReceiverLane[];
    products.delete(layer.index);
    prepared.push(await garbleLayer(session, layer, own, seedOf(layer)));
    advance();
  }
  if (output.argmax === undefined) {
    return { number, linears: shares, layers: prepared, output: undefined };
  }
  const params = output.argmax;
  const [blocks] = await absorb(session.pool, cots.sender, [argmax.labelCots(params)], (bytes) =>
    receiveMessage(channel, Kind.labelChoices, bytes),
  );
  const labels = {
    blocks: blocks as Uint8Array,
    offset: cots.sender.offset,
    tweaks: session.labelTweaks.take(argmax.labelTweaks(params)),
  };
  const own = deriveSeed(seed, 'argmax');
  const { message, state } = await session.pool.run('prepareArgmax', { params, labels, seed: own });
  await sendMessage(channel, Kind.tables, message);
  return { number, linears: shares, layers: prepared, output: state };
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
    const work = pool.run('evaluateLayer', { plan, publicKey, kernel, ciphertexts, range, seed });
    await answers.add(
      work.then(({ shares, response }) => async () => {
        placeShares(plan, shares, range, s);
        await sendMessage(channel, Kind.response, response);
      }),
    );
  }
  return s;
}

/** A lane's product OTs as the server holds them. */
interface ReceiverLane {
  readonly blocks: Uint8Array;
  readonly choices: Uint8Array;
}

/** The server's random choices in one layer's product OTs. */
async function chooseProducts(
  { pool, cots }: ServerSession,
  { lanes }: ActivationLayout,
  seed: Uint8Array,
): Promise<{ message: Uint8Array; lanes: ReceiverLane[] }> {
  const choices = lanes.map((lane, i) => ({
    bits: gadgetOf(lane.kind).draw(lane.params, lane.elements.length, deriveSeed(seed, 'lane', i)),
    count: productCount(lane),
  }));
  const { message, blocks } = await choose(pool, cots.receiver, choices);
  const own = choices.map(({ bits }, i) => ({ blocks: blocks[i] as Uint8Array, choices: bits }));
  return { message, lanes: own };
}

/** Flight 4 of one layer. */
async function garbleLayer(
  { channel, pool, cots, labelTweaks, productTweaks }: ServerSession,
  { lanes }: ActivationLayout,
  products: readonly ReceiverLane[],
  seed: Uint8Array,
): Promise<LaneState[]> {
  const blocks = await absorb(pool, cots.sender, lanes.map(labelCount), (bytes) =>
    receiveMessage(channel, Kind.labelChoices, bytes),
  );
  const states: LaneState[] = [];
  const parts = new Ordered<{ message: Uint8Array; state: LaneState }>(
    pool.workers + 1,
    async ({ message, state }) => {
      states.push(state);
      await sendMessage(channel, Kind.tables, message);
    },
  );
  for (const [i, { kind, params, elements }] of lanes.entries()) {
    const gadget = gadgetOf(kind);
    const n = elements.length;
    const corrections = await receiveMessage(
      channel,
      Kind.corrections,
      gadget.bytes(params, n).corrections,
    );
    const labels = {
      blocks: blocks[i] as Uint8Array,
      offset: cots.sender.offset,
      tweaks: labelTweaks.take(gadget.labelTweaks(params, n)),
    };
    const own = {
      ...(products[i] as ReceiverLane),
      tweaks: productTweaks.take(gadget.productTweaks(params, n)),
    };
    await parts.add(
      pool.run('prepare', {
        kind,
        params,
        n,
        labels,
        products: own,
        corrections,
        seed: deriveSeed(seed, 'lane', i),
      }),
    );
  }
  await parts.drain();
  return states;
}
