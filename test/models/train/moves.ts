import {
  type AveragePoolNode,
  elements,
  type Graph,
  type Node,
  RELU,
  type Tensor,
} from '../../../models/graph/index.ts';
import { padding, transposing } from '../../../protocol/ring/gather.ts';
import { numbers, tensor } from '../networks.ts';

/**
 * A network of 16x9x8 inputs with the operators that move elements, bend them and take them apart, padded means,
 * depthwise and grouped convolutions, and one that Winograd's algorithm suits.
 */
export function moving(seed: number, pool: Partial<AveragePoolNode> = {}): Graph {
  const next = numbers(seed);
  const tensors = new Map<string, Tensor>();
  const add = (name: string, shape: readonly number[], scale: number, offset = 0) => {
    tensors.set(name, tensor(next, shape, scale, offset));
    return name;
  };
  const conv = (
    id: string,
    from: string,
    [out, inputs]: readonly [number, number],
    { kernel = 3, stride = 1, groups = 1 } = {},
  ): Node => ({
    ...{ op: 'conv', id, inputs: [from], groups },
    ...{ kernel: [kernel, kernel], stride: [stride, stride], pads: [1, 1, 1, 1] },
    weight: add(`${id}.weight`, [out, inputs / groups, kernel, kernel], 0.2),
    bias: add(`${id}.bias`, [out], 0.2),
  });
  const piecewise = (id: string, from: string, channels: number, knots: number): Node => ({
    ...{ op: 'piecewise', id, inputs: [from] },
    offset: add(`${id}.offset`, [channels], 0.3),
    slope: add(`${id}.slope`, [channels], 0.5, 0.5),
    knots: add(`${id}.knots`, [channels, knots], 1),
    bends: add(`${id}.bends`, [channels, knots], 1),
  });
  const nodes: Node[] = [
    conv('plain', 'image', [16, 16]),
    piecewise('bent', 'plain', 16, 2),
    conv('deep', 'bent', [16, 16], { groups: 16 }),
    { op: 'add', id: 'less', inputs: ['bent', 'deep'], subtract: true },
    conv('parts', 'less', [6, 16], { groups: 2, stride: 2 }),
    { op: 'concat', id: 'joined', inputs: ['parts', 'parts'] },
    { op: 'reshape', id: 'other', inputs: ['joined'], shape: [5, 12, 4] },
    {
      ...{ op: 'gather', id: 'turned', inputs: ['other'], shape: [12, 4, 5] },
      tables: transposing([5, 12, 4], [1, 2, 0]),
    },
    {
      ...{ op: 'gather', id: 'wide', inputs: ['turned'], shape: [13, 5, 5] },
      tables: padding([12, 4, 5], [0, 1, 0], [1, 0, 0]),
    },
    conv('pooled', 'wide', [7, 13]),
    {
      ...{ op: 'averagePool', id: 'means', inputs: ['pooled'], pads: [1, 0, 1, 1] },
      ...{ kernel: [3, 2], stride: [2, 1], ...pool },
    },
    { op: 'activation', id: 'relu', inputs: ['means'], kinds: new Uint8Array(105).fill(RELU) },
    { op: 'reshape', id: 'flat', inputs: ['relu'], shape: [105] },
    piecewise('last', 'flat', 105, 0),
  ];
  return {
    input: {
      ...{ id: 'image', shape: [16, 9, 8] },
      ...{ mean: new Array<number>(16).fill(0), std: new Array<number>(16).fill(1) },
    },
    nodes,
    output: 'last',
    tensors,
  };
}

/** Some random preprocessed images for a graph, one after the other. */
export function randomBatch(graph: Graph, images: number, seed = 100): Float32Array {
  return tensor(numbers(seed), [images, elements(graph.input.shape)]).data;
}
