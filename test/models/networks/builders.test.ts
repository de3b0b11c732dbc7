import { describe, expect, it } from 'vitest';
import {
  countGraph,
  type Graph,
  inferShapes,
  loadGraph,
  runFloat,
  saveGraph,
} from '../../../models/graph/index.ts';
import {
  AIR_FROZEN,
  airNet,
  allRelus,
  hybReNet,
  loadNamed,
  miniOnn,
  mobileNetV2,
  NETWORK_NAMES,
  randomMap,
  randomWeights,
  resNet18,
  resNet50,
  resNetCifar,
  squaresAt,
  squeezeNet,
  vgg16,
} from '../../../models/networks/index.ts';
import { Stream } from '../../../models/random.ts';

/** Builders whose networks have millions of weights need none to be counted. */
const zeros = (_name: string, shape: readonly number[]) =>
  new Float32Array(shape.reduce((a, b) => a * b, 1));

const relusOf = (graph: Graph) =>
  graph.nodes.reduce((sum, node) => {
    return sum + (node.op === 'activation' ? node.kinds.filter((kind) => kind === 1).length : 0);
  }, 0);

describe('the networks of the field', () => {
  it.each<[string, Graph, number, number]>([
    ['ResNet-20', resNetCifar(20), 188_416, 40.6],
    ['ResNet-32', resNetCifar(32), 303_104, 68.9],
    ['ResNet-44', resNetCifar(44), 417_792, 97.2],
    ['ResNet-56', resNetCifar(56), 532_480, 125.5],
    ['ResNet-18', resNet18({ weights: zeros }), 557_056, 555.4],
    ['VGG-16', vgg16({ weights: zeros, pooling: 'average' }), 276_480, 313.2],
    ['MiniONN', miniOnn(), 173_056, 61.1],
    ['the air network', airNet(), 160_896, 111.4],
    ['HybReNet 5x5x3x', hybReNet([5, 5, 3], 16, { weights: zeros }), 343_040, 1053],
    ['HybReNet 5x7x2x', hybReNet([5, 7, 2], 16, { weights: zeros }), 378_880, 1270],
    ['HybReNet 6x6x2x', hybReNet([6, 6, 2], 16, { weights: zeros }), 401_408, 1366],
    ['HybReNet 7x5x2x', hybReNet([7, 5, 2], 16, { weights: zeros }), 411_648, 1325],
  ])('have the published counts: %s', (_name, graph, relus, megamacs) => {
    expect(inferShapes(graph).get(graph.output)).toEqual([10]);
    expect(relusOf(graph)).toBe(relus);
    const macs = countGraph(graph).macs / 1e6;
    expect(Math.abs(macs - megamacs)).toBeLessThan(Math.max(0.2, 0.001 * megamacs));
  });

  // Parameters are torchvision's, and two more for each channel of a norm, its measured mean and variance.
  it.each<[string, Graph, number, number, number]>([
    ['SqueezeNet 1.1', squeezeNet({ weights: zeros }), 2_649_992, 352.5, 1_235_496],
    ['MobileNetV2', mobileNetV2({ weights: zeros }), 6_105_792, 300.8, 3_504_872 + 2 * 17_056],
    ['ResNet-50', resNet50({ weights: zeros }), 9_608_704, 4089.2, 25_557_032 + 2 * 26_560],
  ])('for ImageNet as well: %s', (_name, graph, relus, megamacs, parameters) => {
    expect(inferShapes(graph).get(graph.output)).toEqual([1000]);
    expect(relusOf(graph)).toBe(relus);
    const counted = countGraph(graph);
    expect(counted.macs / 1e6).toBeCloseTo(megamacs, 0);
    expect(counted.parameters).toBe(parameters);
  });

  it('keep the size of their values when their weights are random', () => {
    for (const make of [squeezeNet, mobileNetV2]) {
      const graph = make({ size: 32, classes: 10 });
      const stream = new Stream(3);
      const image = Float32Array.from({ length: 3 * 32 * 32 }, () => stream.symmetric(1));
      runFloat(graph, image, (_id, value) => {
        const square = value.reduce((sum, v) => sum + v * v, 0) / value.length;
        expect(Math.sqrt(square)).toBeGreaterThan(0.02);
        expect(Math.sqrt(square)).toBeLessThan(20);
      });
    }
  });

  it('have as many parameters as published', () => {
    // 0.27 M and 0.46 M in He et al., table 6; two more for each norm, its measured mean and variance.
    expect(countGraph(resNetCifar(20)).parameters).toBe(269_722 + 2 * 688);
    expect(countGraph(resNetCifar(32)).parameters).toBe(464_154 + 2 * 1136);
  });

  it('refuse depths that no CIFAR ResNet has', () => {
    for (const depth of [18, 2, 21, 20.5, -4]) {
      expect(() => resNetCifar(depth)).toThrow(`6n + 2 layers, such as 20 or 32, not ${depth}`);
    }
  });

  it('take other sizes and classes', () => {
    const graph = resNetCifar(20, { size: 64, classes: 200 });
    expect(countGraph(graph).relus).toBe(4 * 188_416);
    expect(inferShapes(graph).get('linear')).toEqual([200]);
  });

  it('the air network begins as both signs of its filters, and the identity', () => {
    const whitening = Float32Array.from({ length: 144 }, (_, i) => Math.sin(i));
    const graph = airNet({ whitening, size: 16 });
    const weights = (name: string) => graph.tensors.get(name)!;
    expect(weights('whiten.weight').data).toEqual(whitening);
    const { shape, data } = weights('block1.conv1.weight');
    expect(shape).toEqual([64, 12, 3, 3]);
    const filter = (f: number) => Array.from(data.subarray(108 * f, 108 * (f + 1)));
    const unit = (c: number, sign: number) =>
      Array.from({ length: 108 }, (_, i) => (i === 9 * c + 4 ? sign : 0));
    for (let c = 0; c < 12; c++) {
      expect(filter(c)).toEqual(unit(c, 1));
      expect(filter(12 + c)).toEqual(unit(c, -1));
    }
    expect(filter(24).every((w) => w !== 0 && Math.abs(w) <= 1 / Math.sqrt(108))).toBe(true);
    const square = weights('block3.conv2.weight').data;
    for (const [i, w] of square.entries()) {
      const [out, rest] = [Math.floor(i / 2304), i % 2304];
      if (w !== (rest === 9 * out + 4 ? 1 : 0)) throw new Error(`weight ${i} is ${w}`);
    }
    expect(AIR_FROZEN.filter((name) => !graph.tensors.has(name))).toEqual([]);
  });

  it("the air network's first layers are one convolution of the image", () => {
    // The border is where padding could tell: an image of ones, and filters that sum.
    const graph = airNet({
      size: 16,
      weights: (name, shape) => {
        const out = new Float32Array(shape.reduce((a, b) => a * b, 1));
        return name.endsWith('var') ? out.fill(1) : out.fill(name.endsWith('weight') ? 1 : 0);
      },
    });
    const seen = new Map<string, Float32Array>();
    runFloat(graph, new Float32Array(768).fill(1), (id, value) => seen.set(id, value.slice()));
    // 4x4 cells of three channels in twelve filters, with the ways a cell reaches a result; a corner sees 3x3 of them.
    const ways = [1, 2, 2, 1];
    const sum = (cells: number[]) => cells.reduce((a, b) => a + b);
    expect(seen.get('block1.conv1')![0]).toBe(36 * sum(ways.slice(1)) ** 2);
    expect(seen.get('block1.conv1')![16]).toBe(36 * sum(ways) ** 2);
  });

  it('pass through files', () => {
    const graph = resNetCifar(20, { size: 8, map: randomMap(5000, 3, 'square') });
    expect(loadGraph(saveGraph(graph))).toEqual(graph);
  });
});

