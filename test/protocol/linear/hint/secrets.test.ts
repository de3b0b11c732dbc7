/**
 * The secrets of a linear layer one by one: the client's z, its errors and the numbers it rounds with, and the server's u and
 * e. For each what it gives away, and to whom, when it serves twice or is not there; and that nothing is found as built.
 */

import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { kernels } from '../../../../protocol/kernels/index.ts';
import { drawRow, makeHintWith, type RowSecrets } from '../../../../protocol/linear/hint/hint.ts';
import {
  decodeExactCorrections,
  decodeHint,
  decodeKeys,
  type HintPlan,
  layerKeys,
  layerSecrets,
  makeHint,
  maskInput,
  publicPolynomials,
  rowSeeds,
} from '../../../../protocol/linear/hint/index.ts';
import { publicPolynomial, publicStream } from '../../../../protocol/linear/hint/parameters.ts';
import { montgomeryTransforms, polynomialAt } from '../../../../protocol/linear/hint/polynomial.ts';
import { encryptPolynomial } from '../../../../protocol/linear/lattice/encrypt.ts';
import { DEGREE, PRIMES } from '../../../../protocol/linear/lattice/parameters.ts';
import { Prg, type Random, randomRing } from '../../../../protocol/random/index.ts';
import { lowBits } from '../../../../protocol/ring/packing.ts';
import type { ConvShape } from '../../../../protocol/ring/shape.ts';
import { linearInputSize, weightCount } from '../../../../protocol/ring/shape.ts';
import { drawnTwice, watchAes } from '../../../support/aes.ts';
import { hex } from '../../../support/bytes.ts';
import { CHI_SQUARE_LIMIT, chiSquare } from '../../../support/statistics.ts';
import { plainLinear, randomWeights, testSeed } from '../layers.ts';
import {
  centred,
  centredModulus,
  coefficientsOf,
  differenceOf,
  GENERATION,
  planWith,
  productOf,
  publish,
  quotientOf,
  reconstruct,
  runBundle,
  testPublics,
  transformsOf,
} from './support.ts';

const conv = (rest: Partial<ConvShape>): ConvShape => ({
  kind: 'conv',
  channels: 4,
  height: 16,
  width: 16,
  outChannels: 2,
  kernel: [3, 3],
  stride: [1, 1],
  pads: [1, 1, 1, 1],
  groups: 1,
  ...rest,
});

const shape = conv({});
const weights = randomWeights(new Prg(testSeed('secrets')), weightCount(shape), 50);
/** Two spatial tiles of two input polynomials each. */
const cut = { rows: 8, columns: 99, planes: 2, outputs: 1 };
const planOf = (masks: HintPlan['masks']) => planWith(shape, weights, cut, { ringBits: 27, masks });
const plans = (['free', 'fixed', 'exact'] as const).map(planOf);
const [free, , exact] = plans as [HintPlan, HintPlan, HintPlan];
const publics = testPublics(3);
const a = (index: number) => publicPolynomial(publics, index);

/** Transforms times 2^32, the second factor of a product. */
function timesOf(coefficients: Int32Array): Uint32Array {
  const { arena } = kernels();
  return arena.scope(() => montgomeryTransforms(arena.put(coefficients)));
}

const largest = (values: readonly number[]) => Math.max(...values.map(Math.abs));
const none: Random = { fill: (out) => out.fill(0) };

/** Everything that the client draws for one bundle of a layer. */
function clientMessage(plan: HintPlan, seed: Uint8Array) {
  const secrets = layerSecrets(plan, seed);
  const keys = decodeKeys(plan, layerKeys(plan, publics, secrets, seed));
  const size = linearInputSize(plan.shape);
  const given =
    plan.masks === 'free'
      ? undefined
      : randomRing(new Prg(testSeed('given')), size).map((x) => x & lowBits(plan.ringBits));
  const { inTiles } = plan.packing;
  return { secrets, keys, ...maskInput(plan, publics, { secrets, seed, given }, [0, inTiles]) };
}

/** Transforms of an encryption of zeros under the secret of a tile, with public polynomial `index` and errors of a stream. */
function encryptionOf(plan: HintPlan, secret: Uint32Array, index: number, errors: Random) {
  const { arena } = kernels();
  const bytes = arena.scope(() => {
    const zero = arena.put(new Int32Array(DEGREE));
    return encryptPolynomial(secret, zero, publicStream(GENERATION, index), errors);
  });
  return decodeKeys({ ...plan, packing: { ...plan.packing, spatialTiles: 1 } }, bytes);
}

