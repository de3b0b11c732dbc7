/**
 * RLWE parameter sets: ring Z[X]/(X^N + 1), plaintexts modulo 2^32, ciphertexts modulo a product of 26-bit primes.
 *
 * Secrets are uniform ternary, errors centred binomial of 21 + 21 bits (variance 10.5, sigma 3.24). The largest log2 q
 * for 128 bits of classical security is that of Bossuat et al., "Security Guidelines for Implementing Homomorphic
 * Encryption" (ePrint 2024/463), table for ternary secrets and sigma about 3.2; the module refuses to load above it.
 */

/** Ring degrees on offer. */
export type Degree = 2048 | 4096;

/** Largest log2 q the guideline allows per degree. SECURITY. */
const LARGEST_LOG_MODULUS: Record<Degree, number> = { 2048: 53, 4096: 106 };

/** One choice of ring degree and modulus. SECURITY and AGREEMENT. */
export interface ParameterSet {
  /** N, coefficients of a polynomial. */
  readonly degree: Degree;
  /** Primes whose product is the modulus of fresh ciphertexts; all are 1 mod 2 N and below 2^26. */
  readonly primes: readonly number[];
}

/** The primes below 2^26 that are 1 mod 8192, largest first: they serve both degrees. AGREEMENT. */
const PRIMES = [67084289, 67043329, 66994177] as const;

/** The two parameter sets. A layer takes the smaller one whenever its noise bound fits. SECURITY and AGREEMENT. */
export const PARAMETER_SETS: Record<Degree, ParameterSet> = {
  2048: { degree: 2048, primes: [PRIMES[0], PRIMES[1]] },
  4096: { degree: 4096, primes: PRIMES },
};

/** Bits of a residue on the wire. AGREEMENT. */
export const RESIDUE_BITS = 26;

/**
 * q' = p1 p2, the modulus of every response: fresh ciphertexts of degree 2048 already have it, those of degree 4096 are
 * divided by their third prime first. An exact number below 2^52.
 */
export const RESPONSE_MODULUS = PRIMES[0] * PRIMES[1];

/** Bits of a value modulo q'. */
export const RESPONSE_BITS = 52;

/** Variance of an error coefficient: a sum of 42 fair bits, signed. SECURITY. */
export const ERROR_VARIANCE = 10.5;

/** Largest absolute value of an error coefficient. SECURITY. */
export const ERROR_BOUND = 21;

for (const { degree, primes } of Object.values(PARAMETER_SETS)) {
  const logModulus = primes.reduce((sum, p) => sum + Math.log2(p), 0);
  if (logModulus > LARGEST_LOG_MODULUS[degree]) {
    throw new RangeError(
      `RLWE degree ${degree}: a modulus of ${logModulus.toFixed(1)} bits is above the ` +
        `${LARGEST_LOG_MODULUS[degree]} bits that give 128-bit security`,
    );
  }
}

/** Bytes of one polynomial of packed residues modulo all primes of the set. */
export function polynomialBytes(set: ParameterSet): number {
  return (set.primes.length * set.degree * RESIDUE_BITS) / 8;
}

/** 32-bit words of a ciphertext in kernel memory: for each prime, N residues of part a, then N of part b. */
export function ciphertextWords(set: ParameterSet): number {
  return 2 * set.primes.length * set.degree;
}
