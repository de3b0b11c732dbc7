/**
 * From a trained network to a budget of bytes or milliseconds: what methods are told is a count of ReLUs, and which that is
 * follows from prices.
 *
 *   start      the network as it is, or without the ReLUs of whole layers where the budget does not pay for all rounds
 *   count      as many ReLUs as the program of the network to start from can have (Pricing.relusWithin)
 *   make       the method brings the network to that count; the result is compiled as it would be served, and priced
 *   correct    training moves ranges and compared bits: where the program costs more than the budget, or well less, it is asked
 *              for the count itself, and the search's ranking is cut there and tuned anew
 *
 * Only programs that are within the budget can be chosen, so that what is served never costs more than was said.
 *
 * What becomes of the other elements is decided by price and accuracy, where a method can do either (autorep). A square that
 * costs more than a ReLU is worth less than one: squares are not tried then. By bytes that is so, online they are cheaper.
 * Then the budget is met with squares everywhere, and with identities in the layers that miss them least by the network's
 * gradients (harm.ts), in all, half, a quarter of them and so on; layers go where validation says no worse of it, beyond a
 * standard error. What identities save pays for ReLUs. The most accurate network within the budget wins.
 */

import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/index.ts';
import { best, coarseStart, type Method, type ReduceOptions, reduce } from './auto.ts';
import { type CostBudget, formatBudget } from './budget.ts';
import { type PricedPoint, type Pricing, spent } from './cost.ts';
import type { TrainedPoint } from './deepreduce.ts';
import { activationsOf, reluCount, relusIn, removeRelus } from './elements.ts';
import { measureHarm } from './harm.ts';
import type { OwnMethod } from './own.ts';
import { startingPolynomials } from './parabola.ts';
import { measureRanges } from './ranges.ts';
import type { Training } from './training.ts';

/** How often a search's ranking is cut and tuned for one budget at most. LOCAL */
const MOST_CUTS = 4;

/** More ReLUs that are worth another cut, as a part. LOCAL */
const WORTH = 0.05;

/** ReLUs that a cut leaves unspent for each one before that was beyond the budget, as a part. LOCAL */
const ROOM = 0.01;

/** Images that harm is measured on. LOCAL */
const MEASURED = 1024;

/** A method with what becomes of elements. */
interface Way {
  /** Ids of the layers in which they become squares. */
  readonly squares: ReadonlySet<string>;
  /** @param searched ReLUs that its search aims at, whatever is cut */
  make(relus: number, searched: number): Promise<readonly TrainedPoint[]>;
}

/** One start of methods, and what all their runs share. */
interface Run {
  readonly start: PricedPoint;
  readonly budget: CostBudget;
  readonly training: Training;
  readonly pricing: Pricing;
  readonly options: ReduceOptions;
  /** Before the names of points. */
  readonly prefix: string;
}

/**
 * Brings a trained network within a budget.
 * @param dense the network, compiled and priced for the budget
 * @returns every network that was made on the way, priced; `dense` itself when it is within the budget
 * @throws ModelError `argument` when the budget is below what the network costs without any ReLU, or nothing that was made is within it;
 *   what compiling threw when `dense` was refused
 */
export async function reduceWithin(
  dense: PricedPoint,
  budget: CostBudget,
  method: Method | OwnMethod,
  training: Training,
  pricing: Pricing,
  options: ReduceOptions = {},
): Promise<PricedPoint[]> {
  if (dense.refused !== undefined) throw dense.refused;
  if (spent(dense, budget) <= budget.most) return [dense];
  checkFloor(dense.graph, budget, pricing);
  const start = affordable(dense, budget, training, pricing);
  const run: Run = { start, budget, training, pricing, options, prefix: '' };
  const points = await pointsOf(run, method);
  if (!points.some((point) => spent(point, budget) <= budget.most)) {
    const least = Math.min(...points.map((point) => spent(point, budget)));
    const reached = { ...budget, most: least } as CostBudget;
    const who = typeof method === 'string' ? method : 'the method';
    throw new ModelError(
      'argument',
      `${who} found no network within ${formatBudget(budget)}: the cheapest costs ${formatBudget(reached)}`,
    );
  }
  return points;
}

