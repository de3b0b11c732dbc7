/**
 * A linear layer from a static hint: additive shares of W r for the server's W and masks r of the client, from one message.
 *
 * In Z_q[X]/(X^N + 1), with Delta = q / 2^k and the public polynomials a_0, a_1, ... (parameters.ts):
 *
 *   Client                                                          Server (W; u_j, e_j of every output tile j)
 *   -------------------------------------------------------------------------------------------------------------
 *                                                    <-- hint, once   A'_j = sum_i W_ji a_(i+1) + u_j a_0 + e_j,
 *                                                                     its high bits (hint.ts)
 *   fresh ternary s, binomial e_0, e_1, ...
 *   layerKeys      key = e_0 - a_0 s               -- key, whole -->  decodeKeys
 *   maskInput      phase_i = a_(i+1) s + e_(i+1)
 *                  r_i = phase_i / Delta rounded, and its fraction
 *                  D = m - r_i where masks are
 *                  other than r_i                  -- corrections ->  decodeCorrections
 *   clientShares   c_j = round(A'_j s / Delta)                        serverShares   S_j = round(u_j key / Delta)
 *                                                                     correctedLinear   W times D
 *
 * After:  c + S + W D = W (r + eps) + d  (mod 2^k) on every output, where r is the mask of the layer's input, |eps| <= 1/2
 * for every coefficient that is read, and  Delta d = e_j s + u_j e_0 - W e_i + roundings  (variance in parameters.ts).
 * Nothing returns to the client: c is known as soon as it is drawn.
 *
 * - Rounding. R_i = floor((2^(k+8) phase_i + v) / q) with a secret uniform v < 2^(k+8) is the phase in 256ths of a unit. For
 *   uniform phases each of the q 2^(k+8) pairs (phase, v) counts once and each R has exactly q of them: R is uniform, not
 *   nearly so. r_i = floor((R_i + 128) / 256) is the mask and f_i = R_i - 256 r_i mod 2^(k+8), from -128 to 127, its fraction:
 *   eps_i = (f_i + 1/2) / 256, up to half a 256th. (r, f) is R in other words, so r is uniform whatever f is: who sees a
 *   value masked by r and any function of f learns nothing of the value.
 * - One rounding for two. Truncating c by t bits rounds it, and W eps adds the rounding of the mask that the result gets. So
 *   the client takes eps away first, c - (2 f + 1) 2^t / 512, and then rounds: the next layer computes on what is masked by
 *   the phase itself, with one rounding of either party. Variance 1/6 instead of 1/4 of a squared unit.
 * - The server learns nothing: key and phases are RLWE samples under s, and the corrections are masked by phases that
 *   mask nothing else. One s serves one layer (one spatial tile of it) of one bundle. With one s for several layers a
 *   server that publishes A' = alpha a_x + 2^f a_y in place of a hint would read inputs: a truncation of the result
 *   leaves alpha x / 2^f + r_y, which is sent masked by that very r_y. A test mounts it.
 * - The client learns nothing of W from the hint (hint.ts), and from what the network returns only through the errors:
 *   it knows eps. Where a truncation follows, that is a part of a rounding error. Where none does, repeating an input
 *   and averaging would give W, so such a layer is *exact*: the corrections carry all bits of q, in the form of encryptions
 *   b = e - a_(i+1) s + round(q m / 2^k) of the masks, and
 *       S_j = round((sum_i W_ji b_i + u_j key) / Delta) + noise,   c + S = W r + d + noise,   Delta d = e_j s + u_j e_0 + W e_i + ...,
 *   without eps, with 40 bits of A' and fresh noise of the server that is uniform over an eighth of the tolerance to either
 *   side. A test mounts the attack on both.
 * - The key is whole: rounded as well, its errors would give u_j away by averaging.
 *
 * Tiles are independent jobs: input tiles of maskInput, output tiles of the shares. Every random value comes from a seed
 * and the index of a tile, so the bytes do not depend on how the work is split. A seed serves one layer of one bundle.
 */

