/** How results are shown: a chart, a row of a table, the page's longest pause. */

import type { Inference } from '../browser.ts';
import { bytesText, timeText } from '../progress.ts';
import type { ModelSummary } from './models.ts';

/** Probabilities of logits. */
function softmax(logits: Float32Array): Float32Array {
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** What an inference came to in a few words. */
export function verdictOf({ label, labelName, results }: Inference): string {
  return labelName ?? (label === undefined ? `${results.length} results` : String(label));
}

/** A bar for each class; for a program that reveals the label alone, its class alone; of several results none. */
export function showChart(
  list: HTMLElement,
  labels: readonly string[],
  logits: Float32Array | undefined,
  label: number | undefined,
): void {
  if (label === undefined) {
    list.replaceChildren();
    return;
  }
  const shares = logits && softmax(logits);
  const names = Array.from(shares ?? { length: label + 1 }, (_, i) => labels[i] ?? String(i));
  list.classList.toggle(
    'named',
    names.some((name) => name.length > 2),
  );
  list.replaceChildren(
    ...names.flatMap((name, i) => {
      if (shares === undefined && i !== label) return [];
      const item = document.createElement('li');
      if (i === label) item.className = 'best';
      const title = document.createElement('span');
      title.textContent = name;
      const bar = document.createElement('span');
      bar.className = 'bar';
      const fill = document.createElement('i');
      const share = shares?.[i] ?? 1;
      fill.style.width = `${100 * share}%`;
      bar.append(fill);
      const number = document.createElement('span');
      number.className = 'share';
      number.textContent = shares === undefined ? '' : `${(100 * share).toFixed(1)} %`;
      item.append(title, bar, number);
      return [item];
    }),
  );
}

/** A row of what an inference took. */
export function runRow(
  { name, relus }: ModelSummary,
  label: string,
  { offline, online }: Inference['stats'],
): HTMLTableRowElement {
  const row = document.createElement('tr');
  const cells = [name, relus.toLocaleString('en'), label];
  for (const { ms, bytesUp, bytesDown, rounds } of [offline, online]) {
    cells.push(timeText(ms), bytesText(bytesUp + bytesDown), String(rounds));
  }
  for (const text of cells) row.insertCell().textContent = text;
  return row;
}

/** How often the page is asked whether it answers, in ms. */
const TICK_MS = 5;

/** The longest pause of the page's main thread: how long a click may have waited. */
export class LongestPause {
  /** In ms, since the last {@link reset}. */
  ms = 0;
  #last = performance.now();

  constructor() {
    const tick = (): void => {
      const now = performance.now();
      // Browsers slow the timers of pages that nobody sees.
      if (!document.hidden) this.ms = Math.max(this.ms, now - this.#last - TICK_MS);
      this.#last = now;
      setTimeout(tick, TICK_MS);
    };
    tick();
  }

  reset(): void {
    this.ms = 0;
    this.#last = performance.now();
  }
}
