/**
 * The plan of one layer: tiles, bits of the hint, layout of the masks, and with them every length in the hint and on the
 * wire. Both parties compute it from public data and must come to the same answer: AGREEMENT, as a whole.
 *
 * Bytes, with N = 2048 and 26 + 26 bits of q:
 *   hint           output tiles x N x hintBits / 8, once per model: all spatial tiles share a_i and A'
 *   keys           spatial tiles x N x 52 / 8 a bundle: a secret for each
 *   corrections    coefficients that are read and not free x k / 8 a bundle, whole bytes for every input tile;
 *                  of an exact layer: input polynomials x N x 52 / 8
 *
 * More outputs a polynomial make the hint smaller and all else larger: the zeros between the outputs must be corrected,
 * and those corrections multiplied with every weight. More planes a polynomial save polynomials and cost a few
 * corrections. So a plan takes what is cheapest over {@link BUNDLES_PER_HINT} bundles, a millisecond of either party counting
 * as {@link BYTES_PER_MS}: one output a polynomial for convolutions of some size, several for matrices and small layers.
 */

import type { LinearShape } from '../../ring/shape.ts';
import { linearInputSize, linearOutput, macsOf, sizeOf } from '../../ring/shape.ts';
import type { WeightBound } from '../bound.ts';
import { DEGREE, POLYNOMIAL_BYTES } from '../lattice/parameters.ts';
import type { InputLayout, Masks } from './layout.ts';
import { layoutInputs, markReads } from './layout.ts';
import type { Packing } from './packing.ts';
import { asConvolution, checkShape, cutAxis, pieceSizes, strides, usedCount } from './packing.ts';
import {
  errorBound,
  errorVariance,
  HINT_BITS,
  hintVariance,
  MOST_RING_BITS,
} from './parameters.ts';

/** What a plan is made from: public. */
export interface PlanRequest {
  readonly shape: LinearShape;
  /** Public bound on the weights, see `weightNorms`. */
  readonly weightBound: WeightBound;
  /** k: masks, corrections and shares of this layer are modulo 2^k. */
  readonly ringBits: number;
  /** Largest error an output may have, in units of the ring: what the layer's consumer leaves room for. */
  readonly tolerance: number;
  readonly masks: Masks;
  /** The layers that this one was merged from (merge.ts); it is one itself when they are left out. */
  readonly parts?: readonly PartBound[] | undefined;
}

/** What a part of a merged layer asks for: its weights may be small, and its tolerance, beside those of another. */
export interface PartBound {
  readonly norm2: number;
  readonly tolerance: number;
  /** Elements of its output. */
  readonly size: number;
}

/** Public, plain data: survives structured cloning. */
export interface HintPlan {
  readonly shape: LinearShape;
  readonly packing: Packing;
  readonly masks: Masks;
  readonly ringBits: number;
  /** Bits of a coefficient of the hint. */
  readonly hintBits: number;
  /** Exact layers: the server's share carries fresh noise, uniform in [-noise, noise]; else 0. */
  readonly noise: number;
  /** Variance of an output's error, noise included, in units of the ring. */
  readonly variance: number;
  /** The layout of every input polynomial, input tile major, spatial tile minor. */
  readonly inputs: readonly InputLayout[];
}

/** Most that the root of the sum of squares of an output's weights may be. */
const LARGEST_NORM = 2 ** 25;

/** Bundles over which a plan spreads the bytes of its hint. AGREEMENT. */
export const BUNDLES_PER_HINT = 16;

/** What a millisecond of one core counts as: 50 ms a megabyte, a link of 160 Mbit/s. AGREEMENT. */
const BYTES_PER_MS = 20_000;

/** Milliseconds of a mask polynomial, of both shares of an output polynomial, of a product in the hint. AGREEMENT. */
const MS = { mask: 0.05, shares: 0.03, hint: 0.015 };

/** Multiply-accumulates of the integer products in a millisecond. AGREEMENT. */
const MACS_PER_MS = 3e6;

/**
 * Plans a layer.
 * @throws RangeError when the shape is not a layer, or its error fits no plan; the message names the numbers
 */
