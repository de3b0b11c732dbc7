/**
 * The server's side of one connection: handshake, then inferences beside all other requests, one after the other in each lane, until the
 * client says goodbye, rests too long, or something breaks. Knows no sockets.
 *
 *     client                                 server
 *       |  ---- handshake and setup ------>  |
 *       |  ---- hint --------------------->  |   for a client that has not kept it
 *       |  ---- reserve, how many -------->  |   queries, if allowed
 *       |  ---- draw, number n ----------->  |   ahead of prepare
 *       |  ---- prepare, number n -------->  |   n counts up from 0, as far as reserved; bundle n is kept
 *       |  ---- infer, number n ---------->  |   bundle n is taken out, which spends it
 *       |  ---- bye ---------------------->  |
 *
 * Bundles of a session whose link was lost wait for its client (tickets.ts).
 */

import { type CountedChannel, counted, trafficBetween } from '../protocol/channel/counted.ts';
import { laneOf } from '../protocol/channel/frames.ts';
import type { Channel } from '../protocol/channel/index.ts';
import { withTimeout } from '../protocol/channel/lifetime.ts';
import type { SealedChannel } from '../protocol/channel/sealed.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { costOf } from '../protocol/inference/cost.ts';
import { drawServer } from '../protocol/inference/draw.ts';
import { together } from '../protocol/inference/flow.ts';
import type { Greeting } from '../protocol/inference/hello.ts';
import { COMMAND_BYTES, Command, decodeCommand, Kind } from '../protocol/inference/messages.ts';
import { prepareServer } from '../protocol/inference/offline.ts';
import { inferServer } from '../protocol/inference/online.ts';
import { grantServer, type Verdict } from '../protocol/inference/reserve.ts';
import {
  openServer,
  type ProtocolRunner,
  type ServerSession,
  sendHint,
} from '../protocol/inference/session.ts';
import { hexOf } from '../protocol/program/encode.ts';
import { type Random, systemRandom } from '../protocol/random/index.ts';
import type {
  AllowQuery,
  Decision,
  Grant,
  OnGrant,
  ServerEvent,
  ServerLimits,
  SessionEnd,
  Who,
  Work,
} from './limits.ts';
import type { Load } from './load.ts';
import type { OfferedModel } from './models.ts';
import { type Holding, Tickets } from './tickets.ts';

/** What a server gives a session. */
export interface ServerParts {
  readonly offers: ReadonlyMap<string, OfferedModel>;
  /** The session's part of the server's pool. */
  readonly pool: ProtocolRunner;
  readonly limits: ServerLimits;
  readonly onEvent: (event: ServerEvent) => void;
  /** Fires when the server is about to stop: what is prepared is still answered, nothing else begins. Never by default. */
  readonly draining?: AbortSignal | undefined;
  /** Whether the server has room for more; default: it has. */
  readonly load?: Load | undefined;
  /** What sessions leave when their link is lost; default: nothing. */
  readonly tickets?: Tickets | undefined;
  /** Asked before each query; every one goes on when it is left out. */
  readonly allowQuery?: AllowQuery | undefined;
  /** Told of each grant before it leaves; none leaves of which it cannot be told. */
  readonly onGrant?: OnGrant | undefined;
  /** Where its secrets come from; default: the system. */
  readonly random?: Random | undefined;
}

/** Who a connection is, for events and quotas. */
export interface Connection extends Who {
  /**
   * Called with the client's first message; what it rejects with refuses the session. Resolves with what is called when the session
   * is over.
   */
  readonly enter?: (() => Promise<() => void>) | undefined;
}

const OFFLINE = laneOf(Kind.command);
const ONLINE = laneOf(Kind.infer);

/** Ends connections when the server stops at once. */
export const SHUT_DOWN: Error = new ProtocolError('draining', 'the server shuts down');

/** What ends a rest between two requests without being an error. */
const QUIET_ENDS: Readonly<Partial<Record<SessionEnd, SessionEnd>>> = {
  lost: 'left',
  idle: 'idle',
  draining: 'draining',
};

/**
 * Serves one client over `channel`, until the channel has ended. Never rejects: what goes wrong ends this session alone,
 * the client is told in one general sentence, and the operator by an event.
 */
export async function serveSession(
  parts: ServerParts,
  channel: Channel,
  connection: Connection,
): Promise<void> {
  const served = new Served(parts, channel, connection);
  await served.run();
}

