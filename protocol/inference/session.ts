/**
 * A session: who the two parties are to each other, from the first frame until the connection ends.
 *
 *     client                                                    server
 *       |  ---- hello: version, agreement, nonce, otK, model? --->  |
 *       |  <--- welcome: version, agreement, nonce, program ------  |
 *       |       both: id = H(nonces, agreement, otK, program)       |
 *       |  ---- OT offer, keys of linear layers ----------------->  |
 *       |  <--- OT choices ---------------------------------------  |
 *       |  ---- OT trees ---------------------------------------->  |
 *       |  <--- OT trees -----------------------------------------  |
 *
 * The hello carries nothing secret; keys are made only after versions, agreement constants and the program are accepted.
 * Every key, offset and tweak is bound to the session id, to which both sides contributed.
 *
 * Contract: one thing at a time. A session prepares a bundle or runs an inference, never both at once. After any error it
 * is dead with its channel, and so are all its bundles.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import * as z from 'zod';
import { decodeControl, encodeControl, MAX_CONTROL_BYTES } from '../channel/codec.ts';
import type { Channel } from '../channel/index.ts';
import { ProtocolError } from '../errors.ts';
import { LANE_ELEMENTS } from '../gadgets/index.ts';
import { TweakCounter } from '../garble/tweaks.ts';
import { linear } from '../linear/index.ts';
import { type Cots, cotsOf, finishSetup, joinSetup, setupMessageBytes } from '../ot/setup.ts';
import {
  COTS_PER_CHUNK,
  DEFAULT_OT_K,
  isOtK,
  OT_KS,
  type OtK,
  SLICES_PER_KEY,
} from '../ot/softspoken.ts';
import type { Pool } from '../pool/index.ts';
import { nextTurn } from '../pool/inline.ts';
import type { CheckedProgram } from '../program/check.ts';
import { decodeProgram, digestOf, MAX_PROGRAM_BYTES } from '../program/encode.ts';
import { INSTANCES_PER_KEY, type Tweaks } from '../random/hash.ts';
import { deriveSeed, freshSeed, type Random, randomBytes, SEED_BYTES } from '../random/index.ts';
import { type Cost, costOf } from './cost.ts';
import { type Layout, layoutOf } from './layout.ts';
import { Kind, PIECE_BYTES, receiveMessage, sendMessage } from './messages.ts';
import type { tasks } from './tasks.ts';

/** Version of the protocol. AGREEMENT. */
export const PROTOCOL_VERSION = 4;

const NONCE_BYTES = 32;

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
      ...linear.agreement,
    }),
  ),
);

/** The pool that runs the protocol's tasks. */
export type ProtocolPool = Pool<typeof tasks>;

/** Hash tweaks of one direction, handed out once each. Both parties take the same counts in the same order. */
export class TweakSource {
  readonly #start: Uint8Array;
  readonly #counter = new TweakCounter();

  constructor(start: Uint8Array) {
    this.#start = start;
  }

