/** Polynomials of the ring on their way between transforms, bytes and shares: what all steps of this folder have in common. */

import { ProtocolError } from '../../errors.ts';
import { kernels } from '../../kernels/index.ts';
import { compose } from '../lattice/compose.ts';
import {
  DEGREE,
  POLYNOMIAL_BYTES,
  POLYNOMIAL_WORDS,
  PRIMES,
  RESIDUE_BITS,
} from '../lattice/parameters.ts';
import { transformOf } from '../lattice/transform.ts';

/** Transforms of small signed coefficients at `src`, times 2^32 (see Transform): what others are multiplied with. */
export function montgomeryTransforms(src: number): Uint32Array {
  const { arena } = kernels();
  return arena.scope(() => {
    const pointer = arena.alloc(4 * POLYNOMIAL_WORDS);
    PRIMES.forEach((prime, k) => {
      const transform = transformOf(DEGREE, prime);
      transform.forward(pointer + 4 * k * DEGREE, src);
      transform.toMontgomery(pointer + 4 * k * DEGREE);
    });
    return arena.u32(pointer, POLYNOMIAL_WORDS).slice();
  });
}

/**
 * x = the coefficients of x y modulo both PRIMES, in place.
 * @param x - pointer to transforms, {@link POLYNOMIAL_WORDS} words
 * @param y - pointer to transforms times 2^32
 */
export function multiplyPolynomials(x: number, y: number): void {
  PRIMES.forEach((prime, k) => {
    transformOf(DEGREE, prime).inverseOfProduct(x + 4 * k * DEGREE, y + 4 * k * DEGREE);
  });
}

/** dst = the N values modulo q (64-bit lanes) of a polynomial given modulo both primes. */
export function composePolynomial(dst: number, polynomial: number): void {
  compose(dst, polynomial, polynomial + 4 * DEGREE, DEGREE);
}

/**
 * Transforms of polynomials that travelled whole, as packed residues of both primes.
 * @throws ProtocolError when a residue is not below its prime
 */
export function unpackPolynomials(what: string, bytes: Uint8Array): Uint32Array {
  const count = bytes.length / POLYNOMIAL_BYTES;
  const transforms = new Uint32Array(count * POLYNOMIAL_WORDS);
  const { arena, rlwe } = kernels();
  arena.scope(() => {
    const part = POLYNOMIAL_BYTES / PRIMES.length;
    const src = arena.alloc(part + 8);
    const dst = arena.alloc(4 * DEGREE);
    for (let i = 0; i < count * PRIMES.length; i++) {
      arena.u8(src, part).set(bytes.subarray(i * part, (i + 1) * part));
      const prime = PRIMES[i % PRIMES.length]!;
      if (rlwe.unpackResidues(dst, src, DEGREE, RESIDUE_BITS, prime) > 0) {
        throw new ProtocolError('bad-message', `${what}: a residue is not below ${prime}`);
      }
      transforms.set(arena.u32(dst, DEGREE), i * DEGREE);
    }
  });
  return transforms;
}

/** Transforms of polynomial `index` among several. */
export function polynomialAt(transforms: Uint32Array, index: number): Uint32Array {
  return transforms.subarray(index * POLYNOMIAL_WORDS, (index + 1) * POLYNOMIAL_WORDS);
}

/** @throws ProtocolError when a peer's message has another length than it must have */
export function checkMessage(what: string, length: number, expected: number): void {
  if (length !== expected) {
    throw new ProtocolError('bad-message', `${what}: expected ${expected} bytes, got ${length}`);
  }
}

/** @throws RangeError when a local argument has another length than the plan says */
export function checkLength(what: string, length: number, expected: number): void {
  if (length !== expected) {
    throw new RangeError(`hint ${what}: expected ${expected} elements, got ${length}`);
  }
}

/** A part [from, to) of a layer's tiles: one job. */
export type TileRange = readonly [from: number, to: number];

/** @throws RangeError when a range is empty or not within [0, count) */
export function checkRange(what: string, [from, to]: TileRange, count: number): void {
  if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from < to && to <= count)) {
    throw new RangeError(
      `hint ${what}: expected a non-empty range within [0, ${count}), got [${from}, ${to})`,
    );
  }
}
