import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../protocol/errors.ts';
import { weightNorms } from '../../../../protocol/linear/bound.ts';
import { drawRow, makeHintWith } from '../../../../protocol/linear/hint/hint.ts';
import {
  decodeHint,
  hintBytes,
  hintDigest,
  hintDigestInPieces,
  openHint,
  planHint,
  publicPolynomials,
  rowSeeds,
  rowTransforms,
} from '../../../../protocol/linear/hint/index.ts';
import { publicPolynomial } from '../../../../protocol/linear/hint/parameters.ts';
import { polynomialAt } from '../../../../protocol/linear/hint/polynomial.ts';
import { Prg } from '../../../../protocol/random/index.ts';
import type { ConvShape } from '../../../../protocol/ring/shape.ts';
import { fanIn, weightCount } from '../../../../protocol/ring/shape.ts';
import { CHI_SQUARE_LIMIT, chiSquare } from '../../../support/statistics.ts';
import { randomWeights, testSeed } from '../layers.ts';
import {
  centredModulus,
  coefficientsOf,
  GENERATION,
  planWith,
  productOf,
  publish,
  testPublics,
} from './support.ts';

const shape: ConvShape = {
  kind: 'conv',
  channels: 3,
  height: 16,
  width: 16,
  outChannels: 4,
  kernel: [3, 3],
  stride: [1, 1],
  pads: [1, 1, 1, 1],
  groups: 1,
};
const weights = randomWeights(new Prg(testSeed('hint')), weightCount(shape), 100);
const plan = planHint({
  shape,
  weightBound: weightNorms(weights, fanIn(shape)),
  ringBits: 28,
  tolerance: 8192,
  masks: 'free',
});
const published = publish(plan, weights);
const perTile = hintBytes(plan) / plan.packing.outTiles;
const tileOf = (hint: Uint8Array, tile: number) => hint.slice(tile * perTile, (tile + 1) * perTile);

/** Share of equal bytes: 1 / 256 between independent strings. */
const equalBytes = (x: Uint8Array, y: Uint8Array) =>
  x.reduce((sum, byte, i) => sum + (byte === y[i] ? 1 : 0), 0) / x.length;