describe('random weights', () => {
  it('are the same for a seed and others for another', () => {
    const conv = (seed: number) => resNetCifar(20, { seed }).tensors.get('conv1.weight')!.data;
    expect(conv(1)).toEqual(conv(1));
    expect(conv(1)).not.toEqual(conv(2));
  });

  it('have the variance that keeps activations alive', () => {
    const data = randomWeights(1)('conv', [64, 32, 3, 3]);
    const variance = data.reduce((sum, w) => sum + w * w, 0) / data.length;
    expect(variance).toBeCloseTo(2 / (32 * 9), 3);
  });

  it('keep the values of deep networks in bounds', () => {
    const graph = resNetCifar(56, { size: 16 });
    const image = Float32Array.from({ length: 768 }, (_, i) => Math.sin(i * i));
    const most = runFloat(graph, image).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    expect(most).toBeGreaterThan(0.05);
    expect(most).toBeLessThan(100);
  });
});

describe('maps', () => {
  const layers = [
    { id: 'a', shape: [2, 4, 4] },
    { id: 'b', shape: [10] },
  ];

  it('are all ReLUs, or squares in the layers named', () => {
    expect(allRelus(layers).map((map) => [...new Set(map)])).toEqual([[1], [1]]);
    expect(squaresAt('b')(layers).map((map) => [...new Set(map)])).toEqual([[1], [2]]);
  });

  it('spend a budget over all layers, chosen by the seed', () => {
    for (const budget of [0, 1, 17, 42]) {
      const maps = randomMap(budget, 5, 'identity')(layers);
      expect(maps.map(({ length }) => length)).toEqual([32, 10]);
      const all = maps.flatMap((map) => [...map]);
      expect(all.filter((kind) => kind === 1)).toHaveLength(budget);
      expect(all.filter((kind) => kind === 0)).toHaveLength(42 - budget);
    }
    expect(randomMap(9, 5, 'square')(layers)).toEqual(randomMap(9, 5, 'square')(layers));
    expect(randomMap(9, 5, 'square')(layers)).not.toEqual(randomMap(9, 6, 'square')(layers));
    for (const budget of [43, -1, 1.5]) {
      expect(() => randomMap(budget, 5, 'square')(layers)).toThrow(/42 activation elements/);
    }
  });

  it('give squares their coefficients', () => {
    const graph = miniOnn({ map: squaresAt('relu2'), quadratic: [1, 2, 3], size: 8 });
    expect([...graph.tensors.get('relu2.coefficients')!.data.subarray(0, 6)]).toEqual([
      ...[1, 2, 3, 1, 2, 3],
    ]);
    expect(graph.tensors.has('relu1.coefficients')).toBe(false);
  });
});

describe('networks by name', () => {
  it('are listed, and others are refused', () => {
    expect(NETWORK_NAMES).toContain('resnet20');
    expect(() => loadNamed('constructor', new Uint8Array())).toThrow(/no network named.*resnet20/);
  });
});
