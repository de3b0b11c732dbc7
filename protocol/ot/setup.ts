/**
 * Correlated OT in both directions from one batch of base OTs, once per session.
 *
 * Before: both parties share a session id. After: each holds a {@link CotSender} and a {@link CotReceiver}.
 *
 *     client                                                        server
 *       |  ---- base OT offer, 32 B ---------------------------------> |   ClientSetup.offer
 *       |  <--- base OT choices = server's offset, 4,096 B ----------- |   ServerSetup.choose
 *       |  ---- trees, 4,096 B + one flush of 128 correlations, ------> |   ClientSetup.extend
 *       |         choices = client's offset                            |
 *       |  <--- trees of the other direction, 4,096 B ----------------- |   ServerSetup.finish
 *     ClientSetup.finish
 *
 * Why one batch: where the client is the extension's sender, it is the receiver of the base OTs below. 128 correlations of
 * the first direction, hashed, are just such base OTs, with the client's offset as the choices, at a thousandth of the cost.
 * The dearer public-key part (one multiplication by a changing point for each OT) is the client's, not the server's.
 */

import { ProtocolError } from '../errors.ts';
import { hashInstances, type Tweaks } from '../random/hash.ts';
import { deriveSeed, type Random, randomBytes } from '../random/index.ts';
import {
  BASE_OTS,
  type BaseReceiverKeys,
  type BaseSender,
  type BaseSenderKeys,
  CHOOSE_BYTES,
  chooseBaseOt,
  finishBaseOt,
  offerBaseOt,
  otContext,
  POINT_BYTES,
} from './base.ts';
import {
  type CotReceiver,
  type CotSender,
  cotBytes,
  ExtendedReceiver,
  ExtendedSender,
} from './correlations.ts';
import { senderPads } from './pads.ts';
import { prepareReceiver, prepareSender, SETUP_BYTES } from './softspoken.ts';

/** Both directions of one party. */
export interface Cots {
  readonly sender: CotSender;
  readonly receiver: CotReceiver;
}

/** Bytes of the setup's four messages, in order: two from the client, two from the server, in turn. */
export const SETUP_MESSAGE_BYTES: readonly [number, number, number, number] = [
  POINT_BYTES,
  CHOOSE_BYTES,
  SETUP_BYTES + cotBytes(BASE_OTS),
  SETUP_BYTES,
];

/** A fresh offset: 16 bytes, the lowest bit of byte 0 set so that point-and-permute can use it. */
export function freshOffset(random: Random): Uint8Array {
  const offset = randomBytes(random, 16);
  offset[0]! |= 1;
  return offset;
}

/** The client's side of the setup: `offer`, `extend`, `finish`, each once and in this order. */
export class ClientSetup {
  readonly #sessionId: Uint8Array;
  readonly #random: Random;
  #base: BaseSender | undefined;
  #receiver: ExtendedReceiver | undefined;
  #keys: BaseReceiverKeys | undefined;

  /** @param sessionId - 16 bytes both parties contributed to, never used before */
  constructor(sessionId: Uint8Array, random: Random) {
    this.#sessionId = sessionId;
    this.#random = random;
  }

  /** The first message. */
  offer(): Uint8Array {
    this.#base = offerBaseOt(this.#random);
    return this.#base.message;
  }

  /**
   * Takes the second message, makes the third.
   * @throws ProtocolError `bad-message` or `bad-point`
   */
  extend(message: Uint8Array): Uint8Array {
    const context = otContext(this.#sessionId, 'server');
    const keys = finishBaseOt(context, inOrder(this.#base), message);
    this.#base = undefined;
    const { message: trees, seeds } = prepareReceiver(context, keys, this.#random);
    const offset = freshOffset(this.#random);
    this.#receiver = new ExtendedReceiver(seeds);
    this.#receiver.alloc(offset, BASE_OTS);
    const flush = this.#receiver.flush();
    const tweaks = baseTweaks(this.#sessionId);
    const chosen = hashInstances(this.#receiver.take(BASE_OTS), tweaks);
    this.#keys = { choices: offset, chosen };
    const out = new Uint8Array(trees.length + flush.length);
    out.set(trees);
    out.set(flush, trees.length);
    return out;
  }

  /**
   * Takes the fourth message.
   * @throws ProtocolError `bad-message`
   */
  finish(message: Uint8Array): Cots {
    const context = otContext(this.#sessionId, 'client');
    const seeds = prepareSender(context, inOrder(this.#keys), message);
    this.#keys = undefined;
    return { sender: new ExtendedSender(seeds), receiver: inOrder(this.#receiver) };
  }
}

/** The server's side of the setup: `choose`, `finish`, each once and in this order. */
export class ServerSetup {
  readonly #sessionId: Uint8Array;
  readonly #random: Random;
  #keys: BaseReceiverKeys | undefined;

  /** @param sessionId - 16 bytes both parties contributed to, never used before */
  constructor(sessionId: Uint8Array, random: Random) {
    this.#sessionId = sessionId;
    this.#random = random;
  }

  /**
   * Takes the first message, makes the second.
   * @throws ProtocolError `bad-message` or `bad-point`
   */
  choose(message: Uint8Array): Uint8Array {
    const context = otContext(this.#sessionId, 'server');
    const offset = freshOffset(this.#random);
    const choice = chooseBaseOt(context, offset, message, this.#random);
    this.#keys = choice.keys;
    return choice.message;
  }

  /**
   * Takes the third message, makes the fourth, and is done.
   * @throws ProtocolError `bad-message`
   */
  finish(message: Uint8Array): { message: Uint8Array; cots: Cots } {
    if (message.length !== SETUP_MESSAGE_BYTES[2]) {
      throw new ProtocolError(
        'bad-message',
        `OT setup: expected ${SETUP_MESSAGE_BYTES[2]} bytes, got ${message.length}`,
      );
    }
    const context = otContext(this.#sessionId, 'server');
    const seeds = prepareSender(context, inOrder(this.#keys), message.subarray(0, SETUP_BYTES));
    this.#keys = undefined;
    const sender = new ExtendedSender(seeds);
    sender.alloc(BASE_OTS);
    sender.flush(message.subarray(SETUP_BYTES));
    const tweaks = baseTweaks(this.#sessionId);
    const keys: BaseSenderKeys = senderPads(sender.take(BASE_OTS), sender.offset, tweaks);
    const reverse = prepareReceiver(otContext(this.#sessionId, 'client'), keys, this.#random);
    return {
      message: reverse.message,
      cots: { sender, receiver: new ExtendedReceiver(reverse.seeds) },
    };
  }
}

/** Tweaks that hash the 128 correlations into base OT keys, of the session and of no other use. */
function baseTweaks(sessionId: Uint8Array): Tweaks {
  return { start: deriveSeed(sessionId, 'ot base from extension'), first: 0 };
}

function inOrder<T>(state: T | undefined): T {
  if (state === undefined) throw new RangeError('OT setup: steps called out of order');
  return state;
}
