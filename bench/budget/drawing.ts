/** What all plots of the report share. */

import { COLOURS, Plot } from '../../models/plot.ts';
import { LOOPBACK } from '../../protocol/inference/links.ts';
import { summarise } from '../measure.ts';
import type { OperatorClass } from './attribution.ts';
import type { Series } from './points.ts';
import type { NetworkRun, Phase, PointResult } from './results.ts';

/** A picture and what it shows. */
export interface Figure {
  readonly title: string;
  readonly note: string;
  readonly svg: string;
}

export const [BLUE, RED, GREEN, PINK, ORANGE, SKY, GREY] = COLOURS as [
  string,
  string,
  string,
  string,
  string,
  string,
  string,
];

/** Names and their colours, in order. */
export const coloursOf = (names: Iterable<string>): Map<string, string> =>
  new Map([...new Set(names)].map((name, i) => [name, COLOURS[i % COLOURS.length]!]));

export const NETWORK_COLOURS = new Map([
  [LOOPBACK.name, BLUE],
  ['LAN', GREEN],
  ['WAN', ORANGE],
  ['mobile', RED],
]);

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

export const PHASE_COLOURS = new Map<string, string>([
  ['offline', BLUE],
  ['online', ORANGE],
]);

export const medianOf = (run: NetworkRun, phase: Phase): number => summarise(run.ms[phase]).median;

/** Dashes of a series' lines. */
export const dashesOf = (series: Series): string =>
  ({ trained: 'none', identity: 'none', square: '6 4', 'half gates': '2 3' })[series];

/** Rows by series. */
export const bySeries = <Row extends Pick<PointResult, 'series'>>(
  rows: readonly Row[],
): [Series, Row[]][] =>
  [...new Set(rows.map(({ series }) => series))].map((series) => [
    series,
    rows.filter((row) => row.series === series),
  ]);

/** A dot for each run, hollow where its times are computed. */
export const runDots = <Row extends { readonly run: NetworkRun }>(
  rows: readonly Row[],
  place: { readonly x: keyof Row & string; readonly y: keyof Row & string },
  colour: (row: Row) => string,
) =>
  Plot.dot(rows, {
    ...place,
    r: 4,
    stroke: colour,
    strokeWidth: 1.5,
    fill: (row: Row) => (row.run.origin === 'computed' ? 'none' : colour(row)),
  });

/** Ticks of a logarithmic axis without exponents. */
export const LOG = { type: 'log', grid: true, tickFormat: '~s' } as const;

/** An axis below the picture, whose label stands between its ticks and the legend. */
export const BELOW = { labelOffset: 36 } as const;

/** Room between the outermost dots of a scatter plot and its edge, pixels. */
export const INSET = 12;

/** An axis of ReLUs from none to the most there are. */
export const budgetAxis = (rows: readonly { readonly relus: number }[]) => ({
  ...BELOW,
  label: 'ReLUs →',
  tickFormat: (relus: number) => (relus < 1000 ? `${relus}` : `${relus / 1000}k`),
  grid: true,
  domain: [0, Math.max(1, ...rows.map(({ relus }) => relus))],
});

/** An axis of per cent right, some wide even where all points are equal. */
export const accuracyAxis = (rows: readonly { readonly percent: number }[]) => {
  const values = rows.map(({ percent }) => percent);
  return {
    label: '↑ images named right, %',
    grid: true,
    domain: [
      Math.floor(Math.min(...values)) - 1,
      Math.min(100, Math.ceil(Math.max(...values)) + 1),
    ],
  };
};

export const isDefined = <T>(value: T | undefined): value is T => value !== undefined;