describe("what a server computes from a client's keys", () => {
  it('is the difference of two secrets z where two keys have one error, and z itself where one has none; as built neither', () => {
    const messages = [free, exact].flatMap((plan) =>
      ['one', 'other'].map((name) => clientMessage(plan, testSeed(name))),
    );
    const keys = messages.flatMap((message) => [0, 1].map((i) => polynomialAt(message.keys, i)));
    for (const [i, key] of keys.entries()) {
      expect(largest(quotientOf(key, a(0))), `key ${i}`).toBeGreaterThan(1000);
      for (const [j, other] of keys.slice(0, i).entries()) {
        // The same seed is the same layer: only one of the two is ever sent.
        if (hex(new Uint8Array(key.slice().buffer)) === hex(new Uint8Array(other.slice().buffer))) {
          expect(i - j).toBe(4);
          continue;
        }
        const found = quotientOf(differenceOf(key, other), a(0));
        expect(largest(found), `keys ${i} and ${j}`).toBeGreaterThan(1000);
      }
    }
    const { secrets } = messages[0]!;
    const planted = (tile: number, errors: Random) =>
      encryptionOf(free, polynomialAt(secrets, tile), 0, errors);
    const shared = [0, 1].map((tile) => planted(tile, new Prg(testSeed('e'))));
    expect(largest(quotientOf(differenceOf(shared[0]!, shared[1]!), a(0)))).toBe(2);
    expect(largest(quotientOf(planted(0, none), a(0)))).toBe(1);
  });

  it('is z where an exact layer corrects known masks with the error of the key, or two with one error; as built it is not', () => {
    const seed = testSeed('known mask');
    const secrets = layerSecrets(exact, seed);
    const keys = decodeKeys(exact, layerKeys(exact, publics, secrets, seed));
    const given = new Int32Array(linearInputSize(shape));
    const { corrections } = maskInput(exact, publics, { secrets, seed, given }, [0, 2]);
    const built = decodeExactCorrections(exact, corrections);
    // Encryptions of zeros, of two input polynomials for each spatial tile.
    const sent = [0, 1, 2, 3].map((index) => polynomialAt(built, index));
    const of = (index: number) => 1 + (index >> 1);
    for (const index of [0, 1, 2, 3]) {
      expect(largest(quotientOf(sent[index]!, a(of(index))))).toBeGreaterThan(1000);
      const key = polynomialAt(keys, index & 1);
      const found = quotientOf(differenceOf(sent[index]!, key), differenceOf(a(of(index)), a(0)));
      expect(largest(found), `polynomial ${index}`).toBeGreaterThan(1000);
    }
    for (const tile of [0, 1]) {
      const pair = differenceOf(sent[tile + 2]!, sent[tile]!);
      expect(largest(quotientOf(pair, differenceOf(a(2), a(1))))).toBeGreaterThan(1000);
    }
    const pair = [0, 1].map((index) =>
      encryptionOf(exact, polynomialAt(secrets, 0), index, new Prg(testSeed('e'))),
    );
    const found = quotientOf(differenceOf(pair[1]!, pair[0]!), differenceOf(a(1), a(0)));
    expect(largest(found)).toBe(1);
  });
});

describe('the masks of a layer', () => {
  it('are the same numbers in two spatial tiles with one z: the server sees differences of inputs; as built they are not', () => {
    const seed = testSeed('tiles');
    const secrets = layerSecrets(free, seed);
    const repeated = secrets.slice();
    repeated.set(polynomialAt(secrets, 0), 4096);
    const agreeing = (own: Uint32Array) => {
      const { masks } = maskInput(free, publics, { secrets: own, seed }, [0, 1]);
      const [first, second] = free.inputs;
      const at = new Map([...first!.free].map((position, i) => [position, masks[i]!]));
      const both = [...second!.free].flatMap((position, i) => {
        const other = at.get(position);
        return other === undefined ? [] : [masks[first!.free.length + i]! - other];
      });
      expect(both.length).toBeGreaterThan(200);
      const close = both.filter((d) => Math.abs(centred(d, free.ringBits)) <= 1);
      return close.length / both.length;
    };
    expect(agreeing(repeated)).toBe(1);
    expect(agreeing(secrets)).toBeLessThan(0.05);
  });

  it('are inputs in the clear where z is 0, or a public polynomial: as built each bit of a mask is a fair coin', () => {
    const seed = testSeed('coins');
    const { masks } = clientMessage(free, seed);
    const bytes = (values: Int32Array) =>
      Uint8Array.from([...values].flatMap((r) => [r & 255, (r >> 8) & 255, (r >> 19) & 255]));
    expect(chiSquare(bytes(masks))).toBeLessThan(CHI_SQUARE_LIMIT);
    const zero = new Uint32Array(2 * 4096);
    const clear = maskInput(free, publics, { secrets: zero, seed }, [0, 2]).masks;
    expect(Math.max(...clear.map((r) => Math.abs(centred(r, free.ringBits))))).toBeLessThanOrEqual(
      1,
    );
    const chosen = { ...publics, transforms: new Uint32Array(publics.transforms.length) };
    const told = maskInput(free, chosen, { secrets: layerSecrets(free, seed), seed }, [0, 2]).masks;
    expect(told).toEqual(clear);
  });
});