/** The network without the ReLUs of some layers, untrained. */
function withoutLayers(graph: Graph, ids: readonly string[]): TrainedPoint {
  const none = activationsOf(graph)
    .filter(({ id }) => ids.includes(id))
    .map(({ id, kinds }) => [id, new Uint8Array(kinds.length)] as const);
  const bare = removeRelus(graph, new Map(none));
  return { name: 'untrained', relus: reluCount(bare), accuracy: 0, graph: bare };
}

/** @throws ModelError `argument` when the network costs more without any ReLU */
function checkFloor(graph: Graph, budget: CostBudget, pricing: Pricing): void {
  const all = activationsOf(graph).map(({ id }) => id);
  const least = spent(pricing.price(withoutLayers(graph, all), budget), budget);
  if (!Number.isFinite(least) || least <= budget.most) return;
  const floor = { ...budget, most: least } as CostBudget;
  throw new ModelError(
    'argument',
    `a budget of ${formatBudget(budget)} cannot be met: without any ReLU this network costs ${formatBudget(floor)}`,
  );
}

/**
 * The network to start from: as it is where the budget pays for ReLUs in all of its layers; else without those of as few layers
 * as it takes, those that miss them least, whose rounds and elements the program then is without.
 */
function affordable(
  dense: PricedPoint,
  budget: CostBudget,
  training: Training,
  pricing: Pricing,
): PricedPoint {
  const paysFor = (point: PricedPoint) =>
    point.compiled !== undefined &&
    (pricing.relusWithin(point, budget, new Set(), point.relus) ?? 0) > 0;
  if (paysFor(dense)) return dense;
  const order = harmOf(dense.graph, training)
    .sort((a, b) => a.identity - b.identity)
    .map(({ id }) => id);
  let [start, low, high] = [dense, 0, order.length];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    const point = pricing.price(withoutLayers(dense.graph, order.slice(0, middle)), budget);
    if (paysFor(point)) [start, high] = [point, middle];
    else low = middle;
  }
  return start;
}

/** The points of a method, or of all that `auto` runs, from the dense network and from a coarse one. */
async function pointsOf(run: Run, method: Method | OwnMethod): Promise<PricedPoint[]> {
  const { start, budget, training, pricing, options } = run;
  if (method === 'autorep') return autoRepPoints(run);
  if (method !== 'auto') return meet(run, plainWay(run, method));
  const fine = async (from: Run) => [
    ...(await meet(from, plainWay(from, 'snl'))),
    ...(await autoRepPoints(from)),
  ];
  const points = await fine(run);
  const count = pricing.relusWithin(start, budget, new Set(), reluCount(start.graph)) ?? 0;
  const coarse = await coarseStart(start.graph, count, training, options);
  if (coarse === undefined) return points;
  const priced = pricing.price(coarse.point, budget);
  points.push(priced);
  if (priced.compiled === undefined) return points;
  const { name, surroundings } = coarse;
  const further = { ...run, start: priced, training: surroundings, prefix: `${name}, ` };
  return [...points, ...(await fine(further))];
}

/** A method whose elements become identities. */
function plainWay({ start, training, options }: Run, method: Method | OwnMethod): Way {
  return {
    squares: new Set(),
    make: (relus, searched) =>
      reduce(start.graph, relus, method, training, {
        ...options,
        snl: { ...options.snl, searched },
      }),
  };
}

