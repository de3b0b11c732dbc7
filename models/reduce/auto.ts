/**
 * From a trained network to a budget, by one method or by all that promise something, with what they come to.
 *
 *   auto    coarse, then fine: whole stages go first (deepreduce.ts) while well more ReLUs than the budget stay, then single
 *           elements (snl.ts, autorep.ts), each from the dense and from the coarse network; the most accurate wins
 */

import { join } from 'node:path';
import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/index.ts';
import { Network } from '../train/index.ts';
import { type AutoRepOptions, autoRep } from './autorep.ts';
import { type ChannelOptions, removeByChannels } from './channels.ts';
import {
  applyRecipe,
  type DeepReduceOptions,
  deepReduce,
  measureOrder,
  recipeName,
  recipeRelus,
  recipesOf,
  type TrainedPoint,
} from './deepreduce.ts';
import { checkBudget, keepLargest, randomScores, reluCount, removeRelus } from './elements.ts';
import { applyMethod, type OwnMethod } from './own.ts';
import { type SnlOptions, snl } from './snl.ts';
import { accuracy, fineTune, type Training, type Tuning } from './training.ts';

/** Ways to a budget. */
export const METHODS = ['autorep', 'snl', 'channels', 'deepreduce', 'random', 'auto'] as const;
export type Method = (typeof METHODS)[number];

export interface ReduceOptions {
  readonly snl?: SnlOptions;
  readonly autorep?: AutoRepOptions;
  readonly channels?: ChannelOptions;
  readonly deepreduce?: DeepReduceOptions;
  /** Of random removal, of own methods, and of coarse networks. */
  readonly tune?: Tuning;
}

/** ReLUs that a coarse network keeps at least, as a multiple of the budget: what fine removal chooses from. LOCAL */
const COARSE_ROOM = 4;

/** A point with the accuracy on the validation images. */
async function measured(name: string, graph: Graph, training: Training): Promise<TrainedPoint> {
  const right = await accuracy(new Network(graph, training.batch), training);
  return { name, relus: reluCount(graph), accuracy: right, graph };
}

/** Checkpoints in a folder of this name: several ways train a stage of the same name. */
function apart(training: Training, name: string): Training {
  const { checkpoints } = training;
  return checkpoints === undefined
    ? training
    : { ...training, checkpoints: join(checkpoints, name) };
}

/**
 * Brings a trained network to a budget of ReLUs.
 * @param method - one of {@link METHODS}, or a function that chooses
 * @returns every network that was trained on the way, none above the budget but coarse ones; {@link best} chooses
 * @throws ModelError `argument` when the budget is out of range, or the method cannot meet it
 */
export async function reduce(
  graph: Graph,
  budget: number,
  method: Method | OwnMethod,
  training: Training,
  options: ReduceOptions = {},
): Promise<TrainedPoint[]> {
  checkBudget(graph, budget);
  const point = async (name: string, made: Promise<Graph>) => measured(name, await made, training);
  if (typeof method === 'function') {
    return [await point('own', applyMethod(method, graph, budget, training, options.tune))];
  }
  switch (method) {
    case 'autorep':
      return [await point('autorep', autoRep(graph, budget, training, options.autorep))];
    case 'snl':
      return [await point('snl', snl(graph, budget, training, options.snl))];
    case 'channels':
      return [await point('channels', removeByChannels(graph, budget, training, options.channels))];
    case 'deepreduce':
      return deepReduce(graph, budget, training, options.deepreduce);
    case 'random': {
      const kept = keepLargest(graph, randomScores(graph, training.seed), budget);
      const name = `random-${budget}-tune`;
      const tuned = fineTune(removeRelus(graph, kept), training, { ...options.tune, name });
      return [await point('random', tuned)];
    }
    case 'auto':
      return auto(graph, budget, training, options);
  }
}

/** A network that lost whole stages, from which single elements go on being removed. */
export interface CoarseStart {
  /** What went. */
  readonly name: string;
  readonly point: TrainedPoint;
  /** Checkpoints of what starts from it. */
  readonly surroundings: Training;
}

/** The network with the fewest ReLUs whose stages leave well more than the budget; undefined when all do, or none. */
export async function coarseStart(
  graph: Graph,
  budget: number,
  training: Training,
  options: ReduceOptions,
): Promise<CoarseStart | undefined> {
  const order =
    options.deepreduce?.order ?? (await measureOrder(graph, training, options.deepreduce));
  const coarse = recipesOf(order, [1])
    .map((recipe) => ({ recipe, relus: recipeRelus(graph, recipe) }))
    .filter(({ relus }) => relus >= COARSE_ROOM * budget && relus < reluCount(graph))
    .sort((a, b) => a.relus - b.relus)[0];
  if (coarse === undefined) return undefined;
  const name = recipeName(coarse.recipe);
  const surroundings = apart(training, 'coarse');
  const start = applyRecipe(graph, coarse.recipe, training.seed);
  const tuned = await fineTune(start, surroundings, { ...options.tune, name: 'tune' });
  return { name, point: await measured(name, tuned, training), surroundings };
}

async function auto(
  graph: Graph,
  budget: number,
  training: Training,
  options: ReduceOptions,
): Promise<TrainedPoint[]> {
  const points: TrainedPoint[] = [];
  const fine = async (start: Graph, prefix: string, surroundings: Training) => {
    for (const method of ['snl', 'autorep'] as const) {
      const [point] = await reduce(start, budget, method, surroundings, options);
      points.push({ ...point!, name: `${prefix}${method}` });
    }
  };
  await fine(graph, '', training);
  const coarse = await coarseStart(graph, budget, training, options);
  if (coarse !== undefined) {
    points.push(coarse.point);
    await fine(coarse.point.graph, `${coarse.name}, `, coarse.surroundings);
  }
  return points;
}

/**
 * The most accurate of the points within a budget, of equals the one that costs least.
 * @param cost of a point. Default: its ReLUs
 */
export function best<P extends TrainedPoint>(
  points: readonly P[],
  most: number,
  cost: (point: P) => number = ({ relus }) => relus,
): P {
  const within = points.filter((point) => cost(point) <= most);
  if (within.length === 0) throw new ModelError('argument', `no network has at most ${most} ReLUs`);
  return within.reduce((a, b) =>
    b.accuracy > a.accuracy || (b.accuracy === a.accuracy && cost(b) < cost(a)) ? b : a,
  );
}
