/** The report as a page that stands alone, and as Markdown. */

import { escapeText } from '../../models/plot.ts';
import { table } from '../report.ts';
import { figuresOf } from './figures.ts';
import type { BudgetReport } from './results.ts';
import { runTable, type Table, tablesOf } from './tables.ts';

const TITLE = 'Latency against ReLU budget';

const INTRODUCTION = [
  'What one private inference costs, in both phases and at both parties, from all ReLUs of a network down to none. Offline ' +
    'is once per inference, before its input exists; online is what a user waits for. Client and server are two processes ' +
    'on one machine, each with a pool of as many threads as it runs at a time, and compete for its cores.',
  'Networks between the parties, by round trip and rate in each direction: loopback as it is; LAN 0.5 ms, 1 Gbit/s; WAN ' +
    '40 ms, 100 Mbit/s; mobile 60 ms, 20 Mbit/s. Emulated: a decorator of the channel holds each frame of either party back ' +
    'for its bits’ time and half a round trip. Computed, where the bytes would take too long: offline, the slowest of the ' +
    'loopback run and either direction’s bytes; online, their sum; both with the round trips.',
  'Zoo models have the weights they ship with. The ResNets and the HybReNet have random weights, which neither times nor ' +
    'bytes depend on, and ReLUs chosen at random all over the network; no accuracy is claimed for them. Every answer was ' +
    'compared with the network in the clear, every byte with the formulas.',
] as const;

const CSS = `:root { color-scheme: light dark; }
body { max-width: 1180px; margin: 0 auto; padding: 24px 20px 64px; color: #1b1b1b; background: #fff;
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 8px; } h2 { font-size: 19px; margin: 40px 0 8px; }
h3 { font-size: 15px; margin: 0; } p { max-width: 76ch; margin: 8px 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(520px, 1fr)); gap: 32px 28px; }
figure { margin: 0; } figcaption { font-size: 13px; opacity: 0.8; } figure svg { width: 100%; height: auto; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: 8px 0; }
th, td { padding: 3px 10px; text-align: right; border-bottom: 1px solid #8884; vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } .words td { white-space: normal; text-align: left; }
@media (prefers-color-scheme: dark) { body { color: #ececec; background: #16181c; } }
@media (max-width: 640px) { .figures { grid-template-columns: 1fr; } }`;

/** A cell longer than this holds words: its table wraps. */
const WORDS = 40;

function htmlTable({ head, rows }: Table): string {
  const words = rows.some((row) => row.slice(1).some((cell) => cell.length > WORDS));
  const line = (cells: readonly string[], tag: 'th' | 'td') =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeText(cell)}</${tag}>`).join('')}</tr>`;
  const body = rows.map((row) => line(row, 'td')).join('\n');
  return `<div class="scroll"><table${words ? ' class="words"' : ''}>\n${line(head, 'th')}\n${body}\n</table></div>`;
}

const paragraph = (text: string): string => `<p>${escapeText(text)}</p>`;

/** bench/report/index.html. */
export function htmlPage(report: BudgetReport): string {
  const figures = figuresOf(report).map(
    ({ title, note, svg }) =>
      `<figure><h3>${escapeText(title)}</h3>\n${svg}<figcaption>${escapeText(note)}</figcaption></figure>`,
  );
  const tables = tablesOf(report).map(
    (part) => `<h2>${escapeText(part.title)}</h2>\n${paragraph(part.note)}\n${htmlTable(part)}`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${TITLE}</title>
<style>${CSS}</style>
</head>
<body>
<h1>${TITLE}</h1>
${INTRODUCTION.map(paragraph).join('\n')}
${htmlTable(runTable(report))}
<h2>Figures</h2>
<div class="figures">
${figures.join('\n')}
</div>
${tables.join('\n')}
</body>
</html>
`;
}

/** bench/report/budget.md. */
export function markdownPage(report: BudgetReport): string {
  const run = runTable(report);
  const tables = tablesOf(report).map(
    ({ title, note, head, rows }) => `## ${title}\n\n${note}\n\n${table(head, rows)}\n`,
  );
  return `# ${TITLE}

Written by \`npm run bench:budget\`; with plots: index.html beside it; every repetition: budget.json.

${INTRODUCTION.join('\n\n')}

${table(run.head, run.rows)}

${tables.join('\n')}`;
}
