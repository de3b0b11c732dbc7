/** Networks, data and surroundings that the tests of reduction share. */

import { type Graph, RELU } from '../../../models/graph/index.ts';
import { compactResNet } from '../../../models/networks/resnet.ts';
import { Stream } from '../../../models/random.ts';
import type { Training } from '../../../models/reduce/training.ts';
import {
  Adam,
  cosine,
  type LabelledImages,
  Network,
  type Parameter,
  slice,
  train,
} from '../../../models/train/index.ts';
import { everyOperator } from '../networks.ts';

export function parameter(
  kind: Parameter['kind'],
  value: readonly number[],
  gradient: readonly number[] = value.map(() => 0),
  name: string = kind,
): Parameter {
  return { name, kind, value: Float32Array.from(value), gradient: Float32Array.from(gradient) };
}

/** The network with every operator, its elements all ReLUs. */
export function allReluOperators(seed: number): Graph {
  const graph = everyOperator(seed);
  const nodes = graph.nodes.map((node) =>
    node.op === 'activation' ? { ...node, kinds: node.kinds.map(() => RELU) } : node,
  );
  return { ...graph, nodes };
}

/** Four classes that a linear network cannot tell apart: where two bright squares stand to each other. */
export function pairs(count: number, seed: number): LabelledImages {
  const stream = new Stream(seed);
  const pixels = new Uint8Array(count * 64);
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 4);
  for (let i = 0; i < count; i++) {
    const image = pixels.subarray(64 * i, 64 * i + 64);
    for (let p = 0; p < 64; p++) image[p] = 90 * stream.uniform();
    const first = Math.floor(4 * stream.uniform());
    const second = first ^ labels[i]!;
    for (const [half, place] of [
      [0, first],
      [4, second],
    ] as const) {
      const [y, x] = [4 * (place >> 1), half + 2 * (place & 1)];
      for (const at of [8 * y + x, 8 * y + x + 1, 8 * y + 8 + x, 8 * y + 9 + x]) {
        image[at]! += 150;
      }
    }
  }
  return { shape: [1, 8, 8], pixels, labels };
}

/** A small residual network for {@link pairs}: 480 ReLUs. */
export function smallResNet(seed = 1): Graph {
  const input = { size: 8, channels: 1, classes: 4, mean: [0.3], std: [0.25], seed };
  return compactResNet([8, 12], { kernel: 3, stride: 2 }, input);
}

/** Surroundings in which a stage takes about a second. */
export function smallTraining(more: Partial<Training> = {}): Training {
  const set = pairs(1280, 7);
  return {
    training: slice(set, 0, 1024),
    validation: slice(set, 1024, 1280),
    batch: 32,
    seed: 3,
    ...more,
  };
}

/** {@link smallResNet} after a few epochs. */
export async function trainedResNet(training: Training, epochs = 12): Promise<Graph> {
  const network = new Network(smallResNet(), training.batch);
  const options = { epochs, seed: 1, optimiser: new Adam(), schedule: cosine(5e-3) };
  await train(network, training.training, options);
  return network.toGraph();
}