import { ProtocolError } from '../../errors.ts';
import { kernels } from '../../kernels/index.ts';
import { deriveSeed, Prg, type Random } from '../../random/index.ts';
import { lowBits, pack, unpack } from '../../ring/packing.ts';
import { linearInputSize } from '../../ring/shape.ts';
import { compose } from '../lattice/compose.ts';
import { encryptPolynomial } from '../lattice/encrypt.ts';
import {
  DEGREE,
  MODULUS,
  POLYNOMIAL_BYTES,
  POLYNOMIAL_WORDS,
  PRIMES,
} from '../lattice/parameters.ts';
import { BINOMIAL_BYTES, ternary } from '../lattice/sampling.ts';
import { correctionStarts } from './corrections.ts';
import { encryptMasks } from './exact.ts';
import { type PublicPolynomials, publicPolynomial, publicStream } from './parameters.ts';
import { correctionBytes, correctionCount, type HintPlan, keyBytes } from './plan.ts';
import {
  checkLength,
  checkMessage,
  checkRange,
  montgomeryTransforms,
  multiplyPolynomials,
  polynomialAt,
  type TileRange,
  unpackPolynomials,
} from './polynomial.ts';
import { checkSecrets, freeCount, productShares } from './shares.ts';

/**
 * Client: the secrets s of one layer of one bundle, one for each spatial tile: transforms times 2^32.
 * @param seed - 16 fresh secret bytes of this layer of this bundle alone
 */
export function layerSecrets({ packing }: HintPlan, seed: Uint8Array): Uint32Array {
  const secrets = new Uint32Array(packing.spatialTiles * POLYNOMIAL_WORDS);
  const { arena } = kernels();
  arena.scope(() => {
    const small = arena.alloc(4 * DEGREE);
    for (let tile = 0; tile < packing.spatialTiles; tile++) {
      ternary(small, DEGREE, new Prg(deriveSeed(seed, 'hint s', tile)));
      secrets.set(montgomeryTransforms(small), tile * POLYNOMIAL_WORDS);
    }
  });
  return secrets;
}

/**
 * Client: the keys of a layer, `keyBytes(plan)` bytes: transforms of e_0 - a_0 s as packed residues, all bits of them.
 * @param secrets - see {@link layerSecrets}
 * @param seed - the one the secrets are from
 */
export function layerKeys(
  plan: HintPlan,
  { generation }: PublicPolynomials,
  secrets: Uint32Array,
  seed: Uint8Array,
): Uint8Array {
  checkSecrets(plan, secrets);
  const keys = new Uint8Array(keyBytes(plan));
  const { arena } = kernels();
  arena.scope(() => {
    const zero = arena.alloc(4 * DEGREE);
    arena.i32(zero, DEGREE).fill(0);
    for (let tile = 0; tile < plan.packing.spatialTiles; tile++) {
      const secret = polynomialAt(secrets, tile);
      const errors = new Prg(deriveSeed(seed, 'hint key error', tile));
      const key = encryptPolynomial(secret, zero, publicStream(generation, 0), errors);
      keys.set(key, tile * POLYNOMIAL_BYTES);
    }
  });
  return keys;
}

/** What the client has of some input tiles. */
export interface MaskedTiles {
  /** Masks of the free elements, tile by tile in the order of the layout: {@link placeMasks} puts them in a tensor. */
  readonly masks: Int32Array;
  /** For each of them how far its phase is above it, in 256ths of a unit rounded down: from -128 to 127. */
  readonly fractions: Int8Array;
  /** Bytes for the server: the parts of a partition, in order, make `correctionBytes(plan)` bytes. */
  readonly corrections: Uint8Array;
}

/** What a layer's input is masked with. Secret. */
export interface MaskInputs {
  /** See {@link layerSecrets}. */
  readonly secrets: Uint32Array;
  /** The one the secrets are from. */
  readonly seed: Uint8Array;
  /** The masks of the whole input tensor, in a layer whose masks are not free. */
  readonly given?: Int32Array | undefined;
}

/**
 * Client: masks and corrections of input tiles [from, to).
 * @throws RangeError when an argument does not belong to the plan
 */