export function planHint(request: PlanRequest): HintPlan {
  const { shape, weightBound, ringBits, tolerance, masks } = request;
  const conv = asConvolution(shape);
  checkShape(conv);
  const { norm1, norm2 } = weightBound;
  if (!(norm1 >= 0 && norm2 >= 0 && norm2 < LARGEST_NORM && norm1 < 2 ** 48)) {
    throw new RangeError(
      `hint layer: weight norms of at most 2^48 and 2^25 fit, got ${norm1} and ${norm2}`,
    );
  }
  if (!(Number.isInteger(ringBits) && ringBits >= 2 && ringBits <= MOST_RING_BITS)) {
    throw new RangeError(`hint layer: rings of 2 to ${MOST_RING_BITS} bits fit, got ${ringBits}`);
  }
  const best = bestPacking(request);
  if (best === undefined) {
    const exact = masks === 'exact';
    const { masks: ofMasks, total } = errorVariance(norm2, 1, ringBits, HINT_BITS.most, exact);
    const bound = errorBound(total, sizeOf(linearOutput(shape)));
    throw new RangeError(
      `hint layer: ${conv.kernel.join('x')} kernels with a weight norm of ${norm2.toFixed(1)} in a ring of ` +
        `${ringBits} bits err by up to ${bound.toFixed(1)}, ${Math.sqrt(ofMasks).toFixed(1)} of its ` +
        `${Math.sqrt(total).toFixed(1)} standard deviation from the masks; the tolerance is ${tolerance}` +
        (exact ? ', of which noise takes at least 1' : ''),
    );
  }
  const { packing, hintBits, variance, noise } = best;
  const inputs = layoutInputs(packing, masks);
  return { shape, packing, masks, ringBits, hintBits, noise, variance, inputs };
}

/** What follows from the number of outputs a polynomial. */
interface Fitting {
  readonly hintBits: number;
  readonly noise: number;
  readonly variance: number;
}

/** Bits of the hint, noise and variance for some outputs a polynomial; undefined when the error is too large. */
function fittingBits(
  { shape, weightBound, ringBits, tolerance, masks, parts }: PlanRequest,
  outputs: number,
): Fitting | undefined {
  const coefficients = sizeOf(linearOutput(shape));
  const { norm2 } = weightBound;
  const all = parts ?? [{ norm2, tolerance, size: coefficients }];
  if (masks === 'exact') {
    const hintBits = HINT_BITS.exact;
    const { total } = errorVariance(norm2, outputs, ringBits, hintBits, true);
    // What the error leaves of the tolerance is noise.
    const noise = Math.floor(tolerance - errorBound(total, coefficients));
    if (!(noise >= 1 && noise < 2 ** 31)) return undefined;
    return { hintBits, noise, variance: total + (noise * (noise + 1)) / 3 };
  }
  for (let hintBits: number = HINT_BITS.fewest; hintBits <= HINT_BITS.most; hintBits++) {
    const varianceOf = (norm: number) => errorVariance(norm, outputs, ringBits, hintBits, false);
    const fits = all.every((part) => {
      // Outputs of two parts may share a polynomial: then those of one meet the weights of the other.
      const { hint, total } = varianceOf(outputs === 1 ? part.norm2 : norm2);
      return hint <= hintVariance(part.norm2) && errorBound(total, part.size) <= part.tolerance;
    });
    if (fits) return { hintBits, noise: 0, variance: varianceOf(norm2).total };
  }
  return undefined;
}

interface Choice extends Fitting {
  readonly packing: Packing;
}

