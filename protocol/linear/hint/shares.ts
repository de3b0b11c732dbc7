/** Shares and masks of a layer: made of polynomials, and put where they lie in a tensor. */

import { kernels } from '../../kernels/index.ts';
import { linearInputSize, linearOutput, sizeOf } from '../../ring/shape.ts';
import { roundAt } from '../lattice/compose.ts';
import { DEGREE, POLYNOMIAL_WORDS, PRIMES } from '../lattice/parameters.ts';
import { usedCoefficients, usedCount } from './packing.ts';
import { type HintPlan, shareCount } from './plan.ts';
import {
  checkLength,
  checkRange,
  multiplyPolynomials,
  polynomialAt,
  type TileRange,
} from './polynomial.ts';

/**
 * For each output polynomial of some output tiles: round((x y + addend) / Delta) mod 2^k at its used coefficients.
 * @param polynomials - transforms x of an output tile each
 * @param factors - transforms times 2^32, y of a spatial tile each
 * @param addend - pointer to coefficients modulo both primes
 */
export function productShares(
  plan: HintPlan,
  [from, to]: TileRange,
  polynomials: Uint32Array,
  factors: Uint32Array,
  addend?: (outTile: number, spatialTile: number) => number,
): Int32Array {
  const { packing, ringBits } = plan;
  const { spatialTiles } = packing;
  checkRange('output tiles', [from, to], packing.outTiles);
  checkLength('polynomials', polynomials.length, (to - from) * POLYNOMIAL_WORDS);
  const shares = new Int32Array(shareCount(plan, from, to));
  let written = 0;
  const { arena, rlwe } = kernels();
  arena.scope(() => {
    const product = arena.alloc(4 * POLYNOMIAL_WORDS);
    const factor = arena.alloc(4 * POLYNOMIAL_WORDS);
    const at = arena.alloc(4 * DEGREE);
    const rounded = arena.alloc(4 * DEGREE);
    // What factor and positions are of: most layers have one spatial tile, and all outputs of a tile the same positions.
    let [loaded, count] = [-1, -1];
    for (let outTile = from; outTile < to; outTile++) {
      const polynomial = polynomialAt(polynomials, outTile - from);
      for (let tile = 0; tile < spatialTiles; tile++) {
        const index = outTile * spatialTiles + tile;
        if (tile !== loaded || usedCount(packing, index) !== count) {
          const { positions } = usedCoefficients(packing, index);
          [loaded, count] = [tile, positions.length];
          arena.u32(factor, POLYNOMIAL_WORDS).set(polynomialAt(factors, tile));
          arena.u32(at, DEGREE).fill(0).set(positions);
        }
        arena.u32(product, POLYNOMIAL_WORDS).set(polynomial);
        multiplyPolynomials(product, factor);
        const more = addend?.(outTile, tile);
        PRIMES.forEach((prime, k) => {
          const part = 4 * k * DEGREE;
          if (more !== undefined) rlwe.addSmall(product + part, more + part, DEGREE, prime);
        });
        roundAt(rounded, product, at, (count + 3) & ~3, ringBits);
        shares.set(arena.i32(rounded, count), written);
        written += count;
      }
    }
  });
  return shares;
}

/**
 * Either party: puts the shares of output tiles [from, to) at their elements of the output tensor.
 * @throws RangeError when a length does not belong to the plan
 */
export function placeShares(
  plan: HintPlan,
  shares: Int32Array,
  [from, to]: TileRange,
  output: Int32Array,
): void {
  const { packing } = plan;
  checkRange('output tiles', [from, to], packing.outTiles);
  checkLength('shares', shares.length, shareCount(plan, from, to));
  checkLength('output', output.length, sizeOf(linearOutput(plan.shape)));
  let at = 0;
  for (let index = from * packing.spatialTiles; index < to * packing.spatialTiles; index++) {
    const { elements } = usedCoefficients(packing, index);
    for (const element of elements) output[element] = shares[at++]!;
  }
}

/**
 * Client: puts what belongs to the free elements of input tiles [from, to), their masks or the fractions of these, into a
 * tensor of the input's size. That of the masks must come filled with uniform elements of Z_2^k, which those elements keep
 * that no output reads; that of the fractions with zeros.
 * @throws RangeError when a length does not belong to the plan
 */
export function placeMasks<T extends Int32Array | Int8Array>(
  plan: HintPlan,
  values: T,
  [from, to]: TileRange,
  input: T,
): void {
  const { inTiles, spatialTiles } = plan.packing;
  checkRange('input tiles', [from, to], inTiles);
  checkLength('input', input.length, linearInputSize(plan.shape));
  checkLength('masks', values.length, freeCount(plan, from, to));
  let at = 0;
  for (let index = from * spatialTiles; index < to * spatialTiles; index++) {
    const { freeElements, first } = plan.inputs[index]!;
    for (const element of freeElements) input[first + element] = values[at++]!;
  }
}

/** Free elements of input tiles [from, to). */
export function freeCount({ packing, inputs }: HintPlan, from: number, to: number): number {
  let count = 0;
  for (let i = from * packing.spatialTiles; i < to * packing.spatialTiles; i++) {
    count += inputs[i]!.free.length;
  }
  return count;
}

export function checkSecrets({ packing }: HintPlan, secrets: Uint32Array): void {
  checkLength('secrets or keys', secrets.length, packing.spatialTiles * POLYNOMIAL_WORDS);
}