export function maskInput(
  plan: HintPlan,
  publics: PublicPolynomials,
  inputs: MaskInputs,
  [from, to]: TileRange,
): MaskedTiles {
  const { secrets, seed, given } = inputs;
  checkSecrets(plan, secrets);
  checkRange('input tiles', [from, to], plan.packing.inTiles);
  const size = linearInputSize(plan.shape);
  if (plan.masks !== 'free' || given !== undefined) {
    checkLength('given masks', given?.length ?? 0, plan.masks === 'free' ? 0 : size);
  }
  const corrections = new Uint8Array(correctionBytes(plan, from, to));
  if (plan.masks === 'exact') {
    const exact = { secrets, seed, given: given! };
    encryptMasks(plan, publics.generation, exact, [from, to], corrections);
    return { masks: new Int32Array(0), fractions: new Int8Array(0), corrections };
  }
  const { ringBits } = plan;
  const { spatialTiles } = plan.packing;
  const modulus = lowBits(ringBits);
  // Masks of elements that an earlier spatial tile holds free: what halo copies must be.
  const known = given ?? new Int32Array(spatialTiles > 1 ? size : 0);
  const count = freeCount(plan, from, to);
  const masks = new Int32Array(count);
  const fractions = new Int8Array(count);
  let [masked, written] = [0, 0];
  const { arena } = kernels();
  arena.scope(() => {
    const secret = arena.alloc(4 * POLYNOMIAL_WORDS);
    const rounded = arena.alloc(4 * DEGREE);
    const parts = arena.alloc(DEGREE);
    const at = arena.alloc(4 * DEGREE);
    for (let inTile = from; inTile < to; inTile++) {
      const differences = new Int32Array(correctionCount(plan, inTile));
      let differing = 0;
      for (let tile = 0; tile < spatialTiles; tile++) {
        if (spatialTiles > 1 || inTile === from) {
          arena.u32(secret, POLYNOMIAL_WORDS).set(polynomialAt(secrets, tile));
        }
        const index = inTile * spatialTiles + tile;
        const { free, freeElements, corrected, correctedElements, first } = plan.inputs[index]!;
        const frees = free.length;
        const read = frees + corrected.length;
        const positions = arena.u32(at, DEGREE);
        positions.set(free);
        positions.set(corrected, frees);
        const count = (read + 15) & ~15;
        positions.fill(0, read, count);
        const drawn = new Prg(deriveSeed(seed, 'hint input', index));
        const a = publicPolynomial(publics, inTile + 1);
        roundPhase(
          { masks: rounded, fractions: parts },
          { a, secret, ringBits },
          { positions: at, count },
          drawn,
        );
        masks.set(arena.i32(rounded, frees), masked);
        fractions.set(arena.u8(parts, frees), masked);
        if (spatialTiles > 1) {
          for (let i = 0; i < frees; i++) known[first + freeElements[i]!] = masks[masked + i]!;
        }
        masked += frees;
        const others = arena.i32(rounded + 4 * frees, corrected.length);
        for (let i = 0; i < others.length; i++) {
          const element = correctedElements[i]!;
          const mask = element < 0 ? 0 : known[first + element]!;
          differences[differing++] = (mask - others[i]!) & modulus;
        }
      }
      const packed = pack(differences, ringBits);
      corrections.set(packed, written);
      written += packed.length;
    }
  });
  return { masks, fractions, corrections };
}

/** Bytes of the noise of a rounding, for a ring of up to 32 bits and 8 bits of fraction. */
const NOISE_BYTES = 5;

/** One input polynomial. */
interface InputPolynomial {
  /** Transforms of its public polynomial. */
  readonly a: Uint32Array;
  /** Pointer to transforms times 2^32. */
  readonly secret: number;
  readonly ringBits: number;
}

/**
 * The rounded phase of one input polynomial at the coefficients that are read, the only ones with an error: elements of
 * Z_2^k at `masks`, and as many bytes at `fractions`.
 * @param read - pointer to `count` positions, a multiple of 16
 * @param drawn - its own stream, for its error and the noise of its rounding
 */