/** Makes networks for one way until one is within the budget and spends it; all of them. */
async function meet(run: Run, { squares, make }: Way): Promise<PricedPoint[]> {
  const { start, budget, pricing, prefix } = run;
  const most = reluCount(start.graph);
  const first = pricing.relusWithin(start, budget, squares, most);
  // The program of a network without ReLUs has fewer rounds than that of the start without them.
  if (first === undefined && squares.size > 0) return [];
  const made: PricedPoint[] = [];
  let relus = first ?? 0;
  let [within, beyond] = [-1, most + 1];
  for (let cut = 1; cut <= MOST_CUTS; cut++) {
    const points = await make(relus, first ?? 0);
    made.push(
      ...points.map((point) => pricing.price({ ...point, name: `${prefix}${point.name}` }, budget)),
    );
    const last = made.at(-1)!;
    if (last.compiled === undefined) break;
    const fits = spent(last, budget) <= budget.most;
    if (fits) within = Math.max(within, relus);
    else beyond = Math.min(beyond, last.relus);
    const paid = pricing.relusWithin(last, budget, squares, most) ?? 0;
    const next = Math.min(fits ? paid : Math.floor(paid * (1 - ROOM * cut)), beyond - 1);
    if (next < 0 || next === relus || next <= within * (1 + WORTH)) break;
    relus = next;
  }
  return made;
}

/** AutoReP with squares, identities, or both: see the header. */
async function autoRepPoints(run: Run): Promise<PricedPoint[]> {
  const { start, budget, training, pricing, options } = run;
  const { graph } = start;
  const layers = activationsOf(graph)
    .filter((layer) => relusIn(layer) === layer.kinds.length)
    .map(({ id }) => id);
  let squaresSearched: number | undefined;
  const withIdentities = (identities: readonly string[]) => {
    const squares = new Set(layers.filter((id) => !identities.includes(id)));
    return meet(run, {
      squares,
      async make(relus, own) {
        // The search for squares serves all ways that have some.
        const searched = squares.size > 0 ? (squaresSearched ??= own) : own;
        const autorep = { ...options.autorep, searched, identities: new Set(identities) };
        const points = await reduce(graph, relus, 'autorep', training, { ...options, autorep });
        const what = squares.size > 0 ? `identities in ${identities.length} layers` : 'identities';
        return points.map((point) => ({
          ...point,
          name: identities.length > 0 ? `${point.name}, ${what}` : point.name,
        }));
      },
    });
  };
  if (!pricing.squaresPay(start, budget, new Set(layers))) return withIdentities(layers);
  const order = leastMissed(graph, training).filter((id) => layers.includes(id));
  const points = await withIdentities([]);
  const cost = (point: PricedPoint) => spent(point, budget);
  const accuracyOf = (some: readonly PricedPoint[]) =>
    some.some((point) => cost(point) <= budget.most) ? best(some, budget.most, cost).accuracy : -1;
  let gone = 0;
  for (let size = layers.length; size >= 1; size = Math.floor(size / 2)) {
    if (gone + size > layers.length) continue;
    const found = await withIdentities(order.slice(0, gone + size));
    const [before, after] = [accuracyOf(points), accuracyOf(found)];
    const noise = Math.sqrt((before * (1 - before)) / training.validation.labels.length);
    points.push(...found);
    if (after >= 0 && (before < 0 || after >= before - noise)) gone += size;
  }
  return points;
}

/** What the removal of each activation layer does, by first order (harm.ts), and how many elements it has. */
function harmOf(graph: Graph, training: Training) {
  const { training: set, batch, seed } = training;
  const measuring = { batch, seed, images: Math.min(MEASURED, set.labels.length) };
  const polynomials = new Map(
    measureRanges(graph, set, measuring).map(({ id, channels }) => [
      id,
      startingPolynomials(channels),
    ]),
  );
  const { identity, square } = measureHarm(graph, set, polynomials, measuring);
  const total = (values: ArrayLike<number>) =>
    Array.from(values).reduce((sum, value) => sum + value, 0);
  return activationsOf(graph).map(({ id, kinds }) => ({
    id,
    size: kinds.length,
    identity: total(identity.get(id)!),
    square: total(square.get(id)!),
  }));
}

/** Ids of activation layers, first those in which a square on average does least that an identity would not. */
function leastMissed(graph: Graph, training: Training): string[] {
  return harmOf(graph, training)
    .map(({ id, size, identity, square }) => ({ id, missed: (identity - square) / size }))
    .sort((a, b) => a.missed - b.missed)
    .map(({ id }) => id);
}