/** One session. */
class Served {
  readonly #parts: ServerParts;
  readonly #channel: Channel;
  readonly #who: Who;
  readonly #connection: Pick<Connection, 'enter'>;
  readonly #traffic: CountedChannel;
  /** Called when the session is over, the last first. */
  readonly #leave: (() => void)[] = [];
  #offer: OfferedModel | undefined;
  /** From the client's first message on. */
  #bundles: Holding | undefined;
  #inferences = 0;
  /** Bundles that are granted and not yet prepared. */
  #granted = 0;
  /** Bundle that is prepared, or was last, and when it is there. */
  #preparing: { readonly bundle: number; readonly done: Promise<void> } | undefined;
  /** Requests that are served at this moment; setup is one. */
  #running = 1;
  /** Ends a session that rests too long. */
  #idle: ReturnType<typeof setTimeout> | undefined;
  /** Whether the client has said goodbye. */
  #left = false;
  /** The link was lost while a lane was at rest. */
  #loss: Error | undefined;

  constructor(parts: ServerParts, channel: Channel, connection: Connection) {
    this.#parts = parts;
    this.#channel = channel;
    const { session, address, port, principal } = connection;
    this.#who = { session, address, port, principal };
    this.#connection = connection;
    this.#traffic = counted(channel);
  }

