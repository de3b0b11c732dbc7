/**
 * A session: who the two parties are to each other, from the first frame until the connection ends.
 *
 *     client                                                    server
 *       |  ---- hello: version, agreement, nonce, otK, model?, --->  |
 *       |       ticket, bundles it still has, number of the next    |
 *       |  <--- welcome: the same, program, generation, SHA-256 --  |
 *       |       of the hint, salted SHA-256 of the weights, bundles |
 *       |       that both still have                                |
 *       |       both: id = H(nonces, agreement, otK, program, hint, |
 *       |       weights)                                            |
 *       |  ---- OT offer ---------------------------------------->  |
 *       |  <--- OT choices, seal ---------------------------------  |
 *       |  ---- OT trees, seal ---------------------------------->  |
 *       |  ---- hint, if the client has not kept it ------------->  |
 *       |  <--- the hint, seal -----------------------------------  |
 *
 * The first messages are in hello.ts. Keys are made only after versions, agreement constants and the program are accepted,
 * and nothing that depends on a bundle leaves the client before it has the hint whose digest both have in the session id.
 * Keys, tweaks and all that is drawn for a bundle are bound to the session id, to which both sides contributed; scalars,
 * points and choices of base OTs, the root's offset among them, come from each party's generator alone.
 *
 * Bundles of a session whose link was lost may be used in a later one, which is new in all else: keys, root, seals. Its client
 * shows the ticket it chose for the first, and both use the bundles that both have. Numbers of bundles go on.
 *
 * Contract: one preparation and one inference at a time, side by side. After any error a session
 * is dead with its channel; its bundles outlive it where nothing but the link has failed.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import { shareBytes } from '../bulk.ts';
import { MAX_CONTROL_BYTES } from '../channel/codec.ts';
import type { Channel } from '../channel/index.ts';
import { type SealedChannel, sealed } from '../channel/sealed.ts';
import { ProtocolError } from '../errors.ts';
import { hintDigest, openHint } from '../linear/index.ts';
import { DEFAULT_OT_K, isOtK, OT_KS, type OtK } from '../ot/groups.ts';
import {
  BASE_PARTS,
  extendSetup,
  finishSetup,
  freshOffset,
  setupMessageBytes,
} from '../ot/setup.ts';
import type { ReceiverSeeds, SenderSeeds } from '../ot/softspoken.ts';
import type { CheckedProgram } from '../program/check.ts';
import { decodeProgram, digestOf } from '../program/encode.ts';
import {
  deriveSeed,
  freshSeed,
  Prg,
  type Random,
  randomBytes,
  SEED_BYTES,
} from '../random/index.ts';
import { inSlices, nextTurn } from '../slices.ts';
import { join } from './batches.ts';
import type { ClientDraw, ServerDraw } from './bundle.ts';
import { type Cost, costOf } from './cost.ts';
import {
  AGREEMENT_DIGEST,
  decodeHello,
  decodeWelcome,
  encodeHello,
  encodeWelcome,
  type Greeting,
  LAST_BUNDLE,
  NONCE_BYTES,
  TICKET_BYTES,
} from './hello.ts';
import { hintBytesOf, type OpenHint, openedHint, type ServedLayer } from './hint.ts';
import { type Layout, layoutParts } from './layout.ts';
import { Command, encodeCommand, Kind, receiveMessage, sendMessage } from './messages.ts';
import { SessionRunner } from './precedence.ts';
import type { ProtocolRunner } from './tasks.ts';

export type { ProtocolPool, ProtocolRunner } from './tasks.ts';

/** Called as a phase advances: layers done, of how many, and the name of the last. */
export type Progress = (done: number, total: number, step: string) => void;

/** What both parties hold. */
interface SessionBase {
  /** 16 bytes that name it, public: both parties' nonces are in them. */
  readonly id: Uint8Array;
  /** The party's, with seals; all but inferences. */
  readonly channel: SealedChannel;
  /** The lane of inferences, with its seals. */
  readonly online: SealedChannel;
  readonly pool: SessionRunner;
  readonly random: Random;
  readonly layout: Layout;
  /** Name under which the server offers the model. */
  readonly model: string;
  /** SHA-256 of the program. */
  readonly digest: Uint8Array;
  /** What the server says that its weights are: see {@link Offer}. */
  readonly weights: Uint8Array;
  /** SoftSpoken's k of all its OTs: the client's choice for its link. */
  readonly otK: OtK;
}

