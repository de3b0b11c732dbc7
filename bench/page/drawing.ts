/** What the plots of the page share. Lengths and savings are drawn on linear axes that begin at 0. */

import {
  BLUE,
  COLOURS,
  figure,
  GREEN,
  GREY,
  ORANGE,
  PINK,
  Plot,
  RED,
  SKY,
} from '../../models/plot.ts';
import { LINKS } from '../../protocol/inference/links.ts';
import type { OperatorClass } from '../stand/attribution.ts';

/** A picture and what it shows. */
export interface Figure {
  readonly title: string;
  readonly note: string;
  readonly svg: string;
}

/** Names and their colours, in order. */
export const coloursOf = (names: Iterable<string>): Map<string, string> =>
  new Map([...new Set(names)].map((name, i) => [name, COLOURS[i % COLOURS.length]!]));

const classColours: Readonly<Record<OperatorClass, string>> = {
  linear: BLUE,
  ReLU: RED,
  square: GREEN,
  identity: PINK,
  output: ORANGE,
  other: SKY,
  wait: GREY,
};

export const CLASS_COLOURS: ReadonlyMap<string, string> = new Map(Object.entries(classColours));

/** A link as readers know it. */
export function linkText(name: string): string {
  const { roundTripMs, bitsPerSecond } = LINKS.find((link) => link.name === name)!;
  if (name === 'loopback') return 'loopback';
  const rate =
    bitsPerSecond >= 1e9 ? `${bitsPerSecond / 1e9} Gbit/s` : `${bitsPerSecond / 1e6} Mbit/s`;
  return `${name === 'mobile' ? 'a phone’s link' : name} (${rate}, ${roundTripMs} ms round trip)`;
}

/** Figures are as wide as a phone, and stand beside each other where there is more room. */
export const WIDTH = 366;

/** An axis below the picture, whose label stands between its ticks and the legend. */
export const BELOW = { labelOffset: 36 } as const;

/** A part of a bar. */
export interface BarPart {
  readonly row: string;
  readonly part: string;
  readonly value: number;
}

/** Stacked bars from 0, one below the other, their names above them: lengths that are compared. */
export function bars(
  parts: readonly BarPart[],
  colours: ReadonlyMap<string, string>,
  axis: string,
): string {
  const rows = [...new Set(parts.map(({ row }) => row))];
  const used = new Map([...colours].filter(([name]) => parts.some(({ part }) => part === name)));
  return figure(
    {
      x: { ...BELOW, label: axis, grid: true, ticks: 5, zero: true },
      y: { axis: null, domain: rows, paddingInner: 0.55, paddingOuter: 0.4 },
      marks: [
        Plot.barX(parts, {
          x: 'value',
          y: 'row',
          fill: ({ part }: BarPart) => colours.get(part)!,
          order: [...colours.values()],
        }),
        Plot.text(rows, {
          x: () => 0,
          y: (row: string) => row,
          text: (row: string) => row,
          textAnchor: 'start',
          dy: -15,
          fontSize: 11.5,
        }),
        Plot.ruleX([0]),
      ],
    },
    used,
    { width: WIDTH, height: 112 + 34 * rows.length, left: 16 },
  );
}
