/**
 * Where the randomness of lanes comes from in a session: every lane of every bundle has seeds, masks, OTs and hash tweaks that
 * no other has, and so has the argmax. What a reuse would tell whom is planted lane by lane in secrets.test.ts.
 */

import { describe, expect, it, vi } from 'vitest';
import { argmax } from '../../../protocol/gadgets/argmax.ts';
import { wireBits } from '../../../protocol/gadgets/bits.ts';
import type { ClientLane, ServerLane } from '../../../protocol/gadgets/gadget.ts';
import { colours } from '../../../protocol/garble/labels.ts';
import { TweakCounter } from '../../../protocol/garble/tweaks.ts';
import type { SenderCots } from '../../../protocol/ot/pads.ts';
import { RELU } from '../../../protocol/program/kinds.ts';
import type { Model } from '../../../protocol/program/model.ts';
import { Prg } from '../../../protocol/random/index.ts';
import { type Hashed, hashedTwice } from '../../support/aes.ts';
import { hex } from '../../support/bytes.ts';
import {
  inferBoth,
  ModelBuilder,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  type Sessions,
  seedOf,
} from '../../support/model.ts';
import { DEVIATION_LIMIT, deviations } from '../../support/statistics.ts';
import { argmaxSteps, type Call, stepsOf, watchGadgets } from './watch.ts';

/** Two layers of ReLUs by half gates, and the class as the answer. */
function garbledModel(): Model {
  const net = new ModelBuilder([1, 8, 8], seedOf(77), 'garbled');
  net.activation([RELU], net.conv(2, 3));
  net.activation([RELU], net.conv(2, 3));
  net.dense(10);
  return net.finish('label');
}

/** All steps of three bundles and their inferences. */
async function callsOf(
  model: Model,
  plant: (sessions: Sessions) => void = () => {},
): Promise<Call[]> {
  const sessions = await openSessions(model, seedOf(70));
  plant(sessions);
  return watchGadgets(async () => {
    for (let bundle = 0; bundle < 3; bundle++) {
      await prepareBoth(sessions);
      await inferBoth(sessions, randomInput(model, seedOf(71)));
    }
  });
}

/** What a lane's randomness came from, by sort, as texts: no two lanes may have one in common. */
type Sources = Record<
  'client seed' | 'server seed' | "r'" | 'labels' | 'label tweaks' | 'products' | 'product tweaks',
  string
>;

/** The sources of all lanes. */
function sourcesIn(calls: readonly Call[]): Sources[] {
  const drawn = stepsOf(calls, 'draw').map(({ args }) => hex(args[2] as Uint8Array));
  const chosen = stepsOf(calls, 'choose').map(({ args }) => hex(args[2] as Uint8Array));
  const opened = stepsOf(calls, 'correct').map(({ args }) => args[1] as ClientLane);
  const prepared = stepsOf(calls, 'prepare').map(({ args }) => args[1] as ServerLane);
  // Both steps of a party have one seed, lane by lane.
  expect(opened.map(({ seed }) => hex(seed))).toEqual(chosen);
  expect(prepared.map(({ seed }) => hex(seed)).sort()).toEqual([...drawn].sort());
  const tweaks = ({ offset, tweaks: { start, first } }: SenderCots) =>
    `${hex(offset)} ${hex(start)} ${first}`;
  return opened.map(({ seed, mask, products }, i) => {
    const { labels, seed: own } = prepared[i]!;
    // A lane without label OTs has none of their tweaks either.
    const none = labels.blocks.length === 0 ? `none ${i}` : undefined;
    return {
      'client seed': hex(seed),
      'server seed': hex(own),
      "r'": mask.join(),
      // The sender's blocks, which do not depend on choices.
      labels: none ?? hex(labels.blocks.subarray(0, 16)),
      'label tweaks': none ?? tweaks(labels),
      products: hex(products.blocks.subarray(0, 16)),
      'product tweaks': tweaks(products),
    };
  });
}

/** Keys of the hash, each with the offset of the party's pads: under another offset a tweak may come again. */
function keysOf(calls: readonly Call[], party: 'client' | 'server'): Hashed[] {
  const offsetOf = ({ gadget, step, args }: Call): Uint8Array => {
    if (gadget === argmax) return (args[1] as SenderCots).offset;
    if (step === 'prepare') return (args[1] as ServerLane).labels.offset;
    return (args[1] as ClientLane).products.offset;
  };
  const step = party === 'client' ? 'correct' : 'prepare';
  const hashing = calls.filter((call) => call.step === step);
  return hashing.flatMap((call) =>
    call.use.hashes.map(({ key, blocks }) => ({ key: `${hex(offsetOf(call))} ${key}`, blocks })),
  );
}

