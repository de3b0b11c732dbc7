/**
 * What the stand leaves: one JSON document, of which tables, page, plots and CSV are drawn. It keeps what was measured at
 * several times: each part names the run it is of, and a new run replaces the parts that it measures.
 */

import { readFile } from 'node:fs/promises';
import { LINKS } from '../protocol/inference/links.ts';
import type { KindCounts } from '../protocol/program/kinds.ts';
import type { Comparison } from '../protocol/program/program.ts';
import type { Machine } from './machine.ts';
import type { Summary } from './measure.ts';
import { type PerParty, type PerPhase, PHASES, type Phase, type PhaseTraffic } from './phases.ts';
import type { Attribution, ByteClass } from './stand/attribution.ts';

/** One run of the stand. */
export interface Run {
  /** When it began, ISO 8601. */
  readonly id: string;
  readonly mode: 'full' | 'quick';
  readonly machine: Machine;
  /** Of weights, maps and arrivals. */
  readonly seed: number;
  /** Wall clock, of all its pieces where it was cut. */
  readonly seconds: number;
  /** Share of the cores' time that other work had before, 0..1, and the load average of the minute before. */
  readonly busyShare: number;
  readonly loadAverage: number;
  /** Whatever else has to be known of it. */
  readonly note?: string;
}

/**
 * How a time was found. `measured`: a run over loopback. `emulated`: a run with the channel decorator `delayed` at both
 * parties. `computed`: from the run over loopback and the exact bytes and rounds. `planned`: by `sotto plan`, without a run.
 */
export type Origin = 'measured' | 'emulated' | 'computed' | 'planned';

/** A point over one link. */
export interface LinkResult {
  readonly link: string;
  readonly origin: Origin;
  /** The client's wall clock; one sample where none was run. */
  readonly ms: PerPhase<Summary>;
  /** Medians of the processor time of each party's process, all threads. */
  readonly cpuMs?: PerPhase<PerParty<number>>;
  /** The same as `computed` and as `planned`, beside what was run. */
  readonly computedMs?: PerPhase<number>;
  readonly plannedMs?: PerPhase<number>;
}

/** `trained`: with the weights and the accuracy of its card. `published`: accuracy as published, everything else of random weights. */
export type Weights = 'trained' | 'random' | 'published';

/** How a network in fixed point differs from the one in float, over some images and the worst of its results. */
export interface FidelityResult {
  /** Root mean square of the differences, the largest one, and the program's tolerance, as parts of the results' root mean square. */
  readonly relative: number;
  readonly largest: number;
  readonly tolerance: number;
  readonly images: number;
  /** Images with a value that leaves its range. */
  readonly outside: number;
  readonly compileSeconds: number;
}

/** A network at a budget with a comparison, over all links; its activation elements by kind. */
export interface PointResult extends KindCounts {
  readonly id: string;
  readonly run: string;
  readonly network: string;
  readonly weights: Weights;
  readonly comparison: Comparison;
  /** Share of images that the network in fixed point names right, which images, and how many where that is known. */
  readonly accuracy?: { readonly share: number; readonly data: string; readonly images?: number };
  /** Multiply-accumulates of the linear layers. */
  readonly macs: number;
  readonly costs: PerPhase<PhaseTraffic>;
  /** The same bytes, both ways, by class of operator; what is left is commands, offsets and the masked input. */
  readonly classBytes?: Readonly<Record<ByteClass, PerPhase<number>>>;
  /** Downloaded once; made once by the server. */
  readonly hintBytes?: number;
  readonly hintMs?: number;
  /** Opening a session, the hint fetched and the hint kept. */
  readonly connectMs?: { readonly cold: number; readonly warm: number };
  /** What a bundle keeps. */
  readonly storedBytes?: PerParty<number>;
  /** Most resident memory of each process over loopback, Node and its threads included. */
  readonly peakBytes?: PerParty<number>;
  /** The same network in onnxruntime-web, one thread, in turn with the runs over loopback. */
  readonly plainMs?: Summary;
  readonly fidelity?: FidelityResult;
  readonly links: readonly LinkResult[];
}

