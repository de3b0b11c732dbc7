/**
 * The tasks of the worker pool: the heavy pure steps of the protocol. Each function that this file exports is one, under its
 * name: `import * as tasks` is the table. Each takes and gives plain data, so that where a task runs cannot change what it
 * computes.
 */

import { type ArgmaxParams, type ArgmaxPrepared, argmax } from '../gadgets/argmax.ts';
import type { LaneState } from '../gadgets/gadget.ts';
import { gadgetOf, type Lane } from '../gadgets/index.ts';
import { type BaseSender, type BaseSenderKeys, offerBaseOt } from '../ot/base.ts';
import {
  type ReceiverTicket,
  redeemReceiver,
  redeemSender,
  type SenderTicket,
} from '../ot/correlations.ts';
import * as setup from '../ot/setup.ts';
import type { Pool, Runner } from '../pool/index.ts';
import type { Tweaks } from '../random/hash.ts';
import { Prg } from '../random/index.ts';
import { batchBytes, cut, join, type LaneShape, labelCount, productCount } from './batches.ts';

/** A lane of a batch, and the seed of what is random in it. */
export interface LaneInput extends LaneShape {
  readonly seed: Uint8Array;
}

/** The hash tweaks of a lane, in each direction. */
interface LaneTweaks {
  readonly labelTweaks: Tweaks;
  readonly productTweaks: Tweaks;
}

/** The OTs of a batch as their receiver holds them. */
interface Chosen {
  readonly blocks: Uint8Array;
  readonly choices: Uint8Array;
}

const labelOts = ({ kind, params, n }: LaneShape) =>
  gadgetOf({ kind, params }).labelCots(params) * n;
const productOts = ({ kind, params, n }: LaneShape) =>
  gadgetOf({ kind, params }).productCots(params) * n;

/**
 * The blocks, or packed choices, of each lane.
 * @param count - OTs of a lane in its batch, and those that it uses of them
 * @param each - bytes an OT
 */
function partsOf<T extends LaneShape>(
  lanes: readonly T[],
  bytes: Uint8Array,
  [count, used]: readonly [(lane: T) => number, (lane: T) => number],
  each: number,
): Uint8Array[] {
  return cut(lanes, bytes, (lane) => each * count(lane)).map((part, i) =>
    part.subarray(0, Math.ceil(each * used(lanes[i]!))),
  );
}

const LABELS = [labelCount, labelOts] as const;
const PRODUCTS = [productCount, productOts] as const;

export { linearOnline } from '../linear/online.ts';
export * from '../linear/tasks.ts';

/** Shows that a worker is there. */
export function probe(_: undefined): boolean {
  return true;
}

/** Client: the offer of the base OTs. */
export function offerSetup(input: { seed: Uint8Array }): BaseSender {
  return offerBaseOt(new Prg(input.seed));
}

/** Server: its choices in a range of the base OTs. */
export function chooseSetup(input: {
  sessionId: Uint8Array;
  offset: Uint8Array;
  message: Uint8Array;
  from: number;
  seed: Uint8Array;
}): { message: Uint8Array; chosen: Uint8Array } {
  const { sessionId, offset, message, from, seed } = input;
  return setup.chooseSetup(sessionId, offset, message, from, new Prg(seed));
}

/** Client: the keys of a range of the base OTs. */
export function keySetup(input: {
  sessionId: Uint8Array;
  state: BaseSender;
  message: Uint8Array;
  from: number;
}): BaseSenderKeys {
  return setup.keySetup(input.sessionId, input.state, input.message, input.from);
}

/** Server: its random choices in a batch's product OTs. */
export function drawBatch(input: {
  lanes: readonly LaneInput[];
  ticket: ReceiverTicket;
}): Chosen & { message: Uint8Array } {
  const choices = join(
    input.lanes.map((lane) => gadgetOf(lane).draw(lane.params, lane.n, lane.seed)),
  );
  return { ...redeemReceiver(input.ticket, choices), choices };
}

