/**
 * Parameters of linear layers from a static hint: ring, public polynomials, bits of a hint, error of an output.
 *
 * N = 2048 and q = p1 p2, 52 bits, inside the 53 bits that the 2024 guideline gives for
 * 128-bit security. A modulus of 45 bits would fit as well, with 24 bits more security and keys of 11.5 instead of 13.3 kB
 * a layer. It is not taken for two reasons. What repeating one image tells about the hint's secrets enters an output as
 * their products with errors, divided by Delta = q / 2^k: with 7 bits less of Delta 2^14 times fewer repeats suffice,
 * which matters most for layers that reach the output without a truncation. And a prime of 19 bits takes a second
 * reduction in every kernel.
 */

import { kernels } from '../../kernels/index.ts';
import type { Random } from '../../random/index.ts';
import { deriveSeed, Prg, SEED_BYTES } from '../../random/index.ts';
import {
  DEGREE,
  ERROR_VARIANCE,
  MODULUS,
  MODULUS_BITS,
  POLYNOMIAL_WORDS,
  PRIMES,
} from '../lattice/parameters.ts';
import { uniformResidues } from '../lattice/sampling.ts';

/** Version of public polynomials, hints and their rounding. AGREEMENT. */
export const HINT_VERSION = 1;

/** Fewest bits of a hint coefficient, most, and those of an exact layer. AGREEMENT. */
export const HINT_BITS = { fewest: 10, most: 40, exact: 40 } as const;

/** The 2^k of a layer: k from 2 to 32 bits. */
export const MOST_RING_BITS = 32;

/** The constants of this folder that both parties must have alike. AGREEMENT. */
export const HINT_AGREEMENT: object = {
  version: HINT_VERSION,
  degree: DEGREE,
  primes: PRIMES,
  bits: HINT_BITS,
};

/** Failure probability of the error bound of a layer, as a negative power of two. */
const TAIL_BITS = 40;

/**
 * The public stream that gives polynomial `index`, the same for every layer and model of one generation: fixed by its
 * name, so that nobody can have chosen it.
 * @throws RangeError when the generation is not an unsigned 32-bit integer
 */
export function publicStream(generation: number, index: number): Random {
  if (generation !== generation >>> 0) {
    throw new RangeError(`hint generation: expected an unsigned 32-bit integer, got ${generation}`);
  }
  const name = `hint a, version ${HINT_VERSION}, N ${DEGREE}, q ${PRIMES.join(' ')}`;
  return new Prg(deriveSeed(new Uint8Array(SEED_BYTES), name, generation, index));
}

/** Transforms of the public polynomials a_0, a_1, ..., {@link POLYNOMIAL_WORDS} words each. */
export interface PublicPolynomials {
  readonly generation: number;
  readonly transforms: Uint32Array;
}

/**
 * The first `count` public polynomials of a generation. Uniform in the transform domain is uniform.
 * @param count - one more than the most input tiles of any layer: a_0 is for the keys
 */
export function publicPolynomials(generation: number, count: number): PublicPolynomials {
  const transforms = new Uint32Array(count * POLYNOMIAL_WORDS);
  const { arena } = kernels();
  arena.scope(() => {
    const pointer = arena.alloc(4 * DEGREE);
    for (let index = 0; index < count; index++) {
      const stream = publicStream(generation, index);
      PRIMES.forEach((prime, k) => {
        uniformResidues(pointer, DEGREE, prime, stream);
        transforms.set(arena.u32(pointer, DEGREE), index * POLYNOMIAL_WORDS + k * DEGREE);
      });
    }
  });
  return { generation, transforms };
}

/** How many polynomials there are. */
export function publicCount({ transforms }: PublicPolynomials): number {
  return transforms.length / POLYNOMIAL_WORDS;
}

/** Transforms of public polynomial `index`. */
export function publicPolynomial({ transforms }: PublicPolynomials, index: number): Uint32Array {
  if (!(index >= 0 && (index + 1) * POLYNOMIAL_WORDS <= transforms.length)) {
    throw new RangeError(
      `hint: public polynomial ${index} is not among ${transforms.length / POLYNOMIAL_WORDS}`,
    );
  }
  return transforms.subarray(index * POLYNOMIAL_WORDS, (index + 1) * POLYNOMIAL_WORDS);
}

/** The parts of the error c + S - W r of an output, in units of the layer's ring. */
export interface ErrorVariance {
  /** W eps: the masks are rounded phases. None in an exact layer. */
  readonly masks: number;
  /** The rounding of the hint, times s. */
  readonly hint: number;
  /** e_j s + u e_0 + W e_i, over Delta. */
  readonly errors: number;
  /** Both parties' roundings. */
  readonly roundings: number;
  readonly total: number;
}

/**
 * Variance of an output's error.
 *
 * s and u are uniform ternary (variance 2/3), eps uniform within 1/2, the hint's rounding uniform within half of
 * 2^(log2 q - hintBits), the errors binomial. A weight polynomial holds `outputs` outputs whose weights an output meets
 * all, zeros of the packing included.
 * @param norm2 - root of the sum of squares of the weights of one output
 */
export function errorVariance(
  norm2: number,
  outputs: number,
  ringBits: number,
  hintBits: number,
  exact: boolean,
): ErrorVariance {
  const squares = outputs * norm2 * norm2;
  const delta = MODULUS / 2 ** ringBits;
  const step = 2 ** (MODULUS_BITS - hintBits) / delta;
  const masks = exact ? 0 : squares / 12;
  const hint = ((DEGREE * 2) / 3) * ((step * step) / 12);
  const perWeight = ERROR_VARIANCE + (exact ? 1 / 12 : 0);
  const errors = (perWeight * squares + ERROR_VARIANCE * (4 / 3) * DEGREE) / (delta * delta);
  const roundings = 1 / 6;
  return { masks, hint, errors, roundings, total: masks + hint + errors + roundings };
}

/** Outputs a polynomial that {@link layerTolerance} leaves room for. */
const ROOM_OUTPUTS = 4;

/**
 * Largest variance that a rounded hint may add: half of what one output a polynomial has from rounded masks, so that
 * accuracy does not depend on it.
 */
export function hintVariance(norm2: number): number {
  return Math.max((norm2 * norm2) / 24, 1);
}

/**
 * The tolerance of a layer whose error a truncation follows: what leaves its planner a choice. In units of its output.
 * @param coefficients - outputs of the layer
 */
export function layerTolerance(norm2: number, coefficients: number): number {
  const variance = (ROOM_OUTPUTS * norm2 * norm2) / 12 + hintVariance(norm2) + 1;
  return Math.ceil(errorBound(variance, coefficients));
}

/**
 * What the error of no output of a layer exceeds, except with probability 2^-40: all its parts are sums of independent
 * sub-Gaussian variables whose proxies are their variances. Only square roots, products and sums: the same double on
 * every machine.
 * @param coefficients - outputs of the layer, for the union bound
 */
export function errorBound(variance: number, coefficients: number): number {
  const unionBits = 32 - Math.clz32(coefficients);
  return Math.sqrt(2 * Math.LN2 * (TAIL_BITS + 1 + unionBits)) * Math.sqrt(variance);
}
