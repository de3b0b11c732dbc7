/**
 * The server's products: sums of encrypted input polynomials times weight polynomials, pointwise in the transform
 * domain, one 64-bit lane a coefficient.
 */

import { kernels } from '../../kernels/index.ts';
import { connectedTiles, packWeights } from './packing.ts';
import { ciphertextWords, PARAMETER_SETS } from './parameters.ts';
import type { LayerPlan } from './plan.ts';
import { transformOf } from './transform.ts';

/** Kernel memory for decoded uploads; a larger upload stays in the heap and is copied in as needed. LOCAL. */
const RESIDENT_BYTES = 24 * 2 ** 20;

/** Kernel memory for sums: spatial tiles beyond it transform their weights again. LOCAL. */
const SUMS_BYTES = 12 * 2 ** 20;

/** Products between two folds of the sums: 2^10 * 2^52 + 2^59 stays below 2^63. */
const PRODUCTS_PER_FOLD = 1024;

/**
 * Transformed weight polynomials of one layer, kept between evaluations while they fit a budget: the transforms are
 * most of an evaluation's time, and take 16 to 48 KiB each. Belongs to one plan and one weight tensor.
 */
export class WeightCache {
  readonly #room: { left: number };
  readonly #entries = new Map<number, Uint32Array>();
  #bytes = 0;

  /** @param room - bytes it may hold, or room shared with other caches. LOCAL */
  constructor(room: number | { left: number }) {
    this.#room = typeof room === 'number' ? { left: room } : room;
  }

  /** Bytes it holds. */
  get bytes(): number {
    return this.#bytes;
  }

  get(key: number): Uint32Array | undefined {
    return this.#entries.get(key);
  }

  /** Keeps a copy of `transforms` if there is room. */
  offer(key: number, transforms: Uint32Array): void {
    const { byteLength } = transforms;
    if (byteLength > this.#room.left) return;
    this.#entries.set(key, transforms.slice());
    this.#bytes += byteLength;
    this.#room.left -= byteLength;
  }
}

/** The weight caches of one thread, which share their room: what came first stays. */
export class WeightCaches {
  readonly #room: { left: number };
  readonly #caches = new Map<number, WeightCache>();

  /** @param budget - bytes all of them may hold. LOCAL */
  constructor(budget: number) {
    this.#room = { left: budget };
  }

  /** The cache of the weights that the number stands for. */
  of(weights: number): WeightCache {
    let cache = this.#caches.get(weights);
    if (cache === undefined) this.#caches.set(weights, (cache = new WeightCache(this.#room)));
    return cache;
  }
}

/**
 * For each output polynomial in [from, to): the sum over its input tiles of ciphertext times weights.
 *
 * @param ciphertexts - the decoded upload, see decodeUpload
 * @param finish - called once per polynomial, ascending, with a pointer to its sums: for each prime N lanes of part a,
 *   then N of part b, each below 2^62 + 2^59
 */
export function accumulate(
  plan: LayerPlan,
  weights: Int32Array,
  ciphertexts: Uint32Array,
  from: number,
  to: number,
  cache: WeightCache | undefined,
  finish: (index: number, sums: number) => void,
): void {
  const { packing, degree: n } = plan;
  const set = PARAMETER_SETS[n];
  const { arena, ntt } = kernels();
  const sumsBytes = 8 * ciphertextWords(set);
  const { spatialTiles } = packing;
  const tilesAtOnce = Math.max(1, Math.floor(SUMS_BYTES / sumsBytes));
  arena.scope(() => {
    const transforms = arena.alloc(4 * set.primes.length * n);
    const coefficients = arena.alloc(4 * n);
    const ciphertext = loadCiphertexts(plan, ciphertexts, from, to);
    for (let start = from, end: number; start < to; start = end) {
      const outTile = Math.floor(start / spatialTiles);
      end = Math.min(to, (outTile + 1) * spatialTiles, start + tilesAtOnce);
      arena.scope(() => {
        const sums = arena.alloc((end - start) * sumsBytes);
        arena.u8(sums, (end - start) * sumsBytes).fill(0);
        const [firstTile, lastTile] = connectedTiles(packing, outTile);
        for (let inTile = firstTile; inTile < lastTile; inTile++) {
          transformWeights(plan, weights, inTile, outTile, transforms, coefficients, cache);
          const fold = (inTile - firstTile + 1) % PRODUCTS_PER_FOLD === 0;
          for (let index = start; index < end; index++) {
            const pair = ciphertext(inTile * spatialTiles + (index % spatialTiles));
            set.primes.forEach((prime, k) => {
              const sum = sums + (index - start) * sumsBytes + 16 * k * n;
              ntt.multiplyAccumulate(sum, pair + 8 * k * n, transforms + 4 * k * n, n);
              if (fold) ntt.foldSums(sum, 2 * n, transformOf(n, prime).radix);
            });
          }
        }
        for (let index = start; index < end; index++) {
          finish(index, sums + (index - start) * sumsBytes);
        }
      });
    }
  });
}

/** Transforms of the weight polynomial of a pair of tiles to `dst`, from the cache if it has them. */
function transformWeights(
  plan: LayerPlan,
  weights: Int32Array,
  inTile: number,
  outTile: number,
  dst: number,
  coefficients: number,
  cache: WeightCache | undefined,
): void {
  const n = plan.degree;
  const { primes } = PARAMETER_SETS[n];
  const { arena } = kernels();
  const key = outTile * plan.packing.inTiles + inTile;
  const view = arena.u32(dst, primes.length * n);
  const cached = cache?.get(key);
  if (cached !== undefined) {
    view.set(cached);
    return;
  }
  packWeights(plan.packing, weights, inTile, outTile, arena.i32(coefficients, n));
  primes.forEach((prime, k) => {
    transformOf(n, prime).forward(dst + 4 * k * n, coefficients);
  });
  cache?.offer(key, view);
}

/** Brings the ciphertexts that output polynomials [from, to) need to the kernels; returns a pointer to one at a time. */
function loadCiphertexts(
  plan: LayerPlan,
  ciphertexts: Uint32Array,
  from: number,
  to: number,
): (index: number) => number {
  const { packing } = plan;
  const words = ciphertextWords(PARAMETER_SETS[plan.degree]);
  const { arena } = kernels();
  const { spatialTiles } = packing;
  // Input tiles of the output tiles in the range, a run of neighbours.
  const [firstIn] = connectedTiles(packing, Math.floor(from / spatialTiles));
  const [, lastIn] = connectedTiles(packing, Math.floor((to - 1) / spatialTiles));
  const first = firstIn * spatialTiles;
  const needed = ciphertexts.subarray(first * words, lastIn * spatialTiles * words);
  if (needed.byteLength <= RESIDENT_BYTES) {
    const pointer = arena.put(needed);
    return (index) => pointer + 4 * (index - first) * words;
  }
  const pointer = arena.alloc(4 * words);
  return (index) => {
    arena.u32(pointer, words).set(ciphertexts.subarray(index * words, (index + 1) * words));
    return pointer;
  };
}
