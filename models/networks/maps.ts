/**
 * Activation maps for networks that are built here: which element of which layer is a ReLU, a square or the identity.
 *
 * A map sees all activation layers of a network at once, so that a budget can go over the whole of it.
 */

import { KINDS, type KindName, kindOf } from '../../protocol/program/kinds.ts';
import { ModelError } from '../errors.ts';
import { elements, RELU, type Shape, SQUARE } from '../graph/graph.ts';
import { Stream } from '../random.ts';

/** One activation layer of a network that is being built. */
export interface ActivationLayer {
  readonly id: string;
  readonly shape: Shape;
}

/** The kinds of all elements, one array for each layer, in order. */
export type ReluMap = (layers: readonly ActivationLayer[]) => readonly Uint8Array[];

/** What the elements of a map can be that are no ReLUs. */
export type RestKind = Exclude<KindName, 'ReLU'>;

/** Every element is a ReLU. */
export const allRelus: ReluMap = (layers) =>
  layers.map(({ shape }) => new Uint8Array(elements(shape)).fill(RELU));

/**
 * `budget` elements of the whole network, chosen at random, are ReLUs.
 * @param seed the same seed chooses the same elements
 * @param rest what all others are
 * @throws ModelError `argument` (when it is used) if the network has fewer elements
 */
export function randomMap(budget: number, seed: number, rest: RestKind): ReluMap {
  const code = KINDS.find((kind) => kindOf(kind).name === rest)!;
  return (layers) => {
    const maps = layers.map(({ shape }) => new Uint8Array(elements(shape)).fill(code));
    const total = maps.reduce((sum, { length }) => sum + length, 0);
    if (!(Number.isInteger(budget) && budget >= 0 && budget <= total)) {
      throw new ModelError(
        'argument',
        `a budget of ${budget} ReLUs does not fit: the network has ${total} activation elements`,
      );
    }
    const chosen = new Stream(seed).permutation(total).subarray(0, budget).sort();
    let next = 0;
    let first = 0;
    for (const map of maps) {
      for (; next < budget && chosen[next]! < first + map.length; next++) {
        map[chosen[next]! - first] = RELU;
      }
      first += map.length;
    }
    return maps;
  };
}

/** The layers named are squares, element by element; all others are ReLUs. */
export function squaresAt(...ids: readonly string[]): ReluMap {
  return (layers) =>
    layers.map(({ id, shape }) =>
      new Uint8Array(elements(shape)).fill(ids.includes(id) ? SQUARE : RELU),
    );
}