/** The choice of fewest bytes, the first of equals; undefined when none fits. */
function bestPacking(request: PlanRequest): Choice | undefined {
  const { shape, ringBits, masks } = request;
  const conv = asConvolution(shape);
  const [, height, width] = linearOutput(conv);
  const columnCuts = pieceSizes(width).map((tile) => cutAxis(conv, 1, width, tile));
  const outputSizes: { outputs: number; outTiles: number; fitting: Fitting }[] = [];
  for (const outputs of pieceSizes(conv.outChannels).reverse()) {
    const fitting = fittingBits(request, outputs);
    if (fitting === undefined) break;
    outputSizes.push({ outputs, outTiles: Math.ceil(conv.outChannels / outputs), fitting });
  }
  const macs = macsOf(conv);
  const marks = new Uint8Array(DEGREE);
  let best: (Choice & { bytes: number }) | undefined;
  for (const rowTile of pieceSizes(height)) {
    const rows = cutAxis(conv, 0, height, rowTile);
    for (const columns of columnCuts) {
      const { rowStride, blockStride } = strides(rows, columns);
      const blocks = Math.floor(DEGREE / blockStride);
      const spatialTiles = rows.tiles * columns.tiles;
      const planes = conv.channels * rows.phases.length * columns.phases.length;
      const keys = spatialTiles * POLYNOMIAL_BYTES;
      if (best !== undefined && keys > best.bytes) continue;
      for (const planesPerTile of pieceSizes(planes)) {
        const inTiles = Math.ceil(planes / planesPerTile);
        const inputs = inTiles * spatialTiles;
        const perInput = MS.mask * BYTES_PER_MS + (masks === 'exact' ? POLYNOMIAL_BYTES : 0);
        if (best !== undefined && keys + inputs * perInput > best.bytes) continue;
        for (const { outputs, outTiles, fitting } of outputSizes) {
          if (outputs * planesPerTile > blocks) break;
          const ms =
            inputs * MS.mask +
            outTiles * spatialTiles * MS.shares +
            (outTiles * inTiles * MS.hint) / conv.groups / BUNDLES_PER_HINT +
            (masks === 'exact' ? 0 : (2 * (outputs - 1) * macs) / MACS_PER_MS);
          const hint = (outTiles * DEGREE * fitting.hintBits) / 8;
          let bytes = keys + hint / BUNDLES_PER_HINT + ms * BYTES_PER_MS;
          if (masks === 'exact') bytes += inputs * POLYNOMIAL_BYTES;
          if (best !== undefined && bytes >= best.bytes) continue;
          const packing: Packing = {
            conv,
            rows,
            columns,
            rowStride,
            blockStride,
            planes,
            planesPerTile,
            outputsPerTile: outputs,
            inTiles,
            outTiles,
            spatialTiles,
          };
          if (masks !== 'exact') {
            // As many as the first polynomial has; elements that nobody reads make it no worse a guess.
            const read = inputs * markReads(packing, 0, 0, marks);
            const free = masks === 'free' ? Math.min(read, linearInputSize(conv)) : 0;
            bytes += ((read - free) * ringBits) / 8;
          }
          if (best === undefined || bytes < best.bytes) best = { packing, ...fitting, bytes };
        }
      }
    }
  }
  return best;
}

/** Bytes of one polynomial of the hint. */
export function hintPolynomialBytes({ hintBits }: HintPlan): number {
  return (DEGREE * hintBits) / 8;
}

/** Bytes of the layer's part of the hint. */
export function hintBytes(plan: HintPlan): number {
  return plan.packing.outTiles * hintPolynomialBytes(plan);
}

/** Bytes of the layer's keys in a bundle. */
export function keyBytes({ packing }: HintPlan): number {
  return packing.spatialTiles * POLYNOMIAL_BYTES;
}

/** Corrected coefficients of one input tile. */
export function correctionCount({ packing, inputs }: HintPlan, inTile: number): number {
  let count = 0;
  for (let i = 0; i < packing.spatialTiles; i++) {
    count += inputs[inTile * packing.spatialTiles + i]!.corrected.length;
  }
  return count;
}

/** Bytes of the corrections of input tiles [from, to). */
export function correctionBytes(
  plan: HintPlan,
  from = 0,
  to: number = plan.packing.inTiles,
): number {
  if (plan.masks === 'exact') return (to - from) * plan.packing.spatialTiles * POLYNOMIAL_BYTES;
  let bytes = 0;
  for (let inTile = from; inTile < to; inTile++) {
    bytes += Math.ceil((correctionCount(plan, inTile) * plan.ringBits) / 8);
  }
  return bytes;
}

/** Bytes of the layer in a bundle. */
export function bundleBytes(plan: HintPlan): number {
  return keyBytes(plan) + correctionBytes(plan);
}

/** Used coefficients of output tiles [from, to), all their spatial tiles. */
export function shareCount({ packing }: HintPlan, from = 0, to: number = packing.outTiles): number {
  let count = 0;
  for (let index = from * packing.spatialTiles; index < to * packing.spatialTiles; index++) {
    count += usedCount(packing, index);
  }
  return count;
}
