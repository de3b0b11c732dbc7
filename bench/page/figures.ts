/** The plots of the page below its first: what an answer waits for, bytes, other links, where time goes, arrivals. */

import { BLUE, figure, GREEN, ORANGE, Plot, RED, SKY } from '../../models/plot.ts';
import { LINKS, LOOPBACK, MOBILE } from '../../protocol/inference/links.ts';
import { countAll } from '../../protocol/program/kinds.ts';
import { wireMs } from '../links.ts';
import { PHASES, type Phase } from '../phases.ts';
import { type LoadResult, linkOf, type PointResult, type Results } from '../results.ts';
import { CLASSES } from '../stand/attribution.ts';
import { argued } from './argument.ts';
import {
  type BarPart,
  BELOW,
  bars,
  CLASS_COLOURS,
  coloursOf,
  type Figure,
  linkText,
  WIDTH,
} from './drawing.ts';
import { count } from './text.ts';

/** Figures that belong together. */
export interface Group {
  readonly title: string;
  readonly figures: readonly Figure[];
}

/** A point among those of its network. */
function rowOf({ relus, squares, identities, comparison }: PointResult): string {
  const rest = squares > 0 ? ', rest squares' : '';
  const half = comparison === 'garbled' ? ', half gates' : '';
  const percent = Math.round((100 * relus) / Math.max(1, relus + squares + identities));
  return `${count(relus)} ReLUs (${percent} %)${rest}${half}`;
}

/** Points that are measured, by network, networks of one point together. */
function byNetwork(points: readonly PointResult[]): [string, PointResult[]][] {
  const networks = new Map<string, PointResult[]>();
  for (const point of points.filter(({ weights }) => weights !== 'published')) {
    networks.set(point.network, [...(networks.get(point.network) ?? []), point]);
  }
  return [...networks].map(([network, own]) => [
    network,
    own.sort((a, b) => b.relus - a.relus || b.squares - a.squares),
  ]);
}

const WAITS = new Map([
  ['computing', BLUE],
  ['bytes up', ORANGE],
  ['bytes down', RED],
  ['round trips', SKY],
]);

/** Of what the online time over a link consists. */
function waitFigure(points: readonly PointResult[], note: string): Figure {
  const parts = points.flatMap((point): BarPart[] => {
    const { upBytes, downBytes, roundTrips } = point.costs.online;
    const values = [
      linkOf(point, LOOPBACK.name)!.ms.online.median,
      wireMs(upBytes, MOBILE),
      wireMs(downBytes, MOBILE),
      roundTrips * MOBILE.roundTripMs,
    ];
    const row = rowOf(point);
    return [...WAITS.keys()].map((part, i) => ({ row, part, value: values[i]! / 1000 }));
  });
  const { network } = points[0]!;
  return { title: `${network}, online`, note, svg: bars(parts, WAITS, 's →') };
}

const BYTES = new Map([
  ['online up', ORANGE],
  ['online down', RED],
  ['offline up', BLUE],
  ['offline down', GREEN],
]);

function bytesFigure(network: string, points: readonly PointResult[]): Figure {
  const parts = points.flatMap((point): BarPart[] =>
    [...BYTES.keys()].map((part) => {
      const [phase, direction] = part.split(' ') as [Phase, 'up' | 'down'];
      return { row: rowOf(point), part, value: point.costs[phase][`${direction}Bytes`] / 1e6 };
    }),
  );
  return {
    title: network,
    note: 'Exact, the same on every machine and link; the hint, once a client, is not in them.',
    svg: bars(parts, BYTES, 'MB of one inference →'),
  };
}

