/**
 * The exact variant of a layer: one whose outputs reach the client without a truncation. Its corrections are encryptions of
 * the masks, which carry all bits of q, and the server's share carries noise; bundle.ts says why.
 *
 *   Client                                                          Server
 *   encryptMasks   b_i = e_i - a_(i+1) s + round(q m / 2^k)  ---->  decodeExactCorrections
 *                                                                   exactServerShares
 *                                     S_j = round((sum_i W_ji b_i + u_j key) / Delta) + noise
 */

import { kernels } from '../../kernels/index.ts';
import { deriveSeed, Prg } from '../../random/index.ts';
import { lowBits } from '../../ring/packing.ts';
import { encryptPolynomial } from '../lattice/encrypt.ts';
import { DEGREE, POLYNOMIAL_BYTES, POLYNOMIAL_WORDS, PRIMES } from '../lattice/parameters.ts';
import { uniformBelow } from '../lattice/sampling.ts';
import { transformOf } from '../lattice/transform.ts';
import { sumProducts } from './hint.ts';
import { packInput } from './packing.ts';
import { publicStream } from './parameters.ts';
import { correctionBytes, type HintPlan, shareCount } from './plan.ts';
import {
  checkLength,
  checkMessage,
  polynomialAt,
  type TileRange,
  unpackPolynomials,
} from './polynomial.ts';
import { checkSecrets, productShares } from './shares.ts';

/** The corrections of an exact layer: encryptions of its packed masks `given` under s. */
export function encryptMasks(
  { packing, ringBits }: HintPlan,
  generation: number,
  inputs: { readonly secrets: Uint32Array; readonly seed: Uint8Array; readonly given: Int32Array },
  [from, to]: TileRange,
  out: Uint8Array,
): void {
  const { secrets, seed, given } = inputs;
  const { spatialTiles } = packing;
  const { arena } = kernels();
  arena.scope(() => {
    const message = arena.alloc(4 * DEGREE);
    const coefficients = arena.i32(message, DEGREE);
    for (let index = from * spatialTiles; index < to * spatialTiles; index++) {
      const inTile = Math.floor(index / spatialTiles);
      const tile = index % spatialTiles;
      packInput(packing, given, inTile, tile, coefficients);
      // round(q m / 2^k) is the encoding of 2^(32 - k) m modulo 2^32.
      for (let i = 0; i < DEGREE; i++) coefficients[i]! <<= 32 - ringBits;
      const secret = polynomialAt(secrets, tile);
      const errors = new Prg(deriveSeed(seed, 'hint exact error', index));
      const a = publicStream(generation, inTile + 1);
      const b = encryptPolynomial(secret, message, a, errors);
      out.set(b, (index - from * spatialTiles) * POLYNOMIAL_BYTES);
    }
  });
}

/**
 * Server: the corrections of an exact layer, transforms of an encryption for each input polynomial.
 * @throws ProtocolError when they are not well formed
 */
export function decodeExactCorrections(plan: HintPlan, corrections: Uint8Array): Uint32Array {
  checkMessage('hint corrections', corrections.length, correctionBytes(plan));
  return unpackPolynomials('hint corrections', corrections);
}

/** What an exact layer's shares are made of, beside rows and keys. */
export interface ExactInputs {
  readonly weights: Int32Array;
  /** See {@link decodeExactCorrections}. */
  readonly corrections: Uint32Array;
  /** 16 fresh secret bytes of the server for this layer of this bundle alone. */
  readonly seed: Uint8Array;
}

/**
 * Server: its shares of an exact layer's output tiles [from, to), whole: corrections and noise are in them.
 * @param rows - transforms of u_j of exactly these tiles, see rowTransforms
 * @param keys - see {@link decodeKeys}
 * @throws RangeError when an argument does not belong to the plan, or the layer is not exact
 */
export function exactServerShares(
  plan: HintPlan,
  rows: Uint32Array,
  keys: Uint32Array,
  range: TileRange,
  { weights, corrections, seed }: ExactInputs,
): Int32Array {
  if (plan.masks !== 'exact') throw new RangeError('hint shares: the layer is not exact');
  checkSecrets(plan, keys);
  const { inTiles, spatialTiles } = plan.packing;
  checkLength('corrections', corrections.length, inTiles * spatialTiles * POLYNOMIAL_WORDS);
  const { arena } = kernels();
  return arena.scope(() => {
    const sums = arena.alloc(8 * POLYNOMIAL_WORDS);
    const product = arena.alloc(4 * POLYNOMIAL_WORDS);
    const shares = productShares(plan, range, rows, keys, (outTile, tile) => {
      const input = (inTile: number) => polynomialAt(corrections, inTile * spatialTiles + tile);
      sumProducts(plan, weights, outTile, input, sums);
      PRIMES.forEach((prime, k) => {
        const transform = transformOf(DEGREE, prime);
        transform.inverseOfSums(product + 4 * k * DEGREE, sums + 8 * k * DEGREE);
      });
      return product;
    });
    const modulus = lowBits(plan.ringBits);
    let at = 0;
    for (let outTile = range[0]; outTile < range[1]; outTile++) {
      const count = shareCount(plan, outTile, outTile + 1);
      for (const noise of drawNoise(plan, count, deriveSeed(seed, 'hint noise', outTile))) {
        shares[at] = (shares[at]! + noise) & modulus;
        at++;
      }
    }
    return shares;
  });
}

/** `count` uniform integers within [-plan.noise, plan.noise]. */
function drawNoise({ noise }: HintPlan, count: number, seed: Uint8Array): number[] {
  const { arena } = kernels();
  return arena.scope(() => {
    const pointer = arena.alloc(8 * count);
    // Uniform below the largest multiple that 52 bits hold, so that few words are refused.
    const values = 2 * noise + 1;
    uniformBelow(pointer, count, values * Math.floor(2 ** 52 / values), new Prg(seed));
    const words = new BigUint64Array(arena.memory.buffer, pointer, count);
    return Array.from(words, (x) => (Number(x) % values) - noise);
  });
}
