/**
 * The whole stand: every point over every link, and what is measured beside them, kept as it is done, so that a run that
 * was cut goes on.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { preprocess } from '../../models/graph/index.ts';
import { replaceFile } from '../../protocol/files.ts';
import { hintBytesOf } from '../../protocol/inference/hint.ts';
import { layoutOf } from '../../protocol/inference/layout.ts';
import { LINKS, LOOPBACK, type NamedLink } from '../../protocol/inference/links.ts';
import { type MeasuredProgram, measureProgram, priceOf } from '../../protocol/inference/price.ts';
import { countKinds } from '../../protocol/program/kinds.ts';
import { mapsOf } from '../../protocol/program/program.ts';
import { macsOf } from '../../protocol/ring/shape.ts';
import { computedMs, occupationMs } from '../links.ts';
import { disturbance, machineInfo } from '../machine.ts';
import { type Summary, summarise, timed } from '../measure.ts';
import { byPhase } from '../phases.ts';
import { openPlain } from '../plain.ts';
import { type BenchPoint, SEED, type Subject } from '../points.ts';
import {
  type LinkResult,
  NO_RESULTS,
  type PointResult,
  type Results,
  type Run,
  readResults,
  resultsText,
  type Sections,
  tidied,
  withPoint,
} from '../results.ts';
import { attribute, bytesByClass } from './attribution.ts';
import { type Effort, type Job, jobOf, measureJob, type PointMeasurement } from './measurement.ts';
import type { InferenceTrace } from './trace.ts';

/** How a section is measured. */
export type Section<K extends keyof Sections> = (context: SectionContext) => Promise<Sections[K]>;

export interface SectionContext {
  readonly mode: Run['mode'];
  readonly points: readonly BenchPoint[];
  readonly results: Results;
  readonly signal: AbortSignal;
  report(line: string): void;
}

export interface StandOptions {
  readonly mode: Run['mode'];
  readonly points: readonly BenchPoint[];
  readonly sections: { readonly [K in keyof Sections]?: Section<K> };
  /** Results of earlier runs, of which those are kept that are not measured now; default: none. */
  readonly earlier?: Results | undefined;
  /** Where a run that is cut leaves what it has, and one that goes on finds it. */
  readonly partial: string;
  readonly signal: AbortSignal;
  report(line: string): void;
  /** Told of the trace of each point over loopback. */
  onTrace?(id: string, trace: InferenceTrace): Promise<void>;
}

/** How much is done. LOCAL. */
interface Scale {
  readonly loopback: Effort;
  readonly emulated: Effort;
  /** An inference that occupies a link longer than this, in ms, is not run over it but computed. */
  readonly occupationMs: number;
}

/** Nor is a network of more multiply-accumulates than this: it would take most of the time there is. LOCAL. */
const EMULATED_MACS = 50e6;

export const SCALES: Readonly<Record<Run['mode'], Scale>> = {
  full: {
    loopback: { least: 7, most: 15, ms: 4000, warmMs: 20_000 },
    emulated: { least: 7, most: 9, ms: 3000, warmMs: 8000 },
    occupationMs: 1400,
  },
  quick: {
    loopback: { least: 3, most: 3, ms: 0, warmMs: 0 },
    emulated: { least: 1, most: 1, ms: 0, warmMs: 0 },
    occupationMs: 600,
  },
};

