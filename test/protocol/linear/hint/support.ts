/** Both parties of a hint layer in one process. */

import fc from 'fast-check';
import { kernels } from '../../../../protocol/kernels/index.ts';
import { weightNorms } from '../../../../protocol/linear/bound.ts';
import {
  clientShares,
  correctedLinear,
  correctionBytes,
  decodeCorrections,
  decodeExactCorrections,
  decodeHint,
  decodeKeys,
  exactServerShares,
  type HintPlan,
  keyBytes,
  layerKeys,
  layerSecrets,
  makeHint,
  maskInput,
  type PublicPolynomials,
  placeMasks,
  placeShares,
  planHint,
  publicPolynomials,
  rowSeeds,
  rowTransforms,
  serverShares,
} from '../../../../protocol/linear/hint/index.ts';
import { layoutInputs } from '../../../../protocol/linear/hint/layout.ts';
import type { Packing } from '../../../../protocol/linear/hint/packing.ts';
import { asConvolution, cutAxis, strides } from '../../../../protocol/linear/hint/packing.ts';
import {
  composePolynomial,
  multiplyPolynomials,
} from '../../../../protocol/linear/hint/polynomial.ts';
import { DEGREE, MODULUS, PRIMES } from '../../../../protocol/linear/lattice/parameters.ts';
import { transformOf } from '../../../../protocol/linear/lattice/transform.ts';
import { deriveSeed, Prg, randomRing } from '../../../../protocol/random/index.ts';
import { lowBits } from '../../../../protocol/ring/packing.ts';
import type { LinearShape } from '../../../../protocol/ring/shape.ts';
import { fanIn, linearInputSize, linearOutput, sizeOf } from '../../../../protocol/ring/shape.ts';
import { ranges } from '../layers.ts';

export const GENERATION = 7;

let family: PublicPolynomials | undefined;

/** Public polynomials of the tests, at least `count` of them. */
export function testPublics(count: number): PublicPolynomials {
  if (family === undefined || family.transforms.length < count * 4096) {
    family = publicPolynomials(GENERATION, Math.max(count, 40));
  }
  return family;
}

/** What a server keeps of a layer, and its hint. */
export interface Published {
  readonly weights: Int32Array;
  readonly seeds: Uint8Array;
  readonly hint: Uint8Array;
}

/** Server: a layer's hint, made in jobs of `step` tiles. */
export function publish(
  plan: HintPlan,
  weights: Int32Array,
  layer = 0,
  step = Number.POSITIVE_INFINITY,
): Published {
  const context = {
    secret: new Uint8Array(16).fill(9),
    program: new Uint8Array(32).fill(5),
    generation: GENERATION,
    layer,
  };
  const seeds = rowSeeds(plan, weights, context);
  const publics = testPublics(plan.packing.inTiles + 1);
  const parts = ranges(plan.packing.outTiles, step).map((range) =>
    makeHint(plan, weights, publics, seeds, range),
  );
  return { weights, seeds, hint: Uint8Array.from(Buffer.concat(parts)) };
}

/** One bundle of one layer, as tensors. */
export interface Bundle {
  /** The masks of the layer's input. */
  readonly r: Int32Array;
  /** Their fractions; 0 where a mask is no rounded phase. */
  readonly f: Int8Array;
  readonly client: Int32Array;
  /** The server's share without the corrections' product, or all of it if the layer is exact. */
  readonly server: Int32Array;
  /** Empty if the layer is exact. */
  readonly corrections: Int32Array;
  readonly secrets: Uint32Array;
  /** Transforms of the keys that the server got. */
  readonly keys: Uint32Array;
  readonly message: Uint8Array;
}

/** Faults to plant in a bundle. */
export interface BundleFaults {
  /** What the client sends in place of its keys, given by transforms. */
  readonly keys?: (keys: Uint32Array) => Uint32Array;
  /** The seed of an exact layer's noise. */
  readonly noise?: Uint8Array;
}

