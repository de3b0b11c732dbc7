import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernels } from '../../../../protocol/kernels/index.ts';
import { type HintPlan, planHint } from '../../../../protocol/linear/hint/index.ts';
import { layoutInputs } from '../../../../protocol/linear/hint/layout.ts';
import { correctionBytes, hintBytes, keyBytes } from '../../../../protocol/linear/hint/plan.ts';
import {
  packInput,
  packWeights,
  usedCoefficients,
} from '../../../../protocol/linear/rlwe/packing.ts';
import type { ConvShape } from '../../../../protocol/ring/shape.ts';
import { linearInputSize, weightCount } from '../../../../protocol/ring/shape.ts';
import { convolutions, testSeed } from '../rlwe/support.ts';
import { cuts, planWith, publish, runBundle } from './support.ts';

const N = 2048;

/** What is wrong with a layout, found by brute force over all products of packed weights and used coefficients. */
function faults({ packing, inputs, masks }: HintPlan): string[] {
  const { conv, inTiles, outTiles, spatialTiles } = packing;
  const ones = new Int32Array(weightCount(conv)).fill(1);
  const size = linearInputSize(conv);
  const numbers = Int32Array.from({ length: size }, (_, i) => i + 1);
  const [w, elements] = [new Int32Array(N), new Int32Array(N)];
  const found: string[] = [];
  const met = new Set<number>();
  const freed = new Uint8Array(size);
  for (let inTile = 0; inTile < inTiles; inTile++) {
    for (let tile = 0; tile < spatialTiles; tile++) {
      const read = new Set<number>();
      for (let outTile = 0; outTile < outTiles; outTile++) {
        packWeights(packing, ones, inTile, outTile, w);
        const taps = [...w.keys()].filter((at) => w[at] !== 0);
        for (const used of usedCoefficients(packing, outTile * spatialTiles + tile).positions) {
          for (const tap of taps) read.add((used - tap + N) % N);
        }
      }
      packInput(packing, numbers, inTile, tile, elements);
      const layout = inputs[inTile * spatialTiles + tile]!;
      const all = [...layout.free, ...layout.corrected];
      if (new Set(all).size !== all.length) found.push('a coefficient twice');
      if (all.length !== read.size || !all.every((at) => read.has(at)))
        found.push('other than read');
      for (const at of read) if (elements[at]! > 0) met.add(elements[at]! - 1);
      layout.free.forEach((at, i) => {
        if (elements[at]! - 1 !== layout.freeElements[i]) found.push('a free element elsewhere');
        freed[layout.freeElements[i]!]!++;
      });
      layout.corrected.forEach((at, i) => {
        const element = layout.correctedElements[i]!;
        if (elements[at]! - 1 !== element) found.push('a corrected element elsewhere');
        // Jobs of maskInput know the masks of earlier tiles alone.
        if (masks === 'free' && element >= 0 && freed[element] !== 1)
          found.push('a copy too early');
      });
    }
  }
  const free = masks === 'free';
  freed.forEach((count, element) => {
    if (count !== (free && met.has(element) ? 1 : 0)) found.push(`element free ${count} times`);
  });
  return found;
}

describe('layout', () => {
  it('every coefficient that a used output meets is free exactly once, or corrected', () => {
    fc.assert(
      fc.property(convolutions, cuts, fc.constantFrom('free', 'fixed'), (shape, cut, masks) => {
        const weights = new Int32Array(weightCount(shape)).fill(1);
        const plan = planWith(shape, weights, cut, { ringBits: 28, masks });
        expect(faults(plan)).toEqual([]);
        // The brute force sees a coefficient that is left out.
        const index = plan.inputs.findIndex(({ corrected }) => corrected.length > 0);
        if (index >= 0) {
          const { corrected, correctedElements, ...rest } = plan.inputs[index]!;
          const cutOff = {
            ...rest,
            corrected: corrected.slice(1),
            correctedElements: correctedElements.slice(1),
          };
          expect(faults({ ...plan, inputs: plan.inputs.with(index, cutOff) })).toContain(
            'other than read',
          );
        }
      }),
      { numRuns: 200, seed: 2, endOnFailure: true },
    );
  });

  it('elements that no output reads keep a uniform mask', () => {
    const shape: ConvShape = {
      kind: 'conv',
      channels: 2,
      height: 16,
      width: 16,
      outChannels: 2,
      kernel: [1, 1],
      stride: [2, 2],
      pads: [0, 0, 0, 0],
      groups: 1,
    };
    const weights = new Int32Array(4).fill(3);
    const cut = { rows: 99, columns: 99, planes: 2, outputs: 1 };
    const plan = planWith(shape, weights, cut, { ringBits: 28, masks: 'free' });
    const { r } = runBundle(plan, publish(plan, weights), testSeed('unread'));
    expect(plan.inputs[0]!.free.length).toBe(2 * 64);
    expect(new Set(r).size).toBeGreaterThan(500);
    expect(r.every((x) => x >= 0 && x < 2 ** 28)).toBe(true);
  });
});

