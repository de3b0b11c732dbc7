/**
 * Checkpoints: a network file (see graph/file.ts) whose tensors also hold what the optimiser remembers and the epochs
 * done. What else an epoch needs follows from the seed and its number.
 */

import { ModelError } from '../errors.ts';
import { type Graph, loadGraph, saveGraph, type Tensor } from '../graph/index.ts';
import type { Network } from './network.ts';
import type { Optimiser } from './optimiser.ts';

const OPTIMISER = 'training.optimiser ';
const EXTRA = 'training.extra ';
const EPOCHS = 'training.epochs';

/**
 * The state of training after `epochs` whole epochs, as the bytes of one file.
 * @param extra what a method remembers beside the optimiser, by name
 */
export function saveCheckpoint(
  network: Network,
  optimiser: Optimiser,
  epochs: number,
  extra: Readonly<Record<string, Float32Array>> = {},
): Uint8Array {
  const graph = network.toGraph();
  const tensors = new Map<string, Tensor>(graph.tensors);
  for (const [name, data] of optimiser.memory) {
    tensors.set(OPTIMISER + name, { shape: [data.length], data });
  }
  for (const [name, data] of Object.entries(extra)) {
    tensors.set(EXTRA + name, { shape: [data.length], data });
  }
  tensors.set(EPOCHS, { shape: [1], data: Float32Array.of(epochs) });
  return saveGraph({ ...graph, tensors });
}

/**
 * Puts a network and its optimiser back where a checkpoint was made.
 * @returns the epochs done, and what the method had added
 * @throws ModelError `file` when the file is damaged, `checkpoint` when it is no checkpoint, or of another network.
 */
export function loadCheckpoint(
  file: Uint8Array,
  network: Network,
  optimiser: Optimiser,
): { readonly epochs: number; readonly extra: Readonly<Record<string, Float32Array>> } {
  const graph: Graph = loadGraph(file);
  const epochs = graph.tensors.get(EPOCHS)?.data[0];
  if (epochs === undefined)
    throw new ModelError('checkpoint', 'this network file is not a checkpoint');
  try {
    network.load(graph);
  } catch (cause) {
    throw new ModelError('checkpoint', (cause as Error).message, { cause });
  }
  optimiser.memory.clear();
  const extra: Record<string, Float32Array> = {};
  for (const [name, { data }] of graph.tensors) {
    if (name.startsWith(OPTIMISER)) {
      optimiser.memory.set(name.slice(OPTIMISER.length), data.slice());
    }
    if (name.startsWith(EXTRA)) extra[name.slice(EXTRA.length)] = data.slice();
  }
  return { epochs, extra };
}
