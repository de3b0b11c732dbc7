/**
 * The first message of each party: who it is, what it wants or offers, and which bundles of earlier sessions it still has.
 *
 *     client                                                 server
 *       |  ---- hello: version, agreement, nonce, otK, ------>  |
 *       |       model?, ticket, bundles it has, next number     |
 *       |  <--- welcome: version, agreement, nonce, model, -----  |
 *       |       length of the program, generation and SHA-256     |
 *       |       of the hint, salted SHA-256 of the weights,       |
 *       |       bundles it keeps at most, bundles of the hello    |
 *       |       it has too, number of the next                    |
 *
 * Nothing in them is secret but the ticket, which names what earlier sessions of the client have left with the server.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import * as z from 'zod/mini';
import { decodeControl, encodeControl } from '../channel/codec.ts';
import { ProtocolError } from '../errors.ts';
import { LANE_ELEMENTS } from '../gadgets/index.ts';
import { HINT_AGREEMENT } from '../linear/index.ts';
import { COTS_PER_CHUNK, SLICES_PER_KEY } from '../ot/softspoken.ts';
import { MAX_PROGRAM_BYTES } from '../program/encode.ts';
import { INSTANCES_PER_KEY } from '../random/hash.ts';
import { BATCH_OTS } from './batches.ts';
import { PIECE_BYTES } from './messages.ts';

/** Version of the protocol. AGREEMENT. */
export const PROTOCOL_VERSION = 10;

/** Bytes of a party's contribution to the session's name. */
export const NONCE_BYTES = 32;

/** Bytes of a ticket. */
export const TICKET_BYTES = 32;

/** Bundles that a hello names at most. LOCAL. */
const MOST_NAMED = 1024;

/** The largest number of a bundle. */
export const LAST_BUNDLE = 0xffffffff;

/** Bytes of a SHA-256. */
const DIGEST_BYTES = 32;

/**
 * The constants that releases tune, hashed: parties that differ in one part before they exchange anything. What else both
 * must do alike (encodings, how layers are planned and split) stands for the version.
 */
export const AGREEMENT_DIGEST: Uint8Array = sha256(
  new TextEncoder().encode(
    JSON.stringify({
      version: PROTOCOL_VERSION,
      lanes: LANE_ELEMENTS,
      piece: PIECE_BYTES,
      perKey: INSTANCES_PER_KEY,
      otChunk: COTS_PER_CHUNK,
      otSlices: SLICES_PER_KEY,
      otBatch: BATCH_OTS,
      hint: HINT_AGREEMENT,
    }),
  ),
);

/** What a client says of itself. */
export interface Greeting {
  /** Name of the wanted model; the server's first one when undefined. */
  readonly model: string | undefined;
  /** {@link TICKET_BYTES} of the client's choice, secret: whoever has them gets at what its sessions leave. */
  readonly ticket: Uint8Array;
  /** Numbers of the bundles that it has from earlier sessions, in order. */
  readonly bundles: readonly number[];
  /** Above the numbers of all that it has ever had under the ticket. */
  readonly next: number;
}

/** The first numbers of a client's bundles: as many as a hello may name. */
export function nameable(bundles: Iterable<number>): number[] {
  return [...bundles].sort((a, b) => a - b).slice(0, MOST_NAMED);
}

const bytesOf = (length: number) =>
  z.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length === length,
    `must be ${length} bytes`,
  );

const whole = (least: number, most: number) => z.int().check(z.minimum(least), z.maximum(most));

/** One is left for the next bundle. */
const bundleNumber = whole(0, LAST_BUNDLE - 1);

/** Numbers of bundles, in order. */
const numbers = z.readonly(
  z.array(bundleNumber).check(
    z.maxLength(MOST_NAMED),
    z.refine((all) => all.every((n, i) => i === 0 || n > all[i - 1]!), 'must increase'),
  ),
);

const modelName = z.string().check(z.maxLength(200));

/** What every version says first; what else it says is its own affair. */
const peerFields = z.object({ version: z.int(), agreement: bytesOf(32) });

const hello = z.strictObject({
  version: z.int(),
  agreement: bytesOf(32),
  nonce: bytesOf(NONCE_BYTES),
  otK: z.int(),
  model: z.nullable(modelName),
  ticket: bytesOf(TICKET_BYTES),
  bundles: numbers,
  next: whole(0, LAST_BUNDLE),
});

const welcome = z.strictObject({
  version: z.int(),
  agreement: bytesOf(32),
  nonce: bytesOf(NONCE_BYTES),
  model: modelName,
  programBytes: whole(1, MAX_PROGRAM_BYTES),
  generation: whole(0, 0xffffffff),
  hint: bytesOf(DIGEST_BYTES),
  weights: bytesOf(DIGEST_BYTES),
  maxBundles: whole(1, LAST_BUNDLE),
  bundles: numbers,
  next: whole(0, LAST_BUNDLE),
});

/** @throws ProtocolError `version-mismatch` that names both versions; `bad-message` when no version speaks so */
function checkPeer(payload: Uint8Array): void {
  const peer = decodeControl(payload, peerFields);
  if (peer.version !== PROTOCOL_VERSION) {
    throw new ProtocolError(
      'version-mismatch',
      `the peer speaks protocol version ${peer.version}, this side version ${PROTOCOL_VERSION}`,
    );
  }
  if (!peer.agreement.every((byte, i) => byte === AGREEMENT_DIGEST[i])) {
    throw new ProtocolError(
      'version-mismatch',
      'the peer uses other protocol constants: both sides need the same release',
    );
  }
}

/** A hello. */
export interface Hello {
  readonly nonce: Uint8Array;
  readonly otK: number;
  readonly model: string | null;
  readonly ticket: Uint8Array;
  readonly bundles: readonly number[];
  /** Above the numbers of all bundles that the client has ever had. */
  readonly next: number;
}

/** A welcome. */
export interface Welcome {
  readonly nonce: Uint8Array;
  readonly model: string;
  readonly programBytes: number;
  readonly generation: number;
  readonly hint: Uint8Array;
  readonly weights: Uint8Array;
  /** Prepared inferences that the server keeps for a session. */
  readonly maxBundles: number;
  /** The bundles of the hello that the server has too. */
  readonly bundles: readonly number[];
  /** Number of the next bundle. */
  readonly next: number;
}

const own = { version: PROTOCOL_VERSION, agreement: AGREEMENT_DIGEST };

/** A hello's payload. */
export function encodeHello(message: Hello): Uint8Array {
  return encodeControl({ ...own, ...message });
}

/** @throws ProtocolError `version-mismatch`, `bad-message` */
export function decodeHello(payload: Uint8Array): Hello {
  checkPeer(payload);
  return decodeControl(payload, hello);
}

/** A welcome's payload. */
export function encodeWelcome(message: Welcome): Uint8Array {
  return encodeControl({ ...own, ...message });
}

/**
 * @param named - what the hello that it answers says of bundles
 * @throws ProtocolError `version-mismatch`; `bad-message`, also when it resumes what was not named, or numbers bundles again
 */
export function decodeWelcome(
  payload: Uint8Array,
  { bundles: named, next }: Pick<Greeting, 'bundles' | 'next'>,
): Welcome {
  checkPeer(payload);
  const peer = decodeControl(payload, welcome);
  if (!peer.bundles.every((number) => named.includes(number))) {
    throw new ProtocolError('bad-message', 'the server resumes a bundle that was not named');
  }
  if (peer.next < next) {
    throw new ProtocolError('bad-message', `the server numbers bundle ${peer.next} again`);
  }
  return peer;
}
