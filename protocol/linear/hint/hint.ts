/**
 * The hint: the server makes it once for a model, publishes it as a file, and every client may keep it.
 *
 *   A'_j = sum over input tiles i of W_ji a_(i + 1) + u_j a_0 + e_j      for every output tile j, u_j ternary, e_j binomial
 *   the hint of the layer = round(A'_j / 2^(52 - hintBits)), packed, one output tile after the other
 *
 * It hides the weights: (a_0, u_j a_0 + e_j) is an RLWE sample under the secret u_j of this row alone, so A'_j is
 * pseudorandom whatever W is, and e_j is in it before it is rounded. (u_j, e_j) come from a separate seed,
 *   PRG(hint secret, H(parameters, plan, program, generation, layer, j, the weights of this row)),
 * so that making the hint again gives the same bytes, and any change of what is hashed draws both anew: the same (u_j, e_j)
 * under two weights would publish their difference times a. The row is that of an output tile, since its outputs share A'.
 *
 * The file is the layers' hints in the order of the program, nothing else: lengths follow from the plans, and its SHA-256
 * says which one it is. A client decodes none whose digest is not the one the session was bound to.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import { ProtocolError } from '../../errors.ts';
import { kernels } from '../../kernels/index.ts';
import { deriveSeed, Prg, SEED_BYTES } from '../../random/index.ts';
import { fanIn, weightCount } from '../../ring/shape.ts';
import { DEGREE, MODULUS, MODULUS_BITS, POLYNOMIAL_WORDS, PRIMES } from '../lattice/parameters.ts';
import { binomial, ternary } from '../lattice/sampling.ts';
import { transformOf } from '../lattice/transform.ts';
import { connectedTiles, weightPolynomial } from './packing.ts';
import type { PublicPolynomials } from './parameters.ts';
import { HINT_VERSION, publicPolynomial } from './parameters.ts';
import type { HintPlan } from './plan.ts';
import { hintBytes, hintPolynomialBytes } from './plan.ts';
import type { TileRange } from './polynomial.ts';
import {
  checkLength,
  checkMessage,
  checkRange,
  composePolynomial,
  montgomeryTransforms,
} from './polynomial.ts';

/** Products between two folds of the sums: see accumulateProduct in kernels/assembly/ntt.ts. */
const PRODUCTS_PER_FOLD = 1024;

/** What the seeds of a layer's rows depend on, beside plan and weights. */
export interface HintContext {
  /** 16 secret bytes, made once for a model and shared by all who serve it: without them no rebuild is the same. */
  readonly secret: Uint8Array;
  /** SHA-256 of the program. */
  readonly program: Uint8Array;
  readonly generation: number;
  /** Index of the linear layer in the program. */
  readonly layer: number;
}

/**
 * Server: the secret seeds of a layer's output tiles, 16 bytes each.
 * @throws RangeError when the weights or the program's digest do not belong to it
 */
export function rowSeeds(plan: HintPlan, weights: Int32Array, context: HintContext): Uint8Array {
  checkLength('weights', weights.length, weightCount(plan.shape));
  checkLength('program digest', context.program.length, 32);
  const { outTiles, outputsPerTile } = plan.packing;
  const perTile = outputsPerTile * fanIn(plan.shape);
  // Everything but the layouts, which follow from the packing.
  const { shape, packing, masks, ringBits, hintBits } = plan;
  const name = JSON.stringify([
    ['sotto hint row', HINT_VERSION, DEGREE, PRIMES],
    { shape, packing, masks, ringBits, hintBits },
    [context.generation, context.layer],
  ]);
  const common = sha256
    .create()
    .update(sha256(new TextEncoder().encode(name)))
    .update(context.program);
  const seeds = new Uint8Array(outTiles * SEED_BYTES);
  for (let outTile = 0; outTile < outTiles; outTile++) {
    const row = weights.slice(outTile * perTile, (outTile + 1) * perTile);
    const digest = common.clone().update(new Uint8Array(row.buffer)).digest();
    const words = new Uint32Array(digest.slice().buffer);
    seeds.set(deriveSeed(context.secret, 'hint row', outTile, ...words), outTile * SEED_BYTES);
  }
  return seeds;
}

/** Server: the secrets of one output tile. Small signed coefficients. */
export interface RowSecrets {
  readonly u: Int32Array;
  readonly error: Int32Array;
}

