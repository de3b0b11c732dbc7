/**
 * Hash tweaks as they are used: under one offset no key of the hash serves two calls, within a lane, in the lane after it,
 * and in the argmax. What a repeated one gives away is computed beside it.
 */

import { describe, expect, it } from 'vitest';
import { getBit } from '../../../protocol/gadgets/bits.ts';
import { CircuitBuilder } from '../../../protocol/garble/builder.ts';
import { garble, tweaksOf } from '../../../protocol/garble/halfgates.ts';
import { activeLabels } from '../../../protocol/garble/labels.ts';
import { padWords, senderPadWords } from '../../../protocol/ot/pads.ts';
import { IDENTITY, KINDS, kindOf, RELU, SQUARE } from '../../../protocol/program/kinds.ts';
import { COMPARISONS } from '../../../protocol/program/program.ts';
import { INSTANCES_PER_KEY, type Tweaks } from '../../../protocol/random/hash.ts';
import { deriveSeed, Prg, randomBytes, randomRing } from '../../../protocol/random/index.ts';
import { type Hashed, hashedTwice, watchAes } from '../../support/aes.ts';
import { hex } from '../../support/bytes.ts';
import { testSeed } from './lane.ts';
import {
  argmaxSources,
  type Case,
  play,
  playArgmax,
  type Sources,
  sourcesOf,
  type Turn,
} from './lanes.ts';

/** Three chunks, the last of a few elements. */
const N = 2 * INSTANCES_PER_KEY + 60;

const cases: Case[] = COMPARISONS.flatMap((comparison) =>
  KINDS.filter((kind) => comparison === 'encoded' || kindOf(kind).compares).flatMap((kind) =>
    // Results in wide and in narrow rings, where there is no carry.
    [27, 12].map(
      (outBits): Case => ({
        kind,
        params: { rangeBits: 28, dropBits: 15, shift: 14, outBits, comparison },
      }),
    ),
  ),
);

const titleOf = ({ kind, params }: Case) =>
  `${kindOf(kind).compares ? `${params.comparison} ` : ''}${kindOf(kind).name}, o = ${params.outBits}`;

type Party = 'client' | 'server';

/** The hashes of each party in two lanes, one after the other. */
function hashesOf(own: Case, change: (sources: Sources) => Sources = (sources) => sources) {
  const hashes: Record<Party, Hashed[]> = { client: [], server: [] };
  const turn: Turn = (party, step) => {
    const [result, use] = watchAes(step);
    hashes[party].push(...use.hashes);
    return result;
  };
  for (const lane of [0, 1]) {
    const random = new Prg(deriveSeed(testSeed(240), 'shares', lane));
    const [a, c] = [randomRing(random, N), randomRing(random, N)];
    play(own, a, c, change(sourcesOf(own, N, testSeed(241), lane)), {}, turn);
  }
  return hashes;
}

describe('the hashes of two lanes', () => {
  for (const own of cases) {
    it(`${titleOf(own)}: each key of the hash serves one gate or one OT of 1,024 elements: a second use would tell the client the server's offset, or either party what two pads hide`, () => {
      const hashes = hashesOf(own);
      for (const party of ['client', 'server'] as const) {
        expect(hashes[party].length, party).toBeGreaterThan(0);
        expect(hashedTwice(hashes[party]), `keys of the ${party}`).toEqual([]);
        // A sender hashes both pads of an OT, and both labels of a wire, under one key.
        const most = Math.max(...hashes[party].map(({ blocks }) => blocks));
        expect(most).toBeLessThanOrEqual(2 * INSTANCES_PER_KEY);
      }
    });
  }

  it('a lane that takes the tweaks of the one before it is caught at both parties', () => {
    const stuck = (sources: Sources): Sources => {
      const again = (dealt: Sources['labels']) => ({
        ...dealt,
        tweaks: { ...dealt.tweaks, first: 0 },
      });
      return { ...sources, labels: again(sources.labels), products: again(sources.products) };
    };
    for (const own of cases.filter(({ kind }) => [IDENTITY, RELU, SQUARE].includes(kind))) {
      const hashes = hashesOf(own, stuck);
      for (const party of ['client', 'server'] as const) {
        expect(hashedTwice(hashes[party]).length, `${titleOf(own)}, ${party}`).toBeGreaterThan(0);
      }
    }
  });
});