/** Where the time of one traced inference over loopback went. It counts in no median. */
export interface TraceResult {
  readonly point: string;
  readonly run: string;
  readonly ms: PerPhase<Attribution>;
}

/** One figure. */
export interface KernelResult {
  readonly name: string;
  readonly unit: string;
  readonly value: Summary;
  /** Bytes that one unit of work moves, as text. */
  readonly bytes?: string;
  /** What peers reach, as text. */
  readonly reference?: string;
}

export interface BrowserResult {
  readonly point: string;
  readonly relus: number;
  readonly parts: readonly {
    readonly name: 'setup' | 'offline' | 'online';
    /** Medians. */
    readonly nodeMs: number;
    readonly browserMs: number;
    /** Browser / Node, pair by pair. */
    readonly ratio: Summary;
  }[];
  /** Longest task of the page's main thread in the quietest repetition; 0 where none lasted 50 ms. */
  readonly longestTaskMs: number;
}

/** What became of inferences that arrive at one rate. */
export interface LoadResult {
  readonly point: string;
  readonly clients: number;
  /** Bundles that each client stores at most. */
  readonly store: number;
  readonly arrivalsPerMinute: number;
  /** From the first arrival to the last answer. */
  readonly answeredPerMinute: number;
  /** From arrival to answer. */
  readonly medianMs: number;
  readonly p95Ms: number;
  /** Share of arrivals for which a bundle waited. */
  readonly readyShare: number;
  readonly inferences: number;
}

/** An inference beside a preparation of the same session, over loopback. */
export interface BesideResult extends PhaseTraffic {
  readonly point: string;
  /** What each waited included. */
  readonly aloneMs: Summary;
  readonly besideMs: Summary;
  /** Beside / alone, pair by pair. */
  readonly ratio: Summary;
}

/** Sessions of one server that prepare and infer without a pause. */
export interface SteadyResult {
  readonly point: string;
  readonly sessions: number;
  /** Inferences that a session prepares at a time. */
  readonly prepared: number;
  /** Answers of all sessions. */
  readonly perSecond: number;
  /** Of one inference each. */
  readonly onlineMs: Summary & { readonly p95: number };
  readonly offlineMs: Summary & { readonly p95: number };
}

/** What is measured beside the points, by its name. */
export interface Sections {
  readonly beside: readonly BesideResult[];
  readonly steady: readonly SteadyResult[];
  readonly kernels: readonly KernelResult[];
  readonly loads: readonly LoadResult[];
  readonly browser: readonly BrowserResult[];
}

export interface Results {
  /** Of this document's layout. */
  readonly version: 2;
  readonly runs: readonly Run[];
  readonly points: readonly PointResult[];
  readonly traces: readonly TraceResult[];
  readonly sections: {
    readonly [K in keyof Sections]?: { readonly run: string; readonly results: Sections[K] };
  };
}

export const NO_RESULTS: Results = { version: 2, runs: [], points: [], traces: [], sections: {} };

/** Reads a document; nothing where there is none. */
export async function readResults(path: string): Promise<Results | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const results = JSON.parse(text) as Results;
  if (results.version !== NO_RESULTS.version) {
    throw new Error(
      `${path}: expected results of version ${NO_RESULTS.version}, got version ${results.version}`,
    );
  }
  return results;
}

/** The document as text, numbers to the fourth decimal: no clock here is finer. */
export const resultsText = (results: Results): string =>
  `${JSON.stringify(results, (_key, value) => (typeof value === 'number' ? Number(value.toFixed(4)) : value), 1)}\n`;

/** `results` with a point, and its trace, in place of the one of that name, or behind the others. */
export function withPoint(results: Results, point: PointResult, trace?: TraceResult): Results {
  const place = <T>(items: readonly T[], same: (item: T) => boolean, item: T): T[] =>
    items.some(same) ? items.map((old) => (same(old) ? item : old)) : [...items, item];
  const points = place(results.points, ({ id }) => id === point.id, point);
  if (trace === undefined) return { ...results, points };
  const traces = place(results.traces, (old) => old.point === point.id, trace);
  return { ...results, points, traces };
}