/** Server: u_j and e_j from a row's seed. */
export function drawRow(seed: Uint8Array): RowSecrets {
  const { arena } = kernels();
  return arena.scope(() => {
    const small = arena.alloc(4 * DEGREE);
    ternary(small, DEGREE, new Prg(deriveSeed(seed, 'hint u')));
    const u = arena.i32(small, DEGREE).slice();
    binomial(small, DEGREE, new Prg(deriveSeed(seed, 'hint error')));
    return { u, error: arena.i32(small, DEGREE).slice() };
  });
}

/**
 * Server: the hint of output tiles [from, to). The parts of a partition of [0, outTiles), in order, make the layer's.
 * @param seeds - all rows' seeds, see {@link rowSeeds}
 * @throws RangeError when an argument does not belong to the plan
 */
export function makeHint(
  plan: HintPlan,
  weights: Int32Array,
  publics: PublicPolynomials,
  seeds: Uint8Array,
  range: TileRange,
): Uint8Array {
  checkLength('row seeds', seeds.length, plan.packing.outTiles * SEED_BYTES);
  return makeHintWith(plan, weights, publics, range, (outTile) =>
    drawRow(seeds.subarray(outTile * SEED_BYTES, (outTile + 1) * SEED_BYTES)),
  );
}

/** {@link makeHint} with the secrets of each row given: only they make it private. */
export function makeHintWith(
  plan: HintPlan,
  weights: Int32Array,
  publics: PublicPolynomials,
  [from, to]: TileRange,
  draw: (outTile: number) => RowSecrets,
): Uint8Array {
  checkLength('weights', weights.length, weightCount(plan.shape));
  checkRange('output tiles', [from, to], plan.packing.outTiles);
  const bytes = hintPolynomialBytes(plan);
  const out = new Uint8Array((to - from) * bytes);
  const { arena, ntt, rlwe } = kernels();
  arena.scope(() => {
    const sums = arena.alloc(8 * POLYNOMIAL_WORDS);
    const small = arena.alloc(4 * DEGREE);
    const transformed = arena.alloc(4 * DEGREE);
    const a0 = arena.put(publicPolynomial(publics, 0));
    const polynomial = arena.alloc(4 * POLYNOMIAL_WORDS);
    const wide = arena.alloc(8 * DEGREE);
    const packed = arena.alloc(bytes + 8);
    for (let outTile = from; outTile < to; outTile++) {
      sumProducts(plan, weights, outTile, (inTile) => publicPolynomial(publics, inTile + 1), sums);
      const { u, error } = draw(outTile);
      arena.i32(small, DEGREE).set(u);
      PRIMES.forEach((prime, k) => {
        transformOf(DEGREE, prime).forward(transformed, small);
        ntt.accumulateProduct(sums + 8 * k * DEGREE, a0 + 4 * k * DEGREE, transformed, DEGREE);
      });
      arena.i32(small, DEGREE).set(error);
      PRIMES.forEach((prime, k) => {
        const part = polynomial + 4 * k * DEGREE;
        transformOf(DEGREE, prime).inverseOfSums(part, sums + 8 * k * DEGREE);
        rlwe.addSmall(part, small, DEGREE, prime);
      });
      composePolynomial(wide, polynomial);
      rlwe.packRounded(packed, wide, DEGREE, MODULUS_BITS - plan.hintBits, plan.hintBits);
      out.set(arena.u8(packed, bytes), (outTile - from) * bytes);
    }
  });
  return out;
}

/**
 * sums (64-bit lanes, N for each prime) = sum over the connected input tiles of their weights times a polynomial, in the
 * transform domain, with room for one more product.
 * @param polynomial - transforms for an input tile
 */
export function sumProducts(
  plan: HintPlan,
  weights: Int32Array,
  outTile: number,
  polynomial: (inTile: number) => Uint32Array,
  sums: number,
): void {
  const { packing } = plan;
  const { arena, ntt } = kernels();
  arena.scope(() => {
    const coefficients = arena.alloc(4 * DEGREE);
    const transformed = arena.alloc(4 * DEGREE);
    const factor = arena.alloc(4 * POLYNOMIAL_WORDS);
    arena.u8(sums, 8 * POLYNOMIAL_WORDS).fill(0);
    const [first, last] = connectedTiles(packing, outTile);
    for (let inTile = first; inTile < last; inTile++) {
      weightPolynomial(packing, weights, inTile, outTile, arena.i32(coefficients, DEGREE));
      arena.u32(factor, POLYNOMIAL_WORDS).set(polynomial(inTile));
      const fold = (inTile - first + 1) % PRODUCTS_PER_FOLD === 0;
      PRIMES.forEach((prime, k) => {
        const transform = transformOf(DEGREE, prime);
        const sum = sums + 8 * k * DEGREE;
        transform.forward(transformed, coefficients);
        ntt.accumulateProduct(sum, factor + 4 * k * DEGREE, transformed, DEGREE);
        if (fold) ntt.foldSums(sum, DEGREE, transform.radix);
      });
    }
  });
}

