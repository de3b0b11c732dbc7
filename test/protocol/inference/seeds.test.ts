/**
 * Seeds of whole sessions are whole: each is given by a party's generator, derived from a whole one, or public. One that is cut
 * on its way has as few values as it has bits, and whoever sees what it makes tries them all.
 */

import { describe, expect, it, vi } from 'vitest';
import { servedLayers } from '../../../protocol/inference/hint.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import * as tasks from '../../../protocol/inference/tasks.ts';
import { createInlinePool } from '../../../protocol/pool/inline.ts';
import * as random from '../../../protocol/random/index.ts';
import { hex } from '../../support/bytes.ts';
import {
  inferBoth,
  ModelBuilder,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  seedOf,
} from '../../support/model.ts';

/** Seeds as they are made, and as they are used. */
const log = vi.hoisted(() => ({
  on: false,
  made: new Set<string>(),
  used: [] as { seed: string; by: string }[],
}));

vi.mock('../../../protocol/random/index.ts', async (original) => {
  const real = await original<typeof import('../../../protocol/random/index.ts')>();
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  const made = <T extends Uint8Array>(seed: T): T => {
    log.made.add(text(seed));
    return seed;
  };
  return {
    ...real,
    deriveSeed(parent: Uint8Array, label: string, ...indices: number[]) {
      if (log.on) log.used.push({ seed: text(parent), by: `deriveSeed ${label}` });
      return made(real.deriveSeed(parent, label, ...indices));
    },
    freshSeed: (own?: random.Random) => made(real.freshSeed(own)),
    randomBytes: (own: random.Random, length: number) => made(real.randomBytes(own, length)),
    Prg: class extends real.Prg {
      constructor(seed: Uint8Array, first?: number) {
        if (log.on) log.used.push({ seed: text(seed), by: 'a stream' });
        super(seed, first);
      }
    },
  };
});

/** Who used a seed that nobody made. */
function cut(known: readonly Uint8Array[]): string[] {
  const whole = new Set([...log.made, ...known.map(hex)]);
  // The public polynomials come from nothing but their name.
  const named = ({ seed, by }: (typeof log.used)[0]) =>
    /^0*$/.test(seed) && by.startsWith('deriveSeed hint a,');
  return [
    ...new Set(log.used.filter((use) => !whole.has(use.seed) && !named(use)).map(({ by }) => by)),
  ];
}

describe('the seeds of a session', () => {
  it('are whole ones, at both parties, from the hint to the answer; one cut to four bytes is caught', async () => {
    const model = residualModel('label');
    log.on = true;
    const sessions = await openSessions(model, seedOf(490));
    await prepareBoth(sessions);
    await inferBoth(sessions, randomInput(model, seedOf(491)));
    const known = [sessions.client.id, sessions.server.id, new Uint8Array(16)];
    expect(log.used.length).toBeGreaterThan(100);
    expect(cut(known)).toEqual([]);
    const short = random.freshSeed().fill(0, 4);
    random.deriveSeed(short, 'planted');
    expect(cut(known)).toEqual(['deriveSeed planted']);
    log.on = false;
  });
});

describe('the rows of a hint', () => {
  it('have a secret u each in two layers that are the same: with one for both the hint shows everybody that they are', () => {
    const net = new ModelBuilder([2, 8, 8], seedOf(492));
    net.conv(4, 3);
    const model = net.finish();
    const layout = layoutOf(model.program);
    const [first] = layout.linears as unknown as [(typeof layout.linears)[0]];
    const [weights] = model.weights;
    // The same layer once more, as the third step.
    const again = { ...first, parts: first.parts.map((part) => ({ ...part, index: 2 })) };
    const both = { ...layout, linears: [first, again] };
    const own = { ...model, weights: [weights, undefined, weights] };
    const rows = (linears: typeof both.linears) =>
      servedLayers(createInlinePool(tasks), { ...both, linears }, own, {
        secret: seedOf(493),
        generation: 0,
      }).flatMap(({ seeds }) =>
        Array.from({ length: seeds.length / 16 }, (_, i) =>
          hex(seeds.subarray(16 * i, 16 * i + 16)),
        ),
      );
    const found = rows([first, again]);
    expect(found.length).toBe(2 * first.plan.packing.outTiles);
    expect(new Set(found).size).toBe(found.length);
    // The same step twice is what must not happen.
    expect(new Set(rows([first, first])).size).toBe(found.length / 2);
  });
});
