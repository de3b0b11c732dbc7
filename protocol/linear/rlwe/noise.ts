/**
 * The error budget of a response, and how many low bits it may drop.
 *
 * The client decrypts D = q'/2^32 * (W r) + noise - mask (mod q'), and the parties round D and the mask to Z_2^32. The
 * two roundings are off by at most 1/2 each, so the shares sum to W r + e with e in {-1, 0, 1} as soon as
 * |noise| < q'/2^32 (an integer below 2 in absolute value). `noiseBound` holds for all coefficients of a layer
 * together except with probability 2^-40.
 *
 * All terms but one are sums of independent sub-Gaussian variables, whose variance proxies add up: errors against the
 * weights (10.5 each), the rounding of the encoding (1/12, r is uniform), the errors of the zero-encryption against
 * secret and public key, the rounding of part a against the secret. The rounding of part b is bounded outright.
 */

import type { WeightBound } from '../bound.ts';
import type { ParameterSet } from './parameters.ts';
import { ERROR_BOUND, ERROR_VARIANCE, RESPONSE_MODULUS } from './parameters.ts';

/** Low bits dropped from the two parts of a response. AGREEMENT. */
export interface Drops {
  readonly a: number;
  readonly b: number;
}

/** What the noise must stay below: q' / 2^32, just under 2^20. AGREEMENT. */
export const NOISE_BUDGET = RESPONSE_MODULUS / 0x1_0000_0000;

/** Failure probability of each of the two tail bounds below, as a negative power of two; together 2^-40. */
const TAIL_BITS = 41;

/**
 * The random part of the noise of a layer's worst coefficient, in units of 1 modulo q'.
 *
 * Only square roots, products and sums: the same double on every machine, since both parties derive the drops from it.
 */
function randomNoise(
  set: ParameterSet,
  weights: WeightBound,
  outputsPerPolynomial: number,
  coefficients: number,
  dropA: number,
): number {
  const n = set.degree;
  // |X| < tail * sqrt(proxy) for `coefficients` variables: 2 exp(-tail^2 / 2) <= 2^-TAIL_BITS / coefficients.
  const unionBits = 32 - Math.clz32(coefficients);
  const tail = Math.sqrt(2 * Math.LN2 * (TAIL_BITS + 1 + unionBits));
  // Non-zero secret coefficients: 2/3 of n, and no more than Hoeffding's bound allows.
  const secretWeight = Math.min(n, (2 * n) / 3 + Math.sqrt((n * TAIL_BITS * Math.LN2) / 2));
  // Errors before the division by the third prime shrink with it.
  const divisor = set.primes.slice(2).reduce((product, p) => product * p, 1);
  const norm = (weights.norm2 * Math.sqrt(outputsPerPolynomial)) / divisor;
  const weightProxy = norm * norm * (ERROR_VARIANCE + 1 / 12);
  const weightWorst = (outputsPerPolynomial * weights.norm1 * (ERROR_BOUND + 0.5)) / divisor;
  // pk's error (its square norm is below twice its mean) times u, and e2 times the secret.
  const zeroProxy = (ERROR_VARIANCE * ((4 / 3) * n + secretWeight)) / (divisor * divisor);
  // Rounding to multiples of 2^d: variance below 4^d / 12, mean below 1/2. Dividing by the prime rounds once more.
  const roundings = [dropA, ...(divisor > 1 ? [0] : [])];
  const roundingProxy = roundings.reduce(
    (sum, drop) => sum + secretWeight * (2 ** (2 * drop) / 12 + 1 / 4),
    0,
  );
  const other = zeroProxy + roundingProxy;
  return Math.min(tail * Math.sqrt(weightProxy + other), weightWorst + tail * Math.sqrt(other));
}

/** The bounded part: rounding of part b to multiples of 2^drop, its division, two conversions to Z_2^32 in doubles. */
function boundedNoise(dropB: number): number {
  return 2 ** (dropB - 1) + 3;
}

/**
 * Noise of a layer's worst coefficient, in units of 1 modulo q'; holds except with probability 2^-40 per layer.
 * @param outputsPerPolynomial - outputs whose weights share a polynomial: an error meets all of them
 * @param coefficients - output elements of the layer, for the union bound
 */
export function noiseBound(
  set: ParameterSet,
  weights: WeightBound,
  outputsPerPolynomial: number,
  coefficients: number,
  drops: Drops,
): number {
  return (
    randomNoise(set, weights, outputsPerPolynomial, coefficients, drops.a) + boundedNoise(drops.b)
  );
}

/** Most bits worth dropping from a part: one more would exceed the budget alone. */
export const MOST_DROPPED: Drops = { a: 16, b: 20 };

/**
 * The drops that save most bits of a response within the budget, or undefined if the noise alone exceeds it.
 * @param used - coefficients of part b in a full response; part a has all N
 */
export function chooseDrops(
  set: ParameterSet,
  weights: WeightBound,
  outputsPerPolynomial: number,
  coefficients: number,
  used: number,
): Drops | undefined {
  let best: Drops | undefined;
  let most = -1;
  for (let a = 0; a <= MOST_DROPPED.a; a++) {
    const noise = randomNoise(set, weights, outputsPerPolynomial, coefficients, a);
    let b = MOST_DROPPED.b;
    while (b >= 0 && noise + boundedNoise(b) >= NOISE_BUDGET) b--;
    if (b < 0) break;
    const saved = set.degree * a + used * b;
    if (saved > most) {
      best = { a, b };
      most = saved;
    }
  }
  return best;
}