/**
 * Server: transforms of u_j times 2^32 for output tiles [from, to), {@link POLYNOMIAL_WORDS} words each. The same for every
 * bundle: worth keeping where there is memory.
 */
export function rowTransforms(
  plan: HintPlan,
  seeds: Uint8Array,
  [from, to]: TileRange,
): Uint32Array {
  checkLength('row seeds', seeds.length, plan.packing.outTiles * SEED_BYTES);
  checkRange('output tiles', [from, to], plan.packing.outTiles);
  const transforms = new Uint32Array((to - from) * POLYNOMIAL_WORDS);
  const { arena } = kernels();
  for (let outTile = from; outTile < to; outTile++) {
    arena.scope(() => {
      const { u } = drawRow(seeds.subarray(outTile * SEED_BYTES, (outTile + 1) * SEED_BYTES));
      transforms.set(montgomeryTransforms(arena.put(u)), (outTile - from) * POLYNOMIAL_WORDS);
    });
  }
  return transforms;
}

/** SHA-256 of a whole hint: what the session is bound to, and the name it is cached under. */
export function hintDigest(hint: Uint8Array): Uint8Array {
  return sha256(hint);
}

/** Bytes that are hashed at a time. LOCAL. */
const HASH_BYTES = 256 << 10;

/** The same; it yields as it hashes. */
export function* hintDigestInPieces(hint: Uint8Array): Generator<undefined, Uint8Array> {
  const hash = sha256.create();
  for (let at = 0; at < hint.length; at += HASH_BYTES) {
    yield;
    hash.update(hint.subarray(at, at + HASH_BYTES));
  }
  return hash.digest();
}

/**
 * Client: the layers' parts of a hint, once it is the one that was agreed on. Before this no byte that depends on a
 * bundle leaves.
 * @param plans - of all linear layers, in the order of the program
 * @param actual - SHA-256 of the hint
 * @throws ProtocolError when its length or its digest is another
 */
export function openHint(
  plans: readonly HintPlan[],
  hint: Uint8Array,
  digest: Uint8Array,
  actual: Uint8Array = hintDigest(hint),
): Uint8Array[] {
  checkMessage(
    'hint',
    hint.length,
    plans.reduce((sum, plan) => sum + hintBytes(plan), 0),
  );
  if (digest.length !== actual.length || actual.some((byte, i) => byte !== digest[i])) {
    throw new ProtocolError('bad-message', 'hint: its SHA-256 is not the one agreed on');
  }
  let at = 0;
  return plans.map((plan) => hint.subarray(at, (at += hintBytes(plan))));
}

/**
 * Client: transforms of A'_j for output tiles [from, to), {@link POLYNOMIAL_WORDS} words each. The same for every bundle:
 * worth keeping where there is memory.
 * @param hint - the layer's part, see {@link openHint}
 * @throws ProtocolError when its length or a value is out of range
 */
export function decodeHint(plan: HintPlan, hint: Uint8Array, [from, to]: TileRange): Uint32Array {
  checkMessage('hint of a layer', hint.length, hintBytes(plan));
  checkRange('output tiles', [from, to], plan.packing.outTiles);
  const bytes = hintPolynomialBytes(plan);
  const transforms = new Uint32Array((to - from) * POLYNOMIAL_WORDS);
  const { arena, rlwe } = kernels();
  arena.scope(() => {
    const packed = arena.alloc(bytes + 8);
    const wide = arena.alloc(8 * DEGREE);
    const residues = arena.alloc(4 * DEGREE);
    const drop = MODULUS_BITS - plan.hintBits;
    for (let outTile = from; outTile < to; outTile++) {
      arena.u8(packed, bytes).set(hint.subarray(outTile * bytes, (outTile + 1) * bytes));
      if (rlwe.unpackRounded(wide, packed, DEGREE, drop, plan.hintBits, MODULUS) > 0) {
        throw new ProtocolError('bad-message', 'hint: a value is not below its modulus');
      }
      PRIMES.forEach((prime, k) => {
        rlwe.split(residues, wide, DEGREE, prime);
        transformOf(DEGREE, prime).forward(residues, residues);
        const at = (outTile - from) * POLYNOMIAL_WORDS + k * DEGREE;
        transforms.set(arena.u32(residues, DEGREE), at);
      });
    }
  });
  return transforms;
}
