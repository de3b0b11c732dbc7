import { describe, expect, it } from 'vitest';
import { type ArgmaxParams, argmax, argmaxCircuit } from '../../../protocol/gadgets/argmax.ts';
import { wireBits } from '../../../protocol/gadgets/bits.ts';
import { evaluateClear } from '../../../protocol/garble/circuit.ts';
import { colours } from '../../../protocol/garble/labels.ts';
import { deriveSeed, Prg, randomRing } from '../../../protocol/random/index.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';
import { watchAes } from '../../support/aes.ts';
import { hex } from '../../support/bytes.ts';
import { DEVIATION_LIMIT, deviations } from '../../support/statistics.ts';
import { dealtCots } from '../ot/support.ts';
import { ARGMAX_SECRETS, type ArgmaxSecret } from './argmax-secrets.ts';
import { testSeed } from './lane.ts';
import {
  type ArgmaxSources,
  argmaxSources,
  type PlayedArgmax,
  playArgmax,
  type Turn,
} from './lanes.ts';

/** Values of k bits: random, and with ties and both ends of the range. */
function valuesOf({ values, rangeBits }: ArgmaxParams, seed: Uint8Array, run: number): Int32Array {
  const limit = 2 ** (rangeBits - 1) - 1;
  const x = randomRing(new Prg(seed), values).map((word) => word % (limit + 1));
  if (run % 4 === 1) x.fill(x[0]!);
  if (run % 4 === 2) x[values - 1] = x[run % values] = limit;
  if (run % 4 === 3) x.fill(-limit).fill(1 - limit, run % values, (run % values) + 1);
  return x;
}

/** Both halves; the index the client learns. */
function runArgmax(params: ArgmaxParams, x: Int32Array, seed: Uint8Array): number {
  const c = randomRing(new Prg(deriveSeed(seed, 'c')), x.length);
  const a = x.map((value, i) => value - c[i]!);
  const chosen = argmax.choose(params, c);
  const { q, t, offset } = dealtCots(new Prg(seed), chosen, argmax.labelCots(params));
  const tweaks = { start: deriveSeed(seed, 'tweaks'), first: 11 };
  const cots = { blocks: q, offset, tweaks };
  const { message, state } = argmax.prepare(params, cots, deriveSeed(seed, 'server'));
  const material = argmax.reveal(params, state, a);
  expect({ tables: message.length, material: material.length }).toEqual(argmax.bytes(params));
  return argmax.evaluate(params, t, message, tweaks, material);
}

describe('argmax', () => {
  it.each([
    { values: 2, rangeBits: 4, runs: 40 },
    { values: 7, rangeBits: 31, runs: 40 },
    { values: 10, rangeBits: 24, runs: 40 },
    { values: 100, rangeBits: 20, runs: 12 },
  ])('$values values of $rangeBits bits: the first of the largest', ({ runs, ...params }) => {
    for (let run = 0; run < runs; run++) {
      const seed = deriveSeed(testSeed(params.values), 'run', run);
      const x = valuesOf(params, seed, run);
      expect(runArgmax(params, x, seed)).toBe(indexOfLargest(x));
    }
  });

  it('its circuit, on 102,400 values', () => {
    const params = { values: 64, rangeBits: 22 };
    const circuit = argmaxCircuit(params);
    const positions = Array.from({ length: params.rangeBits }, (_, i) => i);
    for (let run = 0; run < 1600; run++) {
      const seed = deriveSeed(testSeed(3), 'circuit', run);
      const x = valuesOf(params, seed, run);
      const c = randomRing(new Prg(deriveSeed(seed, 'c')), x.length);
      const a = x.map((value, i) => value - c[i]!);
      const bits = [a, c].flatMap((share) => [...wireBits(share, positions)]);
      const index = evaluateClear(circuit, Uint8Array.from(bits)).reduce(
        (sum, bit, i) => sum | (bit << i),
        0,
      );
      if (index !== indexOfLargest(x)) throw new Error(`run ${run}: ${index}`);
    }
  });
});

