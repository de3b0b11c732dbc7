/**
 * No secret of a gadget serves twice: each reuse is planted, and found by what the party that must not know then learns.
 * The same attack on an honest run finds nothing.
 */

import { describe, expect, it } from 'vitest';
import type { LaneState } from '../../../protocol/gadgets/gadget.ts';
import { KINDS, kindOf, RELU, SQUARE } from '../../../protocol/program/kinds.ts';
import { COMPARISONS } from '../../../protocol/program/program.ts';
import { hashInstances, tweaksForInstances } from '../../../protocol/random/hash.ts';
import { deriveSeed, Prg, randomBytes, randomRing } from '../../../protocol/random/index.ts';
import { signed } from '../../../protocol/ring/packing.ts';
import { DEVIATION_LIMIT, deviations, largestCorrelation } from '../../support/statistics.ts';
import { testSeed } from './lane.ts';
import {
  type Case,
  caseOf,
  type Dealt,
  type Played,
  play,
  type Sources,
  sourcesOf,
  type Tampering,
  titleOf,
} from './lanes.ts';
import type { Origin, Secret } from './secret.ts';
import { SECRETS } from './secrets.ts';

/** Elements of a lane: one hash key serves all. */
const N = 1024;
const HALF = N / 2;

const gadgets = COMPARISONS.flatMap((comparison) =>
  KINDS.map((kind) => ({ own: caseOf(kind, comparison), secrets: SECRETS[comparison][kind] })),
);

/** Where a secret is used again: by the later elements of a lane, or by another lane, of the same bundle or of another. */
type Place = 'elements' | 'lanes';

/** Two runs' worth of elements: those of both lanes, or of both halves of one lane. */
interface Pair {
  readonly first: Played;
  readonly second: Played;
  /** Where the second elements begin in their lane. */
  readonly from: number;
  readonly count: number;
}

/** Copies the second half of a list from the first. */
function repeat<T extends Uint8Array | Int32Array>(list: T): T {
  const copy = list.slice() as T;
  return copy.copyWithin(copy.length / 2, 0, copy.length / 2) as T;
}

/** A bit of the difference of both pads of every element of one OT. */
function differences(
  { blocks, offset, tweaks: { start, first } }: Dealt,
  ot: number,
  bit: (ot: number, hash: Uint8Array) => number,
): number[] {
  const own = blocks.subarray(16 * N * ot, 16 * N * (ot + 1));
  const tweaks = { start, first: first + ot * tweaksForInstances(N) };
  const zero = hashInstances(own, tweaks);
  const one = hashInstances(
    own.map((byte, i) => byte ^ offset[i & 15]!),
    tweaks,
  );
  const of = (hashes: Uint8Array, i: number) => bit(ot, hashes.subarray(16 * i, 16 * i + 16));
  return Array.from({ length: N }, (_, i) => of(zero, i) ^ of(one, i));
}

/** Gives the second elements the first ones' blocks, or other blocks whose pads differ in the same bit. */
function repeatOts(first: Dealt, second: Dealt, origin: Origin, place: Place): Dealt {
  if (!('ots' in origin)) return second;
  const [from, count] = place === 'elements' ? [HALF, HALF] : [0, N];
  const blocks = second.blocks.slice();
  // The same pads need the same tweaks.
  const tweaks = 'bit' in origin ? second.tweaks : first.tweaks;
  const planted = { ...second, blocks, tweaks };
  const random = new Prg(testSeed(200));
  for (const ot of origin.ots) {
    const at = 16 * (N * ot + from);
    if (!('bit' in origin)) {
      blocks.set(first.blocks.subarray(16 * N * ot, 16 * (N * ot + count)), at);
      continue;
    }
    const wanted = differences(first, ot, origin.bit);
    for (let left = true; left; ) {
      left = false;
      const found = differences(planted, ot, origin.bit);
      for (let i = 0; i < count; i++) {
        if (found[from + i] === wanted[i]) continue;
        blocks.set(randomBytes(random, 16), at + 16 * i);
        left = true;
      }
    }
  }
  return planted;
}

/** Plants the reuse of what comes from one origin into the second sources. */
function plant(first: Sources, second: Sources, origin: Origin, place: Place): Sources {
  switch (origin.of) {
    case 'labels':
      return { ...second, labels: repeatOts(first.labels, second.labels, origin, place) };
    case 'products':
      return { ...second, products: repeatOts(first.products, second.products, origin, place) };
    case 'mask':
      return { ...second, mask: place === 'lanes' ? first.mask : repeat(second.mask) };
    case 'client':
      return place === 'lanes' ? { ...second, clientSeed: first.clientSeed } : second;
    case 'server':
      return place === 'lanes' ? { ...second, serverSeed: first.serverSeed } : second;
  }
}

