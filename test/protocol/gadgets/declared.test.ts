/**
 * The list of secrets is whole: every gadget declares its own, and whatever a lane uses that is random (OTs, seeds, streams,
 * masks) hides a declared one.
 */

import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { argmax } from '../../../protocol/gadgets/argmax.ts';
import { gadgetOf } from '../../../protocol/gadgets/index.ts';
import { KINDS } from '../../../protocol/program/kinds.ts';
import { COMPARISONS } from '../../../protocol/program/program.ts';
import { Prg, randomRing } from '../../../protocol/random/index.ts';
import { type AesUse, watchAes } from '../../support/aes.ts';
import { ARGMAX_SECRETS } from './argmax-secrets.ts';
import { testSeed } from './lane.ts';
import { type Case, caseOf, play, type Sources, sourcesOf, type Turn, titleOf } from './lanes.ts';
import type { Origin } from './secret.ts';
import { SECRETS } from './secrets.ts';

const gadgets = COMPARISONS.flatMap((comparison) =>
  KINDS.map((kind) => ({ own: caseOf(kind, comparison), secrets: SECRETS[comparison][kind] })),
);

/** The declared secrets of each gadget. A gadget that is not here fails, whatever calls it. */
const DECLARED: ReadonlyMap<object, readonly { readonly name: string }[]> = new Map<
  object,
  readonly { readonly name: string }[]
>([
  ...COMPARISONS.flatMap((comparison) =>
    KINDS.map((kind) => {
      const params = { rangeBits: 20, dropBits: 0, shift: 0, outBits: 20, comparison };
      return [gadgetOf({ kind, params }), SECRETS[comparison][kind]] as const;
    }),
  ),
  [argmax, ARGMAX_SECRETS],
]);

/** Elements of two chunks. */
const CHUNKED = 1500;

/** What each party of a lane draws from, and from which seed of each. */
function streamsOf(
  own: Case,
  changed: Partial<Sources> = {},
): Record<'client' | 'server', Set<string>> {
  const random = new Prg(testSeed(223));
  const [a, c] = [randomRing(random, CHUNKED), randomRing(random, CHUNKED)];
  const uses: Record<'client' | 'server', AesUse[]> = { client: [], server: [] };
  const turn: Turn = (party, step) => {
    const [result, use] = watchAes(step);
    uses[party].push(use);
    return result;
  };
  play(own, a, c, { ...sourcesOf(own, CHUNKED, testSeed(224), 0), ...changed }, {}, turn);
  const seeds = (party: 'client' | 'server') =>
    new Set(uses[party].flatMap(({ streams }) => streams.map(({ seed }) => seed)));
  return { client: seeds('client'), server: seeds('server') };
}

/** The streams that the secrets of a gadget are drawn from at a party, by name, and how many they are for n elements. */
function declaredStreams(origins: readonly Origin[], party: 'client' | 'server', n: number) {
  const drawn = new Map<string, number>();
  for (const origin of origins) {
    if (origin.of !== party) continue;
    drawn.set(origin.draw, origin.chunked ? Math.ceil(n / 1024) : 1);
  }
  return { names: [...drawn.keys()], count: [...drawn.values()].reduce((sum, x) => sum + x, 0) };
}

describe('the list of secrets', () => {
  it('has every gadget of protocol/gadgets, each with secrets', async () => {
    const folder = new URL('../../../protocol/gadgets/', import.meta.url);
    const undeclared: string[] = [];
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.ts'))) {
      const exported = (await import(new URL(file, folder).href)) as Record<string, unknown>;
      for (const [name, value] of Object.entries(exported)) {
        // The logits prepare nothing, and so draw nothing.
        const gadget = typeof value === 'object' && value !== null && 'prepare' in value;
        if (!gadget || (DECLARED.get(value) ?? []).length > 0) continue;
        undeclared.push(
          `${name} of protocol/gadgets/${file}: list what it hides from whom in test/protocol/gadgets/secrets.ts`,
        );
      }
    }
    expect(undeclared).toEqual([]);
    expect(DECLARED.size).toBeGreaterThanOrEqual(5);
  });

  for (const { own, secrets } of gadgets) {
    const { params } = own;
    const origins = secrets.flatMap((secret) => secret.origins(params));

    it(`${titleOf(own)} beside ${params.comparison} comparisons: every OT, seed and mask that a lane uses hides a declared secret`, () => {
      const gadget = gadgetOf(own);
      const otsOf = (side: 'labels' | 'products') =>
        [...new Set(origins.flatMap((o) => (o.of === side && 'ots' in o ? o.ots : [])))].sort(
          (x, y) => x - y,
        );
      const all = (count: number) => Array.from({ length: count }, (_, i) => i);
      expect(otsOf('labels')).toEqual(all(gadget.labelCots(params)));
      expect(otsOf('products')).toEqual(all(gadget.productCots(params)));
      expect(origins.some(({ of }) => of === 'mask')).toBe(true);

      // A seed that changes what a party sends is a secret's origin.
      const [x, c] = [new Int32Array(64).fill(77), randomRing(new Prg(testSeed(220)), 64)];
      const a = x.map((value, i) => value - c[i]!);
      const sources = sourcesOf(own, 64, testSeed(221), 0);
      const sent = (changed: Partial<Sources>) => {
        const { client, server } = play(own, a, c, { ...sources, ...changed });
        const chosen = [client.labels.choices, server.products.choices];
        return [
          ...chosen,
          client.tables,
          client.material,
          server.corrections,
          server.result,
        ].join();
      };
      for (const party of ['client', 'server'] as const) {
        const used = sent({ [`${party}Seed`]: testSeed(222) }) !== sent({});
        expect(used).toBe(origins.some(({ of }) => of === party));
      }
    });

    it(`${titleOf(own)} beside ${params.comparison} comparisons: each secret that a party draws has a stream to itself, of the lane's seed: of one stream, or of a known one, what it hides is told the other party`, () => {
      const streams = streamsOf(own);
      for (const party of ['client', 'server'] as const) {
        const { names, count } = declaredStreams(origins, party, CHUNKED);
        const declared = names.length === 0 ? 'none' : names.join(', ');
        expect(
          streams[party].size,
          `the ${party} draws from ${streams[party].size} streams; declared are ${count} (${declared}). ` +
            'One that is missing serves two secrets, which are the same numbers then. One too many hides something that is ' +
            `not declared: add it to secrets.ts, with an origin { of: '${party}', draw }`,
        ).toBe(count);
        const other = streamsOf(own, { [`${party}Seed`]: testSeed(225) })[party];
        const kept = [...other].filter((seed) => streams[party].has(seed));
        expect(kept, `the ${party}'s streams that everybody knows`).toEqual([]);
      }
    });
  }
});
