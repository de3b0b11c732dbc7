import { type Graph, type Node, RELU, SQUARE, type Tensor } from '../../models/graph/index.ts';
import { Stream } from '../../models/random.ts';
import type { LabelledImages } from '../../models/train/index.ts';

/** A small deterministic stream of numbers in [-1, 1), for weights and images of tests. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 0x80000000 - 1;
  };
}

/** A tensor of random numbers in [-scale, scale) + offset. */
export function tensor(
  next: () => number,
  shape: readonly number[],
  scale = 1,
  offset = 0,
): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: Float32Array.from({ length: size }, () => offset + scale * next()) };
}

/**
 * A network of 2x9x7 inputs that uses every operator, strides, uneven pads, groups and every kind of activation.
 * Shapes: 2x9x7 -> conv 6x5x4 -> ... -> add -> pool 6x2x2 -> grouped conv 9x2x2 -> mean -> flat 9 -> dense 5.
 */
export function everyOperator(seed = 1): Graph {
  const next = numbers(seed);
  const kinds = (size: number) =>
    Uint8Array.from({ length: size }, (_, i) => [RELU, SQUARE, 0, RELU, SQUARE][i % 5]!);
  const coefficients = (channels: number): Tensor => ({
    shape: [channels, 3],
    data: Float32Array.from({ length: 3 * channels }, (_, i) =>
      i % 3 === 2 ? 0.25 + 0.1 * next() : 0.3 * next(),
    ),
  });
  const nodes: Node[] = [
    {
      op: 'conv',
      id: 'conv1',
      inputs: ['image'],
      weight: 'conv1.weight',
      kernel: [3, 3],
      stride: [2, 2],
      pads: [1, 1, 1, 1],
      groups: 1,
    },
    {
      op: 'batchNorm',
      id: 'norm1',
      inputs: ['conv1'],
      scale: 'norm1.scale',
      shift: 'norm1.shift',
      mean: 'norm1.mean',
      variance: 'norm1.variance',
      epsilon: 1e-5,
    },
    {
      op: 'activation',
      id: 'act1',
      inputs: ['norm1'],
      kinds: kinds(120),
      coefficients: 'act1.coefficients',
    },
    {
      op: 'conv',
      id: 'conv2',
      inputs: ['act1'],
      weight: 'conv2.weight',
      bias: 'conv2.bias',
      kernel: [2, 3],
      stride: [1, 1],
      pads: [1, 0, 0, 2],
      groups: 1,
    },
    { op: 'add', id: 'sum', inputs: ['conv2', 'act1'] },
    {
      op: 'activation',
      id: 'act2',
      inputs: ['sum'],
      kinds: kinds(120),
      coefficients: 'act2.coefficients',
    },
    { op: 'averagePool', id: 'pool', inputs: ['act2'], kernel: [2, 2], stride: [2, 2] },
    {
      op: 'conv',
      id: 'conv3',
      inputs: ['pool'],
      weight: 'conv3.weight',
      kernel: [3, 3],
      stride: [1, 1],
      pads: [1, 1, 1, 1],
      groups: 3,
    },
    { op: 'activation', id: 'act3', inputs: ['conv3'], kinds: new Uint8Array(36).fill(RELU) },
    { op: 'globalAveragePool', id: 'mean', inputs: ['act3'] },
    { op: 'flatten', id: 'flat', inputs: ['mean'] },
    { op: 'dense', id: 'head', inputs: ['flat'], weight: 'head.weight', bias: 'head.bias' },
  ];
  return {
    input: { id: 'image', shape: [2, 9, 7], mean: [0.5, 0.4], std: [0.25, 0.5] },
    nodes,
    output: 'head',
    tensors: new Map<string, Tensor>([
      ['conv1.weight', tensor(next, [6, 2, 3, 3], 0.5)],
      ['norm1.scale', tensor(next, [6], 0.3, 1)],
      ['norm1.shift', tensor(next, [6], 0.5)],
      ['norm1.mean', tensor(next, [6], 0.2)],
      ['norm1.variance', tensor(next, [6], 0.3, 1)],
      ['act1.coefficients', coefficients(6)],
      ['conv2.weight', tensor(next, [6, 6, 2, 3], 0.3)],
      ['conv2.bias', tensor(next, [6], 0.3)],
      ['act2.coefficients', coefficients(6)],
      ['conv3.weight', tensor(next, [9, 2, 3, 3], 0.5)],
      ['head.weight', tensor(next, [5, 9], 1)],
      ['head.bias', tensor(next, [5], 0.5)],
    ]),
  };
}

/** A random preprocessed image for a graph. */
export function randomImage(graph: Graph, seed: number): Float32Array {
  return tensor(numbers(seed), graph.input.shape).data;
}

/** Images of {@link everyOperator}'s shape whose class is the place of a bright bar. */
export function bars(count: number): LabelledImages {
  const shape = [2, 9, 7] as const;
  const stream = new Stream(5);
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 5);
  const pixels = new Uint8Array(count * 126);
  for (let i = 0; i < pixels.length; i++) {
    const image = Math.floor(i / 126);
    const row = Math.floor((i % 63) / 7);
    const bright = row - 2 === labels[image] || row - 3 === labels[image];
    pixels[i] = 40 + 80 * stream.uniform() + (bright ? 100 : 0);
  }
  return { shape, pixels, labels };
}