/** Within a lane all values come from one stream: there the state of the party repeats itself. */
function tampering(origins: readonly Origin[], place: Place): Tampering {
  const of = (party: 'client' | 'server') => (state: LaneState) => {
    const changed: Record<string, Uint8Array | Int32Array> = { ...state };
    for (const origin of origins) {
      if (origin.of !== party || origin.field === undefined || place !== 'elements') continue;
      changed[origin.field] = repeat(changed[origin.field]!);
    }
    return changed;
  };
  return { client: of('client'), server: of('server') };
}

/** Plays the two runs of a place, with the given reuses. */
function playPair(
  own: Case,
  place: Place,
  seed: Uint8Array,
  origins: readonly Origin[] = [],
  changes: Tampering = {},
): Pair {
  const { rangeBits, dropBits } = own.params;
  const limit = 2 ** (rangeBits - 1) - 2 ** dropBits;
  const lane = (index: number, sources: Sources, tampered: Tampering = {}) => {
    const random = new Prg(deriveSeed(seed, 'values', index));
    const [x, c] = [randomRing(random, N).map((word) => word % limit), randomRing(random, N)];
    const a = x.map((value, i) => value - c[i]!);
    return play(own, a, c, sources, tampered);
  };
  const [honest, other] = [0, 1].map((i) => sourcesOf(own, N, seed, i)) as [Sources, Sources];
  if (place === 'elements') {
    const sources = origins.reduce((now, origin) => plant(honest, now, origin, place), honest);
    const both = lane(0, sources, tampering(origins, place));
    return { first: both, second: both, from: HALF, count: HALF };
  }
  const sources = origins.reduce((now, origin) => plant(honest, now, origin, place), other);
  return { first: lane(0, honest, changes), second: lane(1, sources), from: 0, count: N };
}

/** For each pair of elements what the attack gets wrong: 0, or a mask of wrong bits against the first of the right answers. */
function attack(
  secret: Secret,
  params: Case['params'],
  { first, second, from, count }: Pair,
): number[] {
  const observe = (run: Played) =>
    secret.hiddenFrom === 'client' ? secret.observe(run.client) : secret.observe(run.server);
  const [seen, seenAgain] = [observe(first), observe(second)];
  const [hidden, hiddenAgain] = [secret.hidden(first), secret.hidden(second)];
  const bits = secret.bits(params);
  const mask = bits === 32 ? -1 : 2 ** bits - 1;
  return Array.from({ length: count }, (_, i) => {
    const [s, t] = [seen[i]!, seenAgain[from + i]!];
    const [u, v] = [hidden[i]!, hiddenAgain[from + i]!];
    if (secret.relation === 'xor') return (s ^ t ^ u ^ v) & mask;
    const answers = secret.relation === 'difference' ? [u - v] : [u - v, v - u, u + v, -u - v];
    const errors = answers.map((answer) => ((s - t) ^ answer) & mask);
    return errors.includes(0) ? 0 : errors[0]!;
  });
}

/**
 * What hides the bits of an element, bit by bit: observation and hidden value together give it. Of numbers with unknown
 * signs that is the lowest bit alone.
 */
function masksOf(secret: Secret, params: Case['params'], run: Played): Uint8Array[] {
  const seen =
    secret.hiddenFrom === 'client' ? secret.observe(run.client) : secret.observe(run.server);
  const hidden = secret.hidden(run);
  const bits = secret.relation === 'difference up to signs' ? 1 : secret.bits(params);
  return Array.from({ length: bits }, (_, bit) => {
    const out = new Uint8Array(N / 8);
    for (let i = 0; i < N; i++) {
      const mask = secret.relation === 'difference' ? seen[i]! - hidden[i]! : seen[i]! ^ hidden[i]!;
      out[i >> 3]! |= ((mask >>> bit) & 1) << (i & 7);
    }
    return out;
  });
}

/** Bits that hide something and are no fair coins, among all elements or among each eighth. */
function unfair(
  secrets: readonly Secret[],
  params: Case['params'],
  run: Played,
): { name: string; bit: number }[] {
  return secrets.flatMap((secret) =>
    masksOf(secret, params, run).flatMap((mask, bit) => {
      const eighths = Array.from({ length: 8 }, (_, i) =>
        mask.reduce((sum, byte) => sum + ((byte >> i) & 1), 0),
      );
      const worst = Math.max(
        deviations(
          eighths.reduce((sum, count) => sum + count),
          N,
        ),
        ...eighths.map((count) => deviations(count, N / 8)),
      );
      return worst < DEVIATION_LIMIT ? [] : [{ name: secret.name, bit }];
    }),
  );
}

/** Of each bit how many errors it has. */
function errorsByBit(errors: readonly number[], bits: number): number[] {
  return Array.from({ length: bits }, (_, bit) =>
    errors.reduce((sum, error) => sum + ((error >>> bit) & 1), 0),
  );
}

