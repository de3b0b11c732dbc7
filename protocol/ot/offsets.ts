/**
 * Fresh offsets for a bundle, in both directions, from the root of the session (setup.ts).
 *
 * Before: the root. After: each party holds the tickets of two extensions, under offsets that this bundle alone uses: *labels*,
 * in which the client chooses and the server has the offset, and *products*, the other way round.
 *
 *     client                                                        server
 *       |  ---- 128 root correlations, choices = its offset ---------> |   drawOffsets
 *       |  <--- trees of products; 128 correlations of products, ----- |   answerOffsets
 *       |         choices = the server's offset                        |
 *       |  ---- trees of labels -------------------------------------> |   finishOffsets
 *                                                                          joinOffsets
 *
 * Base OTs for an extension are correlations of another one, hashed: whoever chose them has the offset of the new
 * extension as its choices, at a thousandth of what public keys cost. All of it travels with the choices and masks of the
 * bundle, so that no round is added.
 *
 * Leakage: none. What the sender of an extension hashes is checked first, as every correlation. Who learns the offset of one bundle
 * learns nothing of another's: they have only the root in common, whose offset hides 128 choices a bundle and nothing else.
 */

import { ProtocolError } from '../errors.ts';
import { hashInstances, type Tweaks } from '../random/hash.ts';
import { deriveSeed, type Random } from '../random/index.ts';
import { BASE_OTS, type BaseReceiverKeys } from './base.ts';
import { CorrelationTickets, cotBytes, redeemReceiver, redeemSender } from './correlations.ts';
import { DEFAULT_OT_K, type OtK } from './groups.ts';
import { senderPads } from './pads.ts';
import { freshOffset } from './setup.ts';
import {
  extendReceiver,
  extendSender,
  prepareReceiver,
  prepareSender,
  type ReceiverSeeds,
  type SenderSeeds,
  treeBytes,
} from './softspoken.ts';

/** Bytes of the three messages, in order. */
export function offsetMessageBytes(k: OtK = DEFAULT_OT_K): readonly [number, number, number] {
  const choices = cotBytes(BASE_OTS, k);
  return [choices, treeBytes(k) + choices, treeBytes(k)];
}

/** A bundle's correlations at the client. */
export interface ClientCots {
  readonly labels: CorrelationTickets<ReceiverSeeds>;
  readonly products: CorrelationTickets<SenderSeeds>;
}

/** A bundle's correlations at the server. */
export interface ServerCots {
  readonly labels: CorrelationTickets<SenderSeeds>;
  readonly products: CorrelationTickets<ReceiverSeeds>;
}

/** Which bundle of which session: in every key and tweak. */
export interface BundleName {
  /** 16 bytes both parties contributed to, never used before. */
  readonly sessionId: Uint8Array;
  /** Of the bundle, never used before in the session. */
  readonly number: number;
}

const contextOf = ({ sessionId, number }: BundleName, extension: 'labels' | 'products') =>
  deriveSeed(sessionId, `ot ${extension}`, number);

/** Tweaks that hash 128 correlations into base OT keys of an extension, for no other use. */
const tweaksOf = (name: BundleName, extension: 'labels' | 'products'): Tweaks => ({
  start: deriveSeed(contextOf(name, extension), 'ot base from extension'),
  first: 0,
});

/** Client: its offset, as choices in correlations of the root. The state is its keys. */
export function drawOffsets(
  name: BundleName,
  root: ReceiverSeeds,
  random: Random,
): { message: Uint8Array; state: BaseReceiverKeys } {
  const choices = freshOffset(random);
  const { message, blocks } = extendReceiver(root, name.number, BASE_OTS, choices);
  return { message, state: { choices, chosen: hashInstances(blocks, tweaksOf(name, 'products')) } };
}

/** What the server keeps until the third message. */
export interface AnsweredOffsets {
  readonly products: CorrelationTickets<ReceiverSeeds>;
  readonly keys: BaseReceiverKeys;
}

/**
 * Server: takes the first message, makes the second.
 * @throws ProtocolError `bad-message`, `corrupted`
 */
export function answerOffsets(
  name: BundleName,
  root: SenderSeeds,
  request: Uint8Array,
  random: Random,
): { message: Uint8Array; state: AnsweredOffsets } {
  const q = extendSender(root, name.number, BASE_OTS, request);
  const base = senderPads(q, root.offset, tweaksOf(name, 'products'));
  const { message: trees, seeds } = prepareReceiver(
    contextOf(name, 'products'),
    base,
    random,
    root.k,
  );
  const products = new CorrelationTickets(seeds);
  const choices = freshOffset(random);
  const { message: own, blocks } = redeemReceiver(products.take(BASE_OTS), choices);
  const message = new Uint8Array(trees.length + own.length);
  message.set(trees);
  message.set(own, trees.length);
  const chosen = hashInstances(blocks, tweaksOf(name, 'labels'));
  return { message, state: { products, keys: { choices, chosen } } };
}

/**
 * Client: takes the second message, makes the third, and is done.
 * @throws ProtocolError `bad-message`, `corrupted`
 */
export function finishOffsets(
  name: BundleName,
  state: BaseReceiverKeys,
  answer: Uint8Array,
  random: Random,
  k: OtK = DEFAULT_OT_K,
): { message: Uint8Array; cots: ClientCots } {
  const bytes = treeBytes(k);
  if (answer.length !== offsetMessageBytes(k)[1]) {
    throw new ProtocolError(
      'bad-message',
      `offsets: expected ${offsetMessageBytes(k)[1]} bytes, got ${answer.length}`,
    );
  }
  const trees = answer.subarray(0, bytes);
  const sender = prepareSender(contextOf(name, 'products'), state, trees, k);
  const products = new CorrelationTickets(sender);
  const q = redeemSender(products.take(BASE_OTS), answer.subarray(bytes));
  const base = senderPads(q, sender.offset, tweaksOf(name, 'labels'));
  const { message, seeds } = prepareReceiver(contextOf(name, 'labels'), base, random, k);
  return { message, cots: { labels: new CorrelationTickets(seeds), products } };
}

/**
 * Server: takes the third message, and is done.
 * @throws ProtocolError `bad-message`
 */
export function joinOffsets(
  name: BundleName,
  { products, keys }: AnsweredOffsets,
  trees: Uint8Array,
): ServerCots {
  const { k } = products.seeds;
  const labels = new CorrelationTickets(prepareSender(contextOf(name, 'labels'), keys, trees, k));
  return { labels, products };
}
