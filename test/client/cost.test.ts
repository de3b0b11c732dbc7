/** What `sotto/cost` says of a program, beside what sessions move. */

import { describe, expect, it } from 'vitest';
import { costOf, plan } from '../../client/cost.ts';
import { LocalServer, somePixels, tinyModel } from '../system/support.ts';

const model = tinyModel();

describe('the cost of a program', () => {
  it.each([undefined, 20e6, 1e6])(
    'is what a session moves that is told of %s bit/s',
    async (rate) => {
      const server = new LocalServer([{ name: 'tiny', model }]);
      const session = await server.connect({ bitsPerSecond: rate });
      const { stats } = await session.infer(somePixels(model));
      const cost = costOf(session.program, rate);
      for (const phase of ['offline', 'online'] as const) {
        const { bytesUp: up, bytesDown: down } = stats[phase];
        expect(cost[phase]).toMatchObject({ up, down });
      }
      await session.close();
      expect(() => costOf(model.program, 0)).toThrow('bitsPerSecond: expected a positive number');
    },
  );

  it('becomes time over a link', () => {
    const cores = { clientCores: 2, serverCores: 2, bitsPerSecond: 1e6 };
    const { online, offline } = plan(model.program, { ...cores, roundTripMs: 40 });
    const cost = costOf(model.program, 1e6);
    const onWire = ({ up, down }: { up: number; down: number }) => (8000 * (up + down)) / 1e6;
    expect(offline.networkMs).toBeGreaterThan(onWire(cost.offline) / 2);
    const { networkMs } = plan(model.program, { ...cores, roundTripMs: 140 }).online;
    expect(networkMs - online.networkMs).toBeCloseTo(100 * cost.online.rounds);
    expect(online.totalMs).toBeGreaterThan(online.networkMs);
  });
});
