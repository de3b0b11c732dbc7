/**
 * Base oblivious transfer: 128 random 1-of-2 OTs from public-key operations, once per session.
 *
 * Masny and Rindal, "Endemic Oblivious Transfer", CCS 2019, figure 8, over ristretto255 (RFC 9496), secure against parties
 * that deviate, in the random oracle model: endemic, which is to say that who deviates may choose the keys it gets, and learns
 * no other. One point A serves all 128, as in McQuoid, Rosulek and Roy, "Batching Base Oblivious Transfers", Asiacrypt 2021, so
 * that the session, the index and the side go into every oracle, and all points into every key.
 *
 * Before: the receiver holds 128 choice bits c_i. After: the sender holds two keys for each i, the receiver the one of c_i.
 *
 *     sender (a)                                              receiver (c, b_i)
 *         |  ---- A = a G, 32 B ------------------------------->  |   offer -> choose
 *         |  <--- R0_i, R1_i, 128 x 64 B ----------------------   |   R_(1-c) random,
 *         |                                                       |   R_c = b_i G - P(i, c, R_(1-c))
 *     key0_i = H(.., a (R0_i + P(i, 0, R1_i)))               key_i = H(.., b_i A)
 *     key1_i = H(.., a (R1_i + P(i, 1, R0_i)))
 *
 * P hashes to the group. A receiver knows a logarithm of at most one of the two sums: whichever of R0, R1 it asks P for
 * last, that oracle's answer is random after the other is fixed. So what it chose is known from its questions, before it
 * sees anything of the sender's.
 *
 * Leakage: R0 and R1 are uniform whatever c_i is. The group arithmetic is noble's, on BigInt: its sequence of group operations
 * does not depend on the scalar, but no JavaScript big-integer code runs in constant time, so a party that can time this
 * step to the nanosecond, from the same machine, is outside the claim. The choice itself is taken by masking bytes.
 */

import { ristretto255, ristretto255_hasher } from '@noble/curves/ed25519.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { ProtocolError } from '../errors.ts';
import { type Random, randomBytes } from '../random/index.ts';

type Point = InstanceType<typeof ristretto255.Point>;

/** Base OTs of one batch: one for each bit of the offset. SECURITY. */
export const BASE_OTS = 128;

/** Bytes of an encoded point: the sender's message. */
export const POINT_BYTES = 32;

/** Bytes of the receiver's message: both points of each OT. */
export const CHOOSE_BYTES: number = BASE_OTS * 2 * POINT_BYTES;

/** The sender between its two steps: its scalar and its point. Secret, used once. */
export interface BaseSender {
  readonly scalar: bigint;
  /** The message sent, encoded A. */
  readonly message: Uint8Array;
}

/** The sender's keys, 128 x 16 bytes each. Secret. */
export interface BaseSenderKeys {
  readonly zero: Uint8Array;
  readonly one: Uint8Array;
}

/** The receiver's choices and keys. Secret. */
export interface BaseReceiverKeys {
  /** 128 packed bits, lowest bit of byte 0 first. */
  readonly choices: Uint8Array;
  /** The key of each choice, 128 x 16 bytes. */
  readonly chosen: Uint8Array;
}

/** Sender, first step: A = a G with a fresh a. The message is {@link POINT_BYTES} bytes. */
export function offerBaseOt(random: Random): BaseSender {
  const scalar = randomScalar(random);
  return { scalar, message: ristretto255.Point.BASE.multiply(scalar).toBytes() };
}

/** OTs `from` to `to` - 1. */
export type OtRange = readonly [from: number, to: number];

const ALL_OTS: OtRange = [0, BASE_OTS];

/**
 * Receiver, its only step: OTs `from` to `to` - 1. They can be made in parts.
 * @param context - 16 public bytes that name the session, never used before
 * @param choices - 128 packed bits, lowest bit of byte 0 first
 * @param offer - the sender's message
 * @returns 64 bytes of the answer for each OT, and 16 of the receiver's keys
 * @throws ProtocolError `bad-message` for a wrong length, `bad-point` for a point that is not one or is the identity
 */
