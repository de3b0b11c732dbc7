/**
 * The root of a session's correlated OTs, from base OTs, once per session. Each bundle's offsets grow from it (offsets.ts); it
 * serves nothing else, so that what a bundle gives away of its offsets ends with the bundle.
 *
 * Before: both parties share a session id. After: the server holds the seeds of an extension's sender, under an offset that it
 * never uses for anything else, the client those of its receiver.
 *
 *     client                                                        server
 *       |  ---- base OT offer, 32 B ---------------------------------> |   offerBaseOt
 *       |  <--- base OT choices = the root's offset, 8,192 B --------- |   chooseSetup
 *       |  ---- trees -----------------------------------------------> |   extendSetup
 *                                                                          finishSetup
 *
 * The dearer public-key part (two multiplications by a changing point for each OT) is the client's, not the server's. Each step
 * is a function from plain data to plain data, so that it can run in a pool, the public-key work in parts ({@link BASE_PARTS}).
 */

import { deriveSeed, type Random, randomBytes } from '../random/index.ts';
import {
  BASE_OTS,
  type BaseReceiverKeys,
  type BaseSender,
  type BaseSenderKeys,
  CHOOSE_BYTES,
  chooseBaseOt,
  finishBaseOt,
  POINT_BYTES,
} from './base.ts';
import { DEFAULT_OT_K, type OtK } from './groups.ts';
import {
  prepareReceiver,
  prepareSender,
  type ReceiverSeeds,
  type SenderSeeds,
  treeBytes,
} from './softspoken.ts';

/** Bytes of the setup's three messages, in order. */
export function setupMessageBytes(k: OtK = DEFAULT_OT_K): readonly [number, number, number] {
  return [POINT_BYTES, CHOOSE_BYTES, treeBytes(k)];
}

/** A fresh offset: 16 bytes, the lowest bit of byte 0 set so that point-and-permute can use it. */
export function freshOffset(random: Random): Uint8Array {
  const offset = randomBytes(random, 16);
  offset[0]! |= 1;
  return offset;
}

/**
 * The 16 public bytes that tie the root to its session.
 * @param sessionId - 16 bytes both parties contributed to, never used before
 */
function contextOf(sessionId: Uint8Array): Uint8Array {
  return deriveSeed(sessionId, 'ot root');
}

/** The base OTs in parts of as many, each a task. LOCAL. */
const PART = 32;
export const BASE_PARTS: readonly number[] = Array.from(
  { length: BASE_OTS / PART },
  (_, i) => i * PART,
);

/**
 * Server: takes the offer, makes the choices in the base OTs from `from` on.
 * @param choices - all 128 bits of the root's offset
 * @throws ProtocolError `bad-message` or `bad-point`
 */
export function chooseSetup(
  sessionId: Uint8Array,
  choices: Uint8Array,
  offer: Uint8Array,
  from: number,
  random: Random,
): { message: Uint8Array; chosen: Uint8Array } {
  return chooseBaseOt(contextOf(sessionId), choices, offer, random, [from, from + PART]);
}

/**
 * Client: takes the choices, makes the keys of the base OTs from `from` on.
 * @param choice - the whole second message
 * @throws ProtocolError `bad-message` or `bad-point`
 */
export function keySetup(
  sessionId: Uint8Array,
  state: BaseSender,
  choice: Uint8Array,
  from: number,
): BaseSenderKeys {
  return finishBaseOt(contextOf(sessionId), state, choice, [from, from + PART]);
}

/**
 * Client: makes the third message, and has the root.
 * @param k - of all extensions of the session, the same at both parties
 */
export function extendSetup(
  sessionId: Uint8Array,
  keys: BaseSenderKeys,
  random: Random,
  k: OtK = DEFAULT_OT_K,
): { message: Uint8Array; seeds: ReceiverSeeds } {
  return prepareReceiver(contextOf(sessionId), keys, random, k);
}

/**
 * Server: takes the third message, and has the root.
 * @param k - the client's
 * @throws ProtocolError `bad-message`
 */
export function finishSetup(
  sessionId: Uint8Array,
  keys: BaseReceiverKeys,
  trees: Uint8Array,
  k: OtK = DEFAULT_OT_K,
): SenderSeeds {
  return prepareSender(contextOf(sessionId), keys, trees, k);
}
