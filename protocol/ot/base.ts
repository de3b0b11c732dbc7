/**
 * Base oblivious transfer: 128 random 1-of-2 OTs from public-key operations, once per session. Semi-honest.
 *
 * Chou and Orlandi, "The Simplest Protocol for Oblivious Transfer", Latincrypt 2015, figure 1, over ristretto255 (RFC
 * 9496). The paper's claim of universal composability does not hold; only semi-honest security is claimed here, and
 * for it both points, the index and the session go into every key.
 *
 * Before: the receiver holds 128 choice bits c_i. After: the sender holds two keys for each i, the receiver the one of c_i.
 *
 *     sender (a)                                              receiver (c, b_i)
 *         |  ---- A = a G, 32 B ------------------------------->  |   offer -> choose
 *         |  <--- B_i = b_i G + c_i A, 128 x 32 B -------------   |
 *     key0_i = H(i, A, B_i, a B_i)                             key_i = H(i, A, B_i, b_i A)
 *     key1_i = H(i, A, B_i, a B_i - a A)
 *
 * Leakage: B_i is uniform whatever c_i is. The group arithmetic is noble's, on BigInt: its sequence of group operations
 * does not depend on the scalar, but no JavaScript big-integer code runs in constant time, so a party that can time this
 * step to the nanosecond, from the same machine, is outside the claim. The choice itself is taken by masking bytes.
 */

import { ristretto255 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { ProtocolError } from '../errors.ts';
import { deriveSeed, type Random, randomBytes } from '../random/index.ts';

const Point = ristretto255.Point;
type Point = InstanceType<typeof Point>;

/** Base OTs of one batch: one for each bit of the offset. SECURITY. */
export const BASE_OTS = 128;

/** Bytes of an encoded point: the sender's message. */
export const POINT_BYTES = 32;

/** Bytes of the receiver's message. */
export const CHOOSE_BYTES = BASE_OTS * POINT_BYTES;

/** Who sends in the extension; the other party is the sender of the base OTs below it. */
export type ExtensionSender = 'client' | 'server';

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

/**
 * The 16 public bytes that tie a setup to its session and direction.
 * @param sessionId - 16 bytes both parties contributed to, never used before
 */
export function otContext(sessionId: Uint8Array, sender: ExtensionSender): Uint8Array {
  return deriveSeed(sessionId, `ot sender ${sender}`);
}

/** Sender, first step: A = a G with a fresh a. The message is {@link POINT_BYTES} bytes. */
export function offerBaseOt(random: Random): BaseSender {
  const scalar = randomScalar(random);
  return { scalar, message: Point.BASE.multiply(scalar).toBytes() };
}

/**
 * Receiver, its only step.
 * @param choices - 128 packed bits, lowest bit of byte 0 first
 * @param offer - the sender's message
 * @returns the answer of {@link CHOOSE_BYTES} bytes and the receiver's keys
 * @throws ProtocolError `bad-message` for a wrong length, `bad-point` for a point that is not one or is the identity
 */
export function chooseBaseOt(
  context: Uint8Array,
  choices: Uint8Array,
  offer: Uint8Array,
  random: Random,
): { message: Uint8Array; keys: BaseReceiverKeys } {
  if (choices.length !== BASE_OTS / 8) {
    throw new RangeError(`choices: expected ${BASE_OTS / 8} bytes, got ${choices.length}`);
  }
  expectLength(offer, POINT_BYTES);
  // 128 multiples of the same point: worth a table.
  const A = decodePoint(offer).precompute(TABLE_WINDOW);
  const message = new Uint8Array(CHOOSE_BYTES);
  const chosen = new Uint8Array(BASE_OTS * 16);
  for (let i = 0; i < BASE_OTS; i++) {
    const scalar = randomScalar(random);
    const zero = Point.BASE.multiply(scalar);
    const B = message.subarray(POINT_BYTES * i, POINT_BYTES * (i + 1));
    const ifZero = zero.toBytes();
    const ifOne = zero.add(A).toBytes();
    const mask = -((choices[i >> 3]! >> (i & 7)) & 1);
    for (let j = 0; j < POINT_BYTES; j++) B[j] = ifZero[j]! ^ (mask & (ifZero[j]! ^ ifOne[j]!));
    chosen.set(baseKey(context, i, offer, B, A.multiply(scalar)), 16 * i);
  }
  return { message, keys: { choices: choices.slice(), chosen } };
}

/**
 * Sender, second step.
 * @param answer - the receiver's message
 * @throws ProtocolError `bad-message` for a wrong length, `bad-point` for a point that is not one, is the identity or is
 *   the sender's own
 */
export function finishBaseOt(
  context: Uint8Array,
  { scalar, message: offer }: BaseSender,
  answer: Uint8Array,
): BaseSenderKeys {
  expectLength(answer, CHOOSE_BYTES);
  const points = Array.from({ length: BASE_OTS }, (_, i) => {
    const B = answer.subarray(POINT_BYTES * i, POINT_BYTES * (i + 1));
    // b_i = 0 and c_i = 1: an honest receiver meets this once in 2^252 runs.
    if (B.every((byte, j) => byte === offer[j])) throw badPoint();
    return decodePoint(B);
  });
  const aA = Point.fromBytes(offer).multiply(scalar);
  const zero = new Uint8Array(BASE_OTS * 16);
  const one = new Uint8Array(BASE_OTS * 16);
  points.forEach((point, i) => {
    const B = answer.subarray(POINT_BYTES * i, POINT_BYTES * (i + 1));
    const aB = point.multiply(scalar);
    zero.set(baseKey(context, i, offer, B, aB), 16 * i);
    one.set(baseKey(context, i, offer, B, aB.subtract(aA)), 16 * i);
  });
  return { zero, one };
}

/** Window of the table of multiples of A: 2^(w-1) points for each w bits. LOCAL. */
const TABLE_WINDOW = 6;

/** A uniform scalar in 1 .. L - 1: 64 bytes reduced, so that the bias is below 2^-256. */
function randomScalar(random: Random): bigint {
  const wide = randomBytes(random, 64).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return (wide % (Point.Fn.ORDER - 1n)) + 1n;
}

function decodePoint(bytes: Uint8Array): Point {
  let point: Point;
  try {
    point = Point.fromBytes(bytes);
  } catch {
    throw badPoint();
  }
  if (point.is0()) throw badPoint();
  return point;
}

function badPoint(): ProtocolError {
  return new ProtocolError('bad-point', 'base OT: a point is not a valid element of ristretto255');
}

/** The key of one OT: SHA-256 over fields of fixed length, cut to 16 bytes. */
function baseKey(
  context: Uint8Array,
  index: number,
  A: Uint8Array,
  B: Uint8Array,
  shared: Point,
): Uint8Array {
  const hash = sha256.create().update(new TextEncoder().encode('sotto base ot'));
  hash.update(context).update(Uint8Array.of(index));
  return hash.update(A).update(B).update(shared.toBytes()).digest().slice(0, 16);
}

function expectLength(message: Uint8Array, bytes: number): void {
  if (message.length !== bytes) {
    throw new ProtocolError(
      'bad-message',
      `base OT: expected ${bytes} bytes, got ${message.length}`,
    );
  }
}