/** How often each result of the rounding of all phases with all noises comes. */
function countRoundings(q: number, bits: number, noises: number): number[] {
  const { arena, rlwe } = kernels();
  return arena.scope(() => {
    const n = q * noises;
    const [phase, noise, out] = [arena.alloc(8 * n), arena.alloc(4 * n), arena.alloc(4 * n)];
    const phases = new BigUint64Array(arena.memory.buffer, phase, n);
    for (let i = 0; i < n; i++) {
      phases[i] = BigInt(i % q);
      arena.u32(noise, n)[i] = Math.floor(i / q);
    }
    rlwe.roundUniform(out, phase, noise, n, bits, q);
    const counts = new Array<number>(2 ** bits).fill(0);
    arena.u32(out, n).forEach((r, i) => {
      counts[r]!++;
      const distance = Math.abs(((i % q) * 2 ** bits) / q - r);
      expect(Math.min(distance, 2 ** bits - distance)).toBeLessThan(0.5 + 2 ** bits / q);
    });
    return counts;
  });
}

describe('masks', () => {
  it.each([
    [97, 4],
    [101, 5],
    [257, 6],
    [127, 6],
    [65, 6],
  ])('are exactly uniform: all phases below %i and all noises, %i bits', (q, bits) => {
    expect(countRoundings(q, bits, 2 ** bits)).toEqual(new Array(2 ** bits).fill(q));
    // Without the noise they are not.
    expect(new Set(countRoundings(q, bits, 1)).size).toBeGreaterThan(1);
  });

  it('are what exact arithmetic makes of large phases', () => {
    const { arena, rlwe } = kernels();
    const q = 4497_442_218_295_681;
    arena.scope(() => {
      const values = [0n, 1n, BigInt(q) - 1n, BigInt(q) / 2n, 123_456_789_012_345n];
      for (const bits of [2, 17, 28, 32]) {
        const noise = 2 ** bits - 1;
        const src = arena.alloc(8 * values.length);
        new BigUint64Array(arena.memory.buffer, src, values.length).set(values);
        const dither = arena.put(new Uint32Array(values.length).fill(noise));
        const dst = arena.alloc(4 * values.length);
        rlwe.roundUniform(dst, src, dither, values.length, bits, q);
        const modulus = 1n << BigInt(bits);
        const expected = values.map((x) =>
          Number(((x * modulus + BigInt(noise) + BigInt(q - 1) / 2n) / BigInt(q)) % modulus),
        );
        expect([...arena.u32(dst, values.length)]).toEqual(expected);
      }
    });
  });
});

describe('plan', () => {
  const layer = (channels: number, side: number): ConvShape => ({
    kind: 'conv',
    channels,
    height: side,
    width: side,
    outChannels: channels,
    kernel: [3, 3],
    stride: [1, 1],
    pads: [1, 1, 1, 1],
    groups: 1,
  });
  const weightBound = { norm1: 20_000, norm2: 1510 };
  const rest = { weightBound, ringBits: 28, tolerance: 8192, masks: 'free' } as const;

  it('one output a polynomial for convolutions, several for matrices, bytes by formula', () => {
    const large = planHint({ shape: layer(64, 32), ...rest });
    expect([large.packing.outputsPerTile, large.hintBits]).toEqual([1, 24]);
    expect([hintBytes(large), keyBytes(large)]).toEqual([64 * 6144, 13_312]);
    // A frame of 33 + 33 + 33 coefficients around each plane, whole bytes a tile.
    expect(correctionBytes(large)).toBe(64 * Math.ceil((99 * 28) / 8));
    const matrix = planHint({ shape: { kind: 'dense', inputs: 256, outputs: 64 }, ...rest });
    expect(matrix.packing.outputsPerTile).toBeGreaterThan(1);
    // A plane too large for a polynomial: tiles share the hint.
    const wide = planHint({ shape: layer(4, 100), ...rest });
    expect(wide.packing.spatialTiles).toBeGreaterThan(4);
    expect(hintBytes(wide)).toBe(4 * 6144);
    expect(keyBytes(wide)).toBe(wide.packing.spatialTiles * 13_312);
    for (const plan of [large, matrix, wide]) {
      expect(plan.inputs).toEqual(layoutInputs(plan.packing, 'free'));
    }
  });

  it('takes more bits of the hint where the error asks for it, and refuses what fits none', () => {
    const shape = layer(64, 8);
    const bits = (tolerance: number) => planHint({ shape, ...rest, tolerance }).hintBits;
    // Never so few that the hint's rounding adds more than half of what rounded masks do.
    expect(bits(2 ** 20)).toBe(24);
    expect(bits(3900)).toBe(25);
    expect(bits(3810)).toBe(26);
    expect(() => bits(400)).toThrow(
      'hint layer: 3x3 kernels with a weight norm of 1510.0 in a ring of 28 bits err by up to',
    );
    expect(() => bits(400)).toThrow('the tolerance is 400');
    expect(() => planHint({ shape, ...rest, masks: 'exact', tolerance: 2 })).toThrow('noise');
    const exact = planHint({ shape, ...rest, masks: 'exact', tolerance: 54 });
    expect([exact.hintBits, exact.noise]).toEqual([40, 50]);
    for (const wrong of [
      { shape: layer(0, 8) },
      { shape: { ...shape, groups: 3 } },
      { ringBits: 33 },
      { ringBits: 1.5 },
      { weightBound: { norm1: 1, norm2: Number.NaN } },
    ]) {
      expect(() => planHint({ shape, ...rest, ...wrong })).toThrow(RangeError);
    }
  });
});
