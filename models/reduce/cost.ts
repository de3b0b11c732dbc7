/**
 * What networks on the way to a budget cost: each is compiled as it would be served, and its program priced by the formulas
 * that sessions are held to (protocol/inference/cost.ts) and by the planner (price.ts). There are no others here.
 *
 * How many ReLUs a budget pays for is asked of a program with other kinds in its ReLU maps: everything else of it, ranges and
 * rings, is what compiling found. The answer is exact for that program. Training moves ranges, so that whoever asks before
 * training compiles again after it, and asks that program (within.ts).
 */

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { besideOf, makeFolder } from '../../protocol/files.ts';
import { costOf } from '../../protocol/inference/cost.ts';
import { layoutOf } from '../../protocol/inference/layout.ts';
import { LINKS, LOOPBACK, type NamedLink } from '../../protocol/inference/links.ts';
import { type MeasuredProgram, planner, priceOf } from '../../protocol/inference/price.ts';
import { DEFAULT_OT_K, otKFor } from '../../protocol/ot/groups.ts';
import { encodeProgram } from '../../protocol/program/encode.ts';
import { IDENTITY, kindOf, RELU, ROOT_BITS, SQUARE } from '../../protocol/program/kinds.ts';
import type { ActivationStep, Program } from '../../protocol/program/program.ts';
import { delayRelus } from '../compile/delay.ts';
import { type Compiled, compile, usualComparison } from '../compile/index.ts';
import type { Graph } from '../graph/index.ts';
import type { Budget, CostBudget } from './budget.ts';
import type { TrainedPoint } from './deepreduce.ts';
import { activationsOf, reluCount } from './elements.ts';
import type { InferenceCost, Point } from './frontier.ts';

/** A network with its program and what that costs; neither is there where it was refused. */
export interface PricedPoint extends TrainedPoint {
  readonly compiled?: Compiled;
  /** Why the network does not compile. */
  readonly refused?: RangeError;
}

/** What of a point's cost a budget counts; infinite where it has none. */
export function spent({ relus, cost }: Point, budget: Budget): number {
  if (budget.unit === 'ReLUs') return relus;
  if (cost === undefined) return Number.POSITIVE_INFINITY;
  if (budget.unit === 'bytes') return cost.offlineBytes + cost.onlineBytes;
  return cost.onlineMs[budget.link.name]!;
}

/** Numbers that a run goes on with after a stop, as times measured anew would be others. In a file, where there is one. */
class Memory {
  readonly #path: string | undefined;
  readonly #known: Record<string, unknown>;

  constructor(path: string | undefined) {
    this.#path = path;
    const there = path !== undefined && existsSync(path);
    this.#known = there ? JSON.parse(readFileSync(path, 'utf8')) : {};
  }

