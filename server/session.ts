/**
 * The server's side of one connection: handshake, then one request after the other until the client says goodbye, rests
 * too long, or something breaks. Knows no sockets.
 *
 *     client                                 server
 *       |  ---- handshake and setup ------>  |
 *       |  ---- hint --------------------->  |   for a client that has not kept it
 *       |  ---- draw, number n ----------->  |   ahead of prepare
 *       |  ---- prepare, number n -------->  |   n counts up from 0; a query, if allowed; bundle n is kept
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
import { openServer, type ProtocolPool, sendHint } from '../protocol/inference/session.ts';
import { type Random, systemRandom } from '../protocol/random/index.ts';
import type { AllowQuery, ServerEvent, ServerLimits } from './limits.ts';
import type { OfferedModel } from './models.ts';

/** What all sessions of a server share. */
export interface ServerParts {
  readonly offers: ReadonlyMap<string, OfferedModel>;
  readonly pool: ProtocolPool;
  readonly limits: ServerLimits;
  readonly onEvent: (event: ServerEvent) => void;
  /** Asked before each query; every one goes on when it is left out. */
  readonly allowQuery?: AllowQuery | undefined;
  /** Where its secrets come from; the system unless given. */
  readonly random?: Random | undefined;
}

/** Who a connection is, for events. */
export interface Connection {
  readonly session: number;
  readonly address: string;
}

/**
 * Serves one client over `channel`, until the channel has ended. Never rejects: what goes wrong ends this session alone,
 * the client is told in one general sentence, and the operator by an event.
 */
export async function serveSession(
  { offers, pool, limits, onEvent, allowQuery, random = systemRandom }: ServerParts,
  channel: Channel,
  { session: id, address }: Connection,
): Promise<void> {
  const traffic = counted(channel);
  const bundles = new BundleStore<ServerBundle>();
  let inferences = 0;
  try {
    const start = performance.now();
    const party = { channel: withTimeout(traffic, limits.stallMs), pool, random };
    const session = await openServer(party, (name) =>
      name === undefined ? first(offers) : offers.get(name),
    );
    const offer = offers.get(session.model)!;
    const ms = performance.now() - start;
    onEvent({ type: 'session', session: id, address, model: session.model, ms });

    const resting = session.channel.over(withTimeout(traffic, limits.idleMs));
    let prepared = 0;
    for (;;) {
      const payload = await resting.receive(Kind.command, COMMAND_BYTES);
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
        if (bundles.available >= limits.bundlesPerSession) {
          throw new ProtocolError(
            'refused',
            `a session may keep at most ${limits.bundlesPerSession} prepared inferences`,
          );
        }
        // Before anything is computed or sent for it: who has a bundle is going to be answered.
        if (allowQuery !== undefined) {
          const query = { session: id, address, model: session.model };
          await decide(() => allowQuery(query), traffic, limits.stallMs);
        }
        bundles.add(await prepareServer(session, bundle));
        onEvent({ type: 'bundle', ready: bundles.available, ...work() });
      } else if (command === Command.infer) {
        await inferServer(session, offer.model, bundles.take(bundle));
        inferences++;
        onEvent({ type: 'inference', ...work() });
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
    onEvent({ type: 'error', session: id, address, code, message: reason.message });
  } finally {
    onEvent({ type: 'closed', session: id, inferences, unused: bundles.available });
  }
}

/**
 * Waits for the operator's decision on a query.
 * @throws ProtocolError `quota` when it is no, or the channel has ended meanwhile
 * @throws Error when there is none after `ms`: the client may have left without this side's knowing, its frames unread
 */
async function decide(
  ask: () => boolean | Promise<boolean>,
  channel: Channel,
  ms: number,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`allowQuery: no decision for ${ms} ms`)), ms);
  });
  try {
    if (await Promise.race([ask(), channel.closed.then(() => false), late])) return;
  } finally {
    clearTimeout(timer);
  }
  throw new ProtocolError('quota', 'the server answers no more queries of this client for now');
}

function first(offers: ReadonlyMap<string, OfferedModel>): OfferedModel | undefined {
  return offers.values().next().value;
}

function outOfTurn(bundle: number): ProtocolError {
  return new ProtocolError('bad-message', `bundle ${bundle} is prepared out of turn`);
}