describe('making a hint', () => {
  it('again gives the same bytes, in any partition', () => {
    expect(plan.packing.outTiles).toBe(4);
    expect(hintDigest(publish(plan, weights).hint)).toEqual(hintDigest(published.hint));
    expect(hintDigest(publish(plan, weights, 0, 1).hint)).toEqual(hintDigest(published.hint));
  });

  it('is hashed in pieces to the same digest', () => {
    for (const length of [0, 1, 2 ** 18, 2 ** 18 + 1, 3 * 2 ** 18]) {
      const hint = Uint8Array.from({ length }, (_, i) => (i * 73) >> 3);
      const work = hintDigestInPieces(hint);
      let turns = 0;
      let step = work.next();
      for (; !step.done; step = work.next()) turns++;
      expect(turns).toBe(Math.ceil(length / 2 ** 18));
      expect(step.value).toEqual(hintDigest(hint));
    }
  });

  it('with one weight changed by one makes its row anew, and no other', () => {
    const changed = weights.slice();
    changed[2 * fanIn(shape) + 5]! += 1;
    const { hint, seeds } = publish(plan, changed);
    for (const tile of [0, 1, 3]) expect(tileOf(hint, tile)).toEqual(tileOf(published.hint, tile));
    expect(equalBytes(tileOf(hint, 2), tileOf(published.hint, 2))).toBeLessThan(0.02);
    // Under the old secrets the difference of the hints is that weight's: what the fresh ones must hide.
    const publics = testPublics(plan.packing.inTiles + 1);
    const old = makeHintWith(plan, changed, publics, [2, 3], () =>
      drawRow(published.seeds.subarray(32, 48)),
    );
    const differenceTo = (bytes: Uint8Array) => {
      const decode = (x: Uint8Array) => {
        const layer = new Uint8Array(hintBytes(plan));
        layer.set(x, 2 * perTile);
        return coefficientsOf(decodeHint(plan, layer, [2, 3]));
      };
      const [x, y] = [decode(bytes), decode(tileOf(published.hint, 2))];
      const a = coefficientsOf(polynomialAt(publics.transforms, 1));
      // The largest distance of x - y from a times a monomial, over the monomials.
      const n = a.length;
      return Math.min(
        ...Array.from({ length: 2 * n }, (_, shift) => {
          let largest = 0;
          for (let i = 0; i < 4; i++) {
            const at = (((i - shift) % (2 * n)) + 2 * n) % (2 * n);
            const term = at < n ? a[at]! : -a[at - n]!;
            const rest = Number(centredModulus(x[i]! - y[i]! - term));
            largest = Math.max(largest, Math.abs(rest));
          }
          return largest;
        }),
      );
    };
    expect(differenceTo(old)).toBeLessThan(2 ** 27 + 100);
    expect(differenceTo(tileOf(hint, 2))).toBeGreaterThan(2 ** 40);
    expect(seeds.subarray(0, 32)).toEqual(published.seeds.subarray(0, 32));
  });

  it('seeds of a row depend on secret, program, generation, layer, plan, tile and weights', () => {
    const context = {
      secret: new Uint8Array(16),
      program: new Uint8Array(32),
      generation: 1,
      layer: 0,
    };
    const equal = new Int32Array(weights.length).fill(7);
    const of = (more: Partial<typeof context>, w: Int32Array = equal, p = plan) =>
      rowSeeds(p, w, { ...context, ...more });
    const all = [
      of({}),
      of({ secret: new Uint8Array(16).fill(1) }),
      of({ program: new Uint8Array(32).fill(1) }),
      of({ generation: 2 }),
      of({ layer: 1 }),
      of({}, weights),
      of({}, equal, { ...plan, hintBits: plan.hintBits + 1 }),
      of({}, equal, { ...plan, packing: { ...plan.packing, rowStride: 18 } }),
    ].flatMap((seeds) => [0, 1, 2, 3].map((i) => seeds.slice(16 * i, 16 * i + 16).join()));
    expect(new Set(all).size).toBe(all.length);
    expect(of({})).toEqual(of({}));
    expect(() => of({}, equal.subarray(1))).toThrow(RangeError);
    expect(() => of({ program: new Uint8Array(31) })).toThrow(RangeError);
  });

  it('public polynomials depend on generation and index alone', () => {
    const three = publicPolynomials(GENERATION, 3).transforms;
    expect(publicPolynomials(GENERATION, 2).transforms).toEqual(three.slice(0, 2 * 4096));
    expect(polynomialAt(three, 1)).not.toEqual(polynomialAt(three, 2));
    const other = publicPolynomials(GENERATION + 1, 1).transforms;
    expect(other).not.toEqual(polynomialAt(three, 0));
    for (const wrong of [-1, 0.5, 2 ** 32]) {
      expect(() => publicPolynomials(wrong, 1)).toThrow(RangeError);
    }
  });
});

describe('opening a hint', () => {
  const second = publish(plan, weights, 1);
  const hint = Uint8Array.from(Buffer.concat([published.hint, second.hint]));
  const digest = hintDigest(hint);

  it('gives the layers their parts', () => {
    expect(openHint([plan, plan], hint, digest)).toEqual([published.hint, second.hint]);
  });

  it('refuses what is wrong, cut, swapped, or not what was agreed on', () => {
    const flipped = hint.slice();
    flipped[5000]! ^= 1;
    const swapped = Uint8Array.from(Buffer.concat([second.hint, published.hint]));
    for (const wrong of [flipped, swapped, hint.subarray(1), hint.subarray(0, hintBytes(plan))]) {
      expect(() => openHint([plan, plan], wrong, digest)).toThrow(ProtocolError);
    }
    expect(() => openHint([plan, plan], hint, digest.subarray(1))).toThrow(ProtocolError);
    expect(() => openHint([plan], hint, digest)).toThrow(ProtocolError);
  });

  it('refuses values that no polynomial modulo q has', () => {
    const wrong = published.hint.slice();
    wrong.fill(255, 0, 4);
    expect(() => decodeHint(plan, wrong, [0, 4])).toThrow(ProtocolError);
    expect(() => decodeHint(plan, published.hint.subarray(1), [0, 4])).toThrow(ProtocolError);
    expect(() => decodeHint(plan, published.hint, [0, 5])).toThrow(RangeError);
  });
});

