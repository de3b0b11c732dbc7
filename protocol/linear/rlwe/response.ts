/**
 * One response polynomial: how the server seals the sums of its products, and how the client opens what arrives.
 *
 * Server: adds an encryption of zero, leaves the transform domain, divides by the third prime (degree 4096), subtracts
 * the mask from the used coefficients of part b, rounds both parts to their high bits and packs them.
 * Client: decrypts the used coefficients and rounds them to Z_2^32. The error of the two roundings is noise.ts's.
 *
 * On the wire: N values of part a, `52 - drops.a` bits each, then the used values of part b, `52 - drops.b` bits each,
 * lowest bits first, zero bits up to the next byte.
 */

import { ProtocolError } from '../../errors.ts';
import { kernels } from '../../kernels/index.ts';
import type { Random } from '../../random/index.ts';
import type { PublicKey, SecretKey } from './keys.ts';
import { usedCoefficients, usedCount } from './packing.ts';
import { PARAMETER_SETS, RESPONSE_MODULUS } from './parameters.ts';
import type { LayerPlan } from './plan.ts';
import { responseBytes, responseWidths } from './plan.ts';
import { binomial, ternary, uniformBelow } from './sampling.ts';
import { constantQuotient, invert, transformOf } from './transform.ts';

/** The two primes of every response. */
const [FIRST, SECOND] = PARAMETER_SETS[2048].primes as readonly [number, number];

/** What converts a value modulo q' to Z_2^32. */
const RING_RATIO = 0x1_0000_0000 / RESPONSE_MODULUS;

/** What the server draws for one response polynomial. Secret, used once. */
export interface ResponseSecrets {
  /** N coefficients of {-1, 0, 1}: the encryption of zero. */
  readonly u: Int32Array;
  /** N errors of its part a. */
  readonly error: Int32Array;
  /** Uniform values below q', one per used coefficient. */
  readonly mask: BigUint64Array;
}

/** Draws the secrets of response polynomial `index` from a stream of its own. */
export function drawSecrets(plan: LayerPlan, index: number, random: Random): ResponseSecrets {
  const n = plan.degree;
  const count = usedCount(plan.packing, index);
  const { arena } = kernels();
  return arena.scope(() => {
    const small = arena.alloc(4 * n);
    ternary(small, n, random);
    const u = arena.i32(small, n).slice();
    binomial(small, n, random);
    const error = arena.i32(small, n).slice();
    const mask = arena.alloc(8 * count);
    uniformBelow(mask, count, RESPONSE_MODULUS, random);
    return { u, error, mask: new BigUint64Array(arena.memory.buffer, mask, count).slice() };
  });
}

/**
 * Server: the bytes of response polynomial `index`, and the server's shares of its used coefficients.
 * @param sums - pointer to the sums of products, as `accumulate` leaves them; overwritten
 * @param out - the polynomial's bytes in the response
 */
export function sealResponse(
  plan: LayerPlan,
  publicKey: PublicKey,
  index: number,
  sums: number,
  secrets: ResponseSecrets,
  out: Uint8Array,
): Int32Array {
  const n = plan.degree;
  const { primes } = PARAMETER_SETS[n];
  const { arena, ntt, rlwe } = kernels();
  return arena.scope(() => {
    // The encryption of zero is one more product: the public key times u. Then back to coefficients.
    const key = arena.put(publicKey.ciphertext);
    const u = arena.put(secrets.u);
    const error = arena.put(secrets.error);
    const transformed = arena.alloc(4 * n);
    const parts = primes.map((prime, k) => {
      const transform = transformOf(n, prime);
      const sum = sums + 16 * k * n;
      transform.forward(transformed, u);
      ntt.multiplyAccumulate(sum, key + 8 * k * n, transformed, n);
      const a = arena.alloc(4 * n);
      const b = arena.alloc(4 * n);
      transform.inverseOfSums(a, sum);
      transform.inverseOfSums(b, sum + 8 * n);
      rlwe.addSmall(a, error, n, prime);
      return { prime, a, b };
    });
    const [first, second, third] = parts as [Part, Part, Part | undefined];
    if (third !== undefined) divide([first, second], third, n);

    const { positions } = usedCoefficients(plan.packing, index);
    const count = positions.length;
    const widths = responseWidths(plan);
    const split = (n * widths.a) / 8;
    const packed = arena.alloc(out.length + 8);
    const wide = arena.alloc(8 * n);
    compose(wide, first.a, second.a, n);
    rlwe.packRounded(packed, wide, n, plan.drops.a, widths.a);

    const mask = arena.put(secrets.mask);
    composeAt(wide, first.b, second.b, positions);
    rlwe.subtractWide(wide, mask, count, RESPONSE_MODULUS);
    rlwe.packRounded(packed + split, wide, count, plan.drops.b, widths.b);
    out.set(arena.u8(packed, out.length));

    const shares = arena.alloc(4 * count);
    rlwe.toRing(shares, mask, count, RING_RATIO);
    return arena.i32(shares, count).slice();
  });
}

