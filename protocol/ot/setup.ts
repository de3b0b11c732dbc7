/**
 * Correlated OT in both directions from one batch of base OTs, once per session.
 *
 * Before: both parties share a session id. After: each holds a {@link CotSender} and a {@link CotReceiver}.
 *
 *     client                                                        server
 *       |  ---- base OT offer, 32 B ---------------------------------> |   offerSetup
 *       |  <--- base OT choices = server's offset, 4,096 B ----------- |   chooseSetup
 *       |  ---- trees, 4,096 B + one flush of 128 correlations, ------> |   extendSetup
 *       |         choices = client's offset                            |
 *       |  <--- trees of the other direction, 4,096 B ----------------- |   finishSetup
 *     joinSetup
 *
 * Why one batch: where the client is the extension's sender, it is the receiver of the base OTs below. 128 correlations of
 * the first direction, hashed, are just such base OTs, with the client's offset as the choices, at a thousandth of the cost.
 * The dearer public-key part (one multiplication by a changing point for each OT) is the client's, not the server's.
 *
 * Each step is a function from plain data to plain data, so that the public-key work can run in a pool; what a step keeps
 * for the party's next one is its `state`. Each state is used once.
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
import { cotBytes, ExtendedReceiver, ExtendedSender } from './correlations.ts';
import { senderPads } from './pads.ts';
import {
  DEFAULT_OT_K,
  extendReceiver,
  extendSender,
  type OtK,
  prepareReceiver,
  prepareSender,
  type ReceiverSeeds,
  SETUP_BYTES,
  type SenderSeeds,
} from './softspoken.ts';

/** Both directions of one party. */
export interface Cots {
  readonly sender: ExtendedSender;
  readonly receiver: ExtendedReceiver;
}

/** Bytes of the setup's four messages, in order: two from the client, two from the server, in turn. */
export function setupMessageBytes(
  k: OtK = DEFAULT_OT_K,
): readonly [number, number, number, number] {
  return [POINT_BYTES, CHOOSE_BYTES, SETUP_BYTES + cotBytes(BASE_OTS, k), SETUP_BYTES];
}

/** A fresh offset: 16 bytes, the lowest bit of byte 0 set so that point-and-permute can use it. */
export function freshOffset(random: Random): Uint8Array {
  const offset = randomBytes(random, 16);
  offset[0]! |= 1;
  return offset;
}

/** What both seeds of a party grow from: the extension in which it is the sender, and the one in which it chooses. */
export interface CotSeeds {
  readonly sender: SenderSeeds;
  readonly receiver: ReceiverSeeds;
}

/** The correlations of a session, from what the setup made. */
export function cotsOf({ sender, receiver }: CotSeeds): Cots {
  // Chunk 0 of one direction went into the setup itself.
  return { sender: new ExtendedSender(sender, 1), receiver: new ExtendedReceiver(receiver, 1) };
}

/** Client: the first message. */
export function offerSetup(random: Random): { message: Uint8Array; state: BaseSender } {
  const state = offerBaseOt(random);
  return { message: state.message, state };
}

/**
 * Server: takes the first message, makes the second.
 * @param sessionId - 16 bytes both parties contributed to, never used before
 * @throws ProtocolError `bad-message` or `bad-point`
 */
export function chooseSetup(
  sessionId: Uint8Array,
  offer: Uint8Array,
  random: Random,
): { message: Uint8Array; state: BaseReceiverKeys } {
  const offset = freshOffset(random);
  const { message, keys } = chooseBaseOt(otContext(sessionId, 'server'), offset, offer, random);
  return { message, state: keys };
}

/** What the client keeps until the last message. */
export interface ExtendState {
  readonly receiver: ReceiverSeeds;
  readonly keys: BaseReceiverKeys;
}

/**
 * Client: takes the second message, makes the third.
 * @param k - of both directions, the same at both parties
 * @throws ProtocolError `bad-message` or `bad-point`
 */
export function extendSetup(
  sessionId: Uint8Array,
  state: BaseSender,
  choice: Uint8Array,
  random: Random,
  k: OtK = DEFAULT_OT_K,
): { message: Uint8Array; state: ExtendState } {
  const context = otContext(sessionId, 'server');
  const base = finishBaseOt(context, state, choice);
  const { message: trees, seeds } = prepareReceiver(context, base, random, k);
  const offset = freshOffset(random);
  const flush = extendReceiver(seeds, 0, BASE_OTS, offset);
  const chosen = hashInstances(flush.blocks, baseTweaks(sessionId));
  const message = new Uint8Array(setupMessageBytes(k)[2]);
  message.set(trees);
  message.set(flush.message, trees.length);
  return { message, state: { receiver: seeds, keys: { choices: offset, chosen } } };
}

/**
 * Server: takes the third message, makes the fourth, and is done.
 * @param k - the client's
 * @throws ProtocolError `bad-message`
 */
export function finishSetup(
  sessionId: Uint8Array,
  state: BaseReceiverKeys,
  trees: Uint8Array,
  random: Random,
  k: OtK = DEFAULT_OT_K,
): { message: Uint8Array; seeds: CotSeeds } {
  const [, , bytes] = setupMessageBytes(k);
  if (trees.length !== bytes) {
    throw new ProtocolError(
      'bad-message',
      `OT setup: expected ${bytes} bytes, got ${trees.length}`,
    );
  }
  const context = otContext(sessionId, 'server');
  const sender = prepareSender(context, state, trees.subarray(0, SETUP_BYTES), k);
  const q = extendSender(sender, 0, BASE_OTS, trees.subarray(SETUP_BYTES));
  const keys: BaseSenderKeys = senderPads(q, sender.offset, baseTweaks(sessionId));
  const reverse = prepareReceiver(otContext(sessionId, 'client'), keys, random, k);
  return { message: reverse.message, seeds: { sender, receiver: reverse.seeds } };
}

/**
 * Client: takes the fourth message, and is done.
 * @throws ProtocolError `bad-message`
 */
export function joinSetup(
  sessionId: Uint8Array,
  { receiver, keys }: ExtendState,
  trees: Uint8Array,
): CotSeeds {
  const sender = prepareSender(otContext(sessionId, 'client'), keys, trees, receiver.k);
  return { sender, receiver };
}

/** Tweaks that hash the 128 correlations into base OT keys, of the session and of no other use. */
function baseTweaks(sessionId: Uint8Array): Tweaks {
  return { start: deriveSeed(sessionId, 'ot base from extension'), first: 0 };
}