  take(count: number): Tweaks {
    return { start: this.#start, first: this.#counter.take(count) };
  }
}

/** Called as a phase advances: layers done, of how many, and the name of the last. */
export type Progress = (done: number, total: number, step: string) => void;

/** What both parties hold. */
interface SessionBase {
  readonly channel: Channel;
  readonly pool: ProtocolPool;
  readonly random: Random;
  readonly layout: Layout;
  /** Name under which the server offers the model. */
  readonly model: string;
  /** SHA-256 of the program. */
  readonly digest: Uint8Array;
  /** SoftSpoken's k of all its OTs: the client's choice for its link. */
  readonly otK: OtK;
  readonly cots: Cots;
  /** Tweaks under the server's offset (garbling) and under the client's (products). */
  readonly labelTweaks: TweakSource;
  readonly productTweaks: TweakSource;
}

export interface ClientSession extends SessionBase {
  /** Of one bundle and one inference. */
  readonly cost: Cost;
  /** Its keys of linear layers, by the number under which plans name them. */
  readonly linearKeys: ReadonlyMap<number, unknown>;
  /** Number of the next bundle. */
  nextBundle: number;
}

export interface ServerSession extends SessionBase {
  /** The client's keys of linear layers, as far as the server has them. */
  readonly linearKeys: ReadonlyMap<number, unknown>;
}

/** What a party brings to a session. */
export interface Party {
  readonly channel: Channel;
  readonly pool: ProtocolPool;
  readonly random: Random;
}

/** What a server offers: programs by name, encoded, with their layouts. */
export interface Offer {
  readonly name: string;
  readonly program: Uint8Array;
  readonly layout: Layout;
}

const bytesOf = (length: number) =>
  z.instanceof(Uint8Array).refine((bytes) => bytes.length === length, `must be ${length} bytes`);

const hello = z.strictObject({
  version: z.int(),
  agreement: bytesOf(32),
  nonce: bytesOf(NONCE_BYTES),
  // Earlier versions do not send it: they are told of the version, not of this.
  otK: z.int().default(DEFAULT_OT_K),
  model: z.string().max(200).nullable(),
});

const welcome = z.strictObject({
  version: z.int(),
  agreement: bytesOf(32),
  nonce: bytesOf(NONCE_BYTES),
  model: z.string().max(200),
  programBytes: z.int().min(1).max(MAX_PROGRAM_BYTES),
});

/** @throws ProtocolError `version-mismatch` that names both versions */
function checkPeer(peer: { version: number; agreement: Uint8Array }): void {
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

/** 16 bytes that name this session: from both nonces, the agreement, k and the program. */
function sessionIdOf(
  client: Uint8Array,
  server: Uint8Array,
  otK: OtK,
  digest: Uint8Array,
): Uint8Array {
  const hash = sha256.create();
  for (const part of [client, server, AGREEMENT_DIGEST, Uint8Array.of(otK), digest]) {
    hash.update(part);
  }
  return hash.digest().slice(0, SEED_BYTES);
}

function tweaksOf(sessionId: Uint8Array): Pick<SessionBase, 'labelTweaks' | 'productTweaks'> {
  return {
    labelTweaks: new TweakSource(deriveSeed(sessionId, 'label tweaks')),
    productTweaks: new TweakSource(deriveSeed(sessionId, 'product tweaks')),
  };
}

/** The keys that the linear layers of a program use, ascending. */
function linearKeysOf(layout: Layout): number[] {
  const keys = layout.linears.map(({ plan }) => linear.keyOf(plan));
  return [...new Set(keys)].sort((a, b) => a - b);
}

/** What the client asks of the program it is offered. */
export interface ClientOptions {
  /** Name of the wanted model; the server's first one when left out. */
  readonly model?: string | undefined;
  /** SoftSpoken's k; {@link DEFAULT_OT_K} when left out. */
  readonly otK?: OtK | undefined;
  /** Looks at the program before it is laid out, which takes as long as the program is large; throws to refuse it. */
  readonly acceptProgram?: ((program: CheckedProgram, digest: Uint8Array) => void) | undefined;
  /** Looks at what it costs before any key is made; throws to refuse it. */
  readonly acceptCost?: ((cost: Cost) => void) | undefined;
}

/**
 * The client's side of handshake and setup.
 * @throws ProtocolError when versions, constants or programs do not match, or the peer breaks the protocol
 */
export async function openClient(party: Party, options: ClientOptions): Promise<ClientSession> {
  const { channel, random } = party;
  const { otK = DEFAULT_OT_K } = options;
  const messageBytes = setupMessageBytes(otK);
  const nonce = randomBytes(random, NONCE_BYTES);
  await channel.send(
    Kind.hello,
    encodeControl({
      version: PROTOCOL_VERSION,
      agreement: AGREEMENT_DIGEST,
      nonce,
      otK,
      model: options.model ?? null,
    }),
  );
  const peer = decodeControl(await channel.receiveUpTo(Kind.welcome, MAX_CONTROL_BYTES), welcome);
  checkPeer(peer);
  const encoded = await receiveMessage(channel, Kind.program, peer.programBytes);
  const digest = digestOf(encoded);
  const { layout, cost } = await layOut(encoded, digest, { ...options, otK });
  const sessionId = sessionIdOf(nonce, peer.nonce, otK, digest);

  const linearKeys = new Map<number, unknown>();
  const names = linearKeysOf(layout);
  const [offer, ...keys] = await Promise.all([
    party.pool.run('offerSetup', { seed: freshSeed(random) }),
    ...names.map((key) => party.pool.run('linearKey', { key, seed: freshSeed(random) })),
  ]);
  await channel.send(Kind.setupOffer, offer.message);
  for (const [i, { own, message }] of keys.entries()) {
    linearKeys.set(names[i]!, own);
    await sendMessage(channel, Kind.linearKey, message);
  }
  const choice = await channel.receive(Kind.setupChoice, messageBytes[1]);
  const own = { sessionId, state: offer.state, message: choice, seed: freshSeed(random), otK };
  const { message, state } = await party.pool.run('extendSetup', own);
  await channel.send(Kind.setupExtend, message);
  const trees = await channel.receive(Kind.setupFinish, messageBytes[3]);
  const cots = cotsOf(joinSetup(sessionId, state, trees));
  const base = { ...party, layout, model: peer.model, digest, otK, cots, ...tweaksOf(sessionId) };
  return { ...base, cost, linearKeys, nextBundle: 0 };
}

/**
 * Decodes and checks the program, lays it out and adds up its cost, each once. Each of these has a turn of the event loop of
 * its own: in a page this is the thread that answers its user.
 */
async function layOut(
  encoded: Uint8Array,
  digest: Uint8Array,
  { otK, acceptProgram, acceptCost }: ClientOptions,
): Promise<{ layout: Layout; cost: Cost }> {
  try {
    const checked = decodeProgram(encoded);
    acceptProgram?.(checked, digest);
    await nextTurn();
    const layout = layoutOf(checked.program, checked.shapes);
    await nextTurn();
    const cost = costOf(layout, otK);
    acceptCost?.(cost);
    await nextTurn();
    return { layout, cost };
  } catch (cause) {
    if (cause instanceof ProtocolError) throw cause;
    throw new ProtocolError('program-mismatch', (cause as Error).message, { cause });
  }
}

/**
 * The server's side of handshake and setup.
 * @param find - the offer of that name, or the default one for undefined; undefined when there is none
 * @throws ProtocolError when versions or constants do not match, the model or k is unknown, or the peer breaks the protocol
 */
export async function openServer(
  party: Party,
  find: (model: string | undefined) => Offer | undefined,
): Promise<ServerSession> {
  const { channel, random } = party;
  const peer = decodeControl(await channel.receiveUpTo(Kind.hello, MAX_CONTROL_BYTES), hello);
  checkPeer(peer);
  const { otK } = peer;
  if (!isOtK(otK)) {
    throw new ProtocolError(
      'refused',
      `the client asks for OTs with k = ${otK}, this server makes them with one of ${OT_KS.join(', ')}`,
    );
  }
  const offer = find(peer.model ?? undefined);
  if (offer === undefined) {
    throw new ProtocolError('refused', `this server offers no model named "${peer.model}"`);
  }
  const { layout, program } = offer;
  const nonce = randomBytes(random, NONCE_BYTES);
  await channel.send(
    Kind.welcome,
    encodeControl({
      version: PROTOCOL_VERSION,
      agreement: AGREEMENT_DIGEST,
      nonce,
      model: offer.name,
      programBytes: program.length,
    }),
  );
  await sendMessage(channel, Kind.program, program);
  const digest = digestOf(program);
  const sessionId = sessionIdOf(peer.nonce, nonce, otK, digest);

  const messageBytes = setupMessageBytes(otK);
  const offered = await channel.receive(Kind.setupOffer, messageBytes[0]);
  const linearKeys = new Map<number, unknown>();
  for (const key of linearKeysOf(layout)) {
    const encoded = await receiveMessage(channel, Kind.linearKey, linear.keyBytes(key));
    linearKeys.set(key, linear.takeKey(key, encoded));
  }
  const own = { sessionId, message: offered, seed: freshSeed(random) };
  const { message: choice, state } = await party.pool.run('chooseSetup', own);
  await channel.send(Kind.setupChoice, choice);
  const trees = await channel.receive(Kind.setupExtend, messageBytes[2]);
  const { message, seeds } = finishSetup(sessionId, state, trees, random, otK);
  await channel.send(Kind.setupFinish, message);
  const cots = cotsOf(seeds);
  const base = { ...party, layout, model: offer.name, digest, otK, cots, ...tweaksOf(sessionId) };
  return { ...base, linearKeys };
}
