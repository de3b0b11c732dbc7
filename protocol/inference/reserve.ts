/**
 * Reserving bundles: the server decides whether it is going to prepare them before anything is computed or sent for them, so that
 * a refusal costs the client that one call and not its session.
 *
 *     client                                                     server
 *       |  ---- reserve, how many; seal ------------------------>  |   room, quota
 *       |  <--- the grant, or why not; seal ---------------------  |
 *
 * One round trip a call, whatever it prepares; nothing in it is secret. A grant has {@link GRANT_BYTES} bytes: the verdict and one
 * number that belongs to it, each of 32 bits, little-endian.
 */

import type { SealedChannel } from '../channel/sealed.ts';
import { ProtocolError } from '../errors.ts';
import { Command, encodeCommand, Kind } from './messages.ts';

/** Bytes of a grant. */
export const GRANT_BYTES = 8;

/** What a server says to a reservation. */
export type Verdict =
  /** It prepares them all. */
  | { readonly verdict: 'granted'; readonly bundles: number }
  /** The session may keep no more; `bundles` still fit. */
  | { readonly verdict: 'full'; readonly bundles: number }
  /** No more queries of this client for now; `seconds` until it may ask again, 0 when that is not known. */
  | { readonly verdict: 'quota'; readonly seconds: number }
  /** The server has no memory or no time for more at this moment. */
  | { readonly verdict: 'busy' }
  /** The server is about to stop. */
  | { readonly verdict: 'draining' };

/** Verdicts by their number. AGREEMENT: append only. */
const VERDICTS = ['granted', 'full', 'quota', 'draining', 'busy'] as const;

/** The payload of a grant. */
export function encodeGrant(grant: Verdict): Uint8Array {
  const payload = new Uint8Array(GRANT_BYTES);
  const view = new DataView(payload.buffer);
  view.setUint32(0, VERDICTS.indexOf(grant.verdict), true);
  const number = 'bundles' in grant ? grant.bundles : 'seconds' in grant ? grant.seconds : 0;
  view.setUint32(4, number, true);
  return payload;
}

/**
 * Reads a grant of {@link GRANT_BYTES} bytes.
 * @throws ProtocolError `bad-message` when there is no such verdict
 */
export function decodeGrant(payload: Uint8Array): Verdict {
  const view = new DataView(payload.buffer, payload.byteOffset, GRANT_BYTES);
  const verdict = VERDICTS[view.getUint32(0, true)];
  const number = view.getUint32(4, true);
  switch (verdict) {
    case 'granted':
    case 'full':
      return { verdict, bundles: number };
    case 'quota':
      return { verdict, seconds: number };
    case 'draining':
    case 'busy':
      return { verdict };
    default:
      throw new ProtocolError('bad-message', 'the grant has a verdict that does not exist');
  }
}

/**
 * Client: asks for the preparation of so many bundles.
 * @returns undefined when they are granted, otherwise why not; the session goes on either way
 * @throws ProtocolError `bad-message` when another number is granted
 */
export async function reserveClient(
  channel: SealedChannel,
  bundles: number,
): Promise<ProtocolError | undefined> {
  await channel.send(Kind.command, encodeCommand(Command.reserve, bundles));
  await channel.seal();
  const grant = decodeGrant(await channel.receive(Kind.grant, GRANT_BYTES));
  await channel.expectSeal();
  switch (grant.verdict) {
    case 'granted':
      if (grant.bundles === bundles) return undefined;
      throw new ProtocolError(
        'bad-message',
        `${bundles} bundles were reserved, ${grant.bundles} granted`,
      );
    case 'full':
      return new ProtocolError(
        'refused',
        `the server keeps ${grant.bundles} more prepared inferences of this session, ${bundles} were asked for`,
      );
    case 'quota':
      return new ProtocolError(
        'quota',
        `the server answers no more queries of this client for ${grant.seconds > 0 ? `${grant.seconds} s` : 'now'}`,
        grant.seconds > 0 ? { retryAfterMs: 1000 * grant.seconds } : {},
      );
    case 'busy':
      return new ProtocolError('busy', 'the server is busy, try again later');
    case 'draining':
      return new ProtocolError('draining', 'the server is about to stop and prepares nothing more');
  }
}

/** Server: answers a reservation; the client's command and its seal have been read. */
export async function grantServer(channel: SealedChannel, grant: Verdict): Promise<void> {
  await channel.send(Kind.grant, encodeGrant(grant));
  await channel.seal();
}
