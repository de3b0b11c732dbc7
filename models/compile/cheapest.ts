/**
 * The cheapest of the networks that compute the same: every step of merge.ts is built and priced by the formulas that
 * sessions are held to, and kept where the program needs no more rounds, no more bytes for an inference and no larger hint,
 * and less of one of them.
 */

import { costOf } from '../../protocol/inference/cost.ts';
import { layoutOf } from '../../protocol/inference/layout.ts';
import type { Program } from '../../protocol/program/program.ts';
import type { Graph } from '../graph/index.ts';
import { build } from './build.ts';
import type { Emitted } from './emit.ts';
import type { Measured } from './measure.ts';
import { shortenings } from './merge.ts';
import type { FixedNetwork } from './network.ts';
import type { Settings } from './options.ts';
import { Ranges } from './ranges.ts';

/**
 * Builds a network, or a shorter one where that is cheaper.
 * @throws ModelError as {@link build} does for the network as it is
 */
export function buildCheapest(
  graph: Graph,
  network: FixedNetwork,
  measured: Measured,
  candidates: readonly Settings[],
): Emitted {
  const made = (of: FixedNetwork) => build(graph, of, new Ranges(of, measured), candidates);
  let best = made(network);
  let shortest = network;
  for (const shorten of shortenings(network)) {
    const shorter = shorten(shortest);
    if (shorter === shortest) continue;
    const built = attempt(() => made(shorter));
    if (built === undefined || !isCheaper(built.model.program, best.model.program)) continue;
    best = built;
    shortest = shorter;
  }
  return best;
}

/** A shorter network may not fit where the longer one did: its values have more bits. */
function attempt(make: () => Emitted): Emitted | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function isCheaper(one: Program, other: Program): boolean {
  const [a, b] = [pricesOf(one), pricesOf(other)];
  return a.every((price, i) => price <= b[i]!) && a.some((price, i) => price < b[i]!);
}

function pricesOf(program: Program): number[] {
  const { hint, offline, online } = costOf(layoutOf(program));
  return [online.rounds, offline.up + offline.down + online.up + online.down, hint];
}
