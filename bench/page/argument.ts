/** What the page says first: accuracy against the time that an answer takes over a phone's link. */

import { BLUE, figure, GREEN, ORANGE, PINK, Plot, RED, type Size, SKY } from '../../models/plot.ts';
import { MOBILE } from '../../protocol/inference/links.ts';
import { type LinkResult, linkOf, type PointResult } from '../results.ts';
import { BELOW, linkText } from './drawing.ts';
import { count } from './text.ts';

/** ReLUs where there is little room. */
const short = (relus: number): string =>
  relus < 1000 ? `${relus}` : `${Math.round(relus / 1000)}k`;

/** The data on which networks of all kinds are compared. */
const DATA = 'CIFAR-10';

const COLOURS = [BLUE, ORANGE, GREEN, PINK, SKY, RED];

/** A point on the chart. */
interface Dot {
  readonly series: string;
  readonly relus: number;
  readonly percent: number;
  readonly seconds: number;
  readonly origin: LinkResult['origin'];
}

/** What the network that is argued with is called in a series. */
const OURS = { encoded: 'Sotto, encoded comparison', garbled: 'Sotto, half gates' } as const;

/** Our network for the data that has the most budgets, in order of ReLUs, all of them first. */
export function argued(points: readonly PointResult[]): PointResult[] {
  const ours = points.filter(
    ({ id, accuracy }) => id.startsWith('zoo/') && accuracy?.data === DATA,
  );
  const budgets = (network: string) => ours.filter((point) => point.network === network).length;
  const most = Math.max(...ours.map(({ network }) => budgets(network)));
  const chosen = ours.find(({ network }) => budgets(network) === most)?.network;
  return ours.filter(({ network }) => network === chosen).sort((a, b) => b.relus - a.relus);
}

function dotsOf(points: readonly PointResult[]): Dot[] {
  return points.flatMap((point): Dot[] => {
    const { id, network, weights, comparison, relus, accuracy } = point;
    const link = linkOf(point, MOBILE.name);
    if (accuracy === undefined || link === undefined) return [];
    const own = id.startsWith('models/');
    if (!own && accuracy.data !== DATA) return [];
    const published = `${network}, published`;
    const ours = own ? `${network} (${accuracy.data})` : OURS[comparison];
    return [
      {
        series: weights === 'published' ? published : ours,
        relus,
        percent: 100 * accuracy.share,
        seconds: link.ms.online.median / 1000,
        origin: link.origin,
      },
    ];
  });
}

const seconds = (point: PointResult): string =>
  `${(linkOf(point, MOBILE.name)!.ms.online.median / 1000).toFixed(1)} s`;

/** The argument as a sentence; undefined where the results do not have its points. */
export function argumentOf(points: readonly PointResult[]): string | undefined {
  const [encoded, garbled] = (['encoded', 'garbled'] as const).map((comparison) =>
    argued(points).filter((point) => point.comparison === comparison),
  );
  const [all, few] = [encoded![0], encoded!.at(-1)];
  const [allGarbled, fewGarbled] = [garbled![0], garbled!.at(-1)];
  if (!all || !few || !allGarbled || !fewGarbled || all === few) return undefined;
  const lost = 100 * (all.accuracy!.share - few.accuracy!.share);
  const removed = Math.round(100 * (1 - few.relus / all.relus));
  return (
    `Over ${linkText(MOBILE.name)} all ReLUs of a network answer in ${seconds(all)} with the encoded comparison; with half ` +
    `gates they took ${seconds(allGarbled)}, or ${seconds(fewGarbled)} without ${removed} % of them, at the price of ` +
    `${lost.toFixed(1)} points of accuracy.`
  );
}

/** The chart of a width; undefined without points. */
export function argumentChart(points: readonly PointResult[], wide: boolean): string | undefined {
  const dots = dotsOf(points).sort((a, b) => a.relus - b.relus);
  if (dots.length === 0) return undefined;
  const rank = (series: string): number => (series.startsWith('Sotto') ? 0 : 1);
  const names = [...new Set(dots.map(({ series }) => series))].sort(
    (a, b) => rank(a) - rank(b) || a.localeCompare(b),
  );
  const colours = new Map(names.map((name, i) => [name, COLOURS[i % COLOURS.length]!]));
  const colour = ({ series }: Dot) => colours.get(series)!;
  const slowest = Math.max(...dots.map((dot) => dot.seconds));
  const percents = dots.map(({ percent }) => percent);
  /** Of our series the ends alone carry their budget: the others stand close to each other. */
  const ends = dots.filter(({ series, relus }) => {
    const budgets = dots.filter((dot) => dot.series === series).map((dot) => dot.relus);
    return rank(series) === 0 && [Math.max(...budgets), Math.min(...budgets)].includes(relus);
  });
  const label = (some: readonly Dot[], place: Plot.TextOptions) =>
    Plot.text(some, {
      x: 'seconds',
      y: 'percent',
      text: ({ relus }: Dot) => (wide ? `${count(relus)} ReLUs` : short(relus)),
      fontSize: 11,
      ...place,
    });
  const size: Size = wide
    ? { width: 960, height: 460, left: 56 }
    : { width: 366, height: 360, left: 44 };
  return figure(
    {
      inset: 14,
      x: {
        ...BELOW,
        label: 'online time over a phone’s link, s →',
        grid: true,
        insetLeft: 0,
        domain: [0, slowest],
      },
      y: {
        label: '↑ images named right, %',
        grid: true,
        ticks: wide ? 8 : 5,
        domain: [Math.floor(Math.min(...percents)), Math.ceil(Math.max(...percents))],
      },
      marks: [
        Plot.line(dots, {
          x: 'seconds',
          y: 'percent',
          z: 'series',
          stroke: colour,
          strokeWidth: 2,
        }),
        Plot.dot(dots, {
          x: 'seconds',
          y: 'percent',
          r: 4.5,
          stroke: colour,
          strokeWidth: 1.75,
          fill: (dot: Dot) => (/computed|planned/.test(dot.origin) ? 'var(--paper)' : colour(dot)),
          title: ({ series, relus, percent, seconds: s }: Dot) =>
            `${series}: ${count(relus)} ReLUs, ${percent.toFixed(1)} %, ${s.toFixed(2)} s`,
        }),
        // The encoded comparison's stand to the left of all others.
        label(
          ends.filter(({ series }) => series === OURS.encoded),
          { textAnchor: 'end', dx: -9, dy: 5 },
        ),
        label(
          ends.filter(({ series }) => series !== OURS.encoded),
          { textAnchor: 'middle', dy: -13 },
        ),
      ],
    },
    colours,
    size,
  );
}

/** What has to be known to read the chart. */
export const ARGUMENT_NOTE: string =
  'Ours: the networks of the zoo for CIFAR-10, some 16 million multiplications, the most accurate one 111 million; filled dots are runs, hollow ones are computed ' +
  'from a run over loopback and the exact bytes and round trips, or, where there was none, planned by sotto plan. Published: ' +
  'accuracies of SNL, DeepReDuce and AutoReP, of networks some thirty times larger; their time is what our formulas and ' +
  'sotto plan say of a ResNet-18 with as many ReLUs and the encoded comparison, not what their authors measured.';