describe('the streams of a layer', () => {
  /** The seeds of what everybody knows. */
  const known = new Set(
    [0, 1, 2].flatMap((index) =>
      watchAes(() => publicStream(GENERATION, index).fill(new Uint8Array(1)))[1].streams.map(
        ({ seed }) => seed,
      ),
    ),
  );

  for (const plan of plans) {
    it(`${plan.masks}: no two of its secrets, errors and roundings are the same bytes, in one bundle or in two: the server would take them off each other and have z; one seed for two bundles is caught`, () => {
      const drawn = (seed: Uint8Array) =>
        watchAes(() => clientMessage(plan, seed))[1].streams.filter(
          ({ seed }) => !known.has(seed) && seed !== hex(testSeed('given')),
        );
      const [one, other] = ['one', 'other'].map((name) => drawn(testSeed(name)));
      // z and the error of the key for each spatial tile, and what belongs to each input polynomial.
      expect(new Set(one!.map(({ seed }) => seed)).size).toBe(2 + 2 + 4);
      expect(drawnTwice([...one!, ...other!])).toEqual([]);
      expect(drawnTwice([...one!, ...drawn(testSeed('one'))]).length).toBe(2 + 2 + 4);
    });
  }

  it('the u and the error of a row are not the same bytes, nor those of another row: nothing would hide u from who has the hint', () => {
    const seeds = ['one', 'other'].map((name) => testSeed(name));
    const { streams } = watchAes(() => seeds.map(drawRow))[1];
    expect(drawnTwice(streams)).toEqual([]);
    expect(new Set(streams.map(({ seed }) => seed)).size).toBe(4);
  });

  it('nobody has chosen the public polynomials: their streams come from their name alone', () => {
    const { streams } = watchAes(() => publicPolynomials(GENERATION, 3))[1];
    const name = Buffer.from(`hint a, version 1, N ${DEGREE}, q ${PRIMES.join(' ')}`);
    const expected = [0, 1, 2].map((index) => {
      const numbers = Uint32Array.of(name.length, 2);
      const indices = Uint32Array.of(GENERATION, index);
      const parts = [new Uint8Array(16), new Uint8Array(numbers.buffer), name];
      const message = Buffer.concat([...parts, new Uint8Array(indices.buffer)]);
      return createHash('sha256').update(message).digest('hex').slice(0, 32);
    });
    expect(new Set(streams.map(({ seed }) => seed))).toEqual(new Set(expected));
    // Small or sparse ones would leave phases small: no coefficient and no transform looks chosen.
    for (const index of [0, 1, 2]) {
      const low = Uint8Array.from(a(index), (x) => x & 255);
      const bytes = Uint8Array.from(coefficientsOf(a(index)), (x) => Number(x & 255n));
      expect(chiSquare(low)).toBeLessThan(CHI_SQUARE_LIMIT);
      expect(chiSquare(bytes)).toBeLessThan(CHI_SQUARE_LIMIT);
    }
  });
});