for (const { own, secrets } of gadgets) {
  const gadget = titleOf(own);
  if (own.params.comparison === 'garbled' && !kindOf(own.kind).compares) continue;

  describe(`secrets of the ${gadget}`, () => {
    const places: readonly [Place, string][] = [
      ['elements', 'two elements of a lane'],
      ['lanes', 'two lanes or bundles'],
    ];
    for (const [place, between] of places) {
      const honest = playPair(own, place, testSeed(210));

      for (const secret of secrets) {
        const origins = secret.origins(own.params);
        // What a party draws and keeps nowhere cannot repeat itself within a lane.
        const drawn = origins.some((o) => (o.of === 'client' || o.of === 'server') && !o.field);
        if (place === 'elements' && drawn) continue;

        it(`${gadget}: ${secret.name} in common to ${between} tells the ${secret.hiddenFrom} ${secret.gives}; otherwise nothing does`, () => {
          const bits = secret.bits(own.params);
          const errors = attack(secret, own.params, honest);
          for (const count of errorsByBit(errors, bits)) {
            // Five standard deviations.
            const spread = 2.5 * Math.sqrt(errors.length);
            expect(Math.abs(count - errors.length / 2)).toBeLessThan(spread);
          }
          const planted = playPair(own, place, testSeed(210), origins);
          expect(attack(secret, own.params, planted).filter((error) => error !== 0)).toEqual([]);
        });
      }
    }
  });
}

describe('the secrets of one element', () => {
  for (const { own, secrets } of gadgets) {
    const { params } = own;

    it(`${titleOf(own)} beside ${params.comparison} comparisons: no bit that hides something hides another thing too`, () => {
      const { first } = playPair(own, 'lanes', testSeed(211));
      for (const party of ['client', 'server'] as const) {
        const masks = secrets
          .filter(({ hiddenFrom }) => hiddenFrom === party)
          .flatMap((secret) => masksOf(secret, params, first));
        expect(largestCorrelation(masks), `hidden from the ${party}`).toBeLessThan(DEVIATION_LIMIT);
      }
    });
  }

  for (const { own, secrets } of gadgets) {
    const { params } = own;

    it(`${titleOf(own)} beside ${params.comparison} comparisons: every bit that hides something is a fair coin, in every eighth element too`, () => {
      const { first } = playPair(own, 'lanes', testSeed(212));
      expect(unfair(secrets, params, first)).toEqual([]);
    });
  }

  for (const { own } of gadgets) {
    const { kind, params } = own;

    it(`${titleOf(own)} beside ${params.comparison} comparisons: the server's share of a result is not the result: without r' it would be`, () => {
      const { client, server } = playPair(own, 'lanes', testSeed(213)).first;
      const told = (values: Int32Array) =>
        values.filter((value, i) => {
          const x = (server.a[i]! + client.c[i]!) | 0;
          const floor = Math.floor((kind === RELU ? Math.max(x, 0) : x) / 2 ** params.shift);
          const results = kind === SQUARE ? [floor ** 2, (floor + 1) ** 2] : [floor, floor + 1];
          return results.some((y) => Math.abs(signed(value - y, params.outBits)) <= 1);
        }).length / N;
      expect(told(server.share)).toBeLessThan(0.01);
      expect(told(server.share.map((value, i) => value + client.mask[i]!))).toBeGreaterThan(0.95);
    });
  }

  it("the server's pi, mu or u fixed in every eighth element tell the client every eighth bit that they hide, and are caught", () => {
    for (const [kind, field] of [
      [RELU, 'pi'],
      [RELU, 'mu'],
      [SQUARE, 'u'],
    ] as const) {
      const own = caseOf(kind, 'encoded');
      const server: Tampering['server'] = (state) => {
        const list = state[field]!.slice();
        const bytes = list instanceof Uint8Array;
        for (let i = 0; i < list.length; i++)
          if (bytes || i % 8 === 0) list[i]! &= bytes ? 0xfe : 0;
        return { ...state, [field]: list };
      };
      const { first } = playPair(own, 'lanes', testSeed(212), [], { server });
      const found = unfair(SECRETS.encoded[kind], own.params, first);
      expect(new Set(found.map(({ name }) => name))).toEqual(new Set([field]));
    }
  });

  it('one bit for pi and mu is caught', () => {
    const own = caseOf(RELU, 'encoded');
    const { first } = playPair(own, 'lanes', testSeed(211), [], {
      server: (state) => ({ ...state, mu: state['pi']! }),
    });
    const masks = SECRETS.encoded[RELU].filter(({ name }) => name === 'pi' || name === 'mu');
    const all = masks.flatMap((secret) => masksOf(secret, own.params, first));
    expect(largestCorrelation(all)).toBeGreaterThan(DEVIATION_LIMIT);
  });
});
