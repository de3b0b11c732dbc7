/**
 * Keys, and the symmetric encryption that public keys and uploads have in common.
 *
 * A ciphertext of m under s is (a, b) with a uniform and b = e + round(q m / 2^32) - a s, so b + a s decrypts. Both
 * parts live as transforms; a is a stream from a public seed, b goes over the wire as packed residues. A public key is
 * a ciphertext of zero.
 */

import { ProtocolError } from '../../errors.ts';
import { kernels } from '../../kernels/index.ts';
import type { Random } from '../../random/index.ts';
import { deriveSeed, Prg, randomBytes, SEED_BYTES } from '../../random/index.ts';
import type { Degree, ParameterSet } from './parameters.ts';
import { ciphertextWords, PARAMETER_SETS, polynomialBytes, RESIDUE_BITS } from './parameters.ts';
import { binomial, ternary, uniformResidues } from './sampling.ts';
import { transformOf } from './transform.ts';

/** The client's key for one degree. Plain data for structured cloning within the client; never leaves it. */
export interface SecretKey {
  readonly degree: Degree;
  /** Transforms of s modulo each prime of the set, times 2^32 (see Transform). */
  readonly transforms: Uint32Array;
}

/** The client's public key for one degree, decoded: a ciphertext of zero. */
export interface PublicKey {
  readonly degree: Degree;
  /** {@link ciphertextWords} residues: for each prime part a, then part b. */
  readonly ciphertext: Uint32Array;
}

/** Bytes of an encoded public key: a seed and one packed polynomial. */
export function publicKeyBytes(degree: Degree): number {
  return SEED_BYTES + polynomialBytes(PARAMETER_SETS[degree]);
}

/** A fresh secret key of one degree and the encoded public key to send. */
export function generateKeys(
  degree: Degree,
  random: Random,
): { secretKey: SecretKey; publicKey: Uint8Array } {
  const set = PARAMETER_SETS[degree];
  const seed = randomBytes(random, SEED_BYTES);
  const { arena } = kernels();
  return arena.scope(() => {
    const small = arena.alloc(4 * degree);
    ternary(small, degree, new Prg(deriveSeed(seed, 'rlwe secret key')));
    const pointer = arena.alloc(4 * set.primes.length * degree);
    set.primes.forEach((prime, k) => {
      const transform = transformOf(degree, prime);
      transform.forward(pointer + 4 * k * degree, small);
      transform.toMontgomery(pointer + 4 * k * degree);
    });
    const secretKey: SecretKey = {
      degree,
      transforms: arena.u32(pointer, set.primes.length * degree).slice(),
    };
    const publicKey = new Uint8Array(publicKeyBytes(degree));
    const publicSeed = deriveSeed(seed, 'rlwe public key a');
    publicKey.set(publicSeed, 0);
    const zero = arena.alloc(4 * degree);
    arena.i32(zero, degree).fill(0);
    const errors = new Prg(deriveSeed(seed, 'rlwe public key error'));
    publicKey.set(encryptPolynomial(secretKey, zero, partA(publicSeed, 0), errors), SEED_BYTES);
    return { secretKey, publicKey };
  });
}

/**
 * The public key the client sent.
 * @throws ProtocolError when its length or a residue is out of range
 */
export function decodePublicKey(degree: Degree, bytes: Uint8Array): PublicKey {
  const expected = publicKeyBytes(degree);
  if (bytes.length !== expected) {
    throw new ProtocolError(
      'bad-message',
      `RLWE public key: expected ${expected} bytes, got ${bytes.length}`,
    );
  }
  const set = PARAMETER_SETS[degree];
  const { arena } = kernels();
  return arena.scope(() => {
    const words = ciphertextWords(set);
    const pointer = arena.alloc(4 * words);
    const seed = bytes.subarray(0, SEED_BYTES);
    decodeCiphertext(set, bytes.subarray(SEED_BYTES), partA(seed, 0), pointer);
    return { degree, ciphertext: arena.u32(pointer, words).slice() };
  });
}

/** The public stream that gives part a of ciphertext `index` under a seed. */
export function partA(seed: Uint8Array, index: number): Random {
  return new Prg(deriveSeed(seed, 'rlwe part a', index));
}

/**
 * Part b of a fresh encryption, packed.
 * @param message - pointer to N elements of Z_2^32
 * @param a - the stream of part a, public, of its own for every ciphertext under this key
 * @param errors - secret stream
 */
export function encryptPolynomial(
  secretKey: SecretKey,
  message: number,
  a: Random,
  errors: Random,
): Uint8Array {
  const n = secretKey.degree;
  const set = PARAMETER_SETS[n];
  // -q mod 2^32, from the primes' low halves.
  const scale = -set.primes.reduce((product, p) => Math.imul(product, p), 1) >>> 0;
  const bytes = polynomialBytes(set);
  const { arena, rlwe } = kernels();
  return arena.scope(() => {
    const error = arena.alloc(4 * n);
    binomial(error, n, errors);
    const secret = arena.put(secretKey.transforms);
    const mask = arena.alloc(4 * n);
    const b = arena.alloc(4 * n);
    const packed = arena.alloc(bytes + 8);
    set.primes.forEach((prime, k) => {
      const transform = transformOf(n, prime);
      rlwe.encode(b, message, error, n, scale, prime, transform.negativeInverse);
      transform.forward(b, b);
      uniformResidues(mask, n, prime, a);
      transform.subtractProduct(b, mask, secret + 4 * k * n);
      rlwe.packResidues(packed + (k * bytes) / set.primes.length, b, n, RESIDUE_BITS);
    });
    return arena.u8(packed, bytes).slice();
  });
}

/**
 * A seeded ciphertext from the peer: part a from its stream, part b from packed residues, to {@link ciphertextWords}
 * words at `dst`.
 * @throws ProtocolError when a residue is not below its prime
 */
export function decodeCiphertext(
  set: ParameterSet,
  packed: Uint8Array,
  a: Random,
  dst: number,
): void {
  const n = set.degree;
  const { arena, rlwe } = kernels();
  arena.scope(() => {
    const src = arena.alloc(packed.length + 8);
    arena.u8(src, packed.length).set(packed);
    set.primes.forEach((prime, k) => {
      const pair = dst + 8 * k * n;
      uniformResidues(pair, n, prime, a);
      const part = src + (k * packed.length) / set.primes.length;
      if (rlwe.unpackResidues(pair + 4 * n, part, n, RESIDUE_BITS, prime) > 0) {
        throw new ProtocolError('bad-message', `RLWE ciphertext: a residue is not below ${prime}`);
      }
    });
  });
}
