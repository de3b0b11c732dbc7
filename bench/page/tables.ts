/** The tables: rows of text, for RESULTS.md and for the page alike. */

import { LINKS, LOOPBACK } from '../../protocol/inference/links.ts';
import { KINDS, kindOf } from '../../protocol/program/kinds.ts';
import { type Summary, summarise } from '../measure.ts';
import { type PerPhase, PHASES, type Phase } from '../phases.ts';
import { MEASURED_LATENCIES, PUBLISHED_LATENCIES, REFERENCE_MACHINE } from '../published.ts';
import { type LinkResult, linkOf, type PointResult, type Results } from '../results.ts';
import { BYTE_CLASSES, CLASSES } from '../stand/attribution.ts';
import { besideTable } from './beside.ts';
import { count, megabytes, significantDigits, spread, type Table } from './text.ts';

/** A point as a row is called. */
export function nameOf({ id, network, weights, comparison, relus, squares }: PointResult): string {
  const half = comparison === 'garbled' ? ', half gates' : '';
  if (weights === 'published') return `${network}, published, ${count(relus)} ReLUs`;
  if (weights === 'trained') return id.replace(/^\w+\//, '').replace('/half-gates', half);
  return `${network}, ${count(relus)}${squares > 0 ? ', squares' : ''}${half}`;
}

const seconds = (ms: number | undefined): string =>
  ms === undefined ? '' : significantDigits(ms / 1000);
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

/** Cells of both phases, joined. */
const both = <T>(parts: PerPhase<T> | undefined, of: (part: T) => string, by = ' + '): string =>
  parts === undefined ? '' : PHASES.map((phase) => of(parts[phase])).join(by);

function runTable({ runs, points, sections }: Results): Table {
  const rows = runs.map((run) => {
    const { id, mode, machine, seconds: took, busyShare, loadAverage, note = '' } = run;
    const parts = Object.entries(sections).filter(([, section]) => section.run === id);
    const own = points.filter((point) => point.run === id).length;
    return [
      id,
      machine.commit ?? 'unknown',
      `${machine.cpu}, ${machine.cores} threads, ${machine.memoryGb} GB`,
      machine.node,
      `${percent(busyShare)}, ${significantDigits(loadAverage)}`,
      mode,
      [`${own} points`, ...parts.map(([name]) => name)].join(', '),
      took === 0 ? '' : `${Math.floor(took / 60)} min ${Math.round(took % 60)} s`,
      note,
    ];
  });
  return {
    title: 'Runs',
    note:
      'Every figure is of one of these. Busy: share of the cores’ time that other work had before the run, and the load ' +
      'average of the minute before.',
    head: ['run', 'commit', 'machine', 'Node', 'busy', 'extent', 'measured', 'took', 'note'],
    rows,
  };
}

function pointTable(points: readonly PointResult[]): Table {
  const rows = points.map((point) => {
    const { costs, storedBytes, peakBytes, accuracy, hintBytes } = point;
    const run = linkOf(point, LOOPBACK.name)!;
    const mark = run.origin === 'planned' ? ' p' : '';
    return [
      nameOf(point),
      KINDS.map((kind) => count(point[kindOf(kind).count])).join(' / '),
      megabytes(hintBytes),
      ...PHASES.map((phase) => spread(run.ms[phase]) + mark),
      ...PHASES.map(
        (phase) => `${megabytes(costs[phase].upBytes)} / ${megabytes(costs[phase].downBytes)}`,
      ),
      both(costs, ({ roundTrips }) => String(roundTrips)),
      both(run.cpuMs, ({ client }) => seconds(client)),
      both(run.cpuMs, ({ server }) => seconds(server)),
      peakBytes ? `${megabytes(peakBytes.client)} / ${megabytes(peakBytes.server)}` : '',
      storedBytes ? `${megabytes(storedBytes.client)} / ${megabytes(storedBytes.server)}` : '',
      accuracy === undefined ? '' : `${(100 * accuracy.share).toFixed(2)} % (${accuracy.data})`,
    ];
  });
  return {
    title: 'Every point over loopback',
    note:
      'Median (quartiles) of the repetitions; p: planned by sotto plan, not run. MB up / down; round trips and processor ' +
      'seconds of a party’s whole process as offline + online; peak memory of each process, Node and its threads included, ' +
      'and what one bundle keeps, as client / server. Without an accuracy: random weights.',
    head: [
      'point',
      KINDS.map((kind) => kindOf(kind).plural).join(' / '),
      'hint MB, once',
      ...['offline ms', 'online ms', 'offline MB', 'online MB', 'round trips'],
      ...['client CPU s', 'server CPU s', 'peak MB', 'bundle MB', 'accuracy'],
    ],
    rows,
  };
}

const MARKS = { measured: '', emulated: ' e', computed: ' c', planned: ' p' } as const;

function linkTable(points: readonly PointResult[]): Table {
  return {
    title: 'Every point over every link',
    note:
      'Medians, ms. e: emulated by the channel decorator; c: computed from the loopback run and the exact bytes and round ' +
      'trips; p: planned by sotto plan.',
    head: ['point', ...LINKS.flatMap(({ name }) => PHASES.map((phase) => `${name} ${phase}`))],
    rows: points.map((point) => [
      nameOf(point),
      ...LINKS.flatMap(({ name }) => {
        const run = linkOf(point, name);
        return PHASES.map((phase) =>
          run === undefined ? '' : significantDigits(run.ms[phase].median) + MARKS[run.origin],
        );
      }),
    ]),
  };
}

/** Ratios of the encoded comparison to half gates, for the same network and budget, where both are there. */
function comparisonTable(points: readonly PointResult[]): Table {
  const rows = points.flatMap((garbled) => {
    const encoded = points.find(({ id }) => `${id}/half-gates` === garbled.id);
    if (encoded === undefined) return [];
    const times = (phase: Phase) => {
      const [own, other] = [encoded, garbled].map((point) => linkOf(point, LOOPBACK.name)!);
      const mark = other!.origin === 'planned' ? ' p' : '';
      return significantDigits(own!.ms[phase].median / other!.ms[phase].median) + mark;
    };
    const bytes = (phase: Phase) => {
      const sum = ({ costs }: PointResult) => costs[phase].upBytes + costs[phase].downBytes;
      return significantDigits(sum(encoded) / sum(garbled));
    };
    const stored = ({ storedBytes }: PointResult) => storedBytes?.client ?? Number.NaN;
    const kept = stored(encoded) / stored(garbled);
    return [
      [
        nameOf(encoded),
        ...PHASES.map(times),
        ...PHASES.map(bytes),
        Number.isNaN(kept) ? '' : significantDigits(kept),
      ],
    ];
  });
  return {
    title: 'The encoded comparison against half gates',
    note: 'Ratios of medians over loopback (p: half gates were planned), of bytes, and of what the client keeps of a bundle.',
    head: ['point', 'offline', 'online', 'offline bytes', 'online bytes', 'client keeps'],
    rows,
  };
}

function hintTable(points: readonly PointResult[]): Table {
  const rows = points.flatMap((point) => {
    const { hintMs, connectMs, hintBytes } = point;
    if (connectMs === undefined) return [];
    const { cold, warm } = connectMs;
    return [
      [
        nameOf(point),
        megabytes(hintBytes),
        significantDigits(hintMs ?? 0),
        significantDigits(cold),
        significantDigits(warm),
      ],
    ];
  });
  return {
    title: 'Beginning a session over loopback',
    note:
      'The hint is made once for a model, with all threads of the server. Cold: a client that fetches it; warm: one that ' +
      'has kept it. Single samples.',
    head: ['point', 'hint MB', 'hint made, ms', 'connect cold, ms', 'warm, ms'],
    rows,
  };
}

function plainTable(points: readonly PointResult[]): Table {
  const rows = points.flatMap((point) => {
    const { plainMs } = point;
    if (plainMs === undefined) return [];
    const { online } = linkOf(point, LOOPBACK.name)!.ms;
    return [[nameOf(point), spread(plainMs), significantDigits(online.median / plainMs.median)]];
  });
  return {
    title: 'Beside the same network without privacy',
    note: 'In onnxruntime-web, WebAssembly with one thread and all optimisations, in turn with the private runs; ms, and the ratio of medians.',
    head: ['point', 'plain ms', 'online / plain'],
    rows,
  };
}

function traceTable({ points, traces }: Results): Table {
  const rows = points.flatMap((point) => {
    const trace = traces.find((candidate) => candidate.point === point.id);
    if (trace === undefined) return [];
    return PHASES.map((phase) => [
      `${nameOf(point)}: ${phase}`,
      ...CLASSES.map((name) => significantDigits(trace.ms[phase][name])),
    ]);
  });
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
  const rows = points.flatMap((point) => {
    const { classBytes, costs } = point;
    if (classBytes === undefined) return [];
    return PHASES.map((phase) => {
      const bytes = BYTE_CLASSES.map((name) => classBytes[name][phase]);
      const whole = costs[phase].upBytes + costs[phase].downBytes;
      const rest = whole - bytes.reduce((sum, value) => sum + value, 0);
      return [`${nameOf(point)}: ${phase}`, ...[...bytes, rest].map(megabytes)];
    });
  });
  return {
    title: 'Where the bytes go',
    note: 'MB, both ways, exact and the same on every machine and link. rest: commands, offsets and the masked input.',
    head: ['point and phase', ...BYTE_CLASSES, 'rest'],
    rows,
  };
}

function plannerTable(points: readonly PointResult[]): Table {
  const rows = LINKS.flatMap(({ name }) => {
    const runs = points
      .map((point) => linkOf(point, name))
      .filter((run): run is LinkResult => /measured|emulated/.test(run?.origin ?? ''));
    if (runs.length === 0) return [];
    const of = (guess: 'plannedMs' | 'computedMs') =>
      PHASES.map((phase) => {
        const values = runs.flatMap((run) => {
          const guessed = run[guess];
          return guessed ? [guessed[phase] / run.ms[phase].median] : [];
        });
        if (values.length === 0) return '';
        return `${spread(summarise(values))}, ${significantDigits(Math.min(...values))} to ${significantDigits(Math.max(...values))}`;
      });
    return [[name, String(runs.length), ...of('plannedMs'), ...of('computedMs')]];
  });
  const phases = (what: string) => PHASES.map((phase) => `${what}, ${phase}`);
  return {
    title: 'Predicted against run',
    note:
      'Ratio of what was said to what was run, over all points that were run over that link: median (quartiles), least to ' +
      'most. planned: sotto plan, before anybody connects; computed: from the loopback run, as points marked c.',
    head: ['link', 'points', ...phases('planned'), ...phases('computed')],
    rows,
  };
}

function loadTable({ sections }: Results): Table {
  return {
    title: 'Inferences that arrive by themselves',
    note:
      'Poisson arrivals at three clients of one server, all on this machine, each with a store of so many bundles, some ' +
      'seconds a rate.',
    head: [
      ...['network', 'arrivals / min', 'answers / min', 'median ms', '95 % within ms'],
      ...['bundle ready', 'inferences'],
    ],
    rows: (sections.loads?.results ?? []).map((load) => [
      `${load.point.replace(/^zoo\//, '')}, store of ${load.store}`,
      significantDigits(load.arrivalsPerMinute),
      significantDigits(load.answeredPerMinute),
      significantDigits(load.medianMs),
      significantDigits(load.p95Ms),
      percent(load.readyShare),
      count(load.inferences),
    ]),
  };
}

function steadyTable({ sections }: Results): Table {
  const times = (ms: Summary & { readonly p95: number }): string[] => [
    spread(ms),
    significantDigits(ms.p95),
  ];
  return {
    title: 'Sessions without a pause',
    note:
      'Each session prepares some inferences, runs them, and begins again; all clients are one process with one pool of threads, on the ' +
      "server's machine. Milliseconds of one inference.",
    head: [
      ...['network', 'sessions', 'prepared at a time', 'answers / s'],
      ...['online ms', '95 % within ms', 'offline ms', '95 % within ms'],
    ],
    rows: (sections.steady?.results ?? []).map((steady) => [
      steady.point.replace(/^zoo\//, ''),
      count(steady.sessions),
      count(steady.prepared),
      significantDigits(steady.perSecond),
      ...times(steady.onlineMs),
      ...times(steady.offlineMs),
    ]),
  };
}

function duringTable({ points, sections }: Results): Table {
  return {
    title: 'An inference beside a preparation',
    note:
      'Online time of an inference alone, and of one that begins while the same session prepares another, what it waits included; in turn, ' +
      'each party with half of the machine. The ratio is of pairs.',
    head: ['network', 'alone, ms', 'beside, ms', 'ratio', 'up MB', 'down MB', 'round trips'],
    rows: (sections.beside?.results ?? []).map((result) => {
      const point = points.find(({ id }) => id === result.point);
      return [
        point === undefined ? result.point : nameOf(point),
        spread(result.aloneMs),
        spread(result.besideMs),
        spread(result.ratio),
        megabytes(result.upBytes),
        megabytes(result.downBytes),
        count(result.roundTrips),
      ];
    }),
  };
}

function kernelTable({ sections }: Results): Table {
  const rows = (sections.kernels?.results ?? []).map(({ name, unit, value, bytes, reference }) => [
    name,
    `${significantDigits(value.median)} ${unit}`,
    `${significantDigits(value.lower)} to ${significantDigits(value.upper)}`,
    bytes ?? '',
    reference ?? '',
  ]);
  return {
    title: 'Parts, on one core',
    note: `Median and quartiles, by processor time, all parts in turn. Peers: ${REFERENCE_MACHINE}.`,
    head: ['part', 'median', 'quartiles', 'bytes', 'native peers'],
    rows,
  };
}

function browserTable({ sections }: Results): Table {
  const rows = (sections.browser?.results ?? []).flatMap(({ point, relus, parts, longestTaskMs }) =>
    parts.map(({ name, nodeMs, browserMs, ratio }, i) => [
      i === 0 ? `${point.replace(/^zoo\//, '')}, ${count(relus)} ReLUs` : '',
      name,
      significantDigits(nodeMs),
      significantDigits(browserMs),
      spread(ratio),
      i > 0 ? '' : longestTaskMs === 0 ? 'none of 50 ms' : significantDigits(longestTaskMs),
    ]),
  );
  return {
    title: 'In a browser',
    note:
      'Chromium without a window, the page cross-origin isolated; Node and browser in turn against the same server process. Offline and online: a session’s fourth. ' +
      'Medians, ms; the ratio is taken pair by pair. Longest task: of the page’s main thread in the quietest repetition.',
    head: ['network', 'part', 'Node ms', 'browser ms', 'browser / Node', 'longest task, ms'],
    rows,
  };
}

function fidelityTable(points: readonly PointResult[]): Table {
  const part = (value: number) => `${(100 * value).toPrecision(2)} %`;
  const rows = points.flatMap(({ network, fidelity }) => {
    if (fidelity === undefined) return [];
    const { relative, largest, tolerance, images, outside, compileSeconds } = fidelity;
    return [
      [
        network,
        significantDigits(compileSeconds),
        ...[relative, largest, tolerance].map(part),
        `${outside} of ${images}`,
      ],
    ];
  });
  return {
    title: 'Networks that others trained, in fixed point',
    note:
      'Differences to the network in float on images that it was not calibrated on, as parts of the results’ root mean ' +
      'square, of several results the worst; images with a value that leaves its range. Compiled with 12 compared bits.',
    head: ['network', 'compiling, s', 'rms', 'largest', 'tolerance', 'out of range'],
    rows,
  };
}

function publishedTable(): Table {
  const cell = (value: number | undefined) => (value === undefined ? '' : significantDigits(value));
  return {
    title: 'What others publish',
    note:
      'Other machines, other links, other security and accuracy: sizes, not a race. Tag: measured by us with the system’s ' +
      `own program (${REFERENCE_MACHINE}), read in the source, or computed from figures read there.`,
    head: [
      ...['system and network', 'ReLUs', 'offline s', 'online s', 'total s'],
      ...['offline MB', 'online MB', 'total MB', 'machine', 'source', 'tag'],
    ],
    rows: [...MEASURED_LATENCIES, ...PUBLISHED_LATENCIES].map((entry) => [
      `${entry.system}: ${entry.network}`,
      entry.relus === undefined ? '' : count(entry.relus),
      ...[entry.offlineSeconds, entry.onlineSeconds, entry.totalSeconds].map(cell),
      ...[entry.offlineMegabytes, entry.onlineMegabytes, entry.totalMegabytes].map(cell),
      ...[entry.machine, entry.source, entry.tag],
    ]),
  };
}

/** All tables with rows, in the order in which they are read. */
export function tablesOf(results: Results): Table[] {
  const { points } = results;
  return [
    runTable(results),
    pointTable(points.filter(({ weights }) => weights !== 'published')),
    linkTable(points),
    comparisonTable(points),
    hintTable(points),
    plainTable(points),
    bytesTable(points.filter(({ weights }) => weights !== 'published')),
    traceTable(results),
    plannerTable(points),
    loadTable(results),
    steadyTable(results),
    duringTable(results),
    kernelTable(results),
    browserTable(results),
    fidelityTable(points),
    besideTable(points),
    publishedTable(),
  ].filter(({ rows }) => rows.length > 0);
}

/** The rows of the repository's README, and the points that they are of. */
const README_ROWS: readonly (readonly [name: string, point: string])[] = [
  ['ResNet-20', 'ResNet-20/identity/188416'],
  ['ResNet-32', 'ResNet-32/identity/303104'],
  ['ResNet-18', 'ResNet-18/identity/557056'],
  ['ResNet-18 with half gates', 'ResNet-18/identity/557056/half-gates'],
  ['ResNet-18, reduced', 'ResNet-18/identity/12900'],
  ['SqueezeNet at 227x227', 'imagenet/SqueezeNet 227/all'],
  ['ResNet-50 at 224x224', 'imagenet/ResNet-50 224/all'],
];

/** What is between these lines of a document is written by the stand. */
const MARKERS = ['<!-- sotto bench: costs -->\n', '<!-- end -->\n'] as const;

/**
 * A document with its table of costs over loopback anew.
 * @throws Error where it has no place for it
 */
export function withCosts(document: string, { points }: Results): string {
  const short = (value: number) => (value < 10 ? value.toPrecision(2) : value.toFixed(0));
  const rows = README_ROWS.flatMap(([name, id]) => {
    const point = points.find((candidate) => candidate.id === id);
    if (point === undefined) return [];
    const { relus, hintBytes, costs } = point;
    const { ms } = linkOf(point, LOOPBACK.name)!;
    const cells = PHASES.map((phase) => {
      const { upBytes, downBytes } = costs[phase];
      return `${short(ms[phase].median / 1000)} s, ${short((upBytes + downBytes) / 1e6)} MB`;
    });
    const hint = hintBytes === undefined ? '' : `${short(hintBytes / 1e6)} MB`;
    return [[name, count(relus), hint, ...cells, both(costs, (part) => String(part.roundTrips))]];
  });
  const head = ['network, CIFAR images where none are said', 'comparisons', 'hint, once'];
  const lines = [
    [...head, ...PHASES, 'rounds'],
    ['---', '---', '---', '---', '---', '---'],
    ...rows,
  ];
  const table = lines.map((cells) => `| ${cells.join(' | ')} |\n`).join('');
  const [begin, end] = MARKERS.map((marker) => document.indexOf(marker));
  if (begin === -1 || end === -1) throw new Error('the document has no place for its costs');
  return document.slice(0, begin! + MARKERS[0].length) + table + document.slice(end);
}
