/** The word that somebody may have meant. */

/** The nearest of `words` to a misspelt one, when it is near: a third of its letters wrong at most, or the beginning of one alone. */
export function nearestWord(text: string, words: readonly string[]): string | undefined {
  const lower = text.toLowerCase();
  const begun = words.filter((word) => text !== '' && word.toLowerCase().startsWith(lower));
  if (begun.length === 1) return begun[0];
  const [best] = words
    .map((word) => ({ word, wrong: distance(lower, word.toLowerCase()) }))
    .sort((a, b) => a.wrong - b.wrong);
  return best && best.wrong <= Math.max(text.length, best.word.length) / 3 ? best.word : undefined;
}

/** Letters that are added, left out, exchanged or swapped between neighbours. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    const above = rows[i - 1]!;
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const least = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + same);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row.push(swapped ? Math.min(least, rows[i - 2]![j - 2]! + 1) : least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