describe('secrets of the argmax', () => {
  const params = { values: 50, rangeBits: 22 };
  const count = params.values * params.rangeBits;

  /** The argmaxes of two bundles. */
  function bundles(
    change: (first: ArgmaxSources, second: ArgmaxSources) => ArgmaxSources = (_, second) => second,
  ) {
    const [first, second] = [0, 1].map((i) => argmaxSources(params, testSeed(230), i)) as [
      ArgmaxSources,
      ArgmaxSources,
    ];
    return [first, change(first, second)].map((sources, i) => {
      const random = new Prg(deriveSeed(testSeed(231), 'values', i));
      const x = randomRing(random, params.values).map((word) => word >> 11);
      const c = randomRing(random, params.values);
      return playArgmax(
        params,
        x.map((value, j) => value - c[j]!),
        c,
        sources,
      );
    }) as [PlayedArgmax, PlayedArgmax];
  }

  /** For each bit of a party what the attack gets wrong. */
  function errorsOf(
    { observe, hidden }: ArgmaxSecret,
    [first, second]: [PlayedArgmax, PlayedArgmax],
  ) {
    const [s, t, u, v] = [observe(first), observe(second), hidden(first), hidden(second)];
    return Array.from({ length: count }, (_, i) => s[i]! ^ t[i]! ^ u[i]! ^ v[i]!);
  }

  for (const secret of ARGMAX_SECRETS) {
    it(`argmax: ${secret.name} in common to two bundles tell the client ${secret.gives}; otherwise nothing does`, () => {
      const honest = errorsOf(secret, bundles());
      for (let bit = 0; bit < secret.bits; bit++) {
        const wrong = honest.reduce((sum, error) => sum + ((error >>> bit) & 1), 0);
        expect(deviations(wrong, count)).toBeLessThan(DEVIATION_LIMIT);
      }
      const planted = bundles((first, second) =>
        secret.origin.of === 'labels'
          ? { ...second, labels: { ...second.labels, blocks: first.labels.blocks } }
          : { ...second, serverSeed: first.serverSeed },
      );
      expect(errorsOf(secret, planted).filter((error) => error !== 0)).toEqual([]);
    });
  }

  it("argmax: the colours of the server's labels tell the client no bit of its share; fixed ones tell all", () => {
    const [{ material, a }] = bundles();
    const wires = wireBits(
      a,
      Array.from({ length: params.rangeBits }, (_, i) => i),
    );
    const told = (labels: Uint8Array) =>
      colours(labels).reduce((sum, x, i) => sum + (x ^ wires[i]!), 0);
    expect(deviations(told(material), count)).toBeLessThan(DEVIATION_LIMIT);
    // One label for several wires would tell which of their bits are the same.
    const labels = new Set(
      Array.from({ length: count }, (_, i) => hex(material.subarray(16 * i, 16 * i + 16))),
    );
    expect(labels.size).toBe(count);
    const fixed = material.map((byte, i) => (i % 16 === 0 ? (byte & 0xfe) | wires[i / 16]! : byte));
    expect(told(fixed)).toBe(0);
  });

  it("argmax: what the server draws has a stream to itself, which comes of the bundle's seed", () => {
    const streams = [232, 233].map((seed) => {
      const sources = { ...argmaxSources(params, testSeed(234), 0), serverSeed: testSeed(seed) };
      const used = new Set<string>();
      const turn: Turn = (party, step) => {
        const [result, { streams }] = watchAes(step);
        for (const { seed } of streams) used.add(`${party} ${seed}`);
        return result;
      };
      const zeros = new Int32Array(params.values);
      playArgmax(params, zeros, zeros, sources, turn);
      return used;
    });
    const drawn = ARGMAX_SECRETS.filter(({ origin }) => origin.of === 'server');
    expect(streams.map(({ size }) => size)).toEqual([drawn.length, drawn.length]);
    expect([...streams[0]!].filter((seed) => streams[1]!.has(seed))).toEqual([]);
  });
});