  recall<T>(parts: readonly unknown[], make: () => T): T {
    const key = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
    if (!(key in this.#known)) {
      this.#known[key] = make() ?? null;
      if (this.#path !== undefined) {
        makeFolder(dirname(this.#path));
        const beside = besideOf(this.#path);
        writeFileSync(beside, JSON.stringify(this.#known));
        renameSync(beside, this.#path);
      }
    }
    return this.#known[key] as T;
  }
}

export interface PricingOptions {
  /** Sample images, preprocessed, that compiling measures ranges on. */
  readonly images: readonly Float32Array[];
  /** Name of the programs. */
  readonly name?: string;
  /** File of what was measured; none is kept by default. */
  readonly memory?: string | undefined;
  /** Hears what compiling is at. */
  readonly onProgress?: (what: string) => void;
}

/** Prices the networks of one run. */
export class Pricing {
  readonly #options: PricingOptions;
  readonly #memory: Memory;
  #measure: ((program: Program) => MeasuredProgram) | undefined;

  constructor(options: PricingOptions) {
    this.#options = options;
    this.#memory = new Memory(options.memory);
  }

  /** Compiles a network and prices it; OTs are made as for the budget's link. */
  price(point: TrainedPoint, budget: Budget): PricedPoint {
    const { images, name = 'network', onProgress } = this.#options;
    try {
      const compiled = compile(point.graph, images, {
        ...{ name, onProgress },
        ...usualComparison(point.graph),
      });
      return { ...point, compiled, cost: this.#costOf(compiled.model.program, budget) };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return { ...point, refused: error };
    }
  }

  #costOf(program: Program, budget: Budget): InferenceCost {
    const { offline, online } = costOf(layoutOf(program), otKOf(budget));
    const onlineMs = this.#memory.recall(['ms', digest(program)], () =>
      Object.fromEntries(LINKS.map((link) => [link.name, this.#onlineMs(program, link)])),
    );
    return {
      offlineBytes: offline.up + offline.down,
      onlineBytes: online.up + online.down,
      rounds: online.rounds,
      onlineMs,
    };
  }

  /** Milliseconds to a tenth. */
  #onlineMs(program: Program, link: NamedLink): number {
    this.#measure ??= measuring();
    const { totalMs } = priceOf(this.#measure(program), profileOf(link)).online;
    return Math.round(10 * totalMs) / 10;
  }

  /** What a budget counts of a program. */
  #spent(program: Program, budget: CostBudget): number {
    if (budget.unit === 'ms') return this.#onlineMs(program, budget.link);
    const { offline, online } = costOf(layoutOf(program), otKOf(budget));
    return offline.up + offline.down + online.up + online.down;
  }

  /**
   * The most ReLUs, of `most` at most, with which a priced network's program is within a budget: spread over the layers as
   * its own are, all other elements what they are, and squares or identities where they were ReLUs.
   * @param squares ids of the layers in which they become squares
   * @returns undefined where the program is beyond the budget without any
   */
  relusWithin(
    point: PricedPoint,
    budget: CostBudget,
    squares: ReadonlySet<string>,
    most: number,
  ): number | undefined {
    const program = programOf(point);
    const key = ['relus', digest(program), budget, [...squares], most];
    const found = this.#memory.recall(key, () => {
      const fits = (relus: number) =>
        this.#spent(withRelus(program, point.graph, relus, squares), budget) <= budget.most;
      if (!fits(0)) return null;
      let [low, high] = [0, most + 1];
      while (high - low > 1) {
        const middle = Math.floor((low + high) / 2);
        if (fits(middle)) low = middle;
        else high = middle;
      }
      return low;
    });
    return found ?? undefined;
  }

  /** Whether all elements of some layers cost less as squares than as the ReLUs they are. */
  squaresPay(point: PricedPoint, budget: CostBudget, squares: ReadonlySet<string>): boolean {
    const program = programOf(point);
    return this.#memory.recall(['squares', digest(program), budget, [...squares]], () => {
      const without = withRelus(program, point.graph, 0, squares);
      return this.#spent(without, budget) < this.#spent(program, budget);
    });
  }
}

/** @throws what compiling threw when it was refused */
function programOf({ compiled, refused }: PricedPoint): Program {
  if (compiled === undefined) throw refused;
  return compiled.model.program;
}

/** The planner's measurements, which are the same for every link: OTs are of the offline phase. */
function measuring(): (program: Program) => MeasuredProgram {
  const measure = planner();
  return (program) => measure(layoutOf(program));
}

function profileOf(link: NamedLink) {
  const cores = availableParallelism();
  const shared = link.name === LOOPBACK.name;
  return { ...link, clientCores: cores, serverCores: cores, shared };
}

const otKOf = (budget: Budget) =>
  budget.unit === 'ReLUs' || budget.link === undefined
    ? DEFAULT_OT_K
    : otKFor(budget.link.bitsPerSecond);

const digest = (program: Program): string =>
  createHash('sha256').update(encodeProgram(program)).digest('hex');

/**
 * The program of a graph with another number of ReLUs: each layer gets its part of those that come or go.
 * @param squares ids of the layers whose elements become squares where they were ReLUs; those of others become identities
 */
export function withRelus(
  program: Program,
  graph: Graph,
  relus: number,
  squares: ReadonlySet<string>,
): Program {
  const layers = activationsOf(delayRelus(graph));
  const ids = new Set(layers.map(({ id }) => id));
  const own = reluCount(graph);
  const others = activationsOf(graph).reduce((sum, { kinds }) => sum + kinds.length, 0) - own;
  const steps = program.steps.map((step) => {
    // A step of several layers is called after all of them; one of a max pool after none.
    const names = step.name.split(' + ').filter((name) => ids.has(name));
    if (step.op !== 'activation' || names.length === 0) return step;
    const there = step.kinds.filter((kind) => kind === RELU).length;
    const free = step.kinds.length - there;
    const count =
      relus <= own
        ? Math.round(own === 0 ? 0 : (there * relus) / own)
        : there + Math.min(free, Math.round((free * (relus - own)) / others));
    return remade(step, count, names.some((name) => squares.has(name)) ? SQUARE : IDENTITY);
  });
  return { ...program, steps };
}

/** The step with `count` ReLUs, what goes becoming `rest`. */
function remade(
  step: ActivationStep,
  count: number,
  rest: typeof SQUARE | typeof IDENTITY,
): ActivationStep {
  const kinds = step.kinds.slice();
  let surplus = kinds.filter((kind) => kind === RELU).length - count;
  for (let i = 0; i < kinds.length && surplus !== 0; i++) {
    if (surplus > 0 && kinds[i] === RELU) {
      kinds[i] = rest;
      surplus--;
    } else if (surplus < 0 && kinds[i] !== RELU) {
      kinds[i] = RELU;
      surplus++;
    }
  }
  const rangeBits = Math.min(step.rangeBits, kindOf(rest).maxRangeBits);
  if (!kinds.includes(SQUARE) || step.kinds.includes(SQUARE)) return { ...step, kinds, rangeBits };
  // Squares of a layer that had none: the longest roots that fit.
  const squareShift = Math.max(0, rangeBits - 1 - ROOT_BITS);
  return { ...step, kinds, rangeBits, constants: true, squareShift };
}