/** Online time against the budget over a link, a line for each network of random weights, dashed with half gates. */
function latencyFigure(link: string, points: readonly PointResult[]): Figure | undefined {
  const rows = points
    .filter(({ id, squares, weights }) => weights === 'random' && squares === 0 && !isLarge(id))
    .flatMap((point) => {
      const found = linkOf(point, link);
      if (found === undefined) return [];
      const { network, comparison, relus } = point;
      const percent = (100 * relus) / countAll(point);
      const seconds = found.ms.online.median / 1000;
      return [
        { network, comparison, percent, seconds, run: !/computed|planned/.test(found.origin) },
      ];
    })
    .sort((a, b) => a.percent - b.percent);
  if (rows.length === 0) return undefined;
  type Row = (typeof rows)[number];
  const colours = coloursOf(rows.map(({ network }) => network));
  const colour = ({ network }: Row) => colours.get(network)!;
  const line = (comparison: Row['comparison'], dashes: string) =>
    Plot.line(
      rows.filter((row) => row.comparison === comparison),
      { x: 'percent', y: 'seconds', z: 'network', stroke: colour, strokeDasharray: dashes },
    );
  return {
    title: `Over ${linkText(link)}`,
    note: 'Median online time. Random weights, ReLUs chosen at random, the rest identities. Dashed: half gates. Filled: run; hollow: computed.',
    svg: figure(
      {
        inset: 8,
        x: { ...BELOW, label: 'ReLUs, % of activations →', grid: true, ticks: 5, zero: true },
        y: { label: '↑ s', grid: true, ticks: 6, zero: true, insetBottom: 0 },
        marks: [
          line('encoded', 'none'),
          line('garbled', '5 4'),
          Plot.dot(rows, {
            x: 'percent',
            y: 'seconds',
            r: 3.5,
            stroke: colour,
            strokeWidth: 1.5,
            fill: (row: Row) => (row.run ? colour(row) : 'var(--paper)'),
          }),
        ],
      },
      colours,
      { width: WIDTH, height: 320, left: 44 },
    ),
  };
}

/** Whether a point is of ImageNet's size: its bytes and times would dwarf all others'. */
const isLarge = (id: string): boolean => /^(imagenet|onnx)\//.test(id);

function traceFigure(
  network: string,
  phase: Phase,
  points: readonly PointResult[],
  { traces }: Results,
): Figure | undefined {
  const parts = points.flatMap((point): BarPart[] => {
    const trace = traces.find((candidate) => candidate.point === point.id);
    if (trace === undefined) return [];
    const row = rowOf(point);
    return CLASSES.map((part) => ({ row, part, value: trace.ms[phase][part] }));
  });
  if (parts.length === 0) return undefined;
  return {
    title: `${network}, ${phase}`,
    note: '',
    svg: bars(parts, CLASS_COLOURS, 'ms →'),
  };
}

/** How arrivals fare. */
function loadFigure(loads: readonly LoadResult[]): Figure | undefined {
  if (loads.length === 0) return undefined;
  const rows = loads.map((load) => ({
    ...load,
    name: `store of ${load.store}`,
    seconds: load.p95Ms / 1000,
  }));
  const colours = coloursOf(rows.map(({ name }) => name));
  const colour = ({ name }: (typeof rows)[number]) => colours.get(name)!;
  const place = { x: 'arrivalsPerMinute', y: 'seconds' } as const;
  return {
    title: rows[0]!.point.replace(/^zoo\//, ''),
    note: 'Three clients of one server, each with a store of so many bundles; Poisson arrivals, some seconds a rate.',
    svg: figure(
      {
        x: { ...BELOW, label: 'arrivals per minute →', grid: true, ticks: 5, zero: true },
        y: { label: '↑ 95 % answered within, s', grid: true, ticks: 6, zero: true },
        marks: [
          Plot.line(rows, { ...place, z: 'name', stroke: colour }),
          Plot.dot(rows, { ...place, r: 4.5, fill: colour }),
        ],
      },
      colours,
      { width: WIDTH, height: 320, left: 48 },
    ),
  };
}

const isDefined = <T>(value: T | undefined): value is T => value !== undefined;

/** All figures there is data for, in the order in which they are read. */
export function figureGroups(results: Results): Group[] {
  const { points, sections } = results;
  const networks = byNetwork(points.filter(({ id }) => !isLarge(id)));
  const waiting = argued(points);
  const note =
    'Computing is the median over loopback, of both parties on one machine; the rest is calculated. Half gates of networks that were not run with them are planned.';
  const groups = [
    {
      title: `What an answer over ${linkText(MOBILE.name)} waits for`,
      figures: waiting.length === 0 ? [] : [waitFigure(waiting, note)],
    },
    {
      title: 'Bytes',
      figures: networks.map(([network, own]) => bytesFigure(network, own)),
    },
    {
      title: 'Online time over each link',
      figures: LINKS.map(({ name }) => latencyFigure(name, points)),
    },
    {
      title:
        'Where the time goes over loopback: one traced inference each, each instant shared equally among what either party does at it',
      figures: networks.flatMap(([network, own]) =>
        [...PHASES].reverse().map((phase) => traceFigure(network, phase, own, results)),
      ),
    },
    {
      title: 'Inferences that arrive by themselves',
      figures: [loadFigure(sections.loads?.results ?? [])],
    },
  ];
  return groups
    .map(({ title, figures }) => ({ title, figures: figures.filter(isDefined) }))
    .filter(({ figures }) => figures.length > 0);
}
