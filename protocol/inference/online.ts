/**
 * The online phase: one private inference with one bundle. protocol/README has the algebra.
 *
 *     client (input x, masks r)                                  server (weights, s)
 *       |  ---- infer, x - r ------------------------------------>  |
 *       |  then for each activation layer, in order:                |  linear layers on integers: a
 *       |  <--- material of each lane ----------------------------  |
 *       |  ---- result of each lane ----------------------------->  |  y - r'
 *       |  at last                                                  |
 *       |  ---- seal, in the flight of the last result ---------->  |
 *       |  <--- high part of the logits' share, or labels for ----  |
 *       |       the argmax; seal                                    |
 *       |  logits, or the class                                     |
 *
 * Round trips: activation layers + 1. The client computes nothing but its halves of the gadgets. Masked numbers travel with
 * the bits of their value's ring (program/rings.ts).
 */

import { ProtocolError } from '../errors.ts';
import { argmax } from '../gadgets/argmax.ts';
import type { LaneState } from '../gadgets/gadget.ts';
import { addConstants, gadgetOf } from '../gadgets/index.ts';
import { logits } from '../gadgets/logits.ts';
import type { ActivationKind } from '../program/kinds.ts';
import { localOf } from '../program/local.ts';
import {
  type ChannelConstants,
  constantsOf,
  type LinearWeights,
  type Model,
} from '../program/model.ts';
import { walkAsync } from '../program/walk.ts';
import { pack, packedBytes, unpack } from '../ring/packing.ts';
import { sizeOf } from '../ring/shape.ts';
import { addInto, subtract } from '../ring/tensor.ts';
import type { ArgmaxStored, ClientBundle, ServerBundle } from './bundle.ts';
import { Deferred, Ordered, together } from './flow.ts';
import { type ActivationLayout, type OutputLayout, pickElements, scatter } from './layout.ts';
import { runLinear } from './linear.ts';
import {
  Command,
  encodeCommand,
  Kind,
  receiveMessage,
  sayGoodbye,
  sendMessage,
} from './messages.ts';
import type { ClientSession, Progress, ServerSession } from './session.ts';

// ------------------------------------------------------------------------------------------------------- client

/**
 * The client's half. The bundle must have been taken from its store: it is spent from here on.
 * @param input - the network's input in fixed point, [channels, height, width]
 * @returns the logits in fixed point, at the output's scale and rounded as program/cut.ts says, or for a program that reveals
 *   the label alone, one element: the class
 * @throws RangeError when the input has the wrong length; nothing has been sent then
 * @throws ProtocolError `corrupted` when what arrives cannot be the result: a logit beyond what its range and margin leave, a
 *   class that is none. The server is told goodbye alone: whether a result is refused may depend on the input
 */
export async function inferClient(
  session: ClientSession,
  bundle: ClientBundle,
  input: Int32Array,
  progress?: Progress,
): Promise<Int32Array> {
  const { online: channel, layout, pool } = session;
  const { activations, rings } = layout;
  if (input.length !== bundle.inputMask.length) {
    throw new RangeError(
      `input: expected ${bundle.inputMask.length} elements, got ${input.length}`,
    );
  }
  const masked = subtract(input, bundle.inputMask);
  await channel.send(Kind.infer, encodeCommand(Command.infer, bundle.number));
  await sendMessage(channel, Kind.maskedInput, pack(masked, rings[0]!));
  for (const [i, layer] of activations.entries()) {
    const states = bundle.layers[i]!;
    const results = new Ordered<Uint8Array>(pool.workers + 1, (result) =>
      sendMessage(channel, Kind.result, result),
    );
    for (const [j, lane] of layer.lanes.entries()) {
      const { kind, params, elements } = lane;
      const gadget = gadgetOf(lane);
      const n = elements.length;
      const { material: bytes } = gadget.bytes(params, n);
      const material = await receiveMessage(channel, Kind.material, bytes);
      const state = states[j]!;
      // The bundle is spent: nothing of the lane is needed again.
      const options = { give: { state, material }, urgent: true };
      await results.add(
        gadget.heavy
          ? pool.run('evaluate', { kind, params, n, state, material }, options)
          : Promise.resolve(gadget.evaluate(params, n, state, material)),
      );
    }
    await results.drain();
    progress?.(i + 1, activations.length + 1, layer.step.name);
  }
  await channel.seal();
  const result = await receiveOutput(session, bundle.output);
  const fault = faultOf(result, layout.output);
  if (fault !== undefined) {
    await sayGoodbye(session.channel);
    throw new ProtocolError('corrupted', fault);
  }
  progress?.(activations.length + 1, activations.length + 1, layout.output.step.name);
  return result;
}