/** Client: its choices in a batch's label OTs, and the corrections of its product OTs. */
export function openBatch(input: {
  lanes: readonly (LaneInput &
    LaneTweaks & {
      c: Int32Array;
      /** The mask of the lane's results. */
      mask: Int32Array;
    })[];
  labels: ReceiverTicket;
  products: SenderTicket;
  /** The server's choices in the product OTs. */
  drawn: Uint8Array;
}): { choices: Uint8Array; corrections: Uint8Array; states: LaneState[] } {
  const { lanes, labels, products, drawn } = input;
  const chosen = join(lanes.map((lane) => gadgetOf(lane).choose(lane.params, lane.c, lane.seed)));
  const { message: choices, blocks } = redeemReceiver(labels, chosen);
  const own = partsOf(lanes, blocks, LABELS, 16);
  const bits = partsOf(lanes, chosen, LABELS, 1 / 8);
  const sent = partsOf(lanes, redeemSender(products, drawn), PRODUCTS, 16);
  const opened = lanes.map((lane, i) => {
    const { params, c, mask, seed, labelTweaks, productTweaks } = lane;
    return gadgetOf(lane).correct(params, {
      c,
      mask,
      labels: { blocks: own[i]!, choices: bits[i]!, tweaks: labelTweaks },
      products: { blocks: sent[i]!, offset: products.seeds.offset, tweaks: productTweaks },
      seed,
    });
  });
  const corrections = join(opened.map(({ message }) => message));
  return { choices, corrections, states: opened.map(({ state }) => state) };
}

/** Server: a batch's tables, from the client's choices and corrections. */
export function prepareBatch(input: {
  lanes: readonly (LaneInput & LaneTweaks)[];
  labels: SenderTicket;
  choices: Uint8Array;
  products: Chosen;
  corrections: Uint8Array;
}): { message: Uint8Array; states: LaneState[] } {
  const { lanes, labels, products } = input;
  const { offset } = labels.seeds;
  const sent = partsOf(lanes, redeemSender(labels, input.choices), LABELS, 16);
  const own = partsOf(lanes, products.blocks, PRODUCTS, 16);
  const bits = partsOf(lanes, products.choices, PRODUCTS, 1 / 8);
  const corrections = cut(lanes, input.corrections, (lane) => batchBytes([lane], 'corrections'));
  const prepared = lanes.map((lane, i) => {
    const { params, n, seed, labelTweaks, productTweaks } = lane;
    return gadgetOf(lane).prepare(params, {
      n,
      labels: { blocks: sent[i]!, offset, tweaks: labelTweaks },
      products: { blocks: own[i]!, choices: bits[i]!, tweaks: productTweaks },
      corrections: corrections[i]!,
      seed,
    });
  });
  return {
    message: join(prepared.map(({ message }) => message)),
    states: prepared.map(({ state }) => state),
  };
}

/** Client: its choices in the OTs of the largest output. */
export function openArgmax(input: {
  params: ArgmaxParams;
  c: Int32Array;
  ticket: ReceiverTicket;
}): { message: Uint8Array; blocks: Uint8Array } {
  return redeemReceiver(input.ticket, argmax.choose(input.params, input.c));
}

/** Server, online: what a lane's evaluator needs for the preactivations. */
export function reveal(
  input: Pick<Lane, 'kind' | 'params'> & { state: LaneState; a: Int32Array },
): { message: Uint8Array; state: LaneState } {
  return gadgetOf(input).reveal(input.params, input.state, input.a);
}

/** Client, online: its message of a lane. */
export function evaluate(
  input: LaneShape & { state: LaneState; material: Uint8Array },
): Uint8Array {
  return gadgetOf(input).evaluate(input.params, input.n, input.state, input.material);
}

/** Server: the tables of the largest output. */
export function prepareArgmax(input: {
  params: ArgmaxParams;
  ticket: SenderTicket;
  tweaks: Tweaks;
  choices: Uint8Array;
  seed: Uint8Array;
}): { message: Uint8Array; state: ArgmaxPrepared } {
  const { params, ticket, tweaks, choices, seed } = input;
  const labels = { blocks: redeemSender(ticket, choices), offset: ticket.seeds.offset, tweaks };
  return argmax.prepare(params, labels, seed);
}

/** Client, online: the place of the largest output. */
export function evaluateArgmax(input: {
  params: ArgmaxParams;
  labels: Uint8Array;
  tables: Uint8Array;
  tweaks: Tweaks;
  material: Uint8Array;
}): number {
  return argmax.evaluate(input.params, input.labels, input.tables, input.tweaks, input.material);
}

type Tasks = typeof import('./tasks.ts');

/** The pool that runs these tasks. */
export type ProtocolPool = Pool<Tasks>;

/** A session's part of it. */
export type ProtocolRunner = Runner<Tasks>;
