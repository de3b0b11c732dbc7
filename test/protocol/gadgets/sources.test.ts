/**
 * Where the randomness of lanes comes from in a session: every lane of every bundle has seeds, masks, OTs and hash tweaks of
 * its own. What a reuse would tell whom is planted lane by lane in secrets.test.ts.
 */

import { describe, expect, it, vi } from 'vitest';
import { gadgetOf } from '../../../protocol/gadgets/index.ts';
import { TweakCounter } from '../../../protocol/garble/tweaks.ts';
import type { ProtocolPool } from '../../../protocol/inference/session.ts';
import { tasks } from '../../../protocol/inference/tasks.ts';
import { createInlinePool } from '../../../protocol/pool/inline.ts';
import { Prg } from '../../../protocol/random/index.ts';
import {
  inferBoth,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  type Sessions,
  seedOf,
} from '../../support/model.ts';

/** What a lane's randomness came from, by sort, as texts: no two lanes may have one in common. */
type Sources = Record<'client seed' | 'server seed' | "r'" | 'labels' | 'products', string>;

/** The sources of all lanes of three bundles. */
async function laneSources(plant: (sessions: Sessions) => void = () => {}): Promise<Sources[]> {
  const inline = createInlinePool(tasks);
  const lanes: Partial<Sources>[] = [];
  /** Lanes of which the server's seed was seen: it sees them in the order in which the client opens them. */
  let drawn = 0;
  const ots = (ticket: { firstChunk: number }, tweaks: { start: Uint8Array; first: number }) =>
    `${ticket.firstChunk} ${tweaks.start.join()} ${tweaks.first}`;
  const spy: ProtocolPool = {
    workers: 1,
    close: () => inline.close(),
    run(task, input, options) {
      if (task === 'openBatch') {
        const batch = input as Parameters<typeof tasks.openBatch>[0];
        for (const lane of batch.lanes) {
          const { seed, mask, labelTweaks, productTweaks } = lane;
          const compares = gadgetOf(lane).labelCots(lane.params) > 0;
          lanes.push({
            'client seed': seed.join(),
            "r'": mask.join(),
            // A lane without label OTs takes none.
            labels: compares ? ots(batch.labels, labelTweaks) : `none ${lanes.length}`,
            products: ots(batch.products, productTweaks),
          });
        }
      }
      if (task === 'prepareBatch') {
        for (const { seed } of (input as Parameters<typeof tasks.prepareBatch>[0]).lanes) {
          Object.assign(lanes[drawn++]!, { 'server seed': seed.join() });
        }
      }
      return inline.run(task, input, options);
    },
  };
  const model = residualModel();
  const sessions = await openSessions(model, seedOf(70), spy);
  plant(sessions);
  for (let bundle = 0; bundle < 3; bundle++) {
    await prepareBoth(sessions);
    await inferBoth(sessions, randomInput(model, seedOf(71)));
  }
  return lanes as Sources[];
}

/** The sorts of which two lanes have one in common. */
const repeated = (lanes: readonly Sources[]): string[] =>
  Object.keys(lanes[0]!).filter(
    (sort) => new Set(lanes.map((lane) => lane[sort as keyof Sources])).size < lanes.length,
  );

describe('the lanes of a session', () => {
  it('have no seed, mask, OT or tweak in common, within a bundle and between bundles', async () => {
    const lanes = await laneSources();
    expect(lanes.length).toBeGreaterThanOrEqual(12);
    expect(repeated(lanes)).toEqual([]);
    const seeds = lanes.flatMap((lane) => [lane['client seed'], lane['server seed']]);
    expect(new Set(seeds).size).toBe(seeds.length);
  });

  it("a client's generator that repeats itself gives two bundles the same rho and r', and is caught", async () => {
    const lanes = await laneSources(({ client }) => {
      Object.assign(client, {
        random: { fill: (out: Uint8Array) => new Prg(seedOf(72)).fill(out) },
      });
    });
    expect(repeated(lanes).sort()).toEqual(['client seed', "r'"]);
  });

  it("a server's generator that repeats itself gives two bundles the same pi, mu, u and m, and is caught", async () => {
    const lanes = await laneSources(({ server }) => {
      Object.assign(server, {
        random: { fill: (out: Uint8Array) => new Prg(seedOf(73)).fill(out) },
      });
    });
    expect(repeated(lanes)).toEqual(['server seed']);
  });

  it('tweaks that are handed out twice give two lanes of a batch the same pads, and are caught', async () => {
    const stuck = vi.spyOn(TweakCounter.prototype, 'take').mockReturnValue(0);
    try {
      expect(repeated(await laneSources()).sort()).toEqual(['labels', 'products']);
    } finally {
      stuck.mockRestore();
    }
  });
});
