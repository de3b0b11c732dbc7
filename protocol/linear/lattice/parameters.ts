/**
 * The lattice that linear layers stand on: ring Z_q[X]/(X^N + 1), N = 2048, q a product of two 26-bit primes.
 *
 * Secrets are uniform ternary, errors centred binomial of 21 + 21 bits (variance 10.5, sigma 3.24). The largest log2 q
 * for 128 bits of classical security is that of Bossuat et al., "Security Guidelines for Implementing Homomorphic
 * Encryption" (ePrint 2024/463), table for ternary secrets and sigma about 3.2; the module refuses to load above it.
 */

/** N, coefficients of a polynomial. SECURITY and AGREEMENT. */
export const DEGREE = 2048;

/** Largest log2 q the guideline allows at this degree. SECURITY. */
const LARGEST_LOG_MODULUS = 53;

/** The two largest primes below 2^26 that are 1 mod 8192. AGREEMENT. */
export const PRIMES = [67084289, 67043329] as const;

/** q, an exact number just below 2^52. */
export const MODULUS: number = PRIMES[0] * PRIMES[1];

/** Bits of a value modulo q. */
export const MODULUS_BITS = 52;

/** Bits of a residue on the wire. AGREEMENT. */
export const RESIDUE_BITS = 26;

/** 32-bit words of a polynomial's transforms: for each prime N residues. */
export const POLYNOMIAL_WORDS: number = PRIMES.length * DEGREE;

/** Bytes of a polynomial that travels whole, as packed residues modulo both primes. */
export const POLYNOMIAL_BYTES: number = (POLYNOMIAL_WORDS * RESIDUE_BITS) / 8;

/** Variance of an error coefficient: a sum of 42 fair bits, signed. SECURITY. */
export const ERROR_VARIANCE = 10.5;

if (Math.log2(MODULUS) > LARGEST_LOG_MODULUS) {
  throw new RangeError(
    `degree ${DEGREE}: a modulus of ${Math.log2(MODULUS).toFixed(1)} bits is above the ` +
      `${LARGEST_LOG_MODULUS} bits that give 128-bit security`,
  );
}
