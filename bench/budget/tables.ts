/** The tables of the report: rows of text, for Markdown and for the page alike. */

import { LINKS, LOOPBACK } from '../../protocol/inference/links.ts';
import { KINDS, kindOf } from '../../protocol/program/kinds.ts';
import { summarise } from '../measure.ts';
import { PUBLISHED_ACCURACIES, PUBLISHED_LATENCIES } from '../references.ts';
import { figure } from '../report.ts';
import { BYTE_CLASSES, CLASSES } from './attribution.ts';
import type { Series } from './points.ts';
import {
  type BudgetReport,
  type LinkCheck,
  type NetworkRun,
  PHASES,
  type Phase,
  type PhaseRun,
  type PointResult,
  runOver,
} from './results.ts';

export interface Table {
  readonly title: string;
  readonly note: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** What tells a series of random weights apart from the one with the identity. */
const SUFFIXES: Readonly<Record<Series, string>> = {
  trained: '',
  identity: '',
  square: ', squares',
  'half gates': ', half gates',
};

const count = (value: number) => value.toLocaleString('en');
const megabytes = (bytes: number) => figure(bytes / 1e6);

/** A point in words. */
export function nameOf({ id, network, series, relus }: PointResult): string {
  if (series === 'trained') return id.replace('zoo/', '');
  return `${network}, ${count(relus)}${SUFFIXES[series]}`;
}

/** Median and, of more than one repetition, the quartiles. */
export function spread(ms: readonly number[]): string {
  const { lower, median, upper } = summarise(ms);
  return ms.length < 2
    ? figure(median)
    : `${figure(median)} (${figure(lower)} to ${figure(upper)})`;
}

const MARKS = { measured: '', emulated: ' e', computed: ' c' } as const;

/** Median over the repetitions of a phase's figure. */
function median({ repetitions }: NetworkRun, phase: Phase, of: (run: PhaseRun) => number): number {
  return summarise(repetitions.map((repetition) => of(repetition[phase]))).median;
}

function pointTable(points: readonly PointResult[]): Table {
  const rows = points.map((point) => {
    const { cost, stored, memory, accuracy } = point;
    const run = runOver(point, LOOPBACK.name)!;
    const cpu = (of: 'clientCpuMs' | 'serverCpuMs') =>
      PHASES.map((phase) => figure(median(run, phase, (part) => part[of]) / 1000)).join(' + ');
    return [
      nameOf(point),
      KINDS.map((kind) => count(point[kindOf(kind).count])).join(' / '),
      spread(run.ms.offline),
      spread(run.ms.online),
      ...PHASES.map((phase) => `${megabytes(cost[phase].up)} / ${megabytes(cost[phase].down)}`),
      `${cost.offline.rounds} + ${cost.online.rounds}`,
      cpu('clientCpuMs'),
      cpu('serverCpuMs'),
      `${Math.round(memory.client / 1e6)} / ${Math.round(memory.server / 1e6)}`,
      `${megabytes(stored.client)} / ${megabytes(stored.server)}`,
      accuracy === undefined
        ? 'random weights'
        : `${(100 * accuracy.share).toFixed(2)} % (${accuracy.data})`,
    ];
  });
  return {
    title: 'Every point over loopback',
    note:
      'Median (quartiles) of the repetitions. MB up / down; round trips, processor seconds of a party’s whole process and ' +
      'round trips as offline + online; peak memory of each process, Node and its threads included, and what one bundle ' +
      'keeps, as client / server.',
    head: [
      'point',
      KINDS.map((kind) => kindOf(kind).name).join(' / '),
      'offline ms',
      'online ms',
      'offline MB',
      'online MB',
      'rounds',
      'client CPU s',
      'server CPU s',
      'peak MB',
      'bundle MB',
      'accuracy',
    ],
    rows,
  };
}

function networkTable(points: readonly PointResult[]): Table {
  const rows = points.map((point) => [
    nameOf(point),
    ...LINKS.flatMap(({ name }) => {
      const run = runOver(point, name);
      if (run === undefined) return ['', ''];
      return PHASES.map((phase) => figure(summarise(run.ms[phase]).median) + MARKS[run.origin]);
    }),
  ]);
  return {
    title: 'Every point over every network',
    note: 'Medians, ms. e: emulated by the channel decorator; c: computed from the loopback run and the exact bytes and rounds.',
    head: ['point', ...LINKS.flatMap(({ name }) => PHASES.map((phase) => `${name} ${phase}`))],
    rows,
  };
}

function attributionTable(points: readonly PointResult[]): Table {
  const rows = points.flatMap((point) =>
    PHASES.map((phase) => {
      const shares = runOver(point, LOOPBACK.name)!.attribution[phase];
      return [`${nameOf(point)}: ${phase}`, ...CLASSES.map((name) => figure(shares[name]))];
    }),
  );
  return {
    title: 'Where the time goes over loopback',
    note:
      'ms of one traced inference, which counts in no other table. Each instant is shared equally among what either party ' +
      'does at that instant: tasks of workers by their own clocks, main threads by samples. other: frames, copies, ' +
      'hand-over, garbage collection; wait: nobody computes.',
    head: ['point and phase', ...CLASSES],
    rows,
  };
}

function bytesTable(points: readonly PointResult[]): Table {
  const rows = points.flatMap((point) =>
    PHASES.map((phase) => {
      const { up, down } = point.cost[phase];
      const bytes = BYTE_CLASSES.map((name) => point.bytes[name][phase]);
      const rest = up + down - bytes.reduce((sum, value) => sum + value, 0);
      return [`${nameOf(point)}: ${phase}`, ...[...bytes, rest].map(megabytes)];
    }),
  );
  return {
    title: 'Where the bytes go',
    note: 'MB, both ways, exact and the same on every machine and network. rest: commands and the masked input.',
    head: ['point and phase', ...BYTE_CLASSES, 'rest'],
    rows,
  };
}

/** Ratios of one time to another, over points and networks, as a sentence about their spread. */
function ratios(values: readonly number[]): string {
  const { lower, median: middle, upper } = summarise(values);
  return `${figure(middle)} (${figure(lower)} to ${figure(upper)}, from ${figure(Math.min(...values))} to ${figure(Math.max(...values))})`;
}

/** Runs that took place, with their points. */
export function realRuns(
  points: readonly PointResult[],
): { point: PointResult; run: NetworkRun }[] {
  return points.flatMap((point) =>
    point.runs.filter(({ origin }) => origin !== 'computed').map((run) => ({ point, run })),
  );
}

function plannerTable(points: readonly PointResult[]): Table {
  const rows = LINKS.flatMap(({ name }) => {
    const runs = realRuns(points).filter(({ run }) => run.network === name);
    if (runs.length === 0) return [];
    const of = (guess: (run: NetworkRun) => Readonly<Record<Phase, number>> | undefined) =>
      PHASES.map((phase) => {
        const values = runs.flatMap(({ run }) => {
          const guessed = guess(run);
          return guessed ? [guessed[phase] / summarise(run.ms[phase]).median] : [];
        });
        return values.length === 0 ? '' : ratios(values);
      });
    return [
      [
        name,
        String(runs.length),
        ...of(({ planned }) => planned),
        ...of(({ computed }) => computed),
      ],
    ];
  });
  return {
    title: 'Predicted against run',
    note:
      'Ratio of what was said to what was run, over all points that were run over that network: median (quartiles, from ' +
      'least to most). planned: sotto plan, before anybody connects; computed: from the loopback run, as points marked c.',
    head: [
      'network',
      'points',
      'planned, offline',
      'planned, online',
      'computed, offline',
      'computed, online',
    ],
    rows,
  };
}

/** The planner beside the run, point by point. */
function plannedTable(points: readonly PointResult[]): Table {
  const rows = realRuns(points).map(({ point, run }) => [
    `${nameOf(point)} over ${run.network}`,
    ...PHASES.flatMap((phase) => {
      const middle = summarise(run.ms[phase]).median;
      const planned = run.planned[phase];
      return [figure(planned), figure(middle), figure(planned / middle)];
    }),
  ]);
  return {
    title: 'Predicted against run, point by point',
    note: 'ms by sotto plan, median ms of the run, and their ratio.',
    head: ['point and network', ...PHASES.flatMap((phase) => [`${phase} planned`, 'run', 'ratio'])],
    rows,
  };
}

function linkTable({ links }: BudgetReport): Table {
  const { checks = [], against = 'relay', reason } = links ?? {};
  const other = against === 'netem' ? 'netem' : 'TCP relay';
  const row = (check: LinkCheck, phase: Phase) => {
    const [own, far] = [check.decorator[phase], check.other[phase]];
    const ratio = summarise(own).median / summarise(far).median;
    return [
      `${check.id.replace('zoo/', '')} over ${check.network}: ${phase}`,
      spread(own),
      spread(far),
      figure(ratio),
    ];
  };
  return {
    title: 'The emulation checked',
    note:
      (against === 'netem'
        ? 'The channel decorator beside the kernel’s netem between two network namespaces.'
        : `The channel decorator beside a relay between the parties that passes TCP’s bytes on late and knows no frames. ` +
          `The kernel’s netem was not to be had: ${reason ?? 'unknown'}.`) +
      ' ms, median (quartiles).',
    head: ['point, network and phase', 'decorator', other, 'ratio'],
    rows: checks.flatMap((check) => PHASES.map((phase) => row(check, phase))),
  };
}

function loadTable({ throughput }: BudgetReport): Table {
  const measured = (throughput?.loads ?? []).filter(({ origin }) => origin === 'measured');
  const rows = measured.map((load) => [
    `${load.network.replace('zoo/', '')}, store of ${load.store}`,
    figure(load.arrivalsPerMinute),
    figure(load.answeredPerMinute),
    figure(load.medianMs),
    figure(load.p95Ms),
    `${(100 * load.ready).toFixed(0)} %`,
    count(load.inferences),
  ]);
  return {
    title: 'Inferences that arrive by themselves',
    note:
      'Poisson arrivals at three clients of one server, all on this machine, each with a store of so many bundles. Run, some ' +
      'seconds a rate; what the plots add by simulation is in budget.json.',
    head: [
      'network',
      'arrivals / min',
      'answers / min',
      'median ms',
      '95 % within ms',
      'bundle ready',
      'inferences',
    ],
    rows,
  };
}

function publishedTable(): Table {
  const seconds = (value: number | undefined) => (value === undefined ? '' : figure(value));
  return {
    title: 'What others publish',
    note:
      'Other machines, other networks between the parties, other security and accuracy: sizes, not a race. Tag: read in the ' +
      'source, or computed from figures read there.',
    head: [
      'system and network',
      'ReLUs',
      'offline s',
      'online s',
      'total s',
      'offline MB',
      'online MB',
      'total MB',
      'machine',
      'source',
      'tag',
    ],
    rows: PUBLISHED_LATENCIES.map((entry) => [
      `${entry.system}: ${entry.network}`,
      entry.relus === undefined ? '' : count(entry.relus),
      seconds(entry.offlineSeconds),
      seconds(entry.onlineSeconds),
      seconds(entry.totalSeconds),
      seconds(entry.offlineMegabytes),
      seconds(entry.onlineMegabytes),
      seconds(entry.totalMegabytes),
      entry.machine,
      entry.source,
      entry.tag,
    ]),
  };
}

function publishedAccuracyTable(): Table {
  return {
    title: 'Accuracy that others publish, CIFAR-10',
    note: 'ReLUs and share of test images named right.',
    head: ['method', 'network', 'points', 'source', 'tag'],
    rows: PUBLISHED_ACCURACIES.map(({ method, network, points, source, tag }) => [
      method,
      network,
      points.map(([relus, percent]) => `${count(relus)}: ${percent} %`).join(', '),
      source,
      tag,
    ]),
  };
}

/** What was run on, and when. */
export function runTable({
  machine,
  date,
  seed,
  mode,
  seconds,
  disturbance,
  points,
}: BudgetReport): Table {
  return {
    title: 'This run',
    note: '',
    head: ['', 'this run'],
    rows: [
      ['date', date],
      ['commit', machine.commit ?? 'unknown'],
      ['CPU', `${machine.cpu}, ${machine.cores} threads`],
      ['memory', `${machine.memoryGb} GB`],
      ['Node', machine.node],
      ['cores busy with other work before', `${(100 * disturbance.busy).toFixed(0)} %`],
      ['load average before', figure(disturbance.load)],
      ['seed of weights, maps and arrivals', String(seed)],
      ['extent', `${mode}, ${points.length} points`],
      ['took', `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`],
    ],
  };
}

/** All tables with rows, in the order in which they are read. */
export function tablesOf(report: BudgetReport): Table[] {
  const { points } = report;
  return [
    pointTable(points),
    networkTable(points),
    attributionTable(points),
    bytesTable(points),
    plannerTable(points),
    plannedTable(points),
    linkTable(report),
    loadTable(report),
    publishedTable(),
    publishedAccuracyTable(),
  ].filter(({ rows }) => rows.length > 0);
}
