/** A link that dies without a word, as a cable that is pulled out. It takes most of a minute: SOTTO_LONG=vanished runs it. */

import { describe, expect, it } from 'vitest';
import { connect } from '../../client/index.ts';
import { serve } from '../../server/index.ts';
import { isLong } from '../support/long.ts';
import { relay } from '../support/relay.ts';
import { localPool, tinyModel } from '../system/support.ts';
import { cert, key } from './certificate.ts';

/** How soon both sides have to notice, in ms. */
const NOTICED_MS = 40_000;

describe.skipIf(!isLong('vanished'))('a link that dies without a word', () => {
  it.each([
    ['ws', undefined],
    ['wss', { cert, key }],
  ])(
    'is noticed by the server and by a client that only waits, within 40 s (%s)',
    async (scheme, tls) => {
      const pool = localPool();
      const models = [{ name: 'tiny', model: tinyModel() }];
      const seen: string[] = [];
      const onEvent = ({ type }: { readonly type: string }) => void seen.push(`server: ${type}`);
      const server = await serve(models, { port: 0, pool, tls, onEvent });
      const link = await relay(server.address.port);
      const onStatus = (status: string) => void seen.push(`client: ${status}`);
      const session = await connect(`${scheme}://127.0.0.1:${link.port}`, {
        ...{ pool, ca: cert, onStatus },
      });
      await session.prepare();
      // Quiet for longer than the time in which a peer would be missed: both are there.
      await new Promise((resolve) => setTimeout(resolve, NOTICED_MS));
      expect(session.available).toBe(1);
      expect(server.sessions).toBe(1);
      const noticed = ['client: lost', 'server: closed'];
      expect(seen.filter((what) => noticed.includes(what))).toEqual([]);
      link.freeze();
      const frozen = performance.now();
      while (!noticed.every((what) => seen.includes(what))) {
        expect(performance.now() - frozen).toBeLessThan(NOTICED_MS);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      console.log(`noticed within ${((performance.now() - frozen) / 1000).toFixed(1)} s`);
      await session.close();
      link.close();
      await server.close();
      await pool.close();
    },
    120_000,
  );
});