/** Measures everything that the partial file does not have yet. */
export async function runStand(options: StandOptions): Promise<Results> {
  const { points, sections, partial, signal, report, onTrace } = options;
  const start = performance.now();
  const begun = await beginning(options);
  const { run } = begun;
  let { results } = begun;
  const save = async (changed: Results): Promise<void> => {
    const seconds = run.seconds + (performance.now() - start) / 1000;
    const runs = [...changed.runs.filter(({ id }) => id !== run.id), { ...run, seconds }];
    results = { ...changed, runs };
    await replaceFile(partial, resultsText(results));
  };
  const folder = await mkdtemp(join(tmpdir(), 'sotto-bench-'));
  try {
    const done = new Set(
      results.points.filter((point) => point.run === run.id).map(({ id }) => id),
    );
    if (done.size > 0) report(`${done.size} points are there already`);
    for (const [i, point] of points.entries()) {
      if (done.has(point.id)) continue;
      signal.throwIfAborted();
      const tell = (what: string) => report(`${i + 1}/${points.length} ${point.id}: ${what}`);
      tell('compiling');
      const subject = await point.make();
      const program = measureProgram(layoutOf(subject.model.program));
      const planned = describe(point, subject, run.id, program);
      if (point.weights === 'published') {
        await save(withPoint(results, planned));
        continue;
      }
      const scale = SCALES[run.mode];
      const path = join(folder, 'model.sotto');
      const measured = await measurePoint({ planned, subject, path }, { scale, tell, signal });
      const { trace } = measured;
      const parties = [trace.parties.client, trace.parties.server];
      const ms = byPhase((phase) => attribute(parties, trace.phases[phase]));
      await save(withPoint(results, measured.result, { point: point.id, run: run.id, ms }));
      await onTrace?.(point.id, trace);
    }
    const context = { mode: run.mode, points, signal, report };
    for (const [name, measure] of Object.entries(sections)) {
      if (results.sections[name as keyof Sections]?.run === run.id) continue;
      signal.throwIfAborted();
      report(name);
      const section = { run: run.id, results: await measure({ ...context, results }) };
      await save({ ...results, sections: { ...results.sections, [name]: section } });
    }
    await rm(partial, { force: true });
    return tidied(results);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Where a run begins: at what one of the same code and extent has left, or at what earlier runs have. */
async function beginning(options: StandOptions): Promise<{ results: Results; run: Run }> {
  const { mode, earlier = NO_RESULTS, partial } = options;
  const machine = machineInfo();
  // A file that cannot be read was cut as it was written: a new run then.
  const left = await readResults(partial).catch(() => undefined);
  const last = left?.runs.at(-1);
  if (left && last?.mode === mode && last.machine.commit === machine.commit) {
    return { results: left, run: last };
  }
  const { busy, load } = await disturbance();
  const id = new Date().toISOString();
  const found = { seed: SEED, seconds: 0, busyShare: busy, loadAverage: load };
  const run: Run = { id, mode, machine, ...found };
  return { results: { ...earlier, runs: [...earlier.runs, run] }, run };
}

/** A point without a run: exact bytes, and times as they are planned. */
export function describe(
  { id, network, weights, comparison }: BenchPoint,
  { model: { program }, accuracy, fidelity }: Subject,
  run: string,
  measured: MeasuredProgram,
): PointResult {
  const layout = layoutOf(program);
  const sum = (of: (step: MeasuredProgram['steps'][number]) => number) =>
    measured.steps.reduce((total, step) => total + of(step), 0);
  const macs = program.steps.map((step) => (step.op === 'linear' ? macsOf(step.shape) : 0));
  return {
    ...{ id, run, network, weights, comparison },
    ...(accuracy && { accuracy }),
    ...(fidelity && { fidelity }),
    ...countKinds(...mapsOf(program)),
    macs: macs.reduce((total, own) => total + own, 0),
    costs: byPhase((phase) => {
      const { up, down, rounds } = measured.cost[phase];
      return { upBytes: up, downBytes: down, roundTrips: rounds };
    }),
    classBytes: bytesByClass(layout),
    hintBytes: hintBytesOf(layout),
    storedBytes: {
      client: sum(({ clientStored }) => clientStored),
      server: sum(({ serverStored }) => serverStored),
    },
    links: LINKS.map((link): LinkResult => {
      const plannedMs = planOver(measured, link);
      const ms = byPhase((phase) => summarise([plannedMs[phase]]));
      return { link: link.name, origin: 'planned', ms, plannedMs };
    }),
  };
}

/** The planner's milliseconds for both parties on this machine. */
function planOver(measured: MeasuredProgram, { roundTripMs, bitsPerSecond }: NamedLink) {
  const cores = availableParallelism();
  const parties = { clientCores: cores, serverCores: cores, shared: true };
  const price = priceOf(measured, { bitsPerSecond, roundTripMs, ...parties });
  return byPhase((phase) => price[phase].totalMs);
}

/** A point, described, and its model, made. */
interface MadePoint {
  readonly planned: PointResult;
  readonly subject: Subject;
  /** Where its file goes. */
  readonly path: string;
}

/** How a point is measured. */
interface Measuring {
  readonly scale: Scale;
  readonly tell: (what: string) => void;
  readonly signal: AbortSignal;
}

async function measurePoint(
  { planned, subject, path }: MadePoint,
  { scale, tell, signal }: Measuring,
): Promise<{ result: PointResult; trace: InferenceTrace }> {
  const job = await jobOf(subject, path);
  tell(LOOPBACK.name);
  const { near, plainMs } = await measureNear(job, subject, scale.loopback, signal);
  const links: LinkResult[] = [];
  for (const { link: name, plannedMs } of planned.links) {
    const link = LINKS.find((candidate) => candidate.name === name)!;
    const planning = plannedMs && { plannedMs };
    if (link === LOOPBACK) {
      links.push({ link: name, origin: 'measured', ms: near.ms, cpuMs: near.cpuMs, ...planning });
      continue;
    }
    const computed = byPhase((phase) =>
      computedMs(phase, near.ms[phase].median, job.costs[phase], link),
    );
    const shared = { link: name, computedMs: computed, ...planning };
    const slow = occupationMs(Object.values(job.costs), link) > scale.occupationMs;
    if (slow || planned.macs > EMULATED_MACS) {
      const ms = byPhase((phase) => summarise([computed[phase]]));
      links.push({ ...shared, origin: 'computed', ms });
    } else {
      tell(`${name}, emulated`);
      const { ms, cpuMs } = await measureJob(job, link, scale.emulated, signal);
      links.push({ ...shared, origin: 'emulated', ms, cpuMs });
    }
  }
  const { hintMs, connectMs, peakBytes, trace } = near;
  const found = { hintMs, connectMs, peakBytes, ...(plainMs && { plainMs }) };
  return { result: { ...planned, ...found, links }, trace };
}

/** Plain runs of one sample: a single one of a small network is too short to be timed. */
const PLAIN_RUNS = 10;

/** Over loopback, and in turn without privacy where the network in float is there and can be run. */
async function measureNear(
  job: Job,
  { graph, image }: Subject,
  effort: Effort,
  signal: AbortSignal,
): Promise<{ near: PointMeasurement; plainMs: Summary | undefined }> {
  const plain = graph && (await openPlain(graph).catch(() => undefined));
  const times: number[] = [];
  const input = graph && preprocess(graph.input, image);
  const between = async (): Promise<void> => {
    if (plain === undefined) return;
    const { ms } = await timed(async () => {
      for (let i = 0; i < PLAIN_RUNS; i++) await plain.run(input!);
    });
    times.push(ms / PLAIN_RUNS);
  };
  try {
    await between();
    times.length = 0;
    const near = await measureJob(job, LOOPBACK, effort, signal, between);
    return { near, plainMs: times.length === 0 ? undefined : summarise(times) };
  } finally {
    await plain?.close();
  }
}