/** Leaves out runs of which nothing is left. */
export function tidied(results: Results): Results {
  const { points, traces, sections } = results;
  const parts = [...points, ...traces, ...Object.values(sections)];
  const used = new Set(parts.map(({ run }) => run));
  return { ...results, runs: results.runs.filter(({ id }) => used.has(id)) };
}

/** A point over a link, if it is there. */
export const linkOf = ({ links }: PointResult, name: string): LinkResult | undefined =>
  links.find(({ link }) => link === name);

/** Columns of the CSV, units in their names, and what stands in them. */
type Column = readonly [
  name: string,
  value: (point: PointResult, link: LinkResult, run: Run) => string | number | undefined,
];

const phaseColumns = (phase: Phase): Column[] => [
  [`${phase}_ms_median`, (_, { ms }) => ms[phase].median],
  [`${phase}_ms_lower_quartile`, (_, { ms }) => ms[phase].lower],
  [`${phase}_ms_upper_quartile`, (_, { ms }) => ms[phase].upper],
  [`${phase}_up_bytes`, ({ costs }) => costs[phase].upBytes],
  [`${phase}_down_bytes`, ({ costs }) => costs[phase].downBytes],
  [`${phase}_round_trips`, ({ costs }) => costs[phase].roundTrips],
  [`${phase}_client_cpu_ms_median`, (_, { cpuMs }) => cpuMs?.[phase].client],
  [`${phase}_server_cpu_ms_median`, (_, { cpuMs }) => cpuMs?.[phase].server],
];

const COLUMNS: readonly Column[] = [
  ['point', ({ id }) => id],
  ['network', ({ network }) => network],
  ['weights', ({ weights }) => weights],
  ['comparison', ({ comparison }) => comparison],
  ['relus', ({ relus }) => relus],
  ['squares', ({ squares }) => squares],
  ['identities', ({ identities }) => identities],
  ['macs', ({ macs }) => macs],
  ['accuracy_share', ({ accuracy }) => accuracy?.share],
  ['accuracy_data', ({ accuracy }) => accuracy?.data],
  ['accuracy_images', ({ accuracy }) => accuracy?.images],
  ['link', (_, { link }) => link],
  ['link_round_trip_ms', (_, { link }) => LINKS.find(({ name }) => name === link)?.roundTripMs],
  ['link_bits_per_s', (_, { link }) => LINKS.find(({ name }) => name === link)?.bitsPerSecond],
  ['origin', (_, { origin }) => origin],
  ['samples', (_, { ms }) => ms.online.samples],
  ...PHASES.flatMap(phaseColumns),
  ['hint_bytes', ({ hintBytes }) => hintBytes],
  ['client_stored_bytes', ({ storedBytes }) => storedBytes?.client],
  ['server_stored_bytes', ({ storedBytes }) => storedBytes?.server],
  ['client_peak_bytes', ({ peakBytes }) => peakBytes?.client],
  ['server_peak_bytes', ({ peakBytes }) => peakBytes?.server],
  ['plain_ms_median', ({ plainMs }) => plainMs?.median],
  ['commit', (_, __, { machine }) => machine.commit],
  ['run', ({ run }) => run],
];

/** A row for each point and link (RFC 4180, lines end in \n); what was not found out is empty. */
export function csv({ runs, points }: Results): string {
  const cell = (value: string | number | undefined): string => {
    const text = typeof value === 'number' ? String(Number(value.toFixed(4))) : (value ?? '');
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const rows = points.flatMap((point) =>
    point.links.map((link) => {
      const run = runs.find(({ id }) => id === point.run)!;
      return COLUMNS.map(([, value]) => cell(value(point, link, run)));
    }),
  );
  return [COLUMNS.map(([name]) => name), ...rows].map((row) => `${row.join(',')}\n`).join('');
}
