/** The plots of what an inference costs. */

import { figure, Plot } from '../../models/plot.ts';
import { LOOPBACK } from '../../protocol/inference/links.ts';
import { countAll } from '../../protocol/program/kinds.ts';
import { summarise } from '../measure.ts';
import { CLASSES } from './attribution.ts';
import {
  BELOW,
  budgetAxis,
  bySeries,
  CLASS_COLOURS,
  coloursOf,
  dashesOf,
  type Figure,
  INSET,
  LOG,
  medianOf,
  NETWORK_COLOURS,
  runDots,
} from './drawing.ts';
import { PHASES, type Phase, type PointResult, runOver } from './results.ts';

/** Networks with points of several budgets. */
export function sweptNetworks(points: readonly PointResult[]): string[] {
  const names = points.map(({ network }) => network);
  return [...new Set(names)].filter((name) => names.indexOf(name) < names.lastIndexOf(name));
}

/** Online latency against the ReLU budget, a line for each network between the parties. */
export function latencyFigure(network: string, points: readonly PointResult[]): Figure {
  const rows = points
    .filter((point) => point.network === network)
    .flatMap((point) =>
      point.runs.map((run) => {
        const { lower, median, upper } = summarise(run.ms.online);
        const line = `${run.network} ${point.series}`;
        return { relus: point.relus, median, lower, upper, run, line, series: point.series };
      }),
    )
    .sort((a, b) => a.relus - b.relus);
  const colour = ({ run }: (typeof rows)[number]) => NETWORK_COLOURS.get(run.network)!;
  const lines = bySeries(rows).map(([series, own]) =>
    Plot.lineY(own, {
      x: 'relus',
      y: 'median',
      z: 'line',
      stroke: colour,
      strokeDasharray: dashesOf(series),
    }),
  );
  const trained = rows.some(({ series }) => series === 'trained');
  return {
    title: `Online latency against ReLU budget: ${network}`,
    note:
      `${trained ? 'Trained weights.' : 'Random weights; what is no ReLU is the identity, dashed: a square. Dotted: half gates.'} Filled: run, ` +
      'with quartiles; hollow: computed from the run over loopback.',
    svg: figure(
      {
        x: budgetAxis(rows),
        y: { ...LOG, label: '↑ online, ms' },
        marks: [
          ...lines,
          Plot.ruleX(rows, {
            x: 'relus',
            y1: 'lower',
            y2: 'upper',
            stroke: colour,
            strokeWidth: 2,
          }),
          runDots(rows, { x: 'relus', y: 'median' }, colour),
        ],
      },
      NETWORK_COLOURS,
    ),
  };
}

export function bytesFigure(points: readonly PointResult[]): Figure {
  const colours = coloursOf(points.map(({ network }) => network));
  const rows = points
    .filter(({ series }) => series !== 'square')
    .flatMap(({ network, series, relus, cost }) =>
      PHASES.map((phase) => ({
        network,
        relus,
        half: series === 'half gates',
        line: `${network} ${series} ${phase}`,
        phase,
        megabytes: (cost[phase].up + cost[phase].down) / 1e6,
      })),
    )
    .sort((a, b) => a.relus - b.relus);
  const colour = ({ network }: (typeof rows)[number]) => colours.get(network)!;
  const line = (phase: Phase, dashes: string) =>
    Plot.lineY(
      rows.filter((row) => row.phase === phase),
      { x: 'relus', y: 'megabytes', z: 'line', stroke: colour, strokeDasharray: dashes },
    );
  return {
    title: 'Bytes of one inference against ReLU budget',
    note: 'Both directions, exact. Solid: online; dashed: offline. Hollow: half gates.',
    svg: figure(
      {
        x: budgetAxis(rows),
        y: { ...LOG, label: '↑ MB' },
        marks: [
          line('online', 'none'),
          line('offline', '6 4'),
          Plot.dot(rows, {
            x: 'relus',
            y: 'megabytes',
            r: 3,
            stroke: colour,
            fill: (row: (typeof rows)[number]) => (row.half ? 'none' : colour(row)),
          }),
        ],
      },
      colours,
    ),
  };
}

