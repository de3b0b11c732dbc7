/**
 * Symmetric encryption: a ciphertext of m under s is (a, b) with a uniform and b = e + round(q m / 2^32) - a s, so that b + a s
 * decrypts. Both parts live as transforms; a is a public stream, b travels as packed residues.
 */

import { kernels } from '../../kernels/index.ts';
import type { Random } from '../../random/index.ts';
import { DEGREE, POLYNOMIAL_BYTES, PRIMES, RESIDUE_BITS } from './parameters.ts';
import { binomial, uniformResidues } from './sampling.ts';
import { transformOf } from './transform.ts';

/**
 * Part b of a fresh encryption, {@link POLYNOMIAL_BYTES} bytes.
 * @param secret - transforms of s times 2^32 (see Transform)
 * @param message - pointer to N elements of Z_2^32
 * @param a - the stream of part a, public, another one for every ciphertext under this key
 * @param errors - secret stream
 */
export function encryptPolynomial(
  secret: Uint32Array,
  message: number,
  a: Random,
  errors: Random,
): Uint8Array {
  const n = DEGREE;
  // -q mod 2^32, from the primes' low halves.
  const scale = -PRIMES.reduce((product, p) => Math.imul(product, p), 1) >>> 0;
  const { arena, rlwe } = kernels();
  return arena.scope(() => {
    const error = arena.alloc(4 * n);
    binomial(error, n, errors);
    const factor = arena.put(secret);
    const mask = arena.alloc(4 * n);
    const b = arena.alloc(4 * n);
    const packed = arena.alloc(POLYNOMIAL_BYTES + 8);
    PRIMES.forEach((prime, k) => {
      const transform = transformOf(n, prime);
      rlwe.encode(b, message, error, n, scale, prime, transform.negativeInverse);
      transform.forward(b, b);
      uniformResidues(mask, n, prime, a);
      transform.subtractProduct(b, mask, factor + 4 * k * n);
      rlwe.packResidues(packed + (k * POLYNOMIAL_BYTES) / PRIMES.length, b, n, RESIDUE_BITS);
    });
    return arena.u8(packed, POLYNOMIAL_BYTES).slice();
  });
}
