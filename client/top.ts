/** The likeliest classes of an answer. */

/** A class and its share of the softmax. */
export interface RankedClass {
  readonly label: number;
  /** Its name, when the program names its classes. */
  readonly labelName: string | undefined;
  /** Softmax of the logits, 0..1; no probability, unless the model was calibrated so. */
  readonly score: number;
}

/** The `most` classes with the largest logits, the largest first. */
export function topClasses(
  logits: Float32Array,
  names: readonly string[],
  most: number,
): RankedClass[] {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const shares = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares
    .map((share, label) => ({ label, labelName: names[label], score: share / sum }))
    .sort((a, b) => b.score - a.score || a.label - b.label)
    .slice(0, most);
}
