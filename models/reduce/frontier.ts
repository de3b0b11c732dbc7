/** Networks compared by what they cost and what they are worth. */

/** A network on the way to a budget. */
export interface Point {
  /** How it was made. */
  readonly name: string;
  readonly relus: number;
  /** 0..1, on images that were not trained on. */
  readonly accuracy: number;
}

/** The points than which no other has at most as many ReLUs and is at least as accurate, by rising ReLUs. */
export function frontier<P extends Point>(points: readonly P[]): P[] {
  const sorted = [...points].sort((a, b) => a.relus - b.relus || b.accuracy - a.accuracy);
  let best = Number.NEGATIVE_INFINITY;
  return sorted.filter(({ accuracy }) => {
    if (!(accuracy > best)) return false;
    best = accuracy;
    return true;
  });
}
