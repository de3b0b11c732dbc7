/** `sotto bench --budget`: latency against ReLU budget, as numbers, a table and a page of plots. */

import { join } from 'node:path';
import { say, showStatus } from '../../models/terminal.ts';
import { makeFolder, replaceFile } from '../../protocol/files.ts';
import { htmlPage, markdownPage } from './page.ts';
import { runBudget } from './run.ts';

export interface BudgetCommandOptions {
  readonly quick: boolean;
  readonly only: string | undefined;
}

/** Runs it all and leaves the report in `folder`. An interrupt ends it; the same command goes on from there. */
export async function budget(folder: string, options: BudgetCommandOptions): Promise<void> {
  makeFolder(folder);
  const controller = new AbortController();
  const interrupt = (): void =>
    controller.abort(new Error('stopped; the same command goes on from here'));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  try {
    const report = await runBudget({
      ...options,
      partial: join(folder, 'budget.part.json'),
      signal: controller.signal,
      report: progressLines(),
    });
    const files = {
      'budget.json': `${JSON.stringify(report, rounded, 1)}\n`,
      'budget.md': markdownPage(report),
      'index.html': htmlPage(report),
    };
    for (const [name, text] of Object.entries(files)) await replaceFile(join(folder, name), text);
    say(join(folder, 'index.html'));
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

/** One line that is rewritten on a terminal, lines elsewhere, each with the time since the start. */
function progressLines(): (line: string) => void {
  const start = performance.now();
  return (line) => {
    const seconds = Math.round((performance.now() - start) / 1000);
    const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    if (process.stderr.isTTY) showStatus(`${time} ${line}`);
    else say(`${time} ${line}`);
  };
}

/** Numbers to the fourth decimal: no clock here is finer. */
const rounded = (_key: string, value: unknown): unknown =>
  typeof value === 'number' ? Number(value.toFixed(4)) : value;
