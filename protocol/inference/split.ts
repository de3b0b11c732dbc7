/** How the polynomials of a linear layer are cut into worker tasks, which are also the messages on the wire. AGREEMENT. */

import type { LayerPlan, PolynomialRange } from '../linear/rlwe/index.ts';
import { PARAMETER_SETS } from '../linear/rlwe/index.ts';
import { polynomialBytes } from '../linear/rlwe/parameters.ts';
import { products } from '../linear/rlwe/plan.ts';
import { SEED_BYTES } from '../random/index.ts';

/** Input polynomials encrypted by one task: some 5 ms. */
const UPLOAD_POLYNOMIALS = 32;

/** Polynomial products computed by one task: some 10 ms. */
const RESPONSE_PRODUCTS = 512;

/** Output polynomials of one task at most. */
const RESPONSE_POLYNOMIALS = 64;

function ranges(total: number, step: number): PolynomialRange[] {
  return Array.from({ length: Math.ceil(total / step) }, (_, i) => [
    i * step,
    Math.min((i + 1) * step, total),
  ]);
}

/** Ranges of input polynomials. */
export function uploadJobs(plan: LayerPlan): PolynomialRange[] {
  return ranges(plan.uploadPolynomials, UPLOAD_POLYNOMIALS);
}

/** Ranges of output polynomials, whole output tiles so that each weight polynomial is transformed once. */
export function responseJobs(plan: LayerPlan): PolynomialRange[] {
  const { spatialTiles, outTiles } = plan.packing;
  const perTile = products(plan) / outTiles;
  const tiles = Math.min(RESPONSE_PRODUCTS / perTile, RESPONSE_POLYNOMIALS / spatialTiles);
  return ranges(plan.responsePolynomials, Math.max(1, Math.floor(tiles)) * spatialTiles);
}

/** Bytes of the upload's polynomials in a range; the seed of the a parts goes ahead of the first. */
export function uploadRangeBytes(plan: LayerPlan, [from, to]: PolynomialRange): number {
  const seed = from === 0 ? SEED_BYTES : 0;
  return seed + (to - from) * polynomialBytes(PARAMETER_SETS[plan.degree]);
}
