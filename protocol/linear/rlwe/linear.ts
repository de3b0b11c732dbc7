/**
 * A linear layer on encrypted input: additive shares of W r for the server's W and the client's r.
 *
 * Packing after Cheetah (USENIX Security 2022, section 4, see packing.ts); full-range masking in place of noise
 * flooding; seeded uploads, dropped low bits.
 *
 *   Client (r, secret key)                                Server (W, public key)
 *   ----------------------------------------------------------------------------------------------
 *   encryptUpload   a seed, b = Enc(r) for each
 *                   input polynomial          -- upload -->
 *                                                         evaluateLayer, for each output polynomial:
 *                                                         (a', b') = sum of Enc(r) W + u pk + (e2, 0)
 *                                                         mask uniform in Z_q' per used coefficient
 *                                            <- response - high bits of a', high bits of b' - mask
 *   decryptResponse
 *   c = round((b' - mask + a' s) 2^32 / q')               s = round(mask 2^32 / q')
 *
 * After:  c + s = W r + e (mod 2^32) on every output element, e in {-1, 0, 1} (noise.ts).
 *
 * Server learns nothing: the upload is ciphertexts. Client learns nothing: part b is uniform because the mask is, by
 * itself and whatever the noise; part a hides a W behind the RLWE sample pk_a u + e2 with a fresh ternary u, without
 * which dividing a' by the client's own a would reveal W. Part b takes u pk_b, so that decryption cancels u, but no
 * error of its own: it would add noise to a value that is already uniform. Degree 4096 divides both parts by its third
 * prime before the mask; that and the dropped bits are functions of what would have been sent.
 *
 * Polynomials are independent jobs: input polynomials of encryptUpload, output polynomials of the other two. Every
 * random value comes from a seed and a polynomial's index, so the bytes do not depend on how the work is split. A seed
 * serves one upload or one evaluation, ever: the same masks on two responses reveal the difference of the layers.
 */

import { ProtocolError } from '../../errors.ts';
import { kernels } from '../../kernels/index.ts';
import { deriveSeed, Prg, SEED_BYTES } from '../../random/index.ts';
import { linearInputSize, linearOutput, sizeOf, weightCount } from '../../ring/shape.ts';
import type { Answer, UnitRange } from '../backend.ts';
import type { WeightCache } from './accumulate.ts';
import { accumulate } from './accumulate.ts';
import type { PublicKey, SecretKey } from './keys.ts';
import { decodeCiphertext, encryptPolynomial, partA } from './keys.ts';
import { packInput, usedCoefficients } from './packing.ts';
import { ciphertextWords, PARAMETER_SETS, polynomialBytes } from './parameters.ts';
import type { LayerPlan } from './plan.ts';
import { responseBytes, shareCount, uploadBytes } from './plan.ts';
import type { ResponseSecrets } from './response.ts';
import { drawSecrets, openResponse, responseOffsets, sealResponse } from './response.ts';

/**
 * Client: its bytes of the upload for input polynomials [from, to). The chunks of a partition of
 * [0, plan.uploadPolynomials), in order, make the whole upload of `uploadBytes(plan)` bytes.
 *
 * @param input - r, the layer's input tensor in Z_2^32: uniform, or the noise bound does not hold
 * @param seed - 16 secret bytes for this upload alone
 * @throws RangeError when the input, the key or the range does not belong to the plan
 */
export function encryptUpload(
  plan: LayerPlan,
  secretKey: SecretKey,
  input: Int32Array,
  [from, to]: UnitRange,
  seed: Uint8Array,
): Uint8Array {
  checkDegree(plan, secretKey.degree);
  checkLength('input', input.length, linearInputSize(plan.shape));
  checkRange([from, to], plan.uploadPolynomials);
  const { packing, degree: n } = plan;
  const bytes = polynomialBytes(PARAMETER_SETS[n]);
  const publicSeed = deriveSeed(seed, 'rlwe upload a');
  const header = from === 0 ? SEED_BYTES : 0;
  const out = new Uint8Array(header + (to - from) * bytes);
  out.set(publicSeed.subarray(0, header));
  const { arena } = kernels();
  arena.scope(() => {
    const message = arena.alloc(4 * n);
    const coefficients = arena.i32(message, n);
    for (let index = from; index < to; index++) {
      const inTile = Math.floor(index / packing.spatialTiles);
      packInput(packing, input, inTile, index % packing.spatialTiles, coefficients);
      const errors = new Prg(deriveSeed(seed, 'rlwe upload error', index));
      const b = encryptPolynomial(secretKey, message, partA(publicSeed, index), errors);
      out.set(b, header + (index - from) * bytes);
    }
  });
  return out;
}

/**
 * Server: the ciphertexts of an upload, once for all jobs of {@link evaluateLayer}: for each input polynomial
 * {@link ciphertextWords} residues.
 *
 * @param upload - the client's whole message
 * @throws ProtocolError when it is not well formed
 */
