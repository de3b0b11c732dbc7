/** The whole benchmark: every point over every network, kept as it is done, so that a run that was cut goes on. */

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { replaceFile } from '../../protocol/files.ts';
import { layoutOf } from '../../protocol/inference/layout.ts';
import { LINKS, LOOPBACK, type NamedLink } from '../../protocol/inference/links.ts';
import { type MeasuredProgram, measureProgram, priceOf } from '../../protocol/inference/price.ts';
import { countKinds, type KindCounts } from '../../protocol/program/kinds.ts';
import type { Model } from '../../protocol/program/model.ts';
import { mapsOf } from '../../protocol/program/program.ts';
import { macsOf } from '../../protocol/ring/shape.ts';
import { disturbance, machineInfo } from '../machine.ts';
import { summarise } from '../measure.ts';
import { type Attribution, bytesOf, CLASSES } from './attribution.ts';
import { checkLinks } from './check-links.ts';
import { computedMs, linkOf, occupationMs } from './links.ts';
import { type Effort, jobOf, measureJob, millisecondsOf, overLoopback } from './measurement.ts';
import { type Point, pointsOf, SEED } from './points.ts';
import {
  type BudgetReport,
  type Load,
  type NetworkRun,
  PHASES,
  type Phase,
  type PointResult,
} from './results.ts';
import { benchThroughput, LOADED } from './throughput.ts';

export interface BudgetOptions {
  readonly quick: boolean;
  /** Points whose names contain this; all unless given. */
  readonly only?: string | undefined;
  /** Where a run that is cut leaves what it has, and one that goes on finds it. */
  readonly partial: string;
  readonly signal: AbortSignal;
  report(line: string): void;
}

/** How much is done. LOCAL. */
interface Scale {
  readonly loopback: Effort;
  readonly emulated: Effort;
  /** An inference that occupies a network longer than this, in ms, is not run over it but computed. */
  readonly occupationMs: number;
}

/** Nor is a network of more multiply-accumulates than this: it would take most of the time there is. LOCAL. */
const EMULATED_MACS = 50e6;

const SCALES: Readonly<Record<BudgetReport['mode'], Scale>> = {
  full: {
    loopback: { least: 3, most: 9, ms: 2500 },
    emulated: { least: 2, most: 5, ms: 1500 },
    occupationMs: 1400,
  },
  quick: {
    loopback: { least: 2, most: 3, ms: 1000 },
    emulated: { least: 1, most: 2, ms: 500 },
    occupationMs: 600,
  },
};

/** What a cut run leaves: the parts that are done. Loads are those that were run. */
interface Partial extends Omit<BudgetReport, 'date' | 'seed' | 'throughput'> {
  readonly loads: readonly Load[];
}

/** Measures everything that is not in the partial file yet. */
export async function runBudget(options: BudgetOptions): Promise<BudgetReport> {
  const { quick, only = '', partial, signal, report } = options;
  const start = performance.now();
  const state = await beginning(partial, quick ? 'quick' : 'full');
  const { mode } = state;
  const points = [...state.points];
  if (points.length > 0) report(`${points.length} points are there already`);
  const save = (
    change: Pick<Partial, 'points'> | Pick<Partial, 'links'> | Pick<Partial, 'loads'>,
  ) => {
    Object.assign(state, change);
    const seconds = state.seconds + (performance.now() - start) / 1000;
    return replaceFile(partial, JSON.stringify({ ...state, seconds } satisfies Partial));
  };
  const folder = await mkdtemp(join(tmpdir(), 'sotto-budget-'));
  try {
    const wanted = pointsOf(quick).filter(({ id }) => id.includes(only));
    for (const [i, point] of wanted.entries()) {
      if (points.some(({ id }) => id === point.id)) continue;
      const tell = (what: string) => report(`${i + 1}/${wanted.length} ${point.id}: ${what}`);
      const path = join(folder, 'model.sotto');
      points.push(await measurePoint(point, path, SCALES[mode], tell, signal));
      await save({ points });
    }
    if (state.links === undefined) {
      const effort = SCALES[mode].emulated;
      await save({ links: await checkLinks(quick, wanted, folder, effort, report, signal) });
    }
    const { loads, seconds, ...rest } = state;
    const throughput = wanted.some(({ id }) => id === LOADED)
      ? await benchThroughput(mode, points, loads, (done) => save({ loads: done }), report, signal)
      : undefined;
    await rm(partial, { force: true });
    const date = new Date().toISOString();
    const took = seconds + (performance.now() - start) / 1000;
    return { ...rest, points, date, seed: SEED, seconds: took, throughput };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Where a run begins: at what one of the same code and extent has left, or at nothing. */
async function beginning(path: string, mode: Partial['mode']): Promise<Partial> {
  const machine = machineInfo();
  const before = await readPartial(path);
  if (before?.mode === mode && before.machine.commit === machine.commit) return before;
  return {
    version: 1,
    mode,
    machine,
    seconds: 0,
    disturbance: await disturbance(),
    points: [],
    links: undefined,
    loads: [],
  };
}

async function readPartial(path: string): Promise<Partial | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Partial;
  } catch {
    // There is none, or its last write was cut: a new run then.
    return undefined;
  }
}

