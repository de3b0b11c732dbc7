/** The plots of costs beside something else: accuracy, other systems, the planner, arrivals. */

import { figure, Plot } from '../../models/plot.ts';
import { LOOPBACK } from '../../protocol/inference/links.ts';
import { PUBLISHED_ACCURACIES, PUBLISHED_LATENCIES } from '../references.ts';
import {
  accuracyAxis,
  BELOW,
  coloursOf,
  type Figure,
  INSET,
  isDefined,
  LOG,
  medianOf,
  NETWORK_COLOURS,
  PHASE_COLOURS,
  PINK,
  runDots,
} from './drawing.ts';
import { type Load, PHASES, type PointResult, runOver } from './results.ts';
import { nameOf, realRuns } from './tables.ts';

/** The network whose points carry the labels: they lie in the middle. */
const LABELLED = 'WAN';

export function paretoFigure(points: readonly PointResult[]): Figure | undefined {
  const budgetsOf = (family: string) =>
    points.filter(({ network }) => network === family).map(({ relus }) => relus);
  const short = (relus: number) => (relus < 1000 ? `${relus}` : `${(relus / 1000).toFixed(1)}k`);
  const rows = points.flatMap((point) =>
    point.accuracy === undefined
      ? []
      : point.runs.map((run) => ({
          percent: 100 * point.accuracy!.share,
          line: `${run.network} ${point.network}`,
          ms: medianOf(run, 'online'),
          network: point.network,
          relus: point.relus,
          run,
        })),
  );
  if (rows.length === 0) return undefined;
  rows.sort((a, b) => a.relus - b.relus);
  const colour = ({ run }: (typeof rows)[number]) => NETWORK_COLOURS.get(run.network)!;
  const largest = ({ network, relus }: (typeof rows)[number]) =>
    relus === Math.max(...budgetsOf(network));
  const least = ({ network, relus }: (typeof rows)[number]) =>
    relus === Math.min(...budgetsOf(network));
  const label = (which: (row: (typeof rows)[number]) => boolean, dy: number) =>
    Plot.text(
      rows.filter((row) => row.run.network === LABELLED && which(row)),
      {
        x: 'ms',
        y: 'percent',
        text: ({ network, relus }: (typeof rows)[number]) => `${network} ${short(relus)}`,
        dy,
        fontSize: 11,
      },
    );
  return {
    title: 'Accuracy against online latency',
    note: 'The zoo: accuracy of the fixed-point network, as its card states it; which images, the table says. Hollow: computed. Labels: data and ReLUs.',
    svg: figure(
      {
        inset: INSET,
        x: { ...LOG, ...BELOW, label: 'online, ms →' },
        y: accuracyAxis(rows),
        marks: [
          Plot.line(rows, { x: 'ms', y: 'percent', z: 'line', stroke: colour }),
          runDots(rows, { x: 'ms', y: 'percent' }, colour),
          // The largest and the least budget of a family alone: the others stand close to each other.
          label(largest, -10),
          label((row) => least(row) && !largest(row), 12),
        ],
      },
      NETWORK_COLOURS,
    ),
  };
}