describe('the hashes of two argmaxes', () => {
  it("argmax: each key of the hash serves one half of one gate: a second use would tell the client the server's offset", () => {
    const params = { values: 10, rangeBits: 24 };
    const hashes: Record<Party, Hashed[]> = { client: [], server: [] };
    const turn: Turn = (party, step) => {
      const [result, use] = watchAes(step);
      hashes[party].push(...use.hashes);
      return result;
    };
    for (const bundle of [0, 1]) {
      const a = randomRing(new Prg(testSeed(242)), params.values);
      playArgmax(
        params,
        a,
        a.map((x) => -x),
        argmaxSources(params, testSeed(243), bundle),
        turn,
      );
    }
    for (const party of ['client', 'server'] as const) {
      expect(hashes[party].length).toBeGreaterThan(100);
      expect(hashedTwice(hashes[party]), `keys of the ${party}`).toEqual([]);
    }
  });
});

describe('one tweak for two hashes', () => {
  const random = new Prg(testSeed(244));
  const n = 64;
  const delta = randomBytes(random, 16);
  delta[0]! |= 1;
  const tweaks: Tweaks = { start: randomBytes(random, 16), first: 5 };
  const zero = randomBytes(random, 16 * 2 * n);

  /** x y, and x alone as a second output. */
  function andGate() {
    const builder = new CircuitBuilder(1, 1);
    const [x, y] = [builder.garbler[0]!, builder.evaluator[0]!];
    return builder.build([builder.and(x, y)]);
  }

  it("of two gates gives the client the server's offset, the xor of two rows; two tweaks do not", () => {
    const circuit = andGate();
    // The second gate has the first one's x and another y.
    const other = zero.slice();
    other.set(randomBytes(random, 16 * n), 16 * n);
    const rows = (labels: Uint8Array, own: Tweaks) =>
      garble(circuit, n, { delta, zeroLabels: labels, tweaks: own }).tables.subarray(0, 16 * n);
    const found = (own: Tweaks) => {
      const [first, second] = [rows(zero, tweaks), rows(other, own)];
      return first
        .map((byte, i) => byte ^ second[i]!)
        .reduce((sum, _, i, xor) => {
          if (i % 16 > 0) return sum;
          return sum + (hex(xor.subarray(i, i + 16)) === hex(delta) ? 1 : 0);
        }, 0);
    };
    // Where the colours of both y differ.
    expect(found(tweaks)).toBeGreaterThan(n / 4);
    expect(found({ ...tweaks, first: tweaks.first + tweaksOf(circuit) })).toBe(0);
  });

  it('of a gate and of the pads of its input gives the client the pad of the label it has not; two tweaks do not', () => {
    const bits = new Uint8Array(2 * n).map((_, i) => ((i * 7) % 3) & 1);
    const active = activeLabels(zero, delta, bits).subarray(0, 16 * n);
    const { tables } = garble(andGate(), n, { delta, zeroLabels: zero, tweaks });
    const rows = new Int32Array(tables.slice(0, 16 * n).buffer);
    const found = (own: Tweaks) => {
      const pads = senderPadWords(zero.subarray(0, 16 * n), delta, own);
      const known = padWords(active, own)[0]!;
      return Array.from(known).filter((pad, i) => {
        const missing = (bits[i] === 0 ? pads.one : pads.zero)[0]![i]!;
        // The row is both pads and, where y's zero label has colour 1, the offset.
        return (rows[4 * i]! ^ pad) === missing;
      }).length;
    };
    expect(found(tweaks)).toBeGreaterThan(n / 4);
    expect(found({ ...tweaks, first: tweaks.first + 2 })).toBe(0);
  });

  it('and one block give two OTs the same pads: the xor of what they hide; two tweaks do not', () => {
    const choice = Uint8Array.of(0b1010_0110);
    const block = zero.subarray(0, 16 * 8);
    const pad = (own: Tweaks) =>
      senderPadWords(block, delta, own).one.map((words) =>
        words.filter((_, i) => getBit(choice, i)),
      );
    expect(pad(tweaks)).toEqual(pad({ ...tweaks }));
    expect(pad(tweaks)).not.toEqual(pad({ ...tweaks, first: tweaks.first + 1 }));
  });
});