async function receiveOutput(
  { online: channel, pool, layout }: ClientSession,
  own: Int32Array | ArgmaxStored,
): Promise<Int32Array> {
  const { logits: numbers, argmax: params } = layout.output;
  if (own instanceof Int32Array) {
    const message = await receiveMessage(channel, Kind.output, logits.bytes(numbers));
    await channel.expectSeal();
    return logits.join(numbers, own, message);
  }
  const material = await receiveMessage(channel, Kind.output, argmax.bytes(params!).material);
  await channel.expectSeal();
  const input = { params: params!, ...own, material };
  return Int32Array.of(await pool.run('evaluateArgmax', input, { urgent: true }));
}

/**
 * Why a result cannot be right, undefined when it can. Shares are numbers of the ring whatever a server sends: of logits
 * only the one that no sum within range and margin (program/check.ts) comes to can be told from a right one.
 */
function faultOf(
  result: Int32Array,
  { step, size, argmax: params }: OutputLayout,
): string | undefined {
  if (params !== undefined) {
    const [index] = result as Iterable<number> as [number];
    return index < size ? undefined : `the result is class ${index}, there are ${size}`;
  }
  const least = -(2 ** (step.rangeBits - 1));
  const at = result.indexOf(least);
  return at < 0
    ? undefined
    : `logit ${at} of the result is beyond the range that the program states`;
}

// ------------------------------------------------------------------------------------------------------- server

/** The server's half; the client's command has been read and the bundle taken from its store. */
export async function inferServer(
  session: ServerSession,
  model: Model,
  bundle: ServerBundle,
  progress?: Progress,
): Promise<void> {
  const { online: channel, layout } = session;
  const { activations, output, program, rings } = layout;
  let done = 0;
  await walkAsync<Int32Array>(program, {
    async input() {
      const size = sizeOf(program.input.shape);
      const bytes = packedBytes(size, rings[0]!);
      return unpack(await receiveMessage(channel, Kind.maskedInput, bytes), size, rings[0]!);
    },
    async linear(step, x, index) {
      const a = await runLinear(session, step, x, model.weights[index] as LinearWeights);
      addInto(a, bundle.linears.get(index)!);
      return a;
    },
    local: (step, inputs) => localOf(layout.shapes, step, inputs),
    async activation({ name }, a, index) {
      const at = activations.findIndex((layer) => layer.index === index);
      const constants = model.weights[index] as ChannelConstants | undefined;
      const y = await runActivation(session, activations[at]!, bundle.layers[at]!, a, constants);
      progress?.(++done, activations.length + 1, name);
      return y;
    },
    async output({ name }, a) {
      const message =
        bundle.output === undefined
          ? logits.reveal(output.logits, a)
          : argmax.reveal(output.argmax!, bundle.output, a);
      // What came decides what the output says: it leaves only if that is what the client sent.
      await channel.expectSeal();
      await sendMessage(channel, Kind.output, message);
      await channel.seal();
      progress?.(++done, activations.length + 1, name);
      return a;
    },
  });
}

/**
 * One activation layer at the server: from its share of the pre-activations to y - r'. No message says which lane it is of: both
 * parties send and expect them in the order of `lanes`. AGREEMENT.
 */
async function runActivation(
  { online: channel, pool }: ServerSession,
  { step, lanes, size, shape }: ActivationLayout,
  states: readonly LaneState[],
  a: Int32Array,
  constants: ChannelConstants | undefined,
): Promise<Int32Array> {
  const y = new Int32Array(size);
  const plane = shape[1] * shape[2];
  const added = (kind: ActivationKind) => constants && constantsOf(step, constants, kind);
  // Results may come back while material still leaves, so that neither side waits for the other to read.
  const pending = lanes.map(() => new Deferred<LaneState>());
  const send = (async () => {
    const parts = new Ordered<{ message: Uint8Array; state: LaneState; lane: number }>(
      pool.workers + 1,
      async ({ message, state, lane }) => {
        await sendMessage(channel, Kind.material, message);
        pending[lane]!.resolve(state);
      },
    );
    for (const [i, lane] of lanes.entries()) {
      const { kind, params, elements } = lane;
      const own = pickElements(a, elements);
      addConstants(lane, own, added(kind)?.before, plane);
      const gadget = gadgetOf(lane);
      const state = states[i]!;
      const options = { give: { state, own }, urgent: true };
      const work = gadget.heavy
        ? pool.run('reveal', { kind, params, state, a: own }, options)
        : Promise.resolve(gadget.reveal(params, state, own));
      await parts.add(work.then((result) => ({ ...result, lane: i })));
    }
    await parts.drain();
  })().catch((error: Error) => {
    // A client may have answered what was never sent: nobody may wait for that.
    for (const state of pending) state.reject(error);
    throw error;
  });
  const receive = (async () => {
    for (const [i, lane] of lanes.entries()) {
      const { kind, params, elements } = lane;
      const gadget = gadgetOf(lane);
      const { result: bytes } = gadget.bytes(params, elements.length);
      const result = await receiveMessage(channel, Kind.result, bytes);
      const values = gadget.finish(params, await pending[i]!.promise, result);
      addConstants(lane, values, added(kind)?.after, plane);
      scatter(y, elements, values);
    }
  })();
  await together(channel, send, receive);
  return y;
}
