/**
 * The server's side of one connection: handshake, then one request after the other until the client says goodbye, rests
 * too long, or something breaks. Knows no sockets.
 *
 *     client                                 server
 *       |  ---- handshake and setup ------>  |
 *       |  ---- hint --------------------->  |   for a client that has not kept it
 *       |  ---- reserve, how many -------->  |   queries, if allowed
 *       |  ---- draw, number n ----------->  |   ahead of prepare
 *       |  ---- prepare, number n -------->  |   n counts up from 0, as far as reserved; bundle n is kept
 *       |  ---- infer, number n ---------->  |   bundle n is taken out, which spends it
 *       |  ---- bye ---------------------->  |
 */

import { counted, trafficBetween } from '../protocol/channel/counted.ts';
import type { Channel } from '../protocol/channel/index.ts';
import { withTimeout } from '../protocol/channel/lifetime.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { BundleStore, type ServerBundle } from '../protocol/inference/bundle.ts';
import { costOf } from '../protocol/inference/cost.ts';
import { drawServer } from '../protocol/inference/draw.ts';
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
import { type Random, systemRandom } from '../protocol/random/index.ts';
import type { AllowQuery, Decision, ServerEvent, ServerLimits, Who } from './limits.ts';
import type { OfferedModel } from './models.ts';

/** What a server gives a session. */
export interface ServerParts {
  readonly offers: ReadonlyMap<string, OfferedModel>;
  /** The session's part of the server's pool. */
  readonly pool: ProtocolRunner;
  readonly limits: ServerLimits;
  readonly onEvent: (event: ServerEvent) => void;
  /** Fires when the server is about to stop: what is prepared is still answered, nothing else begins. Never by default. */
  readonly draining?: AbortSignal | undefined;
  /** Asked before each query; every one goes on when it is left out. */
  readonly allowQuery?: AllowQuery | undefined;
  /** Where its secrets come from; default: the system. */
  readonly random?: Random | undefined;
}

/** Who a connection is, for events and quotas. */
export interface Connection extends Who {
  /** Called with the client's first message; what it rejects with refuses the session. */
  readonly enter?: (() => Promise<void>) | undefined;
}

/**
 * Serves one client over `channel`, until the channel has ended. Never rejects: what goes wrong ends this session alone,
 * the client is told in one general sentence, and the operator by an event.
 */
export async function serveSession(
  { offers, pool, limits, onEvent, draining, allowQuery, random = systemRandom }: ServerParts,
  channel: Channel,
  { session: id, address, principal, enter }: Connection,
): Promise<void> {
  const who = { session: id, address, principal };
  const traffic = counted(channel);
  const bundles = new BundleStore<ServerBundle>();
  let inferences = 0;
  /** Bundles that are granted and not yet prepared. */
  let granted = 0;
  let resting = false;
  /** Ends a session that has nothing left to finish. */
  const drain = (): void => {
    if (resting && bundles.available + granted === 0) channel.close(stopping());
  };
  draining?.addEventListener('abort', drain);
  const silent = setTimeout(() => {
    const what = `no first message came within ${limits.handshakeMs} ms`;
    channel.close(new ProtocolError('timeout', what));
  }, limits.handshakeMs);
  try {
    const start = performance.now();
    const party = { channel: withTimeout(traffic, limits.stallMs), pool, random };
    const find = async (name: string | undefined) => {
      clearTimeout(silent);
      if (draining?.aborted) throw stopping();
      await enter?.();
      return name === undefined ? first(offers) : offers.get(name);
    };
    const session = await openServer(party, find, limits.bundlesPerSession);
    const offer = offers.get(session.model)!;
    const ms = performance.now() - start;
    onEvent({ type: 'session', ...who, model: session.model, ms });

    const between = session.channel.over(withTimeout(traffic, limits.idleMs));
    let prepared = 0;
    for (;;) {
      resting = true;
      if (draining?.aborted) drain();
      const payload = await between.receive(Kind.command, COMMAND_BYTES);
      resting = false;
      const { command, bundle } = decodeCommand(payload);
      const before = traffic.snapshot();
      const begin = performance.now();
      const work = () => {
        const { bytesReceived, bytesSent } = trafficBetween(before, traffic.snapshot());
        const took = performance.now() - begin;
        return { session: id, bundle, ms: took, bytesUp: bytesReceived, bytesDown: bytesSent };
      };
      if (command === Command.prepare) {
        if (bundle !== prepared++) throw outOfTurn(bundle);
        if (granted === 0) {
          throw new ProtocolError('bad-message', `bundle ${bundle} was not reserved`);
        }
        granted--;
        bundles.add(await prepareServer(session, bundle));
        onEvent({ type: 'bundle', ready: bundles.available, ...work() });
      } else if (command === Command.infer) {
        await inferServer(session, offer.model, bundles.take(bundle));
        inferences++;
        onEvent({ type: 'inference', ...work() });
      } else if (command === Command.reserve) {
        await session.channel.expectSeal();
        if (bundle === 0) throw new ProtocolError('bad-message', 'no bundles were reserved');
        const room = limits.bundlesPerSession - bundles.available - granted;
        const bytes = bundle * bytesOf(session);
        const query = { ...who, model: session.model, inferences: bundle, bytes };
        const allowed = () =>
          allowQuery === undefined || decide(() => allowQuery(query), traffic, limits.stallMs);
        const verdict: Verdict = draining?.aborted
          ? { verdict: 'draining' }
          : bundle > room
            ? { verdict: 'full', bundles: room }
            : verdictOf(await allowed(), bundle);
        if (verdict.verdict === 'granted') granted += bundle;
        else {
          const reason = verdict.verdict;
          onEvent({ type: 'refused', ...who, inferences: bundle, reason });
        }
        await grantServer(session.channel, verdict);
      } else if (command === Command.draw) {
        await drawServer(session, bundle);
      } else if (command === Command.hint) {
        await sendHint(session, offer);
      } else if (command === Command.bye) {
        // Or another command, damaged, would end a session in peace.
        await session.channel.expectSeal();
        channel.close();
        return;
      } else {
        throw new ProtocolError('bad-message', `there is no command ${command}`);
      }
    }
  } catch (error) {
    channel.close(error as Error);
    // The channel knows why it died first; what came here may be a consequence.
    const reason = (await channel.closed) ?? (error as Error);
    const code = reason instanceof ProtocolError ? reason.code : 'internal';
    onEvent({ type: 'error', ...who, code, message: reason.message });
  } finally {
    clearTimeout(silent);
    draining?.removeEventListener('abort', drain);
    onEvent({ type: 'closed', session: id, inferences, unused: bundles.available });
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

/**
 * The operator's decision on queries; no when the channel has ended meanwhile.
 * @throws Error when there is none after `ms`: the client may have left without this side's knowing, its frames unread
 */
async function decide(
  ask: () => Decision | Promise<Decision>,
  channel: Channel,
  ms: number,
): Promise<Decision> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`allowQuery: no decision for ${ms} ms`)), ms);
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

function outOfTurn(bundle: number): ProtocolError {
  return new ProtocolError('bad-message', `bundle ${bundle} is prepared out of turn`);
}
