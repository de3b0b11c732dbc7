/** Figures as SVG text: Observable Plot without a browser, readable in light and dark. */

import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';

export * as Plot from '@observablehq/plot';

/** Colours that keep apart on white and on black, and for colour-blind eyes (Okabe and Ito). */
export const COLOURS: readonly string[] = [
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#e69f00',
  '#56b4e9',
  '#7f7f7f',
];

/** Size of a figure and of its left margin, pixels. */
const WIDTH = 760;
const HEIGHT = 440;
const LEFT = 64;

/** Ink and paper of a figure that stands alone, by the reader's colour scheme. */
const STYLE = `svg { color: #1b1b1b; background: #ffffff; font: 13px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { color: #ececec; background: #16181c; } }`;

/**
 * A figure as the text of an SVG file.
 * @param options as Plot.plot takes them
 * @param legend names and their colours, drawn below the figure
 */
export function figure(
  options: Omit<Plot.PlotOptions, 'width' | 'height' | 'marginLeft'>,
  legend: ReadonlyMap<string, string> = new Map(),
) {
  const { document } = parseHTML('<html><body></body></html>');
  const made = Plot.plot({
    width: WIDTH,
    height: HEIGHT,
    marginTop: 36,
    marginLeft: LEFT,
    marginRight: 24,
    marginBottom: legend.size > 0 ? 74 : 48,
    style: { fontSize: '13px', overflow: 'visible', background: 'none' },
    ...options,
    document: document as unknown as Document,
  });
  // With a title or caption a figure comes as HTML around the picture: only the picture is wanted.
  const svg = made.tagName.toLowerCase() === 'svg' ? made : made.querySelector('svg')!;
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  const text = svg.outerHTML;
  const inside = text.indexOf('>') + 1;
  return `${text.slice(0, inside)}<style>${STYLE}</style>${keys(legend)}${text.slice(inside)}\n`;
}

/** The legend: names beside dots of their colours, in a row. */
function keys(legend: ReadonlyMap<string, string>): string {
  let x = LEFT;
  const y = HEIGHT - 14;
  return [...legend]
    .map(([name, colour]) => {
      const at = x;
      x += 30 + 7.4 * name.length;
      return `<circle cx="${at}" cy="${y}" r="5" fill="${colour}"/><text x="${at + 10}" y="${y + 4.5}" style="font-size:13px" text-anchor="start">${escapeText(name)}</text>`;
    })
    .join('');
}

/** Text as XML takes it. */
export function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