/** Client and server of one bundle of a layer; `given` are the masks where they are not free. */
export function runBundle(
  plan: HintPlan,
  { weights, seeds, hint }: Published,
  seed: Uint8Array,
  given?: Int32Array,
  step = Number.POSITIVE_INFINITY,
  faults: BundleFaults = {},
): Bundle {
  const { inTiles, outTiles } = plan.packing;
  const publics = testPublics(inTiles + 1);
  const mask = lowBits(plan.ringBits);
  // Client.
  const secrets = layerSecrets(plan, seed);
  const size = linearInputSize(plan.shape);
  const r = given?.slice() ?? randomRing(new Prg(deriveSeed(seed, 'r')), size).map((x) => x & mask);
  const f = new Int8Array(size);
  const parts = [layerKeys(plan, publics, secrets, seed)];
  for (const range of ranges(inTiles, step)) {
    const { masks, fractions, corrections } = maskInput(
      plan,
      publics,
      { secrets, seed, given },
      range,
    );
    if (plan.masks === 'free') {
      placeMasks(plan, masks, range, r);
      placeMasks(plan, fractions, range, f);
    }
    parts.push(corrections);
  }
  const message = Uint8Array.from(Buffer.concat(parts));
  const outputs = sizeOf(linearOutput(plan.shape));
  const [client, server] = [new Int32Array(outputs), new Int32Array(outputs)];
  for (const range of ranges(outTiles, step)) {
    placeShares(
      plan,
      clientShares(plan, decodeHint(plan, hint, range), secrets, range),
      range,
      client,
    );
  }
  // Server.
  const split = keyBytes(plan);
  if (message.length !== split + correctionBytes(plan)) throw new Error('message length');
  const sent = decodeKeys(plan, message.subarray(0, split));
  const keys = faults.keys?.(sent) ?? sent;
  const rest = message.subarray(split);
  const exact = plan.masks === 'exact';
  const corrections = exact ? new Int32Array(0) : decodeCorrections(plan, rest);
  for (const range of ranges(outTiles, step)) {
    const rows = rowTransforms(plan, seeds, range);
    const shares = exact
      ? exactServerShares(plan, rows, keys, range, {
          weights,
          corrections: decodeExactCorrections(plan, rest),
          seed: faults.noise ?? deriveSeed(seed, 'server'),
        })
      : serverShares(plan, rows, keys, range);
    placeShares(plan, shares, range, server);
  }
  return { r, f, client, server, corrections, secrets, keys, message };
}

/** x modulo 2^bits, centred around 0. */
export const centred = (x: number, bits: number): number => (x << (32 - bits)) >> (32 - bits);

/** c + S + W D for a bundle. */
export function reconstruct(plan: HintPlan, weights: Int32Array, bundle: Bundle): Int32Array {
  const product =
    plan.masks === 'exact' ? undefined : correctedLinear(plan, weights, bundle.corrections);
  return bundle.client.map((c, i) => (c + bundle.server[i]! + (product?.[i] ?? 0)) | 0);
}

/** A plan with a packing of the test's choice. */
export function planWith(
  shape: LinearShape,
  weights: Int32Array,
  cut: { rows: number; columns: number; planes: number; outputs: number },
  rest: { ringBits: number; masks: HintPlan['masks']; tolerance?: number },
): HintPlan {
  const plan = planHint({
    shape,
    weightBound: weightNorms(weights, fanIn(shape)),
    tolerance: rest.masks === 'exact' ? 104 : 2 ** 30,
    ...rest,
  });
  const conv = asConvolution(shape);
  const [, height, width] = linearOutput(conv);
  const rows = cutAxis(conv, 0, height, Math.min(height, cut.rows));
  const columns = cutAxis(conv, 1, width, Math.min(width, cut.columns));
  const planes = conv.channels * rows.phases.length * columns.phases.length;
  const { rowStride, blockStride } = strides(rows, columns);
  const planesPerTile = Math.min(planes, cut.planes);
  const outputsPerTile = Math.min(conv.outChannels, cut.outputs);
  const packing: Packing = {
    conv,
    rows,
    columns,
    rowStride,
    blockStride,
    planes,
    planesPerTile,
    outputsPerTile,
    inTiles: Math.ceil(planes / planesPerTile),
    outTiles: Math.ceil(conv.outChannels / outputsPerTile),
    spatialTiles: rows.tiles * columns.tiles,
  };
  // Enough that what the tests look at is not the rounding of the hint, and few enough that one can see it.
  const hintBits = rest.masks === 'exact' ? plan.hintBits : 25;
  return { ...plan, packing, hintBits, inputs: layoutInputs(packing, rest.masks) };
}