  async run(): Promise<void> {
    const { onEvent, draining, load } = this.#parts;
    const uncount = load?.count(() => this.#held);
    const drain = (): void => this.#drain();
    draining?.addEventListener('abort', drain);
    let reason: SessionEnd = 'goodbye';
    /** Whether the link is, and nothing else went wrong: what is prepared may still be used. */
    let lost = false;
    try {
      await this.#serve(...(await this.#open()));
    } catch (error) {
      this.#channel.close(error as Error);
      // The channel knows why it died first; what came here may be a consequence.
      const death = (await this.#channel.closed) ?? (error as Error);
      const code = death instanceof ProtocolError ? death.code : 'internal';
      const stopped = death === SHUT_DOWN;
      lost = stopped || code === 'lost' || code === 'timeout' || code === 'idle';
      const quiet = stopped ? 'stopped' : this.#running === 0 ? QUIET_ENDS[code] : undefined;
      reason = quiet ?? code;
      if (quiet === undefined) {
        const model = this.#offer?.name;
        onEvent({ type: 'error', ...this.#who, model, code, message: death.message });
      }
    } finally {
      draining?.removeEventListener('abort', drain);
      const unused = this.#bundles?.available ?? 0;
      const kept = (await this.#bundles?.end(lost).catch(() => 0)) ?? 0;
      for (const leave of this.#leave.reverse()) leave();
      uncount?.();
      const done = { session: this.#who.session, model: this.#offer?.name, reason };
      onEvent({ type: 'closed', ...done, inferences: this.#inferences, unused, kept });
    }
  }

  /** Handshake and setup. */
  async #open(): Promise<[ServerSession, OfferedModel, Holding]> {
    const { pool, limits, onEvent, random = systemRandom } = this.#parts;
    const silent = setTimeout(() => {
      const what = `no first message came within ${limits.handshakeMs} ms`;
      this.#channel.close(new ProtocolError('timeout', what));
    }, limits.handshakeMs);
    try {
      const start = performance.now();
      const party = { channel: withTimeout(this.#traffic, limits.stallMs), pool, random };
      const session = await openServer(party, async (greeting) => {
        clearTimeout(silent);
        const offer = await this.#enter(greeting);
        const { resumed, next } = this.#bundles!;
        return { offer, maxBundles: limits.bundlesPerSession, bundles: resumed, next };
      });
      const ms = performance.now() - start;
      const { bytesReceived: bytesUp, bytesSent: bytesDown } = this.#traffic.snapshot();
      const resumed = this.#bundles!.resumed.length;
      const { model } = session;
      onEvent({ type: 'session', ...this.#who, model, resumed, ms, bytesUp, bytesDown });
      return [session, this.#offer!, this.#bundles!];
    } finally {
      clearTimeout(silent);
    }
  }

  /** A client has said what it wants: takes its place, and what an earlier session of its ticket has left. */
  async #enter(greeting: Greeting): Promise<OfferedModel> {
    const { offers, draining, tickets = new Tickets({ resumeMs: 0, most: 0 }) } = this.#parts;
    if (draining?.aborted) throw stopping();
    const end = (reason: Error): void => this.#channel.close(reason);
    this.#leave.push(await tickets.enter(greeting.ticket, end));
    const leave = await this.#connection.enter?.();
    if (leave !== undefined) this.#leave.push(leave);
    const { model } = greeting;
    // Its own, whatever is offered under this name later.
    const offer = model === undefined ? first(offers) : offers.get(model);
    if (offer === undefined) throw noSuchModel(model ?? '', [...offers.keys()]);
    this.#offer = offer;
    this.#bundles = await tickets.claim(greeting, offer);
    return offer;
  }

  /** The requests of both lanes, one after the other in each. */
  async #serve(session: ServerSession, offer: OfferedModel, bundles: Holding): Promise<void> {
    this.#rest();
    try {
      await together(
        this.#channel,
        this.#serveOffline(session, offer, bundles),
        this.#serveOnline(session, offer, bundles),
      );
    } finally {
      clearTimeout(this.#idle);
    }
    if (!this.#left && this.#loss !== undefined) throw this.#loss;
  }

  async #serveOnline(session: ServerSession, offer: OfferedModel, bundles: Holding): Promise<void> {
    for (;;) {
      const payload = await this.#next(session.online, Kind.infer);
      if (payload === undefined) return;
      const { command, bundle } = decodeCommand(payload);
      if (command !== Command.infer) {
        throw new ProtocolError('bad-message', `command ${command} is for the other lane`);
      }
      const work = this.#work(session, bundle, bundles, ONLINE);
      // The client may have the last frame of its preparation before this side is through with it.
      if (this.#preparing?.bundle === bundle) await this.#preparing.done;
      const own = await bundles.take(bundle);
      await session.pool.first(() => inferServer(session, offer.model, own));
      this.#inferences++;
      this.#parts.onEvent({ type: 'inference', ...work() });
      this.#rest();
    }
  }

  async #serveOffline(
    session: ServerSession,
    offer: OfferedModel,
    bundles: Holding,
  ): Promise<void> {
    const { onEvent } = this.#parts;
    let { next } = bundles;
    for (;;) {
      const payload = await this.#next(session.channel, Kind.command);
      if (payload === undefined) return;
      const { command, bundle } = decodeCommand(payload);
      const work = this.#work(session, bundle, bundles, OFFLINE);
      if (command === Command.prepare) {
        if (bundle !== next++) throw outOfTurn(bundle);
        if (this.#granted === 0) {
          throw new ProtocolError('bad-message', `bundle ${bundle} was not reserved`);
        }
        this.#granted--;
        const done = prepareServer(session, bundle).then((own) => bundles.add(own));
        // An inference that waits for it fails with it.
        done.catch(() => {});
        this.#preparing = { bundle, done };
        await done;
        onEvent({ type: 'bundle', ...work() });
      } else if (command === Command.reserve) {
        await session.channel.expectSeal();
        if (bundle === 0) throw new ProtocolError('bad-message', 'no bundles were reserved');
        await grantServer(session.channel, await this.#reserve(session, bundle));
      } else if (command === Command.draw) {
        await drawServer(session, bundle);
      } else if (command === Command.hint) {
        await sendHint(session, offer);
        const { digest, bytes } = offer.hint;
        const { session: id } = this.#who;
        onEvent({ type: 'download', session: id, hint: hexOf(digest), bytes: bytes.length });
      } else if (command === Command.bye) {
        // Or another command, damaged, would end a session in peace.
        await session.channel.expectSeal();
        // Beside this one.
        if (this.#running > 1) throw new ProtocolError('lost', 'the client left during a request');
        this.#left = true;
        this.#channel.close();
        return;
      } else {
        throw new ProtocolError('bad-message', `there is no command ${command}`);
      }
      this.#rest();
    }
  }

  /** The next request of a lane; undefined when the client has said goodbye, or its link is lost. */
  async #next(channel: SealedChannel, kind: number): Promise<Uint8Array | undefined> {
    try {
      // For as long as the session may rest.
      const payload = await channel.over(this.#traffic).receive(kind, COMMAND_BYTES);
      this.#running++;
      clearTimeout(this.#idle);
      return payload;
    } catch (error) {
      if (this.#left) return undefined;
      if (!(error instanceof ProtocolError && error.code === 'lost')) throw error;
      // The goodbye may have come before, for the other lane, which is still at work.
      this.#loss = error;
      return undefined;
    }
  }

  /** Decides on the preparation of so many bundles. */
  async #reserve(session: ServerSession, inferences: number): Promise<Verdict> {
    const { limits, onEvent, draining, load, allowQuery, onGrant } = this.#parts;
    const { model, digest, weights } = session;
    const room = limits.bundlesPerSession - this.#held;
    const over = load?.over;
    const query = { ...this.#who, model, inferences, bytes: inferences * bytesOf(session) };
    const allowed = () =>
      allowQuery === undefined || decide(() => allowQuery(query), this.#traffic, limits.stallMs);
    const decided: Verdict = draining?.aborted
      ? { verdict: 'draining' }
      : inferences > room
        ? { verdict: 'full', bundles: Math.max(0, room) }
        : over !== undefined
          ? { verdict: 'busy' }
          : verdictOf(await allowed(), inferences);
    const grant = { ...query, program: hexOf(digest), weights: hexOf(weights) };
    const message =
      onGrant && decided.verdict === 'granted'
        ? await whyUnrecorded(onGrant, grant, this.#traffic, limits.stallMs)
        : undefined;
    const verdict: Verdict = message === undefined ? decided : { verdict: 'quota', seconds: 0 };
    if (verdict.verdict === 'granted') this.#granted += inferences;
    else {
      const reason =
        message !== undefined ? 'audit' : verdict.verdict === 'busy' ? over! : verdict.verdict;
      onEvent({ type: 'refused', ...this.#who, model, inferences, reason, message });
    }
    return verdict;
  }

  /**
   * A request is over. With the last one a session that is to drain may end, and otherwise begins to rest; its timer is
   * cleared by the next request, or when the session is over.
   */
  #rest(): void {
    const { limits, draining } = this.#parts;
    if (--this.#running > 0) return;
    if (draining?.aborted) this.#drain();
    this.#idle = setTimeout(() => {
      const what = `the client has rested for ${limits.idleMs} ms`;
      this.#channel.close(new ProtocolError('idle', what));
    }, limits.idleMs);
  }

  /** What is said of a request when it is over. */
  #work(session: ServerSession, bundle: number, bundles: Holding, lane: 0 | 1): () => Work {
    const before = this.#traffic.snapshot(lane);
    const begin = performance.now();
    return () => {
      const { bytesReceived, bytesSent } = trafficBetween(before, this.#traffic.snapshot(lane));
      const moved = { bytesUp: bytesReceived, bytesDown: bytesSent };
      const ms = performance.now() - begin;
      const { session: id } = this.#who;
      return { session: id, model: session.model, bundle, ready: bundles.available, ms, ...moved };
    };
  }

  /** Inferences that are prepared, or are going to be. */
  get #held(): number {
    return (this.#bundles?.available ?? 0) + this.#granted;
  }

  /** Ends a session that has nothing left to finish. */
  #drain(): void {
    if (this.#running === 0 && this.#held === 0) {
      this.#channel.close(stopping());
    }
  }
}

function stopping(): ProtocolError {
  return new ProtocolError('draining', 'the server is about to stop');
}

/** What one inference moves, prepared and run, both ways. */
function bytesOf({ layout, otK }: ServerSession): number {
  const { offline, online } = costOf(layout, otK);
  return offline.up + offline.down + online.up + online.down;
}

function verdictOf(decision: Decision, bundles: number): Verdict {
  if (decision === true) return { verdict: 'granted', bundles };
  const seconds = decision === false ? 0 : Math.ceil(decision.retryAfterSeconds);
  return { verdict: 'quota', seconds: Math.min(seconds, MAX_SECONDS) };
}

/** A grant has 32 bits for them. */
const MAX_SECONDS = 0xffffffff;

/** Why a grant is on no record; undefined when it is, or when the channel has ended meanwhile. */
async function whyUnrecorded(
  onGrant: OnGrant,
  grant: Grant,
  channel: Channel,
  ms: number,
): Promise<string | undefined> {
  const record = async () => {
    await onGrant(grant);
    return true;
  };
  try {
    await decide(record, channel, ms, 'onGrant: no record');
    return undefined;
  } catch (error) {
    // Whatever was thrown, it is a reason.
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * The operator's decision on queries; no when the channel has ended meanwhile.
 * @throws Error that says what is missing when there is none after `ms`: the client may have left without this side's knowing, its
 *   frames unread
 */
async function decide(
  ask: () => Decision | Promise<Decision>,
  channel: Channel,
  ms: number,
  missing = 'allowQuery: no decision',
): Promise<Decision> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${missing} for ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([ask(), channel.closed.then(() => false), late]);
  } finally {
    clearTimeout(timer);
  }
}

function first(offers: ReadonlyMap<string, OfferedModel>): OfferedModel | undefined {
  return offers.values().next().value;
}

/** Names of models that a refusal has room for, in UTF-16 units: an ERROR frame takes 200 bytes. LOCAL. */
const NAMES_LENGTH = 100;

/** Names those that there are, as far as they fit: whoever may connect may know them. */
function noSuchModel(asked: string, names: readonly string[]): ProtocolError {
  const listed: string[] = [];
  for (const name of names) {
    if ([...listed, name].join(', ').length > NAMES_LENGTH) break;
    listed.push(name);
  }
  const more = names.length - listed.length;
  const rest = listed.length === 0 ? `${more} others` : `${more} more`;
  const some = more === 0 ? listed : [...listed, rest];
  const wanted = asked.length <= 40 ? asked : `${asked.slice(0, 40)}…`;
  const what = `this server offers no model named "${wanted}"; it offers ${some.join(', ')}`;
  return new ProtocolError('refused', what);
}

function outOfTurn(bundle: number): ProtocolError {
  return new ProtocolError('bad-message', `bundle ${bundle} is prepared out of turn`);
}