export interface ClientSession extends SessionBase {
  /** Of one bundle and one inference. */
  readonly cost: Cost;
  /** The static hint of the model's linear layers. */
  readonly hint: OpenHint;
  /** What the offsets of all bundles grow from. */
  readonly root: ReceiverSeeds;
  /** Prepared inferences that the server keeps for the session. */
  readonly maxBundles: number;
  /** Numbers of the bundles of earlier sessions that both parties have, in order. */
  readonly resumed: readonly number[];
  /** Number of the next bundle. */
  nextBundle: number;
  /** What is drawn ahead of the next bundle. */
  drawn: ClientDraw | undefined;
}

export interface ServerSession extends SessionBase {
  /** The model's linear layers, in the order of the layout. */
  readonly layers: readonly ServedLayer[];
  /** What the offsets of all bundles grow from. */
  readonly root: SenderSeeds;
  /** Number of the bundle that is drawn next. */
  nextBundle: number;
  /** What is drawn ahead of the next bundle. */
  drawn: ServerDraw | undefined;
}

/** What a party brings to a session. */
export interface Party {
  readonly channel: Channel;
  readonly pool: ProtocolRunner;
  readonly random: Random;
}

/** What a server offers under a name. */
export interface Offer {
  readonly name: string;
  /** Encoded. */
  readonly program: Uint8Array;
  readonly layout: Layout;
  readonly layers: readonly ServedLayer[];
  readonly hint: PublishedHint;
  /** 32 bytes that name its weights: SHA-256 of them and a secret salt, for a plain one would confirm guesses. */
  readonly weights: Uint8Array;
}

/** The static hint of a model, public. */
export interface PublishedHint {
  readonly generation: number;
  readonly bytes: Uint8Array;
  /** SHA-256 of the bytes. */
  readonly digest: Uint8Array;
}

/** What a session's id is made of, beside the agreement. */
interface SessionName {
  readonly nonces: readonly [client: Uint8Array, server: Uint8Array];
  readonly otK: OtK;
  /** SHA-256 of the program. */
  readonly digest: Uint8Array;
  readonly hint: Pick<PublishedHint, 'generation' | 'digest'>;
  readonly weights: Uint8Array;
}

/** 16 bytes that name this session. */
function sessionIdOf({ nonces, otK, digest, hint, weights }: SessionName): Uint8Array {
  const hash = sha256.create();
  const numbers = new Uint8Array(Uint32Array.of(otK, hint.generation).buffer);
  const parts = [...nonces, AGREEMENT_DIGEST, numbers, digest, hint.digest, weights];
  for (const part of parts) hash.update(part);
  return hash.digest().slice(0, SEED_BYTES);
}

/**
 * A fresh seed, bound to the session: where a generator repeats itself, as that of a restored machine does, the peer's nonce still
 * makes it another.
 */
function boundSeed({ random, id }: Pick<SessionBase, 'random' | 'id'>, label: string): Uint8Array {
  return deriveSeed(freshSeed(random), label, ...new Uint32Array(id.slice().buffer));
}

/** A fresh seed for one half of a bundle, bound to the session. */
export function bundleSeed(session: Pick<SessionBase, 'random' | 'id'>): Uint8Array {
  return boundSeed(session, 'bundle');
}

/**
 * What a party's half of the OT setup is drawn from, bound to the session: choices that come again with the points of the
 * other side the same tell the root's offset to whoever has both transcripts.
 */
const setupRandom = (random: Random, id: Uint8Array): Random =>
  new Prg(boundSeed({ random, id }, 'setup'));

/** Where a client may have a hint from, other than the session's channel. */
export interface HintSource {
  /**
   * The hint of a SHA-256 and a length, undefined when it is not to be had here. It need not be the right one: that is
   * checked.
   */
  load(
    digest: Uint8Array,
    bytes: number,
    onProgress?: HintDownload,
  ): Promise<Uint8Array | undefined>;
  /** Keeps a hint that has been checked, wherever it came from. */
  save(digest: Uint8Array, hint: Uint8Array): Promise<void>;
  /** SHA-256 by the platform's own code: a fifth of the time, which pages would feel. */
  digest?(hint: Uint8Array): Promise<Uint8Array>;
}

/** Called as a hint is fetched: bytes that have come, of how many. */
export type HintDownload = (bytes: number, total: number) => void;

