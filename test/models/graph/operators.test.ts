import { describe, expect, it } from 'vitest';
import {
  countGraph,
  type Graph,
  inferShapes,
  loadGraph,
  type Node,
  runFloat,
  type Shape,
  saveGraph,
  type Tensor,
} from '../../../models/graph/index.ts';

/** A graph of some nodes over inputs of one shape. */
function graphOf(
  shape: readonly [number, number, number],
  nodes: readonly Node[],
  tensors: Readonly<Record<string, readonly number[]>> = {},
): Graph {
  const named = Object.entries(tensors).map(([name, data]): [string, Tensor] => [
    name,
    { shape: [data.length], data: Float32Array.from(data) },
  ]);
  const zeros = new Array<number>(shape[0]).fill(0);
  return {
    input: { id: 'in', shape, mean: zeros, std: zeros.map(() => 1) },
    nodes,
    output: nodes.at(-1)!.id,
    tensors: new Map(named),
  };
}

function run(graph: Graph, values?: readonly number[]): { shape: Shape; values: number[] } {
  const size = graph.input.shape.reduce((a, b) => a * b, 1);
  const image = Float32Array.from(values ?? Array.from({ length: size }, (_, i) => i + 1));
  return {
    shape: inferShapes(graph).get(graph.output)!,
    values: [...runFloat(graph, image)],
  };
}

const maxPool = (change: object = {}): Node => ({
  op: 'maxPool',
  id: 'max',
  inputs: ['in'],
  kernel: [2, 2],
  stride: [2, 2],
  pads: [0, 0, 0, 0],
  ...change,
});
const pad = (change: object = {}): Node => ({
  op: 'pad',
  id: 'padded',
  inputs: ['in'],
  before: [0, 0, 0],
  after: [0, 0, 0],
  ...change,
});
const slice = (change: object = {}): Node => ({
  op: 'slice',
  id: 'part',
  inputs: ['in'],
  start: [0, 0, 0],
  step: [1, 1, 1],
  size: [1, 1, 1],
  ...change,
});
const scale: Node = { op: 'scale', id: 'scaled', inputs: ['in'], scale: 'a', shift: 'b' };

describe('max pooling', () => {
  it('takes the largest of each window', () => {
    expect(run(graphOf([2, 2, 4], [maxPool()]))).toEqual({
      shape: [2, 1, 2],
      values: [6, 8, 14, 16],
    });
  });

  it('never takes padding, not even when all else is negative', () => {
    const graph = graphOf(
      [1, 2, 2],
      [maxPool({ kernel: [3, 3], stride: [1, 2], pads: [1, 1, 2, 1] })],
    );
    expect(run(graph, [-4, -3, -2, -1])).toEqual({ shape: [1, 3, 1], values: [-1, -1, -1] });
  });

  it('counts the pairs it compares, padding left out', () => {
    // Per channel: rows see 2, 2 and 1 of the input, columns 2: 10 numbers in 3 windows.
    const graph = graphOf(
      [2, 2, 2],
      [maxPool({ kernel: [3, 3], stride: [1, 2], pads: [1, 1, 2, 1] })],
    );
    expect(countGraph(graph).relus).toBe(2 * (10 - 3));
    expect(countGraph(graphOf([3, 4, 4], [maxPool()])).relus).toBe(3 * 4 * 3);
  });
});

