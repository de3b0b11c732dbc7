import { describe, expect, it } from 'vitest';
import { type ArgmaxParams, argmax, argmaxCircuit } from '../../../protocol/gadgets/argmax.ts';
import { wireBits } from '../../../protocol/gadgets/bits.ts';
import { evaluateClear } from '../../../protocol/garble/circuit.ts';
import { argmax as clearArgmax } from '../../../protocol/program/clear.ts';
import { deriveSeed, Prg, randomRing } from '../../../protocol/random/index.ts';
import { dealtCots } from '../ot/support.ts';
import { testSeed } from './lane.ts';

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
      expect(runArgmax(params, x, seed)).toBe(clearArgmax(x));
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
      if (index !== clearArgmax(x)) throw new Error(`run ${run}: ${index}`);
    }
  });
});