describe('who has the hint of two rows', () => {
  const single = conv({ channels: 1, outChannels: 4, kernel: [1, 1], pads: [0, 0, 0, 0] });
  const whole = { rows: 99, columns: 99, planes: 1, outputs: 1 };
  const [own, others] = [Int32Array.of(-71, 4, 90, -13), Int32Array.of(5, 66, -71, 4)];
  const plan = planWith(single, own, whole, { ringBits: 28, masks: 'free' });
  const decoded = (hint: Uint8Array): Uint32Array[] => {
    const rows = decodeHint(plan, hint, [0, 4]);
    return [0, 1, 2, 3].map((i) => polynomialAt(rows, i));
  };

  /** For each pair of rows the differences d of their weights that A'_i - A'_j = d a_1, up to small errors, lets through. */
  function found(rows: readonly Uint32Array[], slack: number): number[] {
    const coefficients = rows.map((row) => coefficientsOf(row).slice(0, 64));
    const factor = coefficientsOf(a(1)).slice(0, 64);
    return coefficients.flatMap((x, i) =>
      coefficients.slice(0, i).flatMap((y) =>
        Array.from({ length: 401 }, (_, at) => at - 200).filter((d) =>
          x.every((value, at) => {
            const rest = centredModulus(value - y[at]! - BigInt(d) * factor[at]!);
            return Math.abs(Number(rest)) < slack;
          }),
        ),
      ),
    );
  }
  // Twice the rounding of the hint.
  const slack = 2 ** (52 - plan.hintBits + 1);

  it('learns the difference of their weights where they have one u, with one error or two; as built nothing, of two layers either', () => {
    const layers = [publish(plan, own, 0), publish(plan, others, 1)];
    const rows = layers.flatMap(({ hint }) => decoded(hint));
    expect(found(rows, slack)).toEqual([]);
    const draw = (row: number): RowSecrets => drawRow(testSeed('row', row));
    for (const shared of [(row: number) => ({ ...draw(row), u: draw(0).u }), () => draw(0)]) {
      const planted = makeHintWith(plan, own, testPublics(2), [0, 4], shared);
      const expected = [...own].flatMap((w, i) => [...own.slice(0, i)].map((v) => w - v));
      expect(found(decoded(planted), slack)).toEqual(expected);
    }
  });

  it('learns the difference of their u where they have one error, and u where there is none, if no bit of A is rounded; as built nothing', () => {
    // Rounding hides it in the hints that are published: the errors alone must do.
    const every = { ...plan, hintBits: 52 };
    const equal = new Int32Array(4).fill(7);
    const context = { secret: new Uint8Array(16).fill(8), program: new Uint8Array(32), layer: 0 };
    const seeds = rowSeeds(every, equal, { ...context, generation: GENERATION });
    const all = (hint: Uint8Array) => {
      const rows = decodeHint(every, hint, [0, 4]);
      return [0, 1, 2, 3].map((i) => polynomialAt(rows, i));
    };
    const built = all(makeHint(every, equal, testPublics(2), seeds, [0, 4]));
    const known = all(
      makeHintWith(every, equal, testPublics(2), [0, 4], () => ({
        u: new Int32Array(DEGREE),
        error: new Int32Array(DEGREE),
      })),
    );
    const alone = (rows: readonly Uint32Array[], row: number) =>
      largest(quotientOf(differenceOf(rows[row]!, known[row]!), a(0)));
    const pair = (rows: readonly Uint32Array[], i: number, j: number) =>
      largest(quotientOf(differenceOf(rows[i]!, rows[j]!), a(0)));
    for (const row of [0, 1, 2, 3]) expect(alone(built, row)).toBeGreaterThan(1000);
    for (const row of [1, 2, 3]) expect(pair(built, row, row - 1)).toBeGreaterThan(1000);
    const draw = (row: number): RowSecrets => drawRow(testSeed('row', row));
    const error = draw(0).error;
    const planted = all(
      makeHintWith(every, equal, testPublics(2), [0, 4], (row) => ({
        u: draw(row).u,
        error: row < 2 ? error : new Int32Array(DEGREE),
      })),
    );
    expect(pair(planted, 1, 0)).toBe(2);
    expect(alone(planted, 2)).toBe(1);
  });
});

