/** How the polynomials of a linear layer are cut into worker tasks, which are also the messages on the wire. AGREEMENT. */

import { SEED_BYTES } from '../../random/index.ts';
import type { Part, UnitRange } from '../backend.ts';
import { PARAMETER_SETS, polynomialBytes } from './parameters.ts';
import { type LayerPlan, products, responseBytes } from './plan.ts';

/** Input polynomials encrypted by one task: some 5 ms. */
const UPLOAD_POLYNOMIALS = 32;

/** Polynomial products computed by one task: some 10 ms. */
const RESPONSE_PRODUCTS = 512;

/** Output polynomials of one task at most. */
const RESPONSE_POLYNOMIALS = 64;

function ranges(total: number, step: number): UnitRange[] {
  return Array.from({ length: Math.ceil(total / step) }, (_, i) => [
    i * step,
    Math.min((i + 1) * step, total),
  ]);
}

/** Parts of the upload, ranges of input polynomials; the seed of the a parts goes ahead of the first. */
export function uploads(plan: LayerPlan): Part[] {
  const bytes = polynomialBytes(PARAMETER_SETS[plan.degree]);
  return ranges(plan.uploadPolynomials, UPLOAD_POLYNOMIALS).map((range) => {
    const [from, to] = range;
    return { range, bytes: (from === 0 ? SEED_BYTES : 0) + (to - from) * bytes };
  });
}

/**
 * Parts of the response, ranges of output polynomials: whole output tiles, so that each weight polynomial is transformed
 * once.
 */
export function responses(plan: LayerPlan): Part[] {
  const { spatialTiles, outTiles } = plan.packing;
  const perTile = products(plan) / outTiles;
  const tiles = Math.min(RESPONSE_PRODUCTS / perTile, RESPONSE_POLYNOMIALS / spatialTiles);
  const step = Math.max(1, Math.floor(tiles)) * spatialTiles;
  return ranges(plan.responsePolynomials, step).map((range) => ({
    range,
    bytes: responseBytes(plan, ...range),
  }));
}
