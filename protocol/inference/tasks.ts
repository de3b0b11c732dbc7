/**
 * The tasks of the worker pool: the heavy pure steps of the protocol, by name. Each takes and gives plain data, so that
 * where a task runs cannot change what it computes.
 */

import { type ArgmaxParams, argmax } from '../gadgets/argmax.ts';
import type { GadgetParams, LaneState } from '../gadgets/gadget.ts';
import { gadgetOf } from '../gadgets/index.ts';
import { linearOnline } from '../linear/online.ts';
import { linearTasks } from '../linear/tasks.ts';
import type { BaseSender } from '../ot/base.ts';
import {
  type ReceiverTicket,
  redeemReceiver,
  redeemSender,
  type SenderTicket,
} from '../ot/correlations.ts';
import type { ReceiverCots } from '../ot/pads.ts';
import { chooseSetup, extendSetup, offerSetup } from '../ot/setup.ts';
import type { OtK } from '../ot/softspoken.ts';
import type { Pool } from '../pool/index.ts';
import type { ActivationKind } from '../program/kinds.ts';
import type { Tweaks } from '../random/hash.ts';
import { Prg } from '../random/index.ts';

/** Which gadget, with which numbers. */
interface LaneInput {
  readonly kind: ActivationKind;
  readonly params: GadgetParams;
}

export const tasks = {
  ...linearTasks,
  linearOnline,

  offerSetup: (input: { seed: Uint8Array }) => offerSetup(new Prg(input.seed)),

  chooseSetup: (input: { sessionId: Uint8Array; message: Uint8Array; seed: Uint8Array }) =>
    chooseSetup(input.sessionId, input.message, new Prg(input.seed)),

  extendSetup: (input: {
    sessionId: Uint8Array;
    state: BaseSender;
    message: Uint8Array;
    seed: Uint8Array;
    otK: OtK;
  }) => extendSetup(input.sessionId, input.state, input.message, new Prg(input.seed), input.otK),

  /** Server: its random choices in a lane's product OTs. */
  drawLane: (
    input: LaneInput & { n: number; ticket: ReceiverTicket; seed: Uint8Array },
  ): { message: Uint8Array; blocks: Uint8Array; choices: Uint8Array } => {
    const choices = gadgetOf(input).draw(input.params, input.n, input.seed);
    return { ...redeemReceiver(input.ticket, choices), choices };
  },

  /** Client: its choices in a lane's label OTs, and the corrections of its product OTs. */
  openLane: (
    input: LaneInput & {
      c: Int32Array;
      /** The mask of the lane's results. */
      mask: Int32Array;
      labels: ReceiverTicket;
      labelTweaks: Tweaks;
      products: SenderTicket;
      productTweaks: Tweaks;
      /** The server's choices in the product OTs. */
      drawn: Uint8Array;
      seed: Uint8Array;
    },
  ): { choices: Uint8Array; corrections: Uint8Array; state: LaneState } => {
    const { params, c, mask, products, seed } = input;
    const gadget = gadgetOf(input);
    const chosen = gadget.choose(params, c, seed);
    const { message: choices, blocks } = redeemReceiver(input.labels, chosen);
    const { message: corrections, state } = gadget.correct(params, {
      c,
      mask,
      labels: { blocks, choices: chosen, tweaks: input.labelTweaks },
      products: {
        blocks: redeemSender(products, input.drawn),
        offset: products.seeds.offset,
        tweaks: input.productTweaks,
      },
      seed,
    });
    return { choices, corrections, state };
  },

  /** Server: a lane's tables, from the client's choices and corrections. */
  prepareLane: (
    input: LaneInput & {
      n: number;
      labels: SenderTicket;
      labelTweaks: Tweaks;
      choices: Uint8Array;
      products: ReceiverCots;
      corrections: Uint8Array;
      seed: Uint8Array;
    },
  ): { message: Uint8Array; state: LaneState } => {
    const { params, n, labels, labelTweaks, choices, products, corrections, seed } = input;
    const { offset } = labels.seeds;
    const own = { blocks: redeemSender(labels, choices), offset, tweaks: labelTweaks };
    return gadgetOf(input).prepare(params, { n, labels: own, products, corrections, seed });
  },

  openArgmax: (input: { params: ArgmaxParams; c: Int32Array; ticket: ReceiverTicket }) =>
    redeemReceiver(input.ticket, argmax.choose(input.params, input.c)),

  reveal: (
    input: LaneInput & { state: LaneState; a: Int32Array },
  ): { message: Uint8Array; state: LaneState } =>
    gadgetOf(input).reveal(input.params, input.state, input.a),

  evaluate: (
    input: LaneInput & { n: number; state: LaneState; material: Uint8Array },
  ): Uint8Array => gadgetOf(input).evaluate(input.params, input.n, input.state, input.material),

  prepareArgmax: (input: {
    params: ArgmaxParams;
    ticket: SenderTicket;
    tweaks: Tweaks;
    choices: Uint8Array;
    seed: Uint8Array;
  }) => {
    const { params, ticket, tweaks, choices, seed } = input;
    const labels = { blocks: redeemSender(ticket, choices), offset: ticket.seeds.offset, tweaks };
    return argmax.prepare(params, labels, seed);
  },

  evaluateArgmax: (input: {
    params: ArgmaxParams;
    labels: Uint8Array;
    tables: Uint8Array;
    tweaks: Tweaks;
    material: Uint8Array;
  }) => argmax.evaluate(input.params, input.labels, input.tables, input.tweaks, input.material),
};

/** The pool that runs these tasks. */
export type ProtocolPool = Pool<typeof tasks>;