describe('averaging the answers to keys that a client knows to be off', () => {
  const shape = conv({
    channels: 1,
    height: 32,
    width: 32,
    outChannels: 1,
    kernel: [1, 1],
    pads: [0, 0, 0, 0],
  });
  const one = Int32Array.of(1);
  const whole = { rows: 99, columns: 99, planes: 1, outputs: 1 };
  const plan = planWith(shape, one, whole, { ringBits: 28, masks: 'free' });
  const published = publish(plan, one);
  const { u } = drawRow(published.seeds);
  const delta = 2 ** (52 - plan.ringBits);
  const BUNDLES = 120;

  /** The key with its coefficients rounded to multiples of 2^drop. */
  const rounded = (drop: number) => (keys: Uint32Array) => {
    const step = 2 ** drop;
    const off = coefficientsOf(keys).map((x) => Number(x) - Math.round(Number(x) / step) * step);
    return differenceOf(keys, transformsOf(Int32Array.from(off)));
  };

  /** The share of u's coefficients that the client finds, and how far its keys were off. */
  function attack(keys?: (keys: Uint32Array) => Uint32Array) {
    const sums = new Float64Array(DEGREE);
    let [squares, worst] = [0, 0];
    for (let t = 0; t < BUNDLES; t++) {
      const faults = keys === undefined ? {} : { keys };
      const seed = testSeed('rounded key', t);
      const bundle = runBundle(plan, published, seed, undefined, Number.POSITIVE_INFINITY, faults);
      // key + a_0 z is what the server multiplies with u; the client knows it.
      const product = productOf(a(0), bundle.secrets);
      const off = coefficientsOf(bundle.keys).map((x, i) =>
        Number(centredModulus(x + product[i]!)),
      );
      squares += off.reduce((sum, x) => sum + x * x, 0) / DEGREE;
      worst = Math.max(worst, largest(off));
      const exact = plainLinear(shape, one, bundle.r);
      const errors = reconstruct(plan, one, bundle).map((x, i) =>
        centred(x - exact[i]!, plan.ringBits),
      );
      // Output i lacks sum_j u_j off_(i - j) / Delta. Correlating is a product with X^-1 in place of X.
      const reversed = new Int32Array(DEGREE);
      errors.forEach((error, i) => {
        if (i === 0) reversed[0] = error;
        else reversed[DEGREE - i] = -error;
      });
      const found = productOf(transformsOf(Int32Array.from(off)), timesOf(reversed));
      found.forEach((x, i) => {
        const value = Number(centredModulus(x));
        if (i === 0) sums[0]! += value;
        else sums[DEGREE - i]! -= value;
      });
    }
    const scale = delta / (squares * shape.height * shape.width);
    const hits = u.filter((value, j) => Math.round(sums[j]! * scale) === value).length;
    return { hits: hits / DEGREE, worst, variance: squares / BUNDLES };
  }

  it('gives the client u of a row, and so its weights, if keys are rounded; whole keys are off by e_0 alone and give nothing', () => {
    const planted = attack(rounded(26));
    expect(planted.hits).toBeGreaterThan(0.95);
    const built = attack();
    expect(built.hits).toBeLessThan(0.05);
    // Binomial of 21 + 21 bits: no larger error averages out in time, and a smaller one hides no z.
    expect(built.worst).toBeLessThanOrEqual(21);
    expect(built.variance).toBeGreaterThan(10.2);
    expect(built.variance).toBeLessThan(10.8);
    expect(attack(rounded(8)).worst).toBeGreaterThan(100);
  });
});

describe('the seeds of a layer', () => {
  /** Bytes of a seed that change nothing of what is made of it. */
  const idle = (make: (seed: Uint8Array) => Uint8Array | Uint32Array | Int32Array) => {
    const seed = testSeed('whole');
    const base = make(seed).join();
    return Array.from(seed.keys()).filter((byte) => {
      const flipped = seed.slice();
      flipped[byte]! ^= 0x10;
      return make(flipped).join() === base;
    });
  };
  const context = { program: new Uint8Array(32), generation: GENERATION, layer: 0 };
  const secrets = layerSecrets(free, testSeed('whole'));

  it.each([
    [
      'the hint secret, in seeds of rows',
      (secret: Uint8Array) => rowSeeds(free, weights, { ...context, secret }),
    ],
    ['the seed of a row, in u', (seed: Uint8Array) => drawRow(seed).u],
    ['the seed of a row, in its error', (seed: Uint8Array) => drawRow(seed).error],
    ['the seed of a layer, in z', (seed: Uint8Array) => layerSecrets(free, seed)],
    [
      'the seed of a layer, in the error of its keys',
      (seed: Uint8Array) => layerKeys(free, publics, secrets, seed),
    ],
    [
      'the seed of a layer, in what it corrects',
      (seed: Uint8Array) =>
        maskInput(free, publics, { secrets: layerSecrets(free, seed), seed }, [0, 2]).corrections,
    ],
  ] as const)('count whole, so that nobody finds them by trying all: %s', (_, make) => {
    expect(idle(make)).toEqual([]);
    expect(idle((seed) => make(seed.slice().fill(0, 4))).length).toBe(12);
  });
});
