/**
 * The ReLUs of a network as elements that can be ranked and removed one by one.
 *
 * A budget counts the ReLU elements of activation layers. What max pooling compares is not among them: no method here can
 * remove it (countGraph counts it).
 */

import { countKinds } from '../../protocol/program/kinds.ts';
import { ModelError } from '../errors.ts';
import {
  type ActivationNode,
  type Graph,
  IDENTITY,
  type Node,
  RELU,
  SQUARE,
  type Tensor,
} from '../graph/index.ts';
import { Stream } from '../random.ts';
import { softTensors } from '../train/index.ts';
import { limitCurvature } from './parabola.ts';

/** A number for every element of some activation layers, in the graph's order, by the layer's id. */
export type Scores = ReadonlyMap<string, ArrayLike<number>>;

/** The activation layers of a graph, in running order. */
export function activationsOf(graph: Graph): ActivationNode[] {
  return graph.nodes.filter((node) => node.op === 'activation');
}

/** How many elements of a layer are ReLUs. */
export function relusIn({ kinds }: Pick<ActivationNode, 'kinds'>): number {
  return countKinds(kinds).relus;
}

/** ReLU elements of all activation layers. */
export function reluCount(graph: Graph): number {
  return activationsOf(graph).reduce((sum, node) => sum + relusIn(node), 0);
}

/**
 * Is this a budget a network can be brought to?
 * @throws ModelError `argument` in one sentence when it is not
 */
export function checkBudget(graph: Graph, budget: number): void {
  const count = reluCount(graph);
  if (!(Number.isInteger(budget) && budget >= 0 && budget <= count)) {
    throw new ModelError(
      'argument',
      `a budget of ${budget} ReLUs cannot be met: it should be a whole number from 0 to ${count}, the network's count`,
    );
  }
}

/**
 * Chooses the ReLUs that stay: those with the highest scores, the later of equals, until the network has exactly
 * `budget`. ReLUs of layers without scores stay, and count.
 * @returns by layer with scores, 1 for every element that stays a ReLU
 * @throws ModelError `argument` when the layers without scores alone have more, or there are fewer ReLUs
 */
export function keepLargest(graph: Graph, scores: Scores, budget: number): Map<string, Uint8Array> {
  checkBudget(graph, budget);
  const layers = activationsOf(graph).filter(({ id }) => scores.has(id));
  const total = layers.reduce((sum, node) => sum + relusIn(node), 0);
  const fixed = reluCount(graph) - total;
  if (fixed > budget) {
    throw new ModelError(
      'argument',
      `a budget of ${budget} ReLUs cannot be met: ${fixed} are in layers that stay as they are`,
    );
  }
  const value = new Float64Array(total);
  const element = new Uint32Array(total);
  const layer = new Uint32Array(total);
  let n = 0;
  layers.forEach(({ id, kinds }, l) => {
    const own = scores.get(id)!;
    for (let e = 0; e < kinds.length; e++) {
      if (kinds[e] !== RELU) continue;
      value[n] = own[e]!;
      element[n] = e;
      layer[n++] = l;
    }
  });
  const order = Uint32Array.from(value, (_, i) => i).sort((a, b) => value[b]! - value[a]! || b - a);
  const kept = layers.map(({ kinds }) => new Uint8Array(kinds.length));
  for (const i of order.subarray(0, budget - fixed)) kept[layer[i]!]![element[i]!] = 1;
  return new Map(layers.map(({ id }, l) => [id, kept[l]!]));
}

/** Replaces the kinds of some activation layers, by id. */
export function withKinds(graph: Graph, kinds: ReadonlyMap<string, Uint8Array>): Graph {
  const nodes = graph.nodes.map((node): Node => {
    const own = node.op === 'activation' && kinds.get(node.id);
    return own ? { ...node, kinds: own } : node;
  });
  return { ...graph, nodes };
}

/**
 * Removes ReLUs: in the layers of `kept`, those that are not marked become the identity, or squares of `polynomials`.
 * @param polynomials [C, 3] by layer; every layer that gets squares needs its own
 */
export function removeRelus(
  graph: Graph,
  kept: ReadonlyMap<string, Uint8Array>,
  polynomials?: ReadonlyMap<string, Float32Array>,
): Graph {
  const tensors = new Map<string, Tensor>(graph.tensors);
  const rest = polynomials === undefined ? IDENTITY : SQUARE;
  const nodes = graph.nodes.map((node): Node => {
    const own = node.op === 'activation' ? kept.get(node.id) : undefined;
    if (node.op !== 'activation' || own === undefined) return node;
    const kinds = node.kinds.map((kind, e) => (kind === RELU && own[e] === 0 ? rest : kind));
    if (polynomials === undefined || !kinds.includes(SQUARE)) return { ...node, kinds };
    const rows = polynomials.get(node.id)!.slice();
    limitCurvature(rows);
    const coefficients = node.coefficients ?? `${node.id}.coefficients`;
    tensors.set(coefficients, { shape: [rows.length / 3, 3], data: rows });
    return { ...node, kinds, coefficients };
  });
  return { ...graph, nodes, tensors };
}

/** A graph without the tensors that soft training added to it. */
export function withoutSoftTensors(graph: Graph): Graph {
  const tensors = new Map(graph.tensors);
  for (const { id } of activationsOf(graph)) {
    const { mask, polynomial } = softTensors(id);
    tensors.delete(mask);
    tensors.delete(polynomial);
  }
  return { ...graph, tensors };
}

/** A score for every ReLU that says nothing: the baseline every method has to beat. */
export function randomScores(graph: Graph, seed: number): Scores {
  const stream = new Stream(seed);
  return new Map(
    activationsOf(graph).map(({ id, kinds }) => [
      id,
      Float64Array.from(kinds, () => stream.uniform()),
    ]),
  );
}