export function plannerFigure(points: readonly PointResult[]): Figure {
  const rows = realRuns(points).flatMap(({ run }) =>
    PHASES.map((phase) => ({ phase, run: medianOf(run, phase), planned: run.planned[phase] })),
  );
  const values = rows.flatMap(({ run, planned }) => [run, planned]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const ends = [low, high];
  const band = (factor: number, dashes: string) =>
    Plot.line(ends, {
      x: (ms: number) => ms,
      y: (ms: number) => factor * ms,
      stroke: 'currentColor',
      strokeOpacity: 0.5,
      strokeDasharray: dashes,
    });
  return {
    title: 'The planner: predicted against run',
    note: 'Every point that was run, over every network. Solid: equal; dashed: a factor of two either way.',
    svg: figure(
      {
        inset: INSET,
        x: { ...LOG, ...BELOW, label: 'run, ms →' },
        y: { ...LOG, label: '↑ planned, ms' },
        marks: [
          band(1, 'none'),
          band(2, '4 4'),
          band(0.5, '4 4'),
          Plot.dot(rows, {
            x: 'run',
            y: 'planned',
            r: 4,
            fill: ({ phase }: (typeof rows)[number]) => PHASE_COLOURS.get(phase)!,
            fillOpacity: 0.8,
          }),
        ],
      },
      PHASE_COLOURS,
    ),
  };
}

/** Ours and what others publish, a row each, never in one series. */
export function publishedFigure(points: readonly PointResult[]): Figure | undefined {
  const ours = points
    .filter(({ id }) =>
      /^ResNet-(32|18)\/identity\/(303104|557056|27853)$|^ResNet-20\/identity\/188416$/.test(id),
    )
    .map((point) => {
      const run = runOver(point, LOOPBACK.name)!;
      return {
        row: `Sotto: ${nameOf(point)} ReLUs, this run, loopback`,
        times: PHASES.map((phase) => ({
          what: phase as string,
          seconds: medianOf(run, phase) / 1000,
        })),
      };
    });
  if (ours.length === 0) return undefined;
  const theirs = PUBLISHED_LATENCIES.map((entry) => ({
    row: `${entry.system}: ${entry.network}, published`,
    times: [
      { what: 'offline', seconds: entry.offlineSeconds },
      { what: 'online', seconds: entry.onlineSeconds },
      { what: 'whole inference', seconds: entry.totalSeconds },
    ].filter((time): time is { what: string; seconds: number } => isDefined(time.seconds)),
  }));
  const colours = new Map([...PHASE_COLOURS, ['whole inference', PINK]]);
  const dots = (from: typeof ours, hollow: boolean) => {
    const rows = from.flatMap(({ row, times }) => times.map((time) => ({ row, ...time })));
    const colour = ({ what }: (typeof rows)[number]) => colours.get(what)!;
    return Plot.dot(rows, {
      x: 'seconds',
      y: 'row',
      r: 5,
      symbol: hollow ? 'diamond' : 'circle',
      stroke: colour,
      strokeWidth: 2,
      fill: hollow ? 'none' : colour,
    });
  };
  const names = [...ours, ...theirs].map(({ row }) => row);
  const least = Math.min(
    ...[...ours, ...theirs].flatMap(({ times }) => times.map(({ seconds }) => seconds)),
  );
  return {
    title: 'Beside what others publish',
    note:
      'Circles: this run, on the machine named above. Diamonds: published, each on its own machine and network; sources and ' +
      'machines in the table below. They show how large such costs are, and are no race.',
    svg: figure(
      {
        x: { ...LOG, ...BELOW, label: 's →', tickFormat: '~g' },
        y: { label: null, axis: null, domain: names },
        marks: [
          Plot.ruleY(names, { y: (name: string) => name, strokeOpacity: 0.15 }),
          Plot.text(names, {
            x: () => least,
            y: (name: string) => name,
            text: (name: string) => name,
            textAnchor: 'start',
            dy: -14,
            fontSize: 12,
          }),
          dots(ours, false),
          dots(theirs, true),
        ],
      },
      colours,
    ),
  };
}

export function accuracyFigure(points: readonly PointResult[]): Figure | undefined {
  const ours = points.filter(({ accuracy }) => /^cifar-?10\b/i.test(accuracy?.data ?? ''));
  if (ours.length === 0) return undefined;
  const name = 'Sotto, this zoo';
  const rows = [
    ...ours.map(({ relus, accuracy }) => ({ method: name, relus, percent: 100 * accuracy!.share })),
    ...PUBLISHED_ACCURACIES.flatMap(({ method, points: published }) =>
      published.map(([relus, percent]) => ({ method: `${method}, published`, relus, percent })),
    ),
  ].sort((a, b) => a.relus - b.relus);
  const colours = coloursOf(rows.map(({ method }) => method).sort());
  const colour = ({ method }: (typeof rows)[number]) => colours.get(method)!;
  return {
    title: 'Accuracy against ReLU budget on CIFAR-10',
    note: 'Filled: the zoo’s small networks. Hollow: published, of networks some fifty times larger; sources in the table below.',
    svg: figure(
      {
        x: { ...LOG, ...BELOW, label: 'ReLUs →' },
        y: accuracyAxis(rows),
        marks: [
          Plot.line(rows, { x: 'relus', y: 'percent', z: 'method', stroke: colour }),
          Plot.dot(rows, {
            x: 'relus',
            y: 'percent',
            r: 4,
            stroke: colour,
            strokeWidth: 1.5,
            fill: (row: (typeof rows)[number]) => (row.method === name ? colour(row) : 'none'),
          }),
        ],
      },
      colours,
    ),
  };
}

/** Whether answers come as fast as arrivals, to a few per cent. */
const keepsUp = ({ answeredPerMinute, arrivalsPerMinute }: Load): boolean =>
  answeredPerMinute > 0.97 * arrivalsPerMinute;

/** How arrivals fare: dots are runs, lines are simulated. */
export function loadFigure(
  network: string,
  what: 'answers' | 'latency',
  loads: readonly Load[],
): Figure | undefined {
  const rows = loads
    .filter((load) => load.network === network)
    // Beyond what the machine can do a latency is the length of the simulation.
    .filter((load) => what === 'answers' || load.origin === 'measured' || keepsUp(load))
    .map((load) => ({ ...load, store: `store of ${load.store}` }))
    .sort((a, b) => a.arrivalsPerMinute - b.arrivalsPerMinute);
  if (rows.length === 0) return undefined;
  const colours = coloursOf(
    rows.map(({ store }) => store).sort((a, b) => a.length - b.length || a.localeCompare(b)),
  );
  const colour = ({ store }: (typeof rows)[number]) => colours.get(store)!;
  const y = what === 'answers' ? 'answeredPerMinute' : 'p95Ms';
  const measured = rows.filter(({ origin }) => origin === 'measured');
  return {
    title: `${network.replace('zoo/', '').replace(/\/.*/, '')}: ${what === 'answers' ? 'inferences per minute' : 'latency'} against arrivals`,
    note:
      `Three clients, each with a bounded store of bundles.${measured.length > 0 ? ' Dots: run, some seconds each.' : ''} ` +
      'Lines: simulated from the medians over loopback.',
    svg: figure(
      {
        x: { ...BELOW, label: 'arrivals per minute →', grid: true },
        y:
          what === 'answers'
            ? { label: '↑ answers per minute', grid: true }
            : { ...LOG, label: '↑ answered within this many ms, 95 %' },
        marks: [
          Plot.lineY(
            rows.filter(({ origin }) => origin === 'simulated'),
            { x: 'arrivalsPerMinute', y, z: 'store', stroke: colour },
          ),
          Plot.dot(measured, { x: 'arrivalsPerMinute', y, r: 5, fill: colour }),
        ],
      },
      colours,
    ),
  };
}