/** Stacked shares of a phase, networks beside each other, budgets as shares of the elements. */
export function attributionFigure(
  phase: Phase,
  over: string,
  points: readonly PointResult[],
): Figure | undefined {
  // Of half gates the whole network: fewer ReLUs have bars too low to compare.
  const swept = points.filter(
    ({ series, identities }) =>
      series !== 'trained' && (series !== 'half gates' || identities === 0),
  );
  const facetOf = ({ network, series }: PointResult) =>
    series === 'square' ? `${network}, squares` : network;
  const rows = swept.flatMap((point) => {
    const run = runOver(point, over);
    if (run === undefined) return [];
    const percent = (100 * point.relus) / countAll(point);
    const rounded = percent < 10 ? Number(percent.toFixed(1)) : Math.round(percent);
    const budget = `${rounded}${point.series === 'half gates' ? 'h' : ''}`;
    return CLASSES.map((name) => ({
      facet: facetOf(point),
      budget,
      name,
      seconds: run.attribution[phase][name] / 1000,
    }));
  });
  if (rows.length === 0) return undefined;
  const budgets = [...new Set(rows.map(({ budget }) => budget))].sort(
    (a, b) => Number.parseFloat(b) - Number.parseFloat(a),
  );
  return {
    title: `Where the ${phase} time goes over ${over}`,
    note:
      'One traced inference each; each instant shared equally among what either party does at it. x: ReLUs in per cent of ' +
      'the network’s activations; the rest is the identity, or squares where it says so; h: ReLUs by half gates. other: frames, copies, garbage collection; wait: nobody computes.' +
      (over === LOOPBACK.name
        ? ''
        : ' Where a point was computed, the loopback’s shares and the waiting that is left.'),
    svg: figure(
      {
        x: { axis: null, domain: budgets },
        y: { label: '↑ s', grid: true },
        fx: { label: null, axis: 'top', domain: [...new Set(swept.map(facetOf))] },
        marks: [
          // Five networks beside each other leave little room for numbers.
          Plot.axisX({ ...BELOW, label: 'ReLUs, % →', fontSize: 9 }),
          Plot.barY(rows, {
            fx: 'facet',
            x: 'budget',
            y: 'seconds',
            fill: ({ name }: (typeof rows)[number]) => CLASS_COLOURS.get(name)!,
            order: [...CLASSES].map((name) => CLASS_COLOURS.get(name)!),
          }),
          Plot.ruleY([0]),
        ],
      },
      CLASS_COLOURS,
    ),
  };
}

/** The same for the models of the zoo. */
export function zooAttributionFigure(
  phase: Phase,
  points: readonly PointResult[],
): Figure | undefined {
  const trained = points.filter(({ series }) => series === 'trained');
  if (trained.length === 0) return undefined;
  const rows = trained.flatMap((point) =>
    CLASSES.map((name) => ({
      point: `${point.network}\n${point.relus.toLocaleString('en')}`,
      name,
      ms: runOver(point, LOOPBACK.name)!.attribution[phase][name],
    })),
  );
  return {
    title: `Where the ${phase} time goes over loopback: the zoo`,
    note: 'Trained networks by their ReLUs; otherwise as above.',
    svg: figure(
      {
        x: { label: null, domain: [...new Set(rows.map(({ point }) => point))] },
        y: { label: '↑ ms', grid: true },
        marks: [
          Plot.barY(rows, {
            x: 'point',
            y: 'ms',
            fill: ({ name }: (typeof rows)[number]) => CLASS_COLOURS.get(name)!,
            order: [...CLASSES].map((name) => CLASS_COLOURS.get(name)!),
          }),
          Plot.ruleY([0]),
        ],
      },
      CLASS_COLOURS,
    ),
  };
}

export function phasesFigure(points: readonly PointResult[]): Figure {
  const colours = coloursOf(points.map(({ network }) => network));
  const rows = points
    .map((point) => {
      const run = runOver(point, LOOPBACK.name)!;
      const { network, series, relus } = point;
      const [offline, online] = PHASES.map((phase) => medianOf(run, phase));
      return { network, line: `${network} ${series}`, relus, offline, online, series };
    })
    .sort((a, b) => a.relus - b.relus);
  const colour = ({ network }: (typeof rows)[number]) => colours.get(network)!;
  const lines = bySeries(rows).map(([series, own]) =>
    Plot.line(own, {
      x: 'offline',
      y: 'online',
      z: 'line',
      stroke: colour,
      strokeDasharray: dashesOf(series),
    }),
  );
  return {
    title: 'Offline against online over loopback',
    note: 'Medians. A line joins the budgets of a network, the dot grows with its ReLUs; dashed: rest square, dotted: half gates.',
    svg: figure(
      {
        x: { ...LOG, ...BELOW, label: 'offline, ms →' },
        y: { ...LOG, label: '↑ online, ms' },
        inset: INSET,
        r: { domain: [0, Math.max(1, ...rows.map(({ relus }) => relus))], range: [2, 9] },
        marks: [
          ...lines,
          Plot.dot(rows, { x: 'offline', y: 'online', r: 'relus', fill: colour, fillOpacity: 0.8 }),
        ],
      },
      colours,
    ),
  };
}