/** What the server answers. */
export interface Reception {
  readonly offer: Offer;
  /** Prepared inferences that the client may keep waiting; default: as many as can be numbered. */
  readonly maxBundles?: number | undefined;
  /** Those of the greeting's bundles that the server has too, in order; default: none. */
  readonly bundles?: readonly number[] | undefined;
  /** Number of the next bundle, above all that either party has ever had under the ticket; default: 0. */
  readonly next?: number | undefined;
}

/** What the client asks of the program it is offered. */
export interface ClientOptions {
  /** Name of the wanted model; the server's first one when left out. */
  readonly model?: string | undefined;
  /** SoftSpoken's k; {@link DEFAULT_OT_K} when left out. */
  readonly otK?: OtK | undefined;
  /** What this session goes on from; default: a fresh ticket, no bundles. */
  readonly resume?: Omit<Greeting, 'model'> | undefined;
  /** Looks at the program before it is laid out, which takes as long as the program is large; throws to refuse it. */
  readonly acceptProgram?: ((program: CheckedProgram, digest: Uint8Array) => void) | undefined;
  /** Looks at what it costs before any key is made; throws to refuse it. */
  readonly acceptCost?: ((cost: Cost) => void) | undefined;
  /** Where a hint may be kept. */
  readonly hints?: HintSource | undefined;
  /** Called as the hint is fetched; never when it is kept. */
  readonly onHint?: HintDownload | undefined;
}

/**
 * The client's side of handshake and setup.
 * @throws ProtocolError when versions, constants or programs do not match, or the peer breaks the protocol
 */
export async function openClient(party: Party, options: ClientOptions): Promise<ClientSession> {
  const { random } = party;
  const channel = sealed(party.channel, Kind.seal);
  const online = sealed(party.channel, Kind.onlineSeal);
  const { otK = DEFAULT_OT_K } = options;
  const messageBytes = setupMessageBytes(otK);
  const nonce = randomBytes(random, NONCE_BYTES);
  const fresh = () => ({ ticket: randomBytes(random, TICKET_BYTES), bundles: [], next: 0 });
  const resume = options.resume ?? fresh();
  const model = options.model ?? null;
  await channel.send(Kind.hello, encodeHello({ nonce, otK, model, ...resume }));
  const answer = await channel.receiveUpTo(Kind.welcome, MAX_CONTROL_BYTES);
  const peer = decodeWelcome(answer, resume);
  const encoded = await receiveMessage(channel, Kind.program, peer.programBytes);
  const digest = digestOf(encoded);
  const { layout, cost } = await layOut(encoded, digest, { ...options, otK });
  const promised = { generation: peer.generation, digest: peer.hint };
  const nonces = [nonce, peer.nonce] as const;
  const { weights } = peer;
  const sessionId = sessionIdOf({ nonces, otK, digest, hint: promised, weights });

  const own = setupRandom(random, sessionId);
  const offer = await party.pool.run('offerSetup', { seed: freshSeed(own) });
  await channel.send(Kind.setupOffer, offer.message);
  const choice = await channel.receive(Kind.setupChoice, messageBytes[1]);
  await channel.expectSeal();
  const keys = await Promise.all(
    BASE_PARTS.map((from) =>
      party.pool.run('keySetup', { sessionId, state: offer, message: choice, from }),
    ),
  );
  const [zero, one] = [join(keys.map((part) => part.zero)), join(keys.map((part) => part.one))];
  const { message, seeds: root } = extendSetup(sessionId, { zero, one }, own, otK);
  await channel.send(Kind.setupExtend, message);
  await channel.seal();
  const names = { id: sessionId, model: peer.model, digest, weights };
  const pool = new SessionRunner(party.pool);
  const base = { ...party, ...names, pool, channel, online, layout, otK, root };
  const parts = await takeHint(channel, layout, peer.hint, options);
  const hint = openedHint(party.pool, layout, peer.generation, parts);
  const { maxBundles, bundles: resumed, next: nextBundle } = peer;
  return { ...base, cost, hint, maxBundles, resumed, nextBundle, drawn: undefined };
}

/**
 * The layers' parts of the hint that the server has promised, from where it is kept or from the server.
 * @throws ProtocolError `bad-message` when the server sends another, `corrupted` when it arrives as another
 */