export function chooseBaseOt(
  context: Uint8Array,
  choices: Uint8Array,
  offer: Uint8Array,
  random: Random,
  [from, to]: OtRange = ALL_OTS,
): { message: Uint8Array; chosen: Uint8Array } {
  if (choices.length !== BASE_OTS / 8) {
    throw new RangeError(`choices: expected ${BASE_OTS / 8} bytes, got ${choices.length}`);
  }
  expectLength(offer, POINT_BYTES);
  // Many multiples of the same point: worth a table.
  const A = decodePoint(offer).precompute(TABLE_WINDOW);
  const message = new Uint8Array((to - from) * 2 * POINT_BYTES);
  const chosen = new Uint8Array((to - from) * 16);
  for (let i = from; i < to; i++) {
    const choice = (choices[i >> 3]! >> (i & 7)) & 1;
    const scalar = randomScalar(random);
    const other = derivedPoint(randomBytes(random, 64)).toBytes();
    const own = ristretto255.Point.BASE.multiply(scalar)
      .subtract(oracle(context, i, choice, other))
      .toBytes();
    const pair = pairOf(message, i - from);
    for (let j = 0; j < POINT_BYTES; j++) {
      const swap = -choice & (own[j]! ^ other[j]!);
      pair[j] = own[j]! ^ swap;
      pair[POINT_BYTES + j] = other[j]! ^ swap;
    }
    const shared = A.multiply(scalar);
    chosen.set(baseKey(context, i, choice, { offer, pair, shared }), 16 * (i - from));
  }
  return { message, chosen };
}

/**
 * Sender, second step: the keys of OTs `from` to `to` - 1. They can be made in parts.
 * @param answer - the receiver's message
 * @throws ProtocolError `bad-message` for a wrong length, `bad-point` for a point that is not one or is the identity
 */
export function finishBaseOt(
  context: Uint8Array,
  { scalar, message: offer }: BaseSender,
  answer: Uint8Array,
  [from, to]: OtRange = ALL_OTS,
): BaseSenderKeys {
  expectLength(answer, CHOOSE_BYTES);
  const keys = [0, 1].map(() => new Uint8Array((to - from) * 16));
  for (let i = from; i < to; i++) {
    const pair = pairOf(answer, i);
    const encoded = [pair.subarray(0, POINT_BYTES), pair.subarray(POINT_BYTES)];
    const points = encoded.map(decodePoint);
    for (let side = 0; side < 2; side++) {
      const sum = points[side]!.add(oracle(context, i, side, encoded[1 - side]!));
      if (sum.is0()) throw badPoint();
      const shared = sum.multiply(scalar);
      keys[side]!.set(baseKey(context, i, side, { offer, pair, shared }), 16 * (i - from));
    }
  }
  return { zero: keys[0]!, one: keys[1]! };
}

/** R0 and R1 of OT `i`. */
function pairOf(message: Uint8Array, i: number): Uint8Array {
  return message.subarray(2 * POINT_BYTES * i, 2 * POINT_BYTES * (i + 1));
}

/** P(index, side, point): a random oracle into the group. */
function oracle(context: Uint8Array, index: number, side: number, point: Uint8Array): Point {
  const hash = sha512.create().update(new TextEncoder().encode('sotto base ot point'));
  hash.update(context).update(Uint8Array.of(index, side)).update(point);
  return derivedPoint(hash.digest());
}

/** 64 uniform bytes to a uniform element: RFC 9496, section 4.3.4. */
function derivedPoint(bytes: Uint8Array): Point {
  return ristretto255_hasher.deriveToCurve!(bytes);
}

/** Window of the table of multiples of A: 2^(w-1) points for each w bits. LOCAL. */
const TABLE_WINDOW = 6;

/** A uniform scalar in 1 .. L - 1: 64 bytes reduced, so that the bias is below 2^-256. */
function randomScalar(random: Random): bigint {
  const wide = randomBytes(random, 64).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return (wide % (ristretto255.Point.Fn.ORDER - 1n)) + 1n;
}

function decodePoint(bytes: Uint8Array): Point {
  let point: Point;
  try {
    point = ristretto255.Point.fromBytes(bytes);
  } catch {
    throw badPoint();
  }
  if (point.is0()) throw badPoint();
  return point;
}

function badPoint(): ProtocolError {
  return new ProtocolError('bad-point', 'base OT: a point is not a valid element of ristretto255');
}

/** What one OT comes to. */
interface Exchanged {
  readonly offer: Uint8Array;
  /** The receiver's points, encoded. */
  readonly pair: Uint8Array;
  /** Secret. */
  readonly shared: Point;
}

/** The key of one side of one OT: SHA-256 over fields of fixed length, cut to 16 bytes. */
function baseKey(
  context: Uint8Array,
  index: number,
  side: number,
  { offer, pair, shared }: Exchanged,
): Uint8Array {
  const hash = sha256.create().update(new TextEncoder().encode('sotto base ot'));
  hash.update(context).update(Uint8Array.of(index, side));
  return hash.update(offer).update(pair).update(shared.toBytes()).digest().slice(0, 16);
}

function expectLength(message: Uint8Array, bytes: number): void {
  if (message.length !== bytes) {
    throw new ProtocolError(
      'bad-message',
      `base OT: expected ${bytes} bytes, got ${message.length}`,
    );
  }
}