function roundPhase(
  { masks, fractions }: { readonly masks: number; readonly fractions: number },
  { a, secret, ringBits }: InputPolynomial,
  { positions, count }: { readonly positions: number; readonly count: number },
  drawn: Random,
): void {
  const { arena, rlwe } = kernels();
  arena.scope(() => {
    const errorBytes = BINOMIAL_BYTES * count;
    const bytes = errorBytes + NOISE_BYTES * count;
    // The rounding reads whole words.
    const random = arena.alloc(bytes + 8 - NOISE_BYTES);
    drawn.fill(arena.u8(random, bytes));
    const product = arena.put(a);
    multiplyPolynomials(product, secret);
    const error = arena.alloc(4 * count);
    rlwe.sampleBinomial(error, random, count);
    const phase = arena.alloc(8 * count);
    PRIMES.forEach((prime, k) => {
      const part = phase + 4 * k * count;
      rlwe.gather(part, product + 4 * k * DEGREE, positions, count);
      rlwe.addSmall(part, error, count, prime);
    });
    const wide = arena.alloc(8 * count);
    compose(wide, phase, phase + 4 * count, count);
    const noise = random + errorBytes;
    rlwe.roundUniform(masks, fractions, wide, noise, count, ringBits, MODULUS);
  });
}

/**
 * Client: its shares c of output tiles [from, to), in the order of the used coefficients.
 * @param hint - transforms of A'_j of exactly these tiles, see decodeHint
 * @param secrets - see {@link layerSecrets}
 * @throws RangeError when an argument does not belong to the plan
 */
export function clientShares(
  plan: HintPlan,
  hint: Uint32Array,
  secrets: Uint32Array,
  range: TileRange,
): Int32Array {
  checkSecrets(plan, secrets);
  return productShares(plan, range, hint, secrets);
}

/**
 * Server: transforms of the client's keys, one for each spatial tile.
 * @throws ProtocolError when they are not well formed
 */
export function decodeKeys(plan: HintPlan, keys: Uint8Array): Uint32Array {
  checkMessage('hint keys', keys.length, keyBytes(plan));
  return unpackPolynomials('hint keys', keys);
}

/**
 * Server: one correction for each corrected coefficient, in the order of the layout, for correctedLinear.
 * @throws ProtocolError when they are not well formed
 */
export function decodeCorrections(plan: HintPlan, corrections: Uint8Array): Int32Array {
  checkMessage('hint corrections', corrections.length, correctionBytes(plan));
  const { inTiles, spatialTiles } = plan.packing;
  const starts = correctionStarts(plan);
  const out = new Int32Array(starts[inTiles * spatialTiles]!);
  let read = 0;
  for (let inTile = 0; inTile < inTiles; inTile++) {
    const start = starts[inTile * spatialTiles]!;
    const count = starts[(inTile + 1) * spatialTiles]! - start;
    if (count === 0) continue;
    const bits = count * plan.ringBits;
    const bytes = corrections.subarray(read, (read += Math.ceil(bits / 8)));
    if (bits % 8 > 0 && bytes[bytes.length - 1]! >> (bits % 8) !== 0) {
      throw new ProtocolError('bad-message', 'hint corrections: padding bits are not zero');
    }
    out.set(unpack(bytes, count, plan.ringBits), start);
  }
  return out;
}

/**
 * Server: its shares S of output tiles [from, to), in the order of the used coefficients; W times the corrections is to
 * be added. It does not depend on them, nor on W.
 * @param rows - transforms of u_j of exactly these tiles, see rowTransforms
 * @param keys - see {@link decodeKeys}
 * @throws RangeError when an argument does not belong to the plan, or the layer is exact
 */
export function serverShares(
  plan: HintPlan,
  rows: Uint32Array,
  keys: Uint32Array,
  range: TileRange,
): Int32Array {
  if (plan.masks === 'exact') throw new RangeError('hint shares: the layer is exact');
  checkSecrets(plan, keys);
  return productShares(plan, range, rows, keys);
}
