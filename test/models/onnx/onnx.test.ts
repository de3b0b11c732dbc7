import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  elements,
  type Graph,
  loadGraph,
  runFloat,
  saveGraph,
} from '../../../models/graph/index.ts';
import { readOnnx } from '../../../models/onnx/index.ts';
import { readoutsOf } from '../../../models/onnx/table.ts';
import { exportOnnx } from '../../../models/onnx/write.ts';
import { numbers } from '../builder.ts';
import { everyOperator, randomImage } from '../networks.ts';
import { type ModelSpec, modelOf, node, random } from './models.ts';
import { models } from './zoo.ts';

const ops = (graph: Graph) => graph.nodes.map(({ op }) => op);

/** One runtime for all comparisons, or why there is none. */
const runtime = await import('onnxruntime-web').then(
  (ort) => {
    ort.env.wasm.numThreads = 1;
    return ort;
  },
  (error: Error) => error.message,
);
if (typeof runtime === 'string') console.log(`skipped: onnxruntime-web: ${runtime}`);

/** What the runtime makes of random images; the images in the graph's order [C, H, W]. */
async function runModel(spec: ModelSpec, graph: Graph) {
  if (typeof runtime === 'string') throw new Error(runtime);
  const session = await runtime.InferenceSession.create(modelOf(spec), {
    executionProviders: ['wasm'],
  });
  const dims = spec.input.map((n) => (typeof n === 'number' ? n : 1));
  const next = numbers(99);
  const x = Float32Array.from({ length: elements(dims) }, () => 2 * next());
  const output = session.outputNames[0]!;
  const results = await session.run({ x: new runtime.Tensor('float32', x, dims) });
  const y = Float32Array.from(results[output]!.data as Float32Array | BigInt64Array, Number);
  await session.release();
  const [channels, ...plane] = graph.input.shape;
  const pixels = elements(plane);
  const size = channels * pixels;
  const isLast = spec.input.length === 4 && dims[3] === channels && dims[1] !== channels;
  const images = Array.from({ length: x.length / size }, (_, i) => {
    const image = x.slice(i * size, (i + 1) * size);
    if (!isLast) return image;
    return image.map((_v, j) => image[(j % pixels) * channels + Math.floor(j / pixels)]!);
  });
  return { images, y };
}

describe.skipIf(typeof runtime === 'string')('models of the common exporters', () => {
  it.each(Object.entries(models))('%s: as onnxruntime computes it', async (_name, spec) => {
    const graph = readOnnx(modelOf(spec));
    const { images, y } = await runModel(spec, graph);
    const own = images.flatMap((image) => [...readoutsOf(graph, runFloat(graph, image))]);
    expect(own.length).toBe(y.length);
    expect(y.some((v) => Math.abs(v) > 0.01)).toBe(true);
    own.forEach((value, i) => {
      expect(Math.abs(value - y[i]!), `${i}: ${value}`).toBeLessThan(
        1e-4 * Math.max(1, Math.abs(y[i]!)),
      );
    });
  });
});