/**
 * Client: its shares of the used coefficients of response polynomial `index`.
 * @throws ProtocolError when a value or a padding bit is out of range
 */
export function openResponse(
  plan: LayerPlan,
  secretKey: SecretKey,
  index: number,
  bytes: Uint8Array,
): Int32Array {
  const n = plan.degree;
  const { arena, rlwe } = kernels();
  return arena.scope(() => {
    const { positions } = usedCoefficients(plan.packing, index);
    const count = positions.length;
    const widths = responseWidths(plan);
    const split = (n * widths.a) / 8;
    const packed = arena.alloc(bytes.length + 8);
    arena.u8(packed, bytes.length).set(bytes);
    const wide = arena.alloc(8 * n);
    const b = arena.alloc(8 * count);
    const bad =
      rlwe.unpackRounded(wide, packed, n, plan.drops.a, widths.a, RESPONSE_MODULUS) +
      rlwe.unpackRounded(b, packed + split, count, plan.drops.b, widths.b, RESPONSE_MODULUS);
    const lastBits = (count * widths.b) % 8;
    if (bad > 0 || (lastBits > 0 && bytes[bytes.length - 1]! >> lastBits !== 0)) {
      throw new ProtocolError('bad-message', 'RLWE response: a value is not below its modulus');
    }
    const secret = arena.put(secretKey.transforms);
    const [x, y] = [FIRST, SECOND].map((prime, k) => {
      const transform = transformOf(n, prime);
      const part = arena.alloc(4 * n);
      rlwe.split(part, wide, n, prime);
      transform.forward(part, part);
      transform.multiply(part, secret + 4 * k * n);
      transform.inverse(part);
      return part;
    }) as [number, number];
    composeAt(wide, x, y, positions);
    rlwe.addWide(wide, b, count, RESPONSE_MODULUS);
    const shares = arena.alloc(4 * count);
    rlwe.toRing(shares, wide, count, RING_RATIO);
    return arena.i32(shares, count).slice();
  });
}

/** Byte offsets of response polynomials [from, to) in their common message; the last entry is its length. */
export function responseOffsets(plan: LayerPlan, from: number, to: number): number[] {
  const offsets = [0];
  for (let index = from; index < to; index++) {
    offsets.push(offsets[index - from]! + responseBytes(plan, index, index + 1));
  }
  return offsets;
}

/** Both parts of a ciphertext modulo one prime: pointers to N residues each. */
interface Part {
  readonly prime: number;
  readonly a: number;
  readonly b: number;
}

/** Divides a ciphertext by its last prime, rounding: leaves it modulo the others. */
function divide(remaining: readonly Part[], last: Part, n: number): void {
  const { rlwe } = kernels();
  for (const { prime, a, b } of remaining) {
    const inverse = invert(last.prime, prime);
    const quotient = constantQuotient(inverse, prime);
    rlwe.rescale(a, last.a, n, prime, last.prime, inverse, quotient);
    rlwe.rescale(b, last.b, n, prime, last.prime, inverse, quotient);
  }
}

const COMPOSE_INVERSE = invert(FIRST, SECOND);
const COMPOSE_QUOTIENT = constantQuotient(COMPOSE_INVERSE, SECOND);

/** dst = the values modulo q' (64-bit lanes) of `count` pairs of residues. */
export function compose(dst: number, x: number, y: number, count: number): void {
  const { rlwe } = kernels();
  rlwe.compose(dst, x, y, count, FIRST, SECOND, COMPOSE_INVERSE, COMPOSE_QUOTIENT);
}

/**
 * dst = round(v 2^bits / q') mod 2^bits (32-bit lanes) of the values v at some positions of a polynomial.
 * @param at - pointer to `count` positions, `count` a multiple of 4
 */
export function roundAt(
  dst: number,
  x: number,
  y: number,
  at: number,
  count: number,
  bits: number,
): void {
  const { rlwe } = kernels();
  const ratio = 2 ** bits / RESPONSE_MODULUS;
  const constants = [FIRST, SECOND, COMPOSE_INVERSE, COMPOSE_QUOTIENT] as const;
  rlwe.roundAt(dst, x, y, at, count, ...constants, bits, ratio);
}

/** {@link compose} at some positions of two polynomials. */
export function composeAt(dst: number, x: number, y: number, positions: Uint32Array): void {
  const { arena, rlwe } = kernels();
  arena.scope(() => {
    const count = positions.length;
    const at = arena.put(positions);
    const [gatheredX, gatheredY] = [arena.alloc(4 * count), arena.alloc(4 * count)];
    rlwe.gather(gatheredX, x, at, count);
    rlwe.gather(gatheredY, y, at, count);
    compose(dst, gatheredX, gatheredY, count);
  });
}
