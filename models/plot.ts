/** Figures as SVG text: Observable Plot without a browser, readable in light and dark. */

import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';

export * as Plot from '@observablehq/plot';

export const BLUE = '#0072b2';
export const RED = '#d55e00';
export const GREEN = '#009e73';
export const PINK = '#cc79a7';
export const ORANGE = '#e69f00';
export const SKY = '#56b4e9';
export const GREY = '#7f7f7f';

/** Colours that keep apart on white and on black, and for colour-blind eyes (Okabe and Ito). */
export const COLOURS: readonly string[] = [BLUE, RED, GREEN, PINK, ORANGE, SKY, GREY];

/** Size of a figure and of its left margin, pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
  readonly left: number;
}

const SIZE: Size = { width: 760, height: 440, left: 64 };

/** Ink and paper of a figure that stands alone, by the reader's colour scheme. */
const STYLE = `svg { color: #1b1b1b; background: #ffffff; font: 13px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { color: #ececec; background: #16181c; } }`;

/** Height of a row of the legend, pixels. */
const ROW = 22;

/**
 * A figure as the text of an SVG file.
 * @param options as Plot.plot takes them
 * @param legend names and their colours, drawn below the figure
 * @param size of the figure with one row of legend; default: 760 x 440 pixels, of which 64 are the left margin
 */
export function figure(
  options: Omit<Plot.PlotOptions, 'width' | 'height' | 'marginLeft' | 'marginBottom'>,
  legend: ReadonlyMap<string, string> = new Map(),
  size: Size = SIZE,
): string {
  const { document } = parseHTML('<html><body></body></html>');
  const keys = placeKeys(legend, size);
  const rows = keys.at(-1)?.row ?? 0;
  const height = size.height + ROW * Math.max(0, rows - 1);
  const made = Plot.plot({
    marginTop: 36,
    marginRight: 24,
    style: { fontSize: '13px', overflow: 'visible', background: 'none' },
    ...options,
    width: size.width,
    height,
    marginLeft: size.left,
    marginBottom: 50 + ROW * rows,
    document: document as unknown as Document,
  });
  // With a title or caption a figure comes as HTML around the picture: only the picture is wanted.
  const svg = made.tagName.toLowerCase() === 'svg' ? made : made.querySelector('svg')!;
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  const drawn = keys.map(({ name, colour, x, row }) => {
    const y = height - 14 - ROW * (rows - row);
    return `<circle cx="${x}" cy="${y}" r="5" fill="${colour}"/><text x="${x + 10}" y="${y + 4.5}" style="font-size:13px" text-anchor="start">${escapeText(name)}</text>`;
  });
  const text = svg.outerHTML;
  const inside = text.indexOf('>') + 1;
  return `${text.slice(0, inside)}<style>${STYLE}</style>${drawn.join('')}${text.slice(inside)}\n`;
}

/** Where the names of a legend go: in rows from the left, counted from 1. Below the first stands the name of the axis. */
function placeKeys(legend: ReadonlyMap<string, string>, { width: whole, left }: Size) {
  // Beside a wide margin there is little room.
  const first = Math.min(left, SIZE.left);
  let x = first;
  let row = 1;
  return [...legend].map(([name, colour]) => {
    const width = 30 + 7.4 * name.length;
    if (x + width > whole && x > first) {
      x = first;
      row++;
    }
    const at = { name, colour, x, row };
    x += width;
    return at;
  });
}

/** Text as XML takes it. */
export function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