describe('what becomes of a model', () => {
  it.each(Object.entries(models))('%s: a graph that can be kept in a file', (_name, spec) => {
    const graph = readOnnx(modelOf(spec));
    expect(loadGraph(saveGraph(graph))).toEqual(graph);
  });

  const read = (name: string) =>
    readOnnx(modelOf(Object.entries(models).find(([key]) => key.includes(name))![1]));

  it('makes one node of each layer, none of reshapes, transposes and computed constants', () => {
    const resnet = read('CIFAR');
    expect(ops(resnet)).toEqual([
      'conv',
      'batchNorm',
      'activation',
      'conv',
      'slice',
      'pad',
      'add',
      'activation',
      'averagePool',
      'flatten',
      'dense',
    ]);
    expect(resnet.nodes.find(({ op }) => op === 'pad')).toMatchObject({
      before: [1, 0, 0],
      after: [1, 0, 0],
    });
    expect(resnet.input.shape).toEqual([3, 8, 8]);
  });

  it('sorts the weights of a network with channels last, and makes added constants biases', () => {
    const graph = read('TensorFlow');
    expect(graph.input.shape).toEqual([2, 7, 6]);
    expect(ops(graph)).toEqual(['scale', 'conv', 'activation', 'maxPool', 'flatten', 'dense']);
    expect(graph.nodes.filter((n) => 'bias' in n)).toHaveLength(2);
    expect(graph.results).toEqual([
      { name: 'y', shape: [5], readout: { kind: 'softmax', axis: 0 } },
    ]);
  });

  it('sees polynomials as activations, and what they are not as sums of few nodes', () => {
    const graph = read('polynomial');
    expect(ops(graph)).toEqual([
      'conv',
      'activation',
      'conv',
      'activation',
      'scale',
      'conv',
      'piecewise',
    ]);
    const [squares, mixed] = graph.nodes.filter((n) => n.op === 'activation');
    expect([...squares!.kinds]).toEqual(new Array(squares!.kinds.length).fill(2));
    const own = graph.tensors.get(squares!.coefficients!)!.data;
    expect([...own]).toEqual([0.1, 0.5, 0.25, 0, -0.25, 0.5, -0.3, 0, 0.125].map(Math.fround));
    // The third channel of the second has no square.
    expect([...mixed!.kinds.subarray(-6)]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('keeps a weight that two layers share once', () => {
    const graph = read('parts');
    expect(graph.nodes.flatMap((n) => (n.op === 'conv' ? [n.weight] : []))).toEqual(['w1', 'w1']);
    expect([...graph.tensors.values()].filter((t) => t.shape.length === 4)).toHaveLength(1);
  });

  it('notes the preprocessing it is told of', () => {
    const bytes = modelOf(models['a batch norm in parts, one weight for two layers']!);
    const { input } = readOnnx(bytes, { mean: [0.1, 0.2, 0.3], std: [1, 2, 3] });
    expect(input).toEqual({ id: 'x', shape: [3, 5, 5], mean: [0.1, 0.2, 0.3], std: [1, 2, 3] });
    expect(readOnnx(bytes).input).toMatchObject({ mean: [0, 0, 0], std: [1, 1, 1] });
    expect(() => readOnnx(bytes, { mean: [0] })).toThrow(/mean and std/);
  });

  it('reads up to the result asked for, whatever else there is', () => {
    const spec: ModelSpec = {
      input: [1, 1, 2, 2],
      nodes: [node('Relu', ['x'], 'a'), node('Sigmoid', ['x'], 'b')],
      outputs: ['a', 'b'],
    };
    expect(readOnnx(modelOf(spec))).toMatchObject({
      output: 'results',
      results: [
        { name: 'a', shape: [1, 2, 2] },
        { name: 'b', shape: [1, 2, 2], readout: { kind: 'sigmoid' } },
      ],
    });
    expect(ops(readOnnx(modelOf(spec), { output: 'a' }))).toEqual(['activation']);
    expect(readOnnx(modelOf(spec), { outputs: ['b', 'a'] }).results).toHaveLength(2);
    expect(ops(readOnnx(modelOf(spec), { output: 'b' }))).toEqual([]);
    expect(() => readOnnx(modelOf(spec), { output: 'c' })).toThrow(/'c' does not depend/);
  });

  it('takes channels last when told so', () => {
    const spec: ModelSpec = { input: [1, 2, 3, 4], nodes: [node('Relu', ['x'], 'y')] };
    expect(readOnnx(modelOf(spec)).input.shape).toEqual([2, 3, 4]);
    const last = readOnnx(modelOf(spec), { layout: 'NHWC' });
    expect(last.input.shape).toEqual([4, 2, 3]);
    expect(last.results).toEqual([{ name: 'y', shape: [2, 3, 4] }]);
    expect(ops(last)).toEqual(['activation', 'gather']);
  });
});

describe('an exported graph comes back', () => {
  const digits = loadGraph(
    readFileSync(new URL('../../../models/zoo/digits.sottonet', import.meta.url)),
  );
  it.each<[string, Graph]>([
    ['every operator of the exporter', everyOperator(1)],
    ['other weights', everyOperator(2)],
    ['the shipped digit network', digits],
  ])('as it was: %s', (_name, graph) => {
    const { mean, std } = graph.input;
    const back = readOnnx(exportOnnx(graph), { mean, std });
    expect(ops(back)).toEqual(ops(graph));
    const maps = (g: Graph) => g.nodes.flatMap((n) => (n.op === 'activation' ? [n.kinds] : []));
    expect(maps(back)).toEqual(maps(graph));
    const image = randomImage(graph, 5);
    const [a, b] = [runFloat(graph, image), runFloat(back, image)];
    a.forEach((value, i) => {
      expect(b[i]!).toBeCloseTo(value, 4);
    });
  });
});

describe('refusals', () => {
  const image = (...nodes: ModelSpec['nodes']): ModelSpec => ({ input: [1, 2, 4, 4], nodes });
  const w = random(1, [2, 2, 3, 3]);
  const flat = node('Flatten', ['x'], 'flat');
  it.each<[string, ModelSpec, RegExp]>([
    [
      'every operator that is not known, by name',
      image(
        node('Relu', ['x'], 'a'),
        node('Sigmoid', ['a'], 'b'),
        node('Relu', ['b'], 'c'),
        node('LayerNormalization', ['c'], 'd'),
        node('Resize', ['d'], 'e'),
      ),
      /^node 'Sigmoid of b' \(Sigmoid\) cannot be read: .* replace it by Relu .*; nor can 2 others: node 'LayerNormalization of d' \(LayerNormalization\), node 'Resize of e' \(Resize\)$/,
    ],
    [
      'another kernel',
      { ...image(node('Conv', ['x', 'w'], 'y', { kernel_shape: [2, 2] })), constants: { w } },
      /kernel_shape \[2,2\]/,
    ],
    [
      'groups that do not divide',
      { ...image(node('Conv', ['x', 'w'], 'y', { group: 3 })), constants: { w } },
      /3 groups/,
    ],
    [
      'weights that are values',
      image(node('Conv', ['x', 'x'], 'y')),
      /weight 'x' should be constant/,
    ],
    ['a cube', image(node('Mul', ['x', 'x'], 's'), node('Mul', ['s', 'x'], 'y')), /degree above 2/],
    [
      'a third power',
      {
        ...image(node('Pow', ['x', 'three'], 'y')),
        constants: { three: { shape: [], floats: [3] } },
      },
      /exponent is 3, and only 1 and 2/,
    ],
    [
      'a division by zero',
      { ...image(node('Div', ['x', 'z'], 'y')), constants: { z: { shape: [], floats: [0] } } },
      /divides by zero/,
    ],
    [
      'shapes that do not go together',
      { ...image(node('Add', ['x', 'm'], 'y')), constants: { m: random(1, [3]) } },
      /do not go together/,
    ],
    [
      'an empty part',
      { ...image(node('Slice', ['x', 'a', 'a'], 'y')), constants: { a: { integers: [1] } } },
      /takes nothing from axis 0/,
    ],
    [
      'a matrix of another size',
      { ...image(flat, node('MatMul', ['flat', 'm'], 'y')), constants: { m: random(1, [31, 5]) } },
      /matrix of 31 rows/,
    ],
    [
      'a reshape to more',
      { ...image(node('Reshape', ['x', 's'], 'y')), constants: { s: { integers: [1, 33] } } },
      /cannot be reshaped/,
    ],
    [
      'statistics of another size',
      {
        ...image(node('BatchNormalization', ['x', 's', 's', 's', 's'], 'y')),
        constants: { s: random(1, [3], 0.1, 1) },
      },
      /should have 2 numbers/,
    ],
    [
      'a negative variance',
      {
        ...image(node('BatchNormalization', ['x', 's', 's', 's', 's'], 'y')),
        constants: { s: { shape: [2], floats: [1, -1] } },
      },
      /variance plus epsilon should be positive/,
    ],
    [
      'weights without end',
      {
        ...image(node('Conv', ['x', 'w'], 'y')),
        constants: { w: { shape: [1, 2, 1, 1], floats: [1, Infinity] } },
      },
      /not finite/,
    ],
    [
      'a layer behind Softmax',
      image(flat, node('Softmax', ['flat'], 's'), node('Relu', ['s'], 'y')),
      /\(Softmax\).*may only end one/,
    ],
    [
      'an open height',
      { input: ['N', 3, 'H', 8], nodes: [node('Relu', ['x'], 'y')] },
      /\[\?, 3, \?, 8\] with open extents: say them with --shape x=/,
    ],
    [
      'pixels that are integers',
      { ...image(node('Relu', ['x'], 'y')), type: 2 },
      /'x' should be of a floating/,
    ],
    [
      'operators of long ago',
      { ...image(node('Relu', ['x'], 'y')), opset: 5 },
      /version 5 .* from 6 to/,
    ],
    ['values from nowhere', image(node('Relu', ['z'], 'y')), /reads 'z', which nothing/],
    [
      'a constant result',
      {
        ...image(node('Relu', ['x'], 'r'), node('Sqrt', ['c'], 'y')),
        constants: { c: random(1, [1], 0, 1) },
      },
      /'y' does not depend/,
    ],
    [
      'one name for two values',
      image(node('Relu', ['x'], 'y'), node('Relu', ['y'], 'y')),
      /one that there is already/,
    ],
    [
      'an attribute of another type',
      image(node('Flatten', ['x'], 'y', { axis: 'one' })),
      /attribute 'axis' is of another type/,
    ],
    [
      'training',
      image(node('BatchNormalization', ['x', 'x', 'x', 'x', 'x'], 'y', { training_mode: 1 })),
      /for inference/,
    ],
  ])('%s', (_what, spec, message) => {
    expect(() => readOnnx(modelOf(spec))).toThrow(message);
    expect(() => readOnnx(modelOf(spec))).toThrow(RangeError);
  });

  it('a model with two images, unless all but one are given', () => {
    const bytes = modelOf({ input: [1, 2], nodes: [node('Add', ['x', 'c'], 'y')] });
    const c = { shape: [2], data: Float32Array.of(1, 2) };
    expect(() => readOnnx(bytes)).toThrow(/reads 'c', which nothing/);
    const graph = readOnnx(bytes, { constants: new Map([['c', c]]) });
    expect([...runFloat(graph, Float32Array.of(10, 20))]).toEqual([11, 22]);
  });
});
