/**
 * Random polynomials in kernel memory from an injected stream. What a function draws from its stream depends on the
 * stream and its parameters alone, so whoever holds the same seed gets the same polynomial.
 */

import { kernels } from '../../kernels/index.ts';
import type { Random } from '../../random/index.ts';

/**
 * Exact sampling by rejection: draws words, keeps what `filter` accepts, draws again for what is missing.
 *
 * How many words are refused says nothing about those that are kept.
 * @param filter - writes up to `wanted` kept lanes to `dst` and returns their number
 */
function sampleByRejection(
  dst: number,
  count: number,
  random: Random,
  [laneBytes, wordBytes]: readonly [laneBytes: number, wordBytes: number],
  filter: (dst: number, wanted: number, src: number, words: number) => number,
): void {
  const { arena } = kernels();
  for (let kept = 0; kept < count; ) {
    arena.scope(() => {
      // At most 1 word in 256 is refused: the slack makes a second round rare. Whole blocks of the generator.
      const wanted = count - kept;
      const bytes = Math.ceil(((wanted + (wanted >> 6) + 16) * wordBytes) / 16) * 16;
      const src = arena.alloc(bytes);
      random.fill(arena.u8(src, bytes));
      kept += filter(dst + laneBytes * kept, wanted, src, bytes / wordBytes);
    });
  }
}

/** n uniform residues modulo `prime` (32-bit lanes). */
export function uniformResidues(dst: number, n: number, prime: number, random: Random): void {
  const { rlwe } = kernels();
  sampleByRejection(dst, n, random, [4, 4], (to, wanted, src, words) =>
    rlwe.sampleResidues(to, wanted, src, words, prime),
  );
}

/** `count` uniform integers below `bound` <= 2^52 (64-bit lanes). */
export function uniformBelow(dst: number, count: number, bound: number, random: Random): void {
  const { rlwe } = kernels();
  sampleByRejection(dst, count, random, [8, 8], (to, wanted, src, words) =>
    rlwe.sampleBelow(to, wanted, src, words, bound),
  );
}

/** n uniform elements of {-1, 0, 1} (signed 32-bit lanes). */
export function ternary(dst: number, n: number, random: Random): void {
  const { rlwe } = kernels();
  sampleByRejection(dst, n, random, [4, 1], (to, wanted, src, words) =>
    rlwe.sampleTernary(to, wanted, src, words),
  );
}

/** Bytes that an error is made of. */
export const BINOMIAL_BYTES = 6;

/** n errors of the centred binomial distribution of 21 + 21 bits (signed 32-bit lanes), n a multiple of 16. */
export function binomial(dst: number, n: number, random: Random): void {
  const { arena, rlwe } = kernels();
  arena.scope(() => {
    const src = arena.alloc(BINOMIAL_BYTES * n);
    random.fill(arena.u8(src, BINOMIAL_BYTES * n));
    rlwe.sampleBinomial(dst, src, n);
  });
}