export function decodeUpload(plan: LayerPlan, upload: Uint8Array): Uint32Array {
  checkMessage('upload', upload.length, uploadBytes(plan));
  const set = PARAMETER_SETS[plan.degree];
  const words = ciphertextWords(set);
  const bytes = polynomialBytes(set);
  const seed = upload.subarray(0, SEED_BYTES);
  const out = new Uint32Array(plan.uploadPolynomials * words);
  const { arena } = kernels();
  arena.scope(() => {
    const pointer = arena.alloc(4 * words);
    for (let index = 0; index < plan.uploadPolynomials; index++) {
      const start = SEED_BYTES + index * bytes;
      decodeCiphertext(set, upload.subarray(start, start + bytes), partA(seed, index), pointer);
      out.set(arena.u32(pointer, words), index * words);
    }
  });
  return out;
}

/**
 * Server: response and shares of output polynomials [from, to).
 *
 * @param weights - [outChannels, channels / groups, kernel height, kernel width] or [outputs, inputs], within the
 *   plan's bound (`weightNorms`)
 * @param ciphertexts - the decoded upload, see {@link decodeUpload}
 * @param seed - 16 secret bytes for this evaluation of this layer alone
 * @param cache - keeps transformed weights between evaluations of this layer
 * @throws RangeError when weights, key, ciphertexts or range do not belong to the plan
 */
export function evaluateLayer(
  plan: LayerPlan,
  publicKey: PublicKey,
  weights: Int32Array,
  ciphertexts: Uint32Array,
  range: UnitRange,
  seed: Uint8Array,
  cache?: WeightCache,
): Answer {
  const draw = (index: number) =>
    drawSecrets(plan, index, new Prg(deriveSeed(seed, 'rlwe response', index)));
  return evaluateWith(plan, publicKey, weights, ciphertexts, range, draw, cache);
}

/** {@link evaluateLayer} with the secrets of each output polynomial given: only they make it private. */
export function evaluateWith(
  plan: LayerPlan,
  publicKey: PublicKey,
  weights: Int32Array,
  ciphertexts: Uint32Array,
  [from, to]: UnitRange,
  draw: (index: number) => ResponseSecrets,
  cache?: WeightCache,
): Answer {
  checkDegree(plan, publicKey.degree);
  checkLength('weights', weights.length, weightCount(plan.shape));
  checkRange([from, to], plan.responsePolynomials);
  const words = ciphertextWords(PARAMETER_SETS[plan.degree]);
  checkLength('ciphertexts', ciphertexts.length, plan.uploadPolynomials * words);
  const offsets = responseOffsets(plan, from, to);
  const response = new Uint8Array(offsets[to - from]!);
  const shares = new Int32Array(shareCount(plan, from, to));
  let shared = 0;
  accumulate(plan, weights, ciphertexts, from, to, cache, (index, sums) => {
    const out = response.subarray(offsets[index - from]!, offsets[index - from + 1]!);
    const share = sealResponse(plan, publicKey, index, sums, draw(index), out);
    shares.set(share, shared);
    shared += share.length;
  });
  return { response, shares };
}

/**
 * Client: its shares c of the used coefficients of output polynomials [from, to), in the server's order.
 *
 * @param response - the bytes of this range: `responseBytes(plan, from, to)` of them
 * @throws RangeError when key or range do not belong to the plan
 * @throws ProtocolError when the response is not well formed
 */
export function decryptResponse(
  plan: LayerPlan,
  secretKey: SecretKey,
  response: Uint8Array,
  [from, to]: UnitRange,
): Int32Array {
  checkDegree(plan, secretKey.degree);
  checkRange([from, to], plan.responsePolynomials);
  checkMessage('response', response.length, responseBytes(plan, from, to));
  const offsets = responseOffsets(plan, from, to);
  const shares = new Int32Array(shareCount(plan, from, to));
  let shared = 0;
  for (let index = from; index < to; index++) {
    const bytes = response.subarray(offsets[index - from]!, offsets[index - from + 1]!);
    const share = openResponse(plan, secretKey, index, bytes);
    shares.set(share, shared);
    shared += share.length;
  }
  return shares;
}

/**
 * Either party: puts the shares of output polynomials [from, to) at their elements of the output tensor
 * [channels, height, width].
 * @throws RangeError when a length does not belong to the plan
 */
export function placeShares(
  plan: LayerPlan,
  shares: Int32Array,
  [from, to]: UnitRange,
  output: Int32Array,
): void {
  checkRange([from, to], plan.responsePolynomials);
  checkLength('shares', shares.length, shareCount(plan, from, to));
  checkLength('output', output.length, sizeOf(linearOutput(plan.shape)));
  let at = 0;
  for (let index = from; index < to; index++) {
    for (const element of usedCoefficients(plan.packing, index).elements) {
      output[element] = shares[at++]!;
    }
  }
}

function checkDegree(plan: LayerPlan, degree: number): void {
  if (degree !== plan.degree) {
    throw new RangeError(`RLWE key: expected degree ${plan.degree}, got ${degree}`);
  }
}

function checkLength(what: string, length: number, expected: number): void {
  if (length !== expected) {
    throw new RangeError(`RLWE ${what}: expected ${expected} elements, got ${length}`);
  }
}

function checkRange([from, to]: UnitRange, count: number): void {
  if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from < to && to <= count)) {
    throw new RangeError(
      `RLWE polynomials: expected a non-empty range within [0, ${count}), got [${from}, ${to})`,
    );
  }
}

function checkMessage(what: string, bytes: number, expected: number): void {
  if (bytes !== expected) {
    throw new ProtocolError(
      'bad-message',
      `RLWE ${what}: expected ${expected} bytes, got ${bytes}`,
    );
  }
}