describe('padding, slices, joins and scales', () => {
  it('pads every axis with zeros', () => {
    expect(run(graphOf([1, 2, 1], [pad({ before: [1, 0, 2], after: [0, 1, 0] })]))).toEqual({
      shape: [2, 3, 3],
      values: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0],
    });
  });

  it('takes strided parts: the shortcut of a CIFAR ResNet', () => {
    const rows = slice({ step: [1, 2, 2], size: [2, 2, 2] });
    expect(run(graphOf([2, 3, 4], [rows]))).toEqual({
      shape: [2, 2, 2],
      values: [1, 3, 9, 11, 13, 15, 21, 23],
    });
    const one = slice({ start: [1, 1, 1], step: [1, 1, 2], size: [1, 2, 2] });
    expect(run(graphOf([2, 3, 4], [one])).values).toEqual([18, 20, 22, 24]);
  });

  it('joins any number of values, planes or flat', () => {
    const join: Node = { op: 'concat', id: 'joined', inputs: ['part', 'in', 'part'] };
    const part = slice({ start: [1, 0, 0], size: [1, 1, 2] });
    expect(run(graphOf([2, 1, 2], [part, join]))).toEqual({
      shape: [4, 1, 2],
      values: [3, 4, 1, 2, 3, 4, 3, 4],
    });
    const flat: Node = { op: 'flatten', id: 'flat', inputs: ['in'] };
    const flats: Node = { op: 'concat', id: 'flats', inputs: ['flat', 'flat'] };
    expect(run(graphOf([2, 1, 1], [flat, flats]))).toEqual({ shape: [4], values: [1, 2, 1, 2] });
  });

  it('scales and shifts channels', () => {
    const tensors = { a: [2, -1], b: [0.5, 0] };
    expect(run(graphOf([2, 1, 2], [scale], tensors)).values).toEqual([2.5, 4.5, -3, -4]);
    const flat: Node = { op: 'flatten', id: 'flat', inputs: ['in'] };
    const graph = graphOf([2, 1, 1], [flat, { ...scale, inputs: ['flat'] } as Node], tensors);
    expect(run(graph).values).toEqual([2.5, -2]);
  });
});

describe('what they refuse', () => {
  const join = (inputs: [string, string]): Node => ({ op: 'concat', id: 'joined', inputs });
  it.each<[string, Node[], RegExp]>([
    ['pads as wide as the window', [maxPool({ pads: [0, 2, 0, 0] })], /'max'.*smaller than/],
    ['a negative pad of windows', [maxPool({ pads: [-1, 0, 0, 0] })], /'max'.*pads/],
    ['a window that does not fit', [maxPool({ kernel: [5, 2] })], /'max'.*window of 5/],
    ['a negative pad', [pad({ after: [0, -1, 0] })], /'padded'.*zero or more/],
    ['half a zero', [pad({ before: [0.5, 0, 0] })], /'padded'.*whole/],
    [
      'a part that sticks out',
      [slice({ start: [0, 1, 0], step: [1, 2, 1], size: [1, 2, 1] })],
      /'part'.*takes 2 from 1 on by steps of 2 where there are 3/,
    ],
    ['a part from before the start', [slice({ start: [-1, 0, 0] })], /'part'.*start/],
    ['a part that stands still', [slice({ step: [1, 0, 1] })], /'part'.*step/],
    ['a part of nothing', [slice({ size: [0, 1, 1] })], /'part'.*size/],
    ['planes of two sizes', [slice(), join(['in', 'part'])], /'joined'.*\[2,3,4\] and \[1,1,1\]/],
    ['tensors of the wrong length', [scale], /'scaled'.*'b' should be \[2\]/],
  ])('%s', (_what, nodes, message) => {
    expect(() => inferShapes(graphOf([2, 3, 4], nodes, { a: [1, 1], b: [0] }))).toThrow(message);
  });
});

describe('files', () => {
  const graph: Graph = {
    ...graphOf(
      [2, 4, 4],
      [
        scale,
        maxPool({ inputs: ['scaled'], pads: [0, 1, 1, 0] }),
        pad({ inputs: ['max'], before: [1, 0, 2] }),
        slice({ inputs: ['padded'], start: [1, 0, 0], size: [2, 2, 2] }),
        { op: 'concat', id: 'joined', inputs: ['part', 'part', 'part'] },
      ],
      { a: [1, 2], b: [3, 4] },
    ),
    results: [{ name: 'y', shape: [24], readout: { kind: 'argmax', axis: 0 } }],
  };

  it('keep every operator and what the result is for', () => {
    expect(loadGraph(saveGraph(graph))).toEqual(graph);
    expect(inferShapes(graph).get('joined')).toEqual([6, 2, 2]);
  });

  it('are refused with another reading of the result', () => {
    const text = new TextDecoder('latin1').decode(saveGraph(graph)).replace('argmax', 'argmin');
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    expect(() => loadGraph(bytes)).toThrow(/wrong at results/);
  });
});
