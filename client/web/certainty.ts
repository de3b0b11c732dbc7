/**
 * How sure an answer may be said to be.
 *
 * A network's own softmax says 100.0 % far more often than it is right. So the rule:
 *
 * - Logits are divided by the temperature on the model's card, which was fitted to images that the network was not trained on:
 *   of such images that get 90 %, some 90 % are right. A model whose card has none gets no percentages.
 * - Percentages are whole, and end at "over 99 %" and "under 1 %": no set of test images is large enough for more.
 * - How many test images in a hundred the model names rightly stands beside every answer.
 */

/** A probability for people: whole percent, and no certainty. */
export function percentText(share: number): string {
  if (share > 0.99) return 'over 99 %';
  if (share < 0.01) return 'under 1 %';
  return `${Math.round(100 * share)} %`;
}

/** What a model is worth on test images, and what its percentages mean. */
export function worthText(accuracy: number | undefined, temperature: number | undefined): string {
  const worth =
    accuracy === undefined
      ? 'How often this model is right is not known.'
      : `${Number((100 * accuracy).toFixed(1))} of 100 test images are right.`;
  return temperature === undefined
    ? worth
    : `${worth} Percentages hold for images like those; of others they promise too much.`;
}
