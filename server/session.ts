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
import { drawServer } from '../protocol/inference/draw.ts';
import { COMMAND_BYTES, Command, decodeCommand, Kind } from '../protocol/inference/messages.ts';
import { prepareServer } from '../protocol/inference/offline.ts';
import { inferServer } from '../protocol/inference/online.ts';
import { grantServer, type Verdict } from '../protocol/inference/reserve.ts';
import { openServer, type ProtocolRunner, sendHint } from '../protocol/inference/session.ts';
import { type Random, systemRandom } from '../protocol/random/index.ts';
import { hexOf } from './hints.ts';
import type {
  AllowQuery,
  Grant,
  OnGrant,
  ServerEvent,
  ServerLimits,
  SessionEnd,
} from './limits.ts';
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
  /** Told of each grant before it leaves; none leaves of which it cannot be told. */
  readonly onGrant?: OnGrant | undefined;
  /** Where its secrets come from; default: the system. */
  readonly random?: Random | undefined;
}

/** Who a connection is, for events. */
export interface Connection {
  readonly session: number;
  readonly address: string;
  /** Its TCP port there. */
  readonly port?: number | undefined;
  /** Called with the client's first message; what it throws refuses the session. */
  readonly enter?: (() => void) | undefined;
}

/** Ends connections when the server stops at once. */
export const SHUT_DOWN: Error = new ProtocolError('closed', 'the server shuts down');

/** What ends a rest between two requests without being an error. */
const QUIET_ENDS: Readonly<Partial<Record<SessionEnd, SessionEnd>>> = {
  closed: 'left',
  timeout: 'idle',
  draining: 'draining',
};

/**
 * Serves one client over `channel`, until the channel has ended. Never rejects: what goes wrong ends this session alone,
 * the client is told in one general sentence, and the operator by an event.
 */
export async function serveSession(
  parts: ServerParts,
  channel: Channel,
  { session: id, address, port, enter }: Connection,
): Promise<void> {
  const { offers, pool, limits, onEvent, draining, allowQuery, onGrant } = parts;
  const { random = systemRandom } = parts;
  const peer = { session: id, address, port };
  const traffic = counted(channel);
  const bundles = new BundleStore<ServerBundle>();
  let inferences = 0;
  /** Bundles that are granted and not yet prepared. */
  let granted = 0;
  let resting = false;
  let offer = undefined as OfferedModel | undefined;
  let reason: SessionEnd = 'goodbye';
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
    const find = (name: string | undefined) => {
      clearTimeout(silent);
      if (draining?.aborted) throw stopping();
      enter?.();
      offer = name === undefined ? first(offers) : offers.get(name);
      return offer;
    };
    const session = await openServer(party, find, limits.bundlesPerSession);
    // Its own, whatever is offered under this name later.
    const own = offer!;
    const { model } = session;
    const ms = performance.now() - start;
    const { bytesReceived: bytesUp, bytesSent: bytesDown } = traffic.snapshot();
    onEvent({ type: 'session', ...peer, model, ms, bytesUp, bytesDown });

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
        const moved = { bytesUp: bytesReceived, bytesDown: bytesSent };
        const ms = performance.now() - begin;
        return { session: id, model, bundle, ready: bundles.available, ms, ...moved };
      };
      if (command === Command.prepare) {
        if (bundle !== prepared++) throw outOfTurn(bundle);
        if (granted === 0) {
          throw new ProtocolError('bad-message', `bundle ${bundle} was not reserved`);
        }
        granted--;
        bundles.add(await prepareServer(session, bundle));
        onEvent({ type: 'bundle', ...work() });
      } else if (command === Command.infer) {
        await inferServer(session, own.model, bundles.take(bundle));
        inferences++;
        onEvent({ type: 'inference', ...work() });
      } else if (command === Command.reserve) {
        await session.channel.expectSeal();
        if (bundle === 0) throw new ProtocolError('bad-message', 'no bundles were reserved');
        const room = limits.bundlesPerSession - bundles.available - granted;
        const query = { session: id, address, model, inferences: bundle };
        const allowed = () =>
          allowQuery === undefined || decide(() => allowQuery(query), traffic, limits.stallMs);
        const decided: Verdict = draining?.aborted
          ? { verdict: 'draining' }
          : bundle > room
            ? { verdict: 'full', bundles: room }
            : (await allowed())
              ? { verdict: 'granted', bundles: bundle }
              : { verdict: 'quota', seconds: 0 };
        const names = { program: hexOf(session.digest), weights: hexOf(session.weights) };
        const message =
          onGrant && decided.verdict === 'granted'
            ? await whyUnrecorded(onGrant, { ...query, ...names }, traffic, limits.stallMs)
            : undefined;
        const verdict: Verdict = message === undefined ? decided : { verdict: 'quota', seconds: 0 };
        if (verdict.verdict === 'granted') granted += bundle;
        else {
          const reason = message === undefined ? verdict.verdict : 'audit';
          onEvent({ type: 'refused', ...peer, model, inferences: bundle, reason, message });
        }
        await grantServer(session.channel, verdict);
      } else if (command === Command.draw) {
        await drawServer(session, bundle);
      } else if (command === Command.hint) {
        await sendHint(session, own);
        const { digest, bytes } = own.hint;
        onEvent({ type: 'download', session: id, hint: hexOf(digest), bytes: bytes.length });
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
    const death = (await channel.closed) ?? (error as Error);
    const code = death instanceof ProtocolError ? death.code : 'internal';
    const quiet = death === SHUT_DOWN ? 'stopped' : resting ? QUIET_ENDS[code] : undefined;
    reason = quiet ?? code;
    if (quiet === undefined) {
      onEvent({ type: 'error', ...peer, model: offer?.name, code, message: death.message });
    }
  } finally {
    clearTimeout(silent);
    draining?.removeEventListener('abort', drain);
    const unused = bundles.available;
    onEvent({ type: 'closed', session: id, model: offer?.name, reason, inferences, unused });
  }
}

function stopping(): ProtocolError {
  return new ProtocolError('draining', 'the server is about to stop');
}

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
  ask: () => boolean | Promise<boolean>,
  channel: Channel,
  ms: number,
  missing = 'allowQuery: no decision',
): Promise<boolean> {
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

function outOfTurn(bundle: number): ProtocolError {
  return new ProtocolError('bad-message', `bundle ${bundle} is prepared out of turn`);
}