async function measurePoint(
  point: Point,
  path: string,
  scale: Scale,
  tell: (what: string) => void,
  signal: AbortSignal,
): Promise<PointResult> {
  signal.throwIfAborted();
  tell('compiling');
  const subject = point.make();
  const job = await jobOf(subject, path);
  const counts = countsOf(subject.model);
  const layout = layoutOf(subject.model.program);
  const program = measureProgram(layout);
  tell(LOOPBACK.name);
  const near = await measureJob(job, overLoopback(undefined), scale.loopback, signal);
  const loopback: NetworkRun = {
    network: LOOPBACK.name,
    origin: 'measured',
    ms: millisecondsOf(near.repetitions),
    repetitions: near.repetitions,
    attribution: near.attribution,
    computed: undefined,
    planned: planned(program, LOOPBACK),
  };
  const runs = [loopback];
  for (const network of LINKS.slice(1)) {
    const { cost } = job;
    const median = (phase: Phase) => summarise(loopback.ms[phase]).median;
    const computed = byPhase((phase) => computedMs(phase, median(phase), cost[phase], network));
    const shared = { network: network.name, computed, planned: planned(program, network) };
    const slow = occupationMs([cost.offline, cost.online], network) > scale.occupationMs;
    if (slow || counts.macs > EMULATED_MACS) {
      runs.push({
        ...shared,
        origin: 'computed',
        ms: byPhase((phase) => [computed[phase]]),
        repetitions: [],
        attribution: byPhase((phase) => withWait(loopback.attribution[phase], computed[phase])),
      });
    } else {
      tell(`${network.name}, emulated`);
      const { repetitions, attribution } = await measureJob(
        job,
        overLoopback(linkOf(network)),
        scale.emulated,
        signal,
      );
      const ms = millisecondsOf(repetitions);
      runs.push({ ...shared, origin: 'emulated', ms, repetitions, attribution });
    }
  }
  return {
    id: point.id,
    network: point.network,
    series: point.series,
    accuracy: subject.accuracy,
    ...counts,
    cost: { offline: job.cost.offline, online: job.cost.online },
    bytes: bytesOf(layout),
    stored: {
      client: sum(program.steps, ({ clientStored }) => clientStored),
      server: sum(program.steps, ({ serverStored }) => serverStored),
    },
    memory: near.memory,
    runs,
  };
}

const byPhase = <T>(of: (phase: Phase) => T): Record<Phase, T> =>
  Object.fromEntries(PHASES.map((phase) => [phase, of(phase)])) as Record<Phase, T>;

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/** The planner's milliseconds for both parties on this machine. */
function planned(program: MeasuredProgram, network: NamedLink): Record<Phase, number> {
  const cores = availableParallelism();
  const { roundTripMs, bitsPerSecond } = network;
  const price = priceOf(program, {
    bitsPerSecond,
    roundTripMs,
    clientCores: cores,
    serverCores: cores,
    shared: true,
  });
  return byPhase((phase) => price[phase].totalMs);
}

/** The attribution over loopback, scaled to its measured share, with the network's waiting up to `ms`. */
function withWait(attribution: Attribution, ms: number): Attribution {
  const busy = sum(CLASSES, (name) => (name === 'wait' ? 0 : attribution[name]));
  return { ...attribution, wait: Math.max(0, ms - busy) };
}

function countsOf({ program }: Model): KindCounts & Pick<PointResult, 'macs'> {
  return {
    ...countKinds(...mapsOf(program)),
    macs: sum(program.steps, (step) => (step.op === 'linear' ? macsOf(step.shape) : 0)),
  };
}