async function takeHint(
  channel: SealedChannel,
  layout: Layout,
  digest: Uint8Array,
  { hints, onHint }: ClientOptions,
): Promise<Uint8Array[]> {
  const bytes = hintBytesOf(layout);
  const plans = layout.linears.map(({ plan }) => plan);
  const hash = (hint: Uint8Array) => hints?.digest?.(hint) ?? hintDigest(hint);
  const found = await hints?.load(digest, bytes, onHint);
  if (found !== undefined) {
    try {
      const actual = await hash(found);
      const parts = openHint(plans, await inSlices(shareBytes(found)), digest, actual);
      await nextTurn();
      await hints?.save(digest, found);
      return parts;
    } catch {
      // A damaged copy is no fault of the server's: it has the right one.
    }
  }
  const progress = (done: number) => onHint?.(done, bytes);
  progress(0);
  await channel.send(Kind.command, encodeCommand(Command.hint, 0));
  const hint = await receiveMessage(channel, Kind.hint, bytes, progress);
  await channel.expectSeal();
  const parts = openHint(plans, hint, digest, await hash(hint));
  await hints?.save(digest, hint);
  return parts;
}

/**
 * Decodes and checks the program, lays it out and adds up its cost, each once. Each of these has a turn of the event loop of
 * its own: the thread may be a page's, which answers its user.
 */
async function layOut(
  encoded: Uint8Array,
  digest: Uint8Array,
  { otK, acceptProgram, acceptCost }: ClientOptions,
): Promise<{ layout: Layout; cost: Cost }> {
  try {
    // After the digest, and the hash of the message.
    await nextTurn();
    const checked = decodeProgram(encoded);
    acceptProgram?.(checked, digest);
    await nextTurn();
    const layout = await inSlices(layoutParts(checked.program, checked.shapes));
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
 * @param receive - what a client gets that says this; undefined when there is no such model
 * @throws ProtocolError when versions or constants do not match, the model or k is unknown, or the peer breaks the protocol
 */
export async function openServer(
  party: Party,
  receive: (greeting: Greeting) => Reception | undefined | Promise<Reception | undefined>,
): Promise<ServerSession> {
  const { random } = party;
  const channel = sealed(party.channel, Kind.seal);
  const online = sealed(party.channel, Kind.onlineSeal);
  const peer = decodeHello(await channel.receiveUpTo(Kind.hello, MAX_CONTROL_BYTES));
  const { otK } = peer;
  if (!isOtK(otK)) {
    throw new ProtocolError(
      'refused',
      `the client asks for OTs with k = ${otK}, this server makes them with one of ${OT_KS.join(', ')}`,
    );
  }
  const reception = await receive({ ...peer, model: peer.model ?? undefined });
  if (reception === undefined) {
    throw new ProtocolError('refused', `this server offers no model named "${peer.model}"`);
  }
  const { offer, maxBundles = LAST_BUNDLE, bundles = [], next = 0 } = reception;
  const { layout, layers, program, hint, weights } = offer;
  const nonce = randomBytes(random, NONCE_BYTES);
  const welcome = encodeWelcome({
    nonce,
    model: offer.name,
    programBytes: program.length,
    generation: hint.generation,
    hint: hint.digest,
    weights,
    maxBundles,
    bundles,
    next,
  });
  await channel.send(Kind.welcome, welcome);
  await sendMessage(channel, Kind.program, program);
  const digest = digestOf(program);
  const sessionId = sessionIdOf({ nonces: [peer.nonce, nonce], otK, digest, hint, weights });

  const messageBytes = setupMessageBytes(otK);
  const offered = await channel.receive(Kind.setupOffer, messageBytes[0]);
  const own = setupRandom(random, sessionId);
  const choices = freshOffset(own);
  const input = { sessionId, offset: choices, message: offered };
  const parts = await Promise.all(
    BASE_PARTS.map((from) =>
      party.pool.run('chooseSetup', { ...input, from, seed: freshSeed(own) }),
    ),
  );
  await channel.send(Kind.setupChoice, join(parts.map(({ message }) => message)));
  await channel.seal();
  const trees = await channel.receive(Kind.setupExtend, messageBytes[2]);
  await channel.expectSeal();
  const chosen = join(parts.map((part) => part.chosen));
  const root = finishSetup(sessionId, { choices, chosen }, trees, otK);
  const names = { id: sessionId, model: offer.name, digest, weights };
  const pool = new SessionRunner(party.pool);
  const base = { ...party, ...names, pool, channel, online, layout, otK, root };
  return { ...base, layers, nextBundle: next, drawn: undefined };
}

/** Server: sends the hint; the client's command has been read. */
export async function sendHint({ channel }: ServerSession, { hint }: Offer): Promise<void> {
  await sendMessage(channel, Kind.hint, hint.bytes);
  await channel.seal();
}
