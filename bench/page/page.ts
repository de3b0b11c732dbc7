/** The results as a page that stands alone, and as Markdown. */

import { escapeText } from '../../models/plot.ts';
import type { Results } from '../results.ts';
import { ARGUMENT_NOTE, argumentChart, argumentOf } from './argument.ts';
import type { Figure } from './drawing.ts';
import { figureGroups } from './figures.ts';
import { tablesOf } from './tables.ts';
import { markdownTable, type Table } from './text.ts';

const TITLE = 'What a private inference costs';

const INTRODUCTION = [
  'Offline is once per inference, before its input exists; online is what a user waits for. Client and server are two ' +
    'processes on one machine, each with a pool of as many threads as it runs at a time, and compete for its cores.',
  'Links, by round trip and rate in each direction: loopback as it is; LAN 0.5 ms, 1 Gbit/s; WAN 40 ms, 100 Mbit/s; mobile, ' +
    'a phone’s, 60 ms, 20 Mbit/s. Emulated: a decorator of the channel holds each frame of either party back for its bits’ ' +
    'time and half a round trip. Computed, where the bytes would take too long: offline, the slowest of the loopback run and ' +
    'either direction’s bytes; online, their sum; both with the round trips.',
  'Models of the zoo have the weights they ship with. The networks that others argue with have random weights, which neither ' +
    'times nor bytes depend on, and ReLUs chosen at random all over the network; no accuracy is claimed for them. Every answer ' +
    'was compared with the network in the clear, every byte with the formulas.',
] as const;

const CSS = `:root { color-scheme: light dark; --paper: #ffffff; }
body { max-width: 1200px; margin: 0 auto; padding: 20px 12px 64px; color: #1b1b1b; background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 22px; line-height: 1.35; margin: 0 0 12px; max-width: 62ch; } h2 { font-size: 19px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 0; } p { max-width: 76ch; margin: 8px 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(366px, 100%), 1fr)); gap: 28px 24px; align-items: start; }
figure { margin: 0; } figcaption { font-size: 13px; opacity: 0.8; max-width: 90ch; } svg { max-width: 100%; height: auto; }
.narrow { display: none; } summary { cursor: pointer; font-weight: 600; margin: 10px 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: 8px 0; }
th, td { padding: 3px 10px; text-align: right; border-bottom: 1px solid #8884; vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } .sentences td { white-space: normal; text-align: left; min-width: 12ch; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; } body { color: #ececec; } }
@media (max-width: 720px) { .wide { display: none; } .narrow { display: block; } h1 { font-size: 19px; } }`;

/** A table with a longer cell holds sentences, which wrap. */
const SENTENCE = 48;

function htmlTable({ title, note, head, rows }: Table): string {
  const sentences = rows.some((row) => row.slice(1).some((cell) => cell.length > SENTENCE));
  const line = (cells: readonly string[], tag: 'th' | 'td') =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeText(cell)}</${tag}>`).join('')}</tr>`;
  const body = [line(head, 'th'), ...rows.map((row) => line(row, 'td'))].join('\n');
  return `<details><summary>${escapeText(title)}</summary>
${paragraph(note)}
<div class="scroll"><table${sentences ? ' class="sentences"' : ''}>
${body}
</table></div></details>`;
}

const paragraph = (text: string): string => `<p>${escapeText(text)}</p>`;

const htmlFigure = ({ title, note, svg }: Figure): string =>
  `<figure><h3>${escapeText(title)}</h3>\n${svg}<figcaption>${escapeText(note)}</figcaption></figure>`;

/** index.html: the argument as a sentence and a chart, then all else. */
export function htmlPage(results: Results): string {
  const { points } = results;
  const [wide, narrow] = [true, false].map((width) => argumentChart(points, width));
  const chart = wide
    ? `<figure><div class="wide">${wide}</div><div class="narrow">${narrow}</div>
<figcaption>${escapeText(ARGUMENT_NOTE)}</figcaption></figure>`
    : '';
  const groups = figureGroups(results).map(
    ({ title, figures }) =>
      `<h2>${escapeText(title)}</h2>\n<div class="figures">\n${figures.map(htmlFigure).join('\n')}\n</div>`,
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
<h1>${escapeText(argumentOf(points) ?? TITLE)}</h1>
${chart}
${groups.join('\n')}
<h2>Tables</h2>
${INTRODUCTION.map(paragraph).join('\n')}
${tablesOf(results).map(htmlTable).join('\n')}
</body>
</html>
`;
}

/** RESULTS.md. */
export function markdownPage(results: Results): string {
  const tables = tablesOf(results).map(
    (table) => `## ${table.title}\n\n${table.note}\n\n${markdownTable(table)}\n`,
  );
  return `# Results

Written by \`npm run bench\`, as are the page with plots, report/index.html, and report/results.json and report/results.csv, of which
all is drawn; what is measured and how: README.md beside it.

${[argumentOf(results.points), ...INTRODUCTION].filter((text) => text !== undefined).join('\n\n')}

${tables.join('\n')}`;
}
