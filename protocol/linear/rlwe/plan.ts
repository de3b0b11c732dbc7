/**
 * The plan of one linear layer: parameter set, tiles and dropped bits, and with them every length on the wire. Both
 * parties compute it from public data and must come to the same answer: AGREEMENT, as a whole.
 *
 * Fewest bytes decide, because time and bytes mostly want the same tile, a full one. For the 21 layers of a ResNet-18 on
 * 32x32, estimated from a transform of 4.9 us, a product of 2 us a prime and some 200 us a response on one core:
 *   fewest bytes           28.0 MB   1.31 s server, 0.19 s client
 *   a megabyte = 50 ms     29.5 MB   1.21 s         0.20 s
 *   a megabyte = 20 ms     32.0 MB   1.09 s         0.23 s
 *   fewest milliseconds    37.5 MB   1.00 s         0.27 s
 * A megabyte saved costs 9 to 66 ms of one core, which is what it takes on links of 120 to 850 Mbit/s. A slower
 * link wins by this choice, a faster one loses at most 0.24 s of one core.
 *
 * Part a is 12.4 of the 14.9 MB of these responses, and goes out whole: each of its coefficients enters every decryption.
 * Merging the used coefficients of several responses into one would save most of it, but the others hold products that
 * must not be added in, so each of the 614,410 outputs is one key switch (Chen et al., "Efficient Homomorphic Conversion
 * Between (Ring) LWE Ciphertexts", ACNS 2021). With digits of 6 bits, whatever that does to the noise, it takes 18
 * transforms and 36 products, about 120 us: over a minute of one core for less than 12.4 MB. So it is not done.
 */

import { SEED_BYTES } from '../../random/index.ts';
import type { ConvShape, LinearShape } from '../../ring/shape.ts';
import { linearOutput, sizeOf } from '../../ring/shape.ts';
import type { WeightBound } from '../bound.ts';
import type { Drops } from './noise.ts';
import { chooseDrops, MOST_DROPPED, NOISE_BUDGET, noiseBound } from './noise.ts';
import type { Packing } from './packing.ts';
import { asConvolution, connectedTiles, cutAxis, strides, usedCount } from './packing.ts';
import type { Degree } from './parameters.ts';
import { PARAMETER_SETS, polynomialBytes, RESPONSE_BITS } from './parameters.ts';

/** Public, plain data: survives structured cloning. */
export interface LayerPlan {
  readonly shape: LinearShape;
  readonly degree: Degree;
  readonly packing: Packing;
  readonly drops: Drops;
  /** Bits of noise a response may carry, below log2(q' / 2^32) = 20. */
  readonly noiseBits: number;
  /** Polynomials the client sends, and the server. */
  readonly uploadPolynomials: number;
  readonly responsePolynomials: number;
}

/** Largest norm2 of a weight bound: it keeps every weight below p / 2. AGREEMENT. */
export const LARGEST_NORM = 2 ** 25;

/**
 * Plans a layer: degree 2048 if its noise fits, else 4096; among the packings that fit the one with fewest bytes.
 *
 * @param weightBound - public bound on the weights, see {@link WeightBound}
 * @throws RangeError when the shape is not a layer, or no parameter set fits it; the message names the numbers
 */
export function planLayer(shape: LinearShape, weightBound: WeightBound): LayerPlan {
  const conv = asConvolution(shape);
  checkShape(conv);
  const { norm1, norm2 } = weightBound;
  if (!(norm1 >= 0 && norm2 >= 0 && norm2 < LARGEST_NORM && norm1 < 2 ** 48)) {
    throw new RangeError(
      `RLWE layer: weight norms of at most 2^48 and 2^25 fit, got ${norm1} and ${norm2}`,
    );
  }
  for (const degree of [2048, 4096] as const) {
    const best = bestPacking(shape, conv, degree, weightBound);
    if (best !== undefined) return best;
  }
  const [, height, width] = linearOutput(shape);
  throw new RangeError(
    `RLWE layer: ${conv.kernel.join('x')} kernels for ${height}x${width} outputs with weight norms ${norm1} and ` +
      `${norm2} fit no degree up to 4096 and noise budget of ${Math.log2(NOISE_BUDGET).toFixed(1)} bits`,
  );
}

/** @throws RangeError when a shape is not a layer. */
export function checkShape(conv: ConvShape): void {
  const { channels, outChannels, groups, height, width, kernel, stride, pads } = conv;
  const positive = [channels, outChannels, groups, height, width, ...kernel, ...stride];
  if (
    !positive.every((x) => Number.isSafeInteger(x) && x > 0) ||
    !pads.every((x) => Number.isSafeInteger(x) && x >= 0)
  ) {
    throw new RangeError('RLWE layer: sizes must be positive integers, paddings non-negative');
  }
  if (channels % groups !== 0 || outChannels % groups !== 0) {
    throw new RangeError(
      `RLWE layer: ${groups} groups must divide ${channels} channels and ${outChannels} output channels`,
    );
  }
  const output = linearOutput(conv);
  if (
    !output.every((x) => x > 0) ||
    Math.max(sizeOf(output), channels * height * width) >= 2 ** 31
  ) {
    throw new RangeError(
      `RLWE layer: from 1 to 2^31 - 1 elements fit, got an output of ${output.join('x')}`,
    );
  }
}

