/** How results are shown: a chart, a row of a table, the page's longest pause. */

import { probabilities } from '../../protocol/program/probabilities.ts';
import type { Inference } from '../browser.ts';
import { bytesText, timeText } from '../progress.ts';
import { percentText } from './certainty.ts';
import type { ShownModel } from './models.ts';

/** What an inference came to in a few words. */
export function verdictOf({ label, labelName, results }: Inference): string {
  return labelName ?? (label === undefined ? `${results.length} results` : String(label));
}

/** A bar for each class, the likeliest first; none where there are no probabilities. */
export function showChart(
  list: HTMLElement,
  labels: readonly string[],
  shares: Float64Array | undefined,
): void {
  const order = Array.from(shares ?? [], (share, i) => ({ share, name: labels[i] ?? String(i) }));
  order.sort((a, b) => b.share - a.share);
  list.replaceChildren(
    ...order.map(({ share, name }) => {
      const item = document.createElement('li');
      item.append(part('name', name), barOf(share), part('share', percentText(share)));
      return item;
    }),
  );
}

/** A span with a text. */
export function part(className: string, text: string): HTMLElement {
  const span = document.createElement('span');
  span.className = className;
  span.textContent = text;
  return span;
}

/** A bar that is filled to a share, 0..1. */
export function barOf(share: number): HTMLElement {
  const bar = part('bar', '');
  const fill = document.createElement('i');
  fill.style.width = `${100 * share}%`;
  bar.append(fill);
  return bar;
}

/** How sure an answer is at its model's temperature; undefined where there is no such number. */
export function sharesOf(
  { logits, label }: Inference,
  { temperature }: ShownModel,
): Float64Array | undefined {
  if (logits === undefined || label === undefined || temperature === undefined) return undefined;
  return probabilities(logits, temperature);
}

/** A row of what an inference took. */
export function runRow(
  { name, relus }: ShownModel,
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