/** The sorts of which two lanes have one in common. */
const repeated = (lanes: readonly Sources[]): string[] =>
  Object.keys(lanes[0]!).filter(
    (sort) => new Set(lanes.map((lane) => lane[sort as keyof Sources])).size < lanes.length,
  );

/** A generator that repeats itself. */
const stuck = (seed: number) => ({
  random: { fill: (out: Uint8Array) => new Prg(seedOf(seed)).fill(out) },
});

describe('the lanes of a session', () => {
  const runs = [
    ['encoded, logits', residualModel()],
    ['garbled, the class', garbledModel()],
  ] as const;
  for (const [name, model] of runs) {
    it(`${name}: have no seed, mask, OT or tweak in common, within a bundle and between bundles: one in common would tell what it hides twice`, async () => {
      const lanes = sourcesIn(await callsOf(model));
      expect(lanes.length).toBeGreaterThanOrEqual(6);
      expect(repeated(lanes)).toEqual([]);
      const seeds = lanes.flatMap((lane) => [lane['client seed'], lane['server seed']]);
      expect(new Set(seeds).size).toBe(seeds.length);
    });

    it(`${name}: no key of the hash serves a party twice, in lanes or the argmax: two gates, pads, or a pad and a gate under one would give the server's offset away`, async () => {
      const calls = await callsOf(model);
      for (const party of ['client', 'server'] as const) {
        const hashes = keysOf(calls, party);
        expect(hashes.length).toBeGreaterThanOrEqual(6);
        expect(hashedTwice(hashes), `keys of the ${party}`).toEqual([]);
      }
    });
  }

  it('a counter of tweaks that sticks is caught by the keys of the hash, at both parties', async () => {
    const counter = vi.spyOn(TweakCounter.prototype, 'take').mockReturnValue(0);
    const calls = await callsOf(residualModel()).finally(() => counter.mockRestore());
    for (const party of ['client', 'server'] as const) {
      expect(hashedTwice(keysOf(calls, party)).length).toBeGreaterThan(10);
    }
    expect(repeated(sourcesIn(calls))).toEqual(['label tweaks', 'product tweaks']);
  });

  it("a client's generator that repeats itself gives two bundles the same rho and r', and is caught", async () => {
    const calls = await callsOf(residualModel(), ({ client }) => {
      Object.assign(client, stuck(72));
    });
    expect(repeated(sourcesIn(calls)).sort()).toEqual(['client seed', "r'"]);
  });

  it("a server's generator that repeats itself gives two bundles the same pi, mu, u and m, and is caught", async () => {
    const calls = await callsOf(residualModel(), ({ server }) => {
      Object.assign(server, stuck(73));
    });
    expect(repeated(sourcesIn(calls))).toEqual(['server seed']);
  });
});

describe('the argmax of a session', () => {
  /** Seeds of its labels, and for each pair of bundles in a row how often colours and shares differ alike. */
  function argmaxes(calls: readonly Call[]) {
    const seeds = argmaxSteps(calls, 'prepare').map(({ args }) => hex(args[2] as Uint8Array));
    const views = argmaxSteps(calls, 'reveal').map(({ args, result }) => {
      const [{ rangeBits }, , a] = args as [{ rangeBits: number }, unknown, Int32Array];
      const positions = Array.from({ length: rangeBits }, (_, i) => i);
      return colours(result as Uint8Array).map((x, i) => x ^ wireBits(a, positions)[i]!);
    });
    const told = views.slice(1).map((view, j) => {
      const differing = view.reduce((sum, x, i) => sum + (x ^ views[j]![i]!), 0);
      return deviations(differing, view.length);
    });
    return { seeds, told };
  }

  it('has labels that tell the client no difference of shares of two bundles, from a seed that no lane has; a seed in common tells all, and is caught', async () => {
    const model = garbledModel();
    const honest = await callsOf(model);
    const { seeds, told } = argmaxes(honest);
    expect(seeds.length).toBe(3);
    const lanes = sourcesIn(honest).map((lane) => lane['server seed']);
    expect(new Set([...seeds, ...lanes]).size).toBe(seeds.length + lanes.length);
    expect(Math.max(...told)).toBeLessThan(DEVIATION_LIMIT);
    const planted = await callsOf(model, ({ server }) => {
      Object.assign(server, stuck(74));
    });
    const same = argmaxes(planted);
    expect(new Set(same.seeds).size).toBe(1);
    // Every colour differs just where the bits do.
    expect(Math.min(...same.told)).toBeGreaterThan(2 * DEVIATION_LIMIT);
  });
});