/** Cuts for {@link planWith}. */
export const cuts = fc.record({
  rows: fc.integer({ min: 1, max: 9 }),
  columns: fc.integer({ min: 1, max: 9 }),
  planes: fc.integer({ min: 1, max: 4 }),
  outputs: fc.integer({ min: 1, max: 4 }),
});

/** Coefficients modulo q of a polynomial given by its transforms. */
export function coefficientsOf(transforms: Uint32Array): bigint[] {
  const { arena } = kernels();
  return arena.scope(() => {
    const pointer = arena.put(transforms);
    PRIMES.forEach((prime, k) => {
      transformOf(DEGREE, prime).inverse(pointer + 4 * k * DEGREE);
    });
    const wide = arena.alloc(8 * DEGREE);
    composePolynomial(wide, pointer);
    return Array.from(new BigUint64Array(arena.memory.buffer, wide, DEGREE));
  });
}

/** Coefficients modulo q of the product of two polynomials, the second with transforms times 2^32. */
export function productOf(x: Uint32Array, y: Uint32Array): bigint[] {
  const { arena } = kernels();
  return arena.scope(() => {
    const wide = arena.alloc(8 * DEGREE);
    const product = arena.put(x);
    multiplyPolynomials(product, arena.put(y));
    composePolynomial(wide, product);
    return Array.from(new BigUint64Array(arena.memory.buffer, wide, DEGREE));
  });
}

/** Transforms of small signed coefficients. */
export function transformsOf(coefficients: Int32Array): Uint32Array {
  const { arena } = kernels();
  return arena.scope(() => {
    const small = arena.put(coefficients);
    const pointer = arena.alloc(8 * DEGREE);
    PRIMES.forEach((prime, k) => {
      transformOf(DEGREE, prime).forward(pointer + 4 * k * DEGREE, small);
    });
    return arena.u32(pointer, 2 * DEGREE).slice();
  });
}

/** Transforms of x - y. */
export function differenceOf(x: Uint32Array, y: Uint32Array): Uint32Array {
  return x.map((value, i) => {
    const prime = PRIMES[Math.floor(i / DEGREE)]!;
    return (value + prime - y[i]!) % prime;
  });
}

/** Coefficients, centred, of the polynomial whose product with y is x: no inverse of y is 0 in practice. */
export function quotientOf(x: Uint32Array, y: Uint32Array): number[] {
  const transforms = x.map((value, i) => {
    const prime = PRIMES[Math.floor(i / DEGREE)]!;
    // y^(p - 2), on numbers: products of two residues are below 2^52.
    let [out, base] = [value, y[i]!];
    for (let rest = prime - 2; rest > 0; rest = Math.floor(rest / 2)) {
      if (rest % 2 === 1) out = (out * base) % prime;
      base = (base * base) % prime;
    }
    return out;
  });
  return coefficientsOf(transforms).map((value) => Number(centredModulus(value)));
}

/** x modulo q, centred around 0. */
export function centredModulus(x: bigint): bigint {
  const q = BigInt(MODULUS);
  const rest = ((x % q) + q) % q;
  return rest > q / 2n ? rest - q : rest;
}
