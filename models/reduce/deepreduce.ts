/**
 * DeepReDuce (Jha et al., ICML 2021): whole layers of ReLUs go, the least useful stages first.
 *
 *   criticality   train the network with ReLUs in one stage alone, stage by stage: what is each worth, for what it costs?
 *   cull          the least critical stages lose all ReLUs
 *   thin          in the others, every second layer does
 *   reshape       fewer channels, smaller planes (reshape.ts)
 *
 * Every combination is a {@link Recipe}; what it keeps is arithmetic, what it is worth shows in training, with the network
 * of all ReLUs as the teacher.
 */

import { ModelError } from '../errors.ts';
import { type Graph, IDENTITY } from '../graph/index.ts';
import { Network } from '../train/index.ts';
import { activationsOf, checkBudget, relusIn, withKinds } from './elements.ts';
import { frontier, type Point } from './frontier.ts';
import { reshape } from './reshape.ts';
import { stagesOf } from './stages.ts';
import { accuracy, fineTune, type Training, type Tuning } from './training.ts';

/** How much of a network stays. */
export interface Recipe {
  /** Stages without ReLUs, counted from 0; see stagesOf. */
  readonly culled: readonly number[];
  /** Whether every second layer of the other stages loses its ReLUs. */
  readonly thinned: boolean;
  /** Factors, see Reshape. */
  readonly channels: number;
  readonly resolution: number;
}

/** Layers that keep their ReLUs when stages are thinned: every second one, so that the last of a stage goes. */
function keptByThinning<T>(layers: readonly T[]): T[] {
  return layers.filter((_, i) => (layers.length - i) % 2 === 0);
}

/** The graph with no ReLU in some layers, which become the identity. */
function without(graph: Graph, removed: (id: string) => boolean): Graph {
  const kinds = activationsOf(graph)
    .filter(({ id }) => removed(id))
    .map((node) => [node.id, new Uint8Array(node.kinds.length).fill(IDENTITY)] as const);
  return withKinds(graph, new Map(kinds));
}

/** Ids of the layers of some stages. */
function layersOf(graph: Graph, wanted: (stage: number) => boolean): Set<string> {
  const layers = stagesOf(graph).flatMap(({ layers }, k) => (wanted(k) ? layers : []));
  return new Set(layers.map(({ id }) => id));
}

/** The network with ReLUs in one stage alone: what criticality is measured on. */
export function onlyStage(graph: Graph, stage: number): Graph {
  const kept = layersOf(graph, (k) => k === stage);
  return without(graph, (id) => !kept.has(id));
}

/** The network without the ReLUs of some stages. */
export function cull(graph: Graph, stages: readonly number[]): Graph {
  const removed = layersOf(graph, (k) => stages.includes(k));
  return without(graph, (id) => removed.has(id));
}

/**
 * The network with ReLUs in every second of the layers that have some, stage by stage; in residual blocks those after the
 * additions go.
 */
export function thin(graph: Graph): Graph {
  const kept = stagesOf(graph).flatMap(({ layers }) =>
    keptByThinning(layers.filter((layer) => relusIn(layer) > 0)),
  );
  const ids = new Set(kept.map(({ id }) => id));
  return without(graph, (id) => !ids.has(id));
}

/** What a stage is worth: its accuracy over guessing, for its ReLUs to a small power. */
export function criticality(gain: number, relus: number, power: number): number {
  return relus === 0 ? 0 : gain / relus ** power;
}

/** ReLUs that a recipe leaves, by arithmetic. */
export function recipeRelus(graph: Graph, recipe: Recipe): number {
  const stages = stagesOf(graph).filter((_, k) => !recipe.culled.includes(k));
  const kept = stages.flatMap(({ layers }) => {
    const own = layers.filter((layer) => relusIn(layer) > 0);
    return recipe.thinned ? keptByThinning(own) : own;
  });
  const relus = kept.reduce((sum, layer) => sum + relusIn(layer), 0);
  return Math.round(relus * recipe.channels * recipe.resolution ** 2);
}

/** The network a recipe makes; reshaped ones start from weights of their own. */
export function applyRecipe(graph: Graph, recipe: Recipe, seed: number): Graph {
  const { channels, resolution } = recipe;
  const same = channels === 1 && resolution === 1;
  const shaped = same ? graph : reshape(graph, { channels, resolution, seed });
  const culled = cull(shaped, recipe.culled);
  return recipe.thinned ? thin(culled) : culled;
}