describe('a hint alone', () => {
  /** 40 bits a coefficient: whole bytes, of which the low ones show most. */
  const exact = planHint({
    shape,
    weightBound: { norm1: 2 ** 30, norm2: 2 ** 24 },
    ringBits: 20,
    tolerance: 4096,
    masks: 'exact',
  });
  const publics = testPublics(exact.packing.inTiles + 1);
  const none = { u: new Int32Array(2048), error: new Int32Array(2048) };
  const known = (w: Int32Array) =>
    makeHintWith(exact, w, publics, [0, exact.packing.outTiles], () => none);

  it.each([
    ['no weights', new Int32Array(weights.length)],
    ['largest weights', new Int32Array(weights.length).fill(2 ** 21)],
    ['one weight', new Int32Array(weights.length).fill(1, 0, 1)],
  ])('is uniform, and without what its weights explain as well: %s', (_, w) => {
    const { hint } = publish(exact, w);
    expect(chiSquare(hint)).toBeLessThan(CHI_SQUARE_LIMIT);
    /** High bytes of the hint minus W a. */
    const residue = (bytes: Uint8Array) => {
      const range = [0, exact.packing.outTiles] as const;
      const [x, y] = [decodeHint(exact, bytes, range), decodeHint(exact, known(w), range)];
      return Uint8Array.from(
        Array.from({ length: range[1] }, (_, tile) => {
          const a = coefficientsOf(polynomialAt(x, tile));
          const b = coefficientsOf(polynomialAt(y, tile));
          return a.map((v, i) => Number((centredModulus(v - b[i]!) >> 40n) & 255n));
        }).flat(),
      );
    };
    expect(chiSquare(residue(hint))).toBeLessThan(CHI_SQUARE_LIMIT);
    // With u = 0 the weights explain it all.
    const seedOf = (tile: number) => testSeed('row', tile);
    const without = makeHintWith(exact, w, publics, [0, exact.packing.outTiles], (tile) => ({
      ...drawRow(seedOf(tile)),
      u: none.u,
    }));
    expect(chiSquare(residue(without))).toBeGreaterThan(1000 * CHI_SQUARE_LIMIT);
  });
});

describe('who has the secret u of a row', () => {
  it('reads its weights from the hint by trying all, and those of no other row', () => {
    const single = { ...shape, channels: 1, kernel: [1, 1], pads: [0, 0, 0, 0] } as const;
    const own = Int32Array.of(-71, 4, 90, -13);
    const cut = { rows: 16, columns: 16, planes: 1, outputs: 1 };
    const onePlan = planWith(single, own, cut, { ringBits: 28, masks: 'free' });
    const { hint, seeds } = publish(onePlan, own);
    const publics = testPublics(2);
    const rows = decodeHint(onePlan, hint, [0, 4]);
    const [a0, a1] = [0, 1].map((i) => publicPolynomial(publics, i));
    const a = coefficientsOf(a1!);
    // What is left of A' once u a_0 and w a_1 are taken off is small: the error, and the rounding of the hint.
    const small = 1n << BigInt(52 - onePlan.hintBits + 1);
    const weightsOf = (tile: number, known: number): number[] => {
      const us = rowTransforms(onePlan, seeds, [known, known + 1]);
      const masked = productOf(a0!, us);
      const rest = coefficientsOf(polynomialAt(rows, tile)).map((x, i) => x - masked[i]!);
      return Array.from({ length: 201 }, (_, i) => i - 100).filter((w) =>
        rest.every((x, i) => {
          const left = centredModulus(x - BigInt(w) * a[i]!);
          return -small < left && left < small;
        }),
      );
    };
    for (const tile of own.keys()) {
      expect(weightsOf(tile, tile)).toEqual([own[tile]]);
      expect(weightsOf(tile, (tile + 1) % 4)).toEqual([]);
    }
  });
});
