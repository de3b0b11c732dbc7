/**
 * ReLU equalisation (DeepReShape, TMLR 2024): widths of a staged network for which the ReLUs of the stages stand in the
 * order of their criticality.
 *
 * Stage i of depth d_i, at 4^-i of the first plane, has ReLUs in proportion to d_i * w_i / 4^i, where w_0 = 1 and each
 * next width is the one before times a multiplier. An order such as S3 > S2 > S4 > S1 is a chain of inequalities between
 * them; what is wanted are its smallest solutions in whole numbers.
 */

import { ModelError } from '../errors.ts';

/** Largest multiplier tried. LOCAL; the chains of four stages have their smallest solutions far below. */
const MOST = 16;

/** ReLUs of the stages, in units of the first one's plane and base width. */
function stageRelus(depths: readonly number[], multipliers: readonly number[]): number[] {
  let width = 1;
  return depths.map((depth, i) => {
    if (i > 0) width *= multipliers[i - 1]! / 4;
    return depth * width;
  });
}

/**
 * The smallest multipliers, two or more each, with which every stage of `order` has more ReLUs than the next: of the
 * solutions, those of which no other is smaller or equal in every multiplier.
 * @param order stages counted from 0, most critical first
 * @param depths blocks of each stage
 * @returns in lexicographic order; none when the chain has no solution
 * @throws ModelError `argument` when the order does not name every stage once
 */
export function equalise(order: readonly number[], depths: readonly number[]): number[][] {
  const stages = depths.length;
  if (
    stages < 2 ||
    [...order].sort((a, b) => a - b).some((s, i) => s !== i) ||
    order.length !== stages
  ) {
    throw new ModelError(
      'argument',
      `the order should name each of ${stages} stages once, not [${order}]`,
    );
  }
  const minimal: number[][] = [];
  const multipliers = new Array<number>(stages - 1).fill(2);
  const holds = () => {
    const relus = stageRelus(depths, multipliers);
    return order.every((stage, i) => i === 0 || relus[order[i - 1]!]! > relus[stage]!);
  };
  for (;;) {
    // Lexicographic order meets what is smaller in every multiplier first.
    const covered = minimal.some((known) => known.every((m, i) => m <= multipliers[i]!));
    if (!covered && holds()) minimal.push([...multipliers]);
    // Counts the multipliers up, the last one fastest, each from 2 to MOST; below 0 when all have been tried.
    let last = stages - 2;
    while (last >= 0 && multipliers[last] === MOST) multipliers[last--] = 2;
    if (last < 0) return minimal;
    multipliers[last]!++;
  }
}