/**
 * All recipes that cull the first stages of an order, none to all but one.
 * @param order stages, least critical first
 * @param factors of channels and of the resolution to try
 */
export function recipesOf(
  order: readonly number[],
  factors: readonly number[] = [1, 0.5],
): Recipe[] {
  return order.flatMap((_, count) =>
    [false, true].flatMap((thinned) =>
      factors.flatMap((channels) =>
        factors.map((resolution) => ({
          culled: order.slice(0, count),
          thinned,
          channels,
          resolution,
        })),
      ),
    ),
  );
}

/** A recipe as text. */
export function recipeName({ culled, thinned, channels, resolution }: Recipe): string {
  const parts = [
    culled.length > 0 && `cull ${culled.map((k) => `S${k + 1}`).join('+')}`,
    thinned && 'thin',
    channels !== 1 && `channels x${channels}`,
    resolution !== 1 && `resolution x${resolution}`,
  ].filter((part) => part !== false);
  return parts.length > 0 ? parts.join(', ') : 'all ReLUs';
}

export interface DeepReduceOptions extends Tuning {
  /** Stages, least critical first. Default: as measured. */
  readonly order?: readonly number[];
  /** Epochs of each measurement of a stage's criticality. Default: 2. */
  readonly measureEpochs?: number;
  /** Power of a stage's ReLUs in its criticality; a mild preference for few. Default: 0.07. LOCAL */
  readonly power?: number;
  /** Factors of channels and resolution to try; others than 1 train from random weights. Default: 1 alone. */
  readonly factors?: readonly number[];
  /** Recipes to train, those with the most ReLUs within the budget. Default: 2. */
  readonly tries?: number;
}

/** A network with the accuracy it has on the validation images. */
export interface TrainedPoint extends Point {
  readonly graph: Graph;
}

/** Trains the network once for each stage that has ReLUs; returns the stages, least critical first. */
export async function measureOrder(
  graph: Graph,
  training: Training,
  { measureEpochs = 2, power = 0.07, ...tuning }: DeepReduceOptions = {},
): Promise<number[]> {
  const worth: { stage: number; value: number }[] = [];
  for (const [stage, { relus }] of stagesOf(graph).entries()) {
    if (relus === 0) continue;
    const name = `criticality-${stage + 1}`;
    const alone = onlyStage(graph, stage);
    const tuned = await fineTune(alone, training, { ...tuning, name, epochs: measureEpochs });
    const network = new Network(tuned, training.batch);
    const gain = (await accuracy(network, training)) - 1 / network.results;
    worth.push({ stage, value: criticality(gain, relus, power) });
  }
  return worth.sort((a, b) => a.value - b.value).map(({ stage }) => stage);
}

/**
 * Brings a trained network to a budget by whole layers.
 * @returns the frontier of the networks that were trained, none above the budget, the most accurate last
 * @throws ModelError `argument` when the budget is out of range, or below what every recipe leaves
 */
export async function deepReduce(
  graph: Graph,
  budget: number,
  training: Training,
  options: DeepReduceOptions = {},
): Promise<TrainedPoint[]> {
  checkBudget(graph, budget);
  const { tries = 2, factors = [1], order, ...tuning } = options;
  const all = recipesOf(order ?? (await measureOrder(graph, training, options)), factors)
    .map((recipe) => ({ recipe, relus: recipeRelus(graph, recipe) }))
    .sort((a, b) => b.relus - a.relus);
  const fitting = all.filter(({ relus }) => relus <= budget).slice(0, tries);
  if (fitting.length === 0) {
    throw new ModelError(
      'argument',
      `whole layers leave ${all.at(-1)!.relus} ReLUs at least, more than ${budget}: remove single elements (snl, autorep)`,
    );
  }
  const points: TrainedPoint[] = [];
  for (const { recipe, relus } of fitting) {
    const name = recipeName(recipe);
    const start = applyRecipe(graph, recipe, training.seed);
    const file = `deepreduce-${name.replaceAll(/[^A-Za-z0-9.]+/g, '-')}`;
    const tuned = await fineTune(start, training, { ...tuning, name: file });
    const network = new Network(tuned, training.batch);
    points.push({ name, relus, accuracy: await accuracy(network, training), graph: tuned });
  }
  return frontier(points);
}
