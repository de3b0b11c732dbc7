/** Networks compared by what they cost and what they are worth. */

/** What one inference of a compiled network costs its users. */
export interface InferenceCost {
  /** Bytes of each phase, both directions. */
  readonly offlineBytes: number;
  readonly onlineBytes: number;
  /** Round trips of the online phase. */
  readonly rounds: number;
  /** What the planner predicts of the online phase, by the name of the link (protocol/inference/links.ts). */
  readonly onlineMs: Readonly<Record<string, number>>;
}

/** A network on the way to a budget. */
export interface Point {
  /** How it was made. */
  readonly name: string;
  readonly relus: number;
  /** 0..1, on images that were not trained on. */
  readonly accuracy: number;
  /** Where it was compiled. */
  readonly cost?: InferenceCost;
}

/**
 * The points than which no other costs at most as much and is at least as accurate, by rising cost.
 * @param cost of a point; infinite where it has none, and is left out. Default: its ReLUs
 */
export function frontier<P extends Point>(
  points: readonly P[],
  cost: (point: P) => number = ({ relus }) => relus,
): P[] {
  const priced = points.filter((point) => Number.isFinite(cost(point)));
  const sorted = priced.sort((a, b) => cost(a) - cost(b) || b.accuracy - a.accuracy);
  let best = Number.NEGATIVE_INFINITY;
  return sorted.filter(({ accuracy }) => {
    if (!(accuracy > best)) return false;
    best = accuracy;
    return true;
  });
}
