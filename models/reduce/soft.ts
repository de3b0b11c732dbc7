/** The masks of a soft network (see NetworkOptions.soft), as methods read and write them. */

import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/index.ts';
import { isSoft, type Network, type Parameter, softTensors } from '../train/index.ts';
import { activationsOf, relusIn, type Scores } from './elements.ts';
import type { Training } from './training.ts';

/** The parameter of a name. */
function named(parameters: readonly Parameter[], name: string): Parameter {
  const found = parameters.find((parameter) => parameter.name === name);
  if (found === undefined)
    throw new ModelError('argument', `the network has no parameter '${name}'`);
  return found;
}

/** Masks and polynomials of all soft layers, by the layer's id. */
export function softLayers(
  network: Network,
): ReadonlyMap<string, { readonly mask: Parameter; readonly polynomial: Parameter }> {
  const layers = network.shared.nodes.filter(isSoft).map(({ id }) => {
    const { mask, polynomial } = softTensors(id);
    const { parameters } = network;
    return [
      id,
      { mask: named(parameters, mask), polynomial: named(parameters, polynomial) },
    ] as const;
  });
  return new Map(layers);
}

/** The masks among a network's parameters. */
export function masksOf(parameters: readonly Parameter[]): Parameter[] {
  return parameters.filter(({ kind }) => kind === 'mask');
}

/** How many masks are above a threshold. */
export function countAbove(parameters: readonly Parameter[], threshold: number): number {
  let count = 0;
  for (const { value } of masksOf(parameters)) for (const m of value) if (m > threshold) count++;
  return count;
}

/** ReLUs of layers that a soft network leaves as they are: they have lost elements before. */
export function fixedRelus(graph: Graph): number {
  return activationsOf(graph).reduce((sum, node) => (isSoft(node) ? sum : sum + relusIn(node)), 0);
}

/** The masks of all soft layers as scores of their elements. */
export function maskScores(network: Network): Scores {
  return new Map([...softLayers(network)].map(([id, { mask }]) => [id, mask.value]));
}

/**
 * Learning rate of masks, as a factor, with which one can go from 1 to 0 in a fifth of a search; 1 where it can anyway. Adam
 * moves a number by about the rate in each step.
 */
export function maskRateFor(
  { training, batch, shards = 1 }: Pick<Training, 'training' | 'batch' | 'shards'>,
  epochs: number,
  rate: number,
): number {
  const steps = epochs * Math.floor(training.labels.length / (batch * shards));
  return Math.max(1, 5 / (rate * Math.max(1, steps)));
}
