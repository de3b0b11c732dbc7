/** A method that somebody brings: a module whose default export chooses which ReLUs stay. Node only. */

import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { readWholeSync } from '../../protocol/files.ts';
import { ModelError } from '../errors.ts';
import { type Graph, inferShapes } from '../graph/index.ts';
import { activationsOf, keepLargest, reluCount, removeRelus, type Scores } from './elements.ts';
import { fineTune, type Training, type Tuning } from './training.ts';

/**
 * Chooses the ReLUs of a trained network that stay.
 *
 * - `graph`: the network; `graph.nodes` of `op` `'activation'` are its layers, `kinds` their elements.
 * - `budget`: ReLUs that may stay.
 * - `training`: images, batches, seed, teacher, threads and the signal of an abort; `fineTune` takes it as it is.
 *
 * It gives a score for every element of some layers, by the layer's id, in the order of `kinds`: the largest stay ReLUs, the
 * others become the identity, layers without scores stay as they are, and the network is fine-tuned. Or it gives a finished
 * network with at most `budget` ReLUs, which is taken as it is.
 */
export type OwnMethod = (
  graph: Graph,
  budget: number,
  training: Training,
) => Scores | Graph | Promise<Scores | Graph>;

/** Whether the name of a method is a module's path. */
export function isModule(name: string): boolean {
  return /[\\/]|\.[cm]?js$/.test(name);
}

/**
 * Loads a method.
 * @param path of a JavaScript module
 * @throws ModelError `argument` with one sentence when it is not there, cannot be loaded or has no function as its default export
 */
export async function loadMethod(path: string): Promise<OwnMethod> {
  readWholeSync(path);
  let module: { readonly default?: unknown };
  try {
    module = await import(pathToFileURL(resolve(path)).href);
  } catch (cause) {
    throw new ModelError('argument', `${path} cannot be loaded: ${messageOf(cause)}`, { cause });
  }
  const { default: method } = module;
  if (typeof method === 'function') return method as OwnMethod;
  throw new ModelError(
    'argument',
    `${path} should have a function as its default export, (graph, budget, training) => scores, but has ${kindOf(method)}`,
  );
}

/**
 * Brings a network to a budget by a method that somebody brought.
 * @throws ModelError `argument` with one sentence when the method fails, or gives neither scores nor a network that fits
 */
export async function applyMethod(
  method: OwnMethod,
  graph: Graph,
  budget: number,
  training: Training,
  tune: Tuning = {},
): Promise<Graph> {
  let made: unknown;
  try {
    made = await method(graph, budget, training);
  } catch (cause) {
    if ((cause as Error | undefined)?.name === 'AbortError') throw cause;
    throw new ModelError('argument', `the method failed: ${messageOf(cause)}`, { cause });
  }
  if (made instanceof Map) {
    checkScores(made, graph);
    const kept = removeRelus(graph, keepLargest(graph, made, budget));
    return fineTune(kept, training, { ...tune, name: `own-${budget}-tune` });
  }
  if (typeof made === 'object' && made !== null && 'nodes' in made) {
    checkFinished(made as Graph, graph, budget);
    return made as Graph;
  }
  throw new ModelError(
    'argument',
    `the method should give a Map of scores by the id of a layer, or a network, but gives ${kindOf(made)}`,
  );
}

/** @throws ModelError `argument` naming the layer that does not fit */
function checkScores(
  scores: ReadonlyMap<unknown, unknown>,
  graph: Graph,
): asserts scores is ReadonlyMap<string, ArrayLike<number>> {
  const layers = new Map(activationsOf(graph).map(({ id, kinds }) => [id as unknown, kinds]));
  if (scores.size === 0) throw new ModelError('argument', 'the method gives scores of no layer');
  for (const [id, own] of scores) {
    const kinds = layers.get(id);
    if (kinds === undefined) {
      throw new ModelError(
        'argument',
        `the method gives scores of '${id}', which is none of the activation layers: ${[...layers.keys()].join(', ')}`,
      );
    }
    if (!isList(own) || own.length !== kinds.length) {
      const is = isList(own) ? `${own.length} scores` : kindOf(own);
      throw new ModelError(
        'argument',
        `the method should give ${kinds.length} scores of layer '${id}', one for each element, but gives ${is}`,
      );
    }
    const wrong = Array.from(own).findIndex((score) => !Number.isFinite(score));
    if (wrong >= 0) {
      throw new ModelError(
        'argument',
        `the method's score of element ${wrong} of layer '${id}' is ${own[wrong]}: scores should be finite numbers`,
      );
    }
  }
}

/** @throws ModelError `argument` saying what is wrong with a network */
function checkFinished(made: Graph, graph: Graph, budget: number): void {
  const sizeOf = (own: Graph): number =>
    inferShapes(own)
      .get(own.output)!
      .reduce((size, n) => size * n, 1);
  let size: number;
  try {
    size = sizeOf(made);
  } catch (cause) {
    throw new ModelError('argument', `the method's network is not sound: ${messageOf(cause)}`, {
      cause,
    });
  }
  if (`${made.input.shape}` !== `${graph.input.shape}` || size !== sizeOf(graph)) {
    throw new ModelError(
      'argument',
      "the method's network has another input or other results than the given",
    );
  }
  const count = reluCount(made);
  if (count <= budget) return;
  throw new ModelError(
    'argument',
    `the method's network has ${count} ReLUs, the budget is ${budget}`,
  );
}

function isList(value: unknown): value is ArrayLike<number> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && 'length' in value);
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function messageOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.split('\n')[0]!;
}
