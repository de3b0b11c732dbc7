/**
 * Checkpoints: a network file (see graph/file.ts) whose tensors also hold what the optimiser remembers and the epochs
 * done. What else an epoch needs follows from the seed and its number.
 */

import { type Graph, loadGraph, saveGraph, type Tensor } from '../graph/index.ts';
import type { Network } from './network.ts';
import type { Optimiser } from './optimiser.ts';

const OPTIMISER = 'training.optimiser ';
const EPOCHS = 'training.epochs';

/** The state of training after `epochs` whole epochs, as the bytes of one file. */
export function saveCheckpoint(network: Network, optimiser: Optimiser, epochs: number): Uint8Array {
  const graph = network.toGraph();
  const tensors = new Map<string, Tensor>(graph.tensors);
  for (const [name, data] of optimiser.memory) {
    tensors.set(OPTIMISER + name, { shape: [data.length], data });
  }
  tensors.set(EPOCHS, { shape: [1], data: Float32Array.of(epochs) });
  return saveGraph({ ...graph, tensors });
}

/**
 * Puts a network and its optimiser back where a checkpoint was made.
 * @returns the epochs done
 * @throws RangeError when the file is damaged, no checkpoint, or of another network.
 */
export function loadCheckpoint(file: Uint8Array, network: Network, optimiser: Optimiser): number {
  const graph: Graph = loadGraph(file);
  const epochs = graph.tensors.get(EPOCHS)?.data[0];
  if (epochs === undefined) throw new RangeError('this network file is not a checkpoint');
  network.load(graph);
  optimiser.memory.clear();
  for (const [name, { data }] of graph.tensors) {
    if (name.startsWith(OPTIMISER)) {
      optimiser.memory.set(name.slice(OPTIMISER.length), data.slice());
    }
  }
  return epochs;
}
