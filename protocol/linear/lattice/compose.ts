/** From residues modulo both primes to values modulo q, and to the ring. */

import { kernels } from '../../kernels/index.ts';
import { DEGREE, MODULUS, PRIMES } from './parameters.ts';
import { constantQuotient, invert } from './transform.ts';

const [FIRST, SECOND] = PRIMES;

const COMPOSE_INVERSE = invert(FIRST, SECOND);
const COMPOSE_QUOTIENT = constantQuotient(COMPOSE_INVERSE, SECOND);

/** dst = the values modulo q (64-bit lanes) of `count` pairs of residues. */
export function compose(dst: number, x: number, y: number, count: number): void {
  const { rlwe } = kernels();
  rlwe.compose(dst, x, y, count, FIRST, SECOND, COMPOSE_INVERSE, COMPOSE_QUOTIENT);
}

/**
 * dst = round(v 2^bits / q) mod 2^bits (32-bit lanes) of the values v at some positions of a polynomial.
 * @param polynomial - pointer to its residues, those of one prime after those of the other
 * @param at - pointer to `count` positions, `count` a multiple of 4
 */
export function roundAt(
  dst: number,
  polynomial: number,
  at: number,
  count: number,
  bits: number,
): void {
  const { rlwe } = kernels();
  const ratio = 2 ** bits / MODULUS;
  const constants = [FIRST, SECOND, COMPOSE_INVERSE, COMPOSE_QUOTIENT] as const;
  const [x, y] = [polynomial, polynomial + 4 * DEGREE];
  rlwe.roundAt(dst, x, y, at, count, ...constants, bits, ratio);
}
