/** Reservations: what grants say, and parties that ask or grant what they should not. */

import { describe, expect, it } from 'vitest';
import { Command, encodeCommand, Kind } from '../../../protocol/inference/messages.ts';
import {
  decodeGrant,
  encodeGrant,
  GRANT_BYTES,
  type Verdict,
} from '../../../protocol/inference/reserve.ts';
import { changing } from '../../support/resealed.ts';
import { failureOf, LocalServer, openLocal, tinyModel, within } from '../../system/support.ts';

describe('a grant', () => {
  it('is read as it was written', () => {
    const grants: Verdict[] = [
      { verdict: 'granted', bundles: 0xffffffff },
      { verdict: 'full', bundles: 0 },
      { verdict: 'quota', seconds: 3600 },
      { verdict: 'draining' },
      { verdict: 'busy' },
    ];
    for (const grant of grants) {
      const payload = encodeGrant(grant);
      expect(payload).toHaveLength(GRANT_BYTES);
      expect(decodeGrant(payload)).toEqual(grant);
    }
  });

  it('has no other verdicts', () => {
    const payload = new Uint8Array(Uint32Array.of(5, 1).buffer);
    expect(() => decodeGrant(payload)).toThrow('the grant has a verdict that does not exist');
  });
});

/** A session whose client asks for so many bundles, whatever it means to ask for, and seals that. */
async function asking(bundles: number): Promise<{ client: Error; server: LocalServer }> {
  const server = new LocalServer([{ name: 'tiny', model: tinyModel() }]);
  const channel = changing(server.accept(), (kind, payload) =>
    kind === Kind.command && payload[0] === Command.reserve
      ? encodeCommand(Command.reserve, bundles)
      : payload,
  );
  const session = await openLocal(channel);
  const client = await within(10_000, failureOf(session.prepare()));
  await session.close();
  await server.settled();
  return { client, server };
}

describe('a reservation', () => {
  it('of no bundles is no message', async () => {
    const { server } = await asking(0);
    expect(server.of('error')).toMatchObject([
      { code: 'bad-message', message: 'no bundles were reserved' },
    ]);
  });

  it('that is granted for another number is no answer', async () => {
    const { client } = await asking(2);
    expect(client).toMatchObject({
      code: 'bad-message',
      message: '1 bundles were reserved, 2 granted',
    });
  });

  it('of more than fit is refused with how many do, and prepares nothing', async () => {
    const { client, server } = await asking(17);
    expect(client).toMatchObject({ code: 'refused' });
    expect(server.of('refused')).toMatchObject([{ inferences: 17, reason: 'full' }]);
    expect(server.of('bundle')).toEqual([]);
    expect(server.of('error')).toEqual([]);
  });
});
