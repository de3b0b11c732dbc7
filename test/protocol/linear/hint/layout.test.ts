import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernels } from '../../../../protocol/kernels/index.ts';
import { type HintPlan, planHint } from '../../../../protocol/linear/hint/index.ts';
import { layoutInputs } from '../../../../protocol/linear/hint/layout.ts';
import {
  packInput,
  usedCoefficients,
  weightPolynomial,
} from '../../../../protocol/linear/hint/packing.ts';
import {
  errorBound,
  errorVariance,
  hintVariance,
  layerTolerance,
} from '../../../../protocol/linear/hint/parameters.ts';
import { correctionBytes, hintBytes, keyBytes } from '../../../../protocol/linear/hint/plan.ts';
import { MODULUS } from '../../../../protocol/linear/lattice/parameters.ts';
import { Prg } from '../../../../protocol/random/index.ts';
import type { ConvShape } from '../../../../protocol/ring/shape.ts';
import { linearInputSize, weightCount } from '../../../../protocol/ring/shape.ts';
import { convolutions, testSeed } from '../layers.ts';
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
        weightPolynomial(packing, ones, inTile, outTile, w);
        const taps = [...w.keys()].filter((at) => w[at] !== 0);
        for (const used of usedCoefficients(packing, outTile * spatialTiles + tile).positions) {
          for (const tap of taps) read.add((used - tap + N) % N);
        }
      }
      packInput(packing, numbers, inTile, tile, elements);
      const layout = inputs[inTile * spatialTiles + tile]!;
      const { first } = layout;
      const all = [...layout.free, ...layout.corrected];
      if (new Set(all).size !== all.length) found.push('a coefficient twice');
      if (all.length !== read.size || !all.every((at) => read.has(at)))
        found.push('other than read');
      for (const at of read) if (elements[at]! > 0) met.add(elements[at]! - 1);
      layout.free.forEach((at, i) => {
        const element = first + layout.freeElements[i]!;
        if (elements[at]! - 1 !== element) found.push('a free element elsewhere');
        freed[element]!++;
      });
      layout.corrected.forEach((at, i) => {
        const counted = layout.correctedElements[i]!;
        const element = counted < 0 ? -1 : first + counted;
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

/** roundUniform with noises below 2^(bits + 8): r and f of each phase, and R = 256 r + f modulo 2^(bits + 8). */
function roundPhases(
  phases: readonly number[],
  noises: readonly number[],
  bits: number,
  q: number,
) {
  const { arena, rlwe } = kernels();
  return arena.scope(() => {
    const n = Math.ceil(phases.length / 4) * 4;
    const phase = arena.alloc(8 * n);
    new BigUint64Array(arena.memory.buffer, phase, n).set(phases.map(BigInt));
    const noise = arena.alloc(5 * n + 3);
    // What lies above the noise's bits does not count.
    arena.u8(noise, 5 * n + 3).fill(0xff);
    noises.forEach((v, i) => {
      const word = v + 2 ** (bits + 8) * (2 ** (32 - bits) - 1);
      for (let b = 0; b < 5; b++) arena.u8(noise, 5 * n)[5 * i + b] = Math.floor(word / 256 ** b);
    });
    const [masks, fractions] = [arena.alloc(4 * n), arena.alloc(n)];
    rlwe.roundUniform(masks, fractions, phase, noise, n, bits, q);
    const r = [...arena.u32(masks, phases.length)];
    const f = [...new Int8Array(arena.memory.buffer, fractions, phases.length)];
    const modulus = 2 ** (bits + 8);
    return { r, f, R: r.map((x, i) => (256 * x + f[i]! + modulus) % modulus) };
  });
}

describe('masks', () => {
  it.each([
    [1025, 2],
    [1031, 2],
    [1777, 2],
    [2053, 3],
  ])(
    'and fractions are exactly uniform together: all phases below %i and all noises, %i bits',
    (q, bits) => {
      const phases = Array.from({ length: q }, (_, i) => i);
      const units = 2 ** (bits + 8);
      const counts = new Uint32Array(units);
      let wrong = 0;
      for (let v = 0; v < units; v++) {
        const { r, f, R } = roundPhases(phases, new Array(q).fill(v), bits, q);
        for (let i = 0; i < q; i++) {
          counts[256 * r[i]! + f[i]! + 128]!++;
          if (R[i] !== Math.floor((units * i + v) / q)) wrong++;
        }
      }
      expect(wrong).toBe(0);
      // Every pair of them, q times.
      expect(new Set(counts)).toEqual(new Set([q]));
      // Without the noise they are not.
      const { R } = roundPhases(phases, new Array(q).fill(0), bits, q);
      expect(new Set(R.map((x) => R.filter((y) => x === y).length)).size).toBeGreaterThan(1);
    },
  );

  it('are what exact arithmetic makes of large phases', () => {
    for (const bits of [2, 17, 28, 32]) {
      const units = 2 ** (bits + 8);
      const random = new BigUint64Array(4000);
      new Prg(testSeed('phases', bits)).fill(new Uint8Array(random.buffer));
      const phases = [0n, 1n, BigInt(MODULUS) - 1n, BigInt(MODULUS) / 2n, ...random]
        .map((x) => Number(x % BigInt(MODULUS)))
        // Multiples of a 256th, where the quotient is about to change, and their neighbours.
        .flatMap((x, i) => (i % 2 === 0 ? [x] : [0, 1, 2].map((d) => nearBoundary(x, units) - d)));
      for (const noise of [0, 1, Math.floor(units / 3), units - 1]) {
        const { r, R } = roundPhases(phases, new Array(phases.length).fill(noise), bits, MODULUS);
        const expected = phases.map((x) =>
          Number((BigInt(x) * BigInt(units) + BigInt(noise)) / BigInt(MODULUS)),
        );
        expect(R).toEqual(expected);
        expect(r).toEqual(expected.map((x) => Math.floor((x + 128) / 256) % 2 ** bits));
      }
    }
  });
});

/** The smallest phase of the 256th of a unit that `x` is in, or 2. */
function nearBoundary(x: number, units: number): number {
  const R = (BigInt(x) * BigInt(units)) / BigInt(MODULUS);
  return Math.max(2, Number((R * BigInt(MODULUS) + BigInt(units) - 1n) / BigInt(units)));
}

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

  it('fits a merged layer wherever its parts fit, though one is far smaller than the other', () => {
    const shape = { ...layer(64, 8), outChannels: 128 };
    const parts = [1510, 20].map((norm2) => {
      const size = 64 * 64;
      return { norm2, size, tolerance: layerTolerance(norm2, size) };
    });
    const request = { shape, ...rest, tolerance: parts[1]!.tolerance };
    const { packing, hintBits, variance } = planHint({ ...request, parts });
    // Outputs of both never share a polynomial here: the small ones would meet weights of the large.
    expect(packing.outputsPerTile).toBe(1);
    for (const { norm2, size, tolerance } of parts) {
      const { hint, total } = errorVariance(norm2, 1, 28, hintBits, false);
      expect(errorBound(total, size)).toBeLessThanOrEqual(tolerance);
      expect(hint).toBeLessThanOrEqual(hintVariance(norm2));
    }
    expect(variance).toBe(errorVariance(1510, 1, 28, hintBits, false).total);
    // As one layer with the largest error and the smallest tolerance it fits nothing.
    expect(() => planHint(request)).toThrow('the tolerance is');
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
