import { readFileSync } from 'node:fs';
import onnxProto from 'onnx-proto';
import { describe, expect, it } from 'vitest';
import { openPlain } from '../../bench/plain.ts';
import { type Graph, loadGraph, preprocess, runFloat } from '../../models/graph/index.ts';
import { resNetCifar } from '../../models/networks/index.ts';
import { exportOnnx } from '../../models/onnx/write.ts';
import { drawDigit } from '../../models/zoo/draw.ts';
import { GraphBuilder } from '../models/builder.ts';
import { everyOperator, randomImage } from '../models/networks.ts';

const digits = loadGraph(
  readFileSync(new URL('../../models/zoo/digits.sottonet', import.meta.url)),
);

/** The network with other kinds in its first activation. */
function withKinds(graph: Graph, change: (kind: number) => number): Graph {
  const first = graph.nodes.find((node) => node.op === 'activation');
  const nodes = graph.nodes.map((node) =>
    node === first && node.op === 'activation' ? { ...node, kinds: node.kinds.map(change) } : node,
  );
  return { ...graph, nodes };
}

/** Largest difference between two networks' outputs. */
async function distance(plain: Graph, float: Graph, image: Float32Array): Promise<number> {
  const network = await openPlain(plain);
  const [a, b] = [await network.run(image), runFloat(float, image)];
  await network.close();
  expect(a.length).toBe(b.length);
  return Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));
}

describe('a network as ONNX', () => {
  const decode = (graph: Graph) => onnxProto.onnx.ModelProto.decode(exportOnnx(graph)).graph!;

  it('has the operators of the network in their order, and no tensor that nothing reads', () => {
    const { node, initializer, input, output } = decode(everyOperator());
    const types = node!.map(({ opType }) => opType);
    expect(types.filter((type) => !/^(Mul|Add|Relu|Identity)$/.test(type!))).toEqual([
      'Conv',
      'BatchNormalization',
      'Conv',
      'AveragePool',
      'Conv',
      'GlobalAveragePool',
      'Flatten',
      'Gemm',
    ]);
    const read = new Set(node!.flatMap((n) => n.input!));
    for (const { name, dims, rawData } of initializer!) {
      expect(read, name!).toContain(name);
      expect(rawData!.length).toBe(4 * dims!.reduce((size, n) => size * Number(n), 1));
    }
    expect([input![0]!.name, output![0]!.name]).toEqual(['image', 'head']);
  });

  it('leaves out the parts of an activation that its kinds do not need', () => {
    const types = (kind: number) => {
      const relu = withKinds(everyOperator(), () => kind);
      const { node } = decode(relu);
      const from = node!.findIndex(({ opType }) => opType === 'BatchNormalization') + 1;
      const to = node!.findIndex(({ opType }, i) => i > from && opType === 'Conv');
      return node!.slice(from, to).map(({ opType }) => opType);
    };
    expect(types(1)).toEqual(['Relu']);
    expect(types(0)).toEqual(['Mul', 'Identity']);
    expect(types(2)).toEqual(['Mul', 'Add', 'Mul', 'Add', 'Identity']);
  });
});

/** The operators that {@link everyOperator} has not: pad, slice, concat, scale, max pooling. */
function movingOperators(): Graph {
  const b = new GraphBuilder(1, [2, 6, 7], 0, 1);
  const odd = b.slice('image', [0, 1, 0], [1, 2, 2], [2, 3, 4]);
  const framed = b.pad(odd, [1, 2, 0], [0, 1, 3]);
  const both = b.concat(framed, b.scale(framed, [0, 3, -1], { factors: [1, -2, 0.5] }));
  return b.build(b.maxPool(both, [3, 2], { stride: 2, pad: [1, 0, 1, 1] }));
}

const unavailable = await openPlain(everyOperator()).then(
  (network) => network.close(),
  (error: Error) => error.message,
);
if (unavailable !== undefined) console.log(`skipped: onnxruntime-web: ${unavailable}`);

describe.skipIf(unavailable !== undefined)('a network in onnxruntime-web', () => {
  it.each([1, 2, 3])(
    'computes what the float reference does: every operator, seed %i',
    async (s) => {
      const graph = everyOperator(s);
      expect(await distance(graph, graph, randomImage(graph, 10 + s))).toBeLessThan(1e-3);
    },
  );

  it.each([0, 1, 2])('also when a layer is all of kind %i', async (kind) => {
    const graph = withKinds(everyOperator(), () => kind);
    expect(await distance(graph, graph, randomImage(graph, 20))).toBeLessThan(1e-3);
  });

  it('computes the operators that move elements, and a ResNet-20 of random weights', async () => {
    for (const graph of [movingOperators(), resNetCifar(20)]) {
      expect(await distance(graph, graph, randomImage(graph, 21))).toBeLessThan(1e-3);
    }
  });

  it('computes the shipped digit network', async () => {
    for (const digit of [0, 4, 7]) {
      const image = preprocess(digits.input, drawDigit(digit));
      expect(await distance(digits, digits, image)).toBeLessThan(1e-3);
    }
  });

  it('would not pass with another map: the comparison sees a ReLU in place of an identity', async () => {
    const graph = everyOperator();
    const other = withKinds(graph, (kind) => (kind === 0 ? 1 : kind));
    expect(await distance(other, graph, randomImage(graph, 11))).toBeGreaterThan(0.01);
  });

  it('refuses an image of the wrong size', async () => {
    const network = await openPlain(digits);
    await expect(network.run(new Float32Array(783))).rejects.toThrow(/783/);
    await network.close();
  });
});