/** Sizes of the pieces when `total` is cut into 1, 2, ... pieces: each size that needs fewer pieces than the next. */
export function pieceSizes(total: number): number[] {
  const sizes: number[] = [];
  for (let size = total; size >= 1; ) {
    const pieces = Math.ceil(total / size);
    size = Math.ceil(total / pieces);
    sizes.push(size);
    size--;
  }
  return sizes;
}

/** The plan of fewest bytes at one degree, among equals the one of fewest products; undefined when none fits. */
function bestPacking(
  shape: LinearShape,
  conv: ConvShape,
  degree: Degree,
  weightBound: WeightBound,
): LayerPlan | undefined {
  const set = PARAMETER_SETS[degree];
  const [, height, width] = linearOutput(conv);
  const coefficients = conv.outChannels * height * width;
  const columnCuts = pieceSizes(width).map((tile) => cutAxis(conv, 1, width, tile));
  let best: { plan: LayerPlan; bytes: number } | undefined;
  for (const rowTile of pieceSizes(height)) {
    const rows = cutAxis(conv, 0, height, rowTile);
    for (const columns of columnCuts) {
      const { rowStride, blockStride } = strides(rows, columns);
      const blocks = Math.floor(degree / blockStride);
      const spatialTiles = rows.tiles * columns.tiles;
      const planes = conv.channels * rows.phases.length * columns.phases.length;
      for (const planesPerTile of pieceSizes(planes)) {
        const inTiles = Math.ceil(planes / planesPerTile);
        const upload = inTiles * spatialTiles * polynomialBytes(set);
        // As many outputs as fit; fewer only if the noise of their weights does not.
        for (let most = Math.floor(blocks / planesPerTile); most >= 1; most = most >> 1) {
          const outTiles = Math.ceil(conv.outChannels / most);
          const outputsPerTile = Math.ceil(conv.outChannels / outTiles);
          const bytes = ({ a, b }: Drops) =>
            upload +
            (outTiles * spatialTiles * degree * (RESPONSE_BITS - a) +
              coefficients * (RESPONSE_BITS - b)) /
              8;
          if (best !== undefined && bytes(MOST_DROPPED) > best.bytes) break;
          const used = outputsPerTile * rows.tile * columns.tile;
          const drops = chooseDrops(set, weightBound, outputsPerTile, coefficients, used);
          if (drops === undefined) continue;
          const packing: Packing = {
            conv,
            rows,
            columns,
            rowStride,
            blockStride,
            planes,
            planesPerTile,
            outputsPerTile,
            inTiles,
            outTiles,
            spatialTiles,
          };
          const noise = noiseBound(set, weightBound, outputsPerTile, coefficients, drops);
          const plan: LayerPlan = {
            shape,
            degree,
            packing,
            drops,
            noiseBits: Math.log2(noise),
            uploadPolynomials: inTiles * spatialTiles,
            responsePolynomials: outTiles * spatialTiles,
          };
          const cost = bytes(drops);
          if (
            best === undefined ||
            cost < best.bytes ||
            (cost === best.bytes && products(plan) < products(best.plan))
          ) {
            best = { plan, bytes: cost };
          }
          break;
        }
      }
    }
  }
  return best?.plan;
}

/** Polynomial products of a layer: pairs of connected tiles. */
export function products(plan: LayerPlan): number {
  let pairs = 0;
  for (let outTile = 0; outTile < plan.packing.outTiles; outTile++) {
    const [from, to] = connectedTiles(plan.packing, outTile);
    pairs += to - from;
  }
  return pairs * plan.packing.spatialTiles;
}

/** Bytes of the client's message: a seed for the a parts, then the b parts as packed residues. */
export function uploadBytes(plan: LayerPlan): number {
  return SEED_BYTES + plan.uploadPolynomials * polynomialBytes(PARAMETER_SETS[plan.degree]);
}

/** Bits of a coefficient of part a and of part b in a response. */
export function responseWidths(plan: LayerPlan): { a: number; b: number } {
  return { a: RESPONSE_BITS - plan.drops.a, b: RESPONSE_BITS - plan.drops.b };
}

/** Bytes of response polynomials [from, to): all N coefficients of part a, the used ones of part b. */
export function responseBytes(
  plan: LayerPlan,
  from = 0,
  to: number = plan.responsePolynomials,
): number {
  const widths = responseWidths(plan);
  let bytes = (to - from) * ((plan.degree * widths.a) / 8);
  for (let index = from; index < to; index++) {
    bytes += Math.ceil((usedCount(plan.packing, index) * widths.b) / 8);
  }
  return bytes;
}

/** Used coefficients of response polynomials [from, to). */
export function shareCount(
  plan: LayerPlan,
  from = 0,
  to: number = plan.responsePolynomials,
): number {
  let count = 0;
  for (let index = from; index < to; index++) count += usedCount(plan.packing, index);
  return count;
}
