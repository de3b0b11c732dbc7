import { describe, expect, it } from 'vitest';
import {
  type Graph,
  IDENTITY,
  inferShapes,
  type Node,
  RELU,
  runFloat,
  SQUARE,
} from '../../../models/graph/index.ts';
import { Network } from '../../../models/train/network.ts';
import { GraphBuilder, numbers } from '../builder.ts';
import { everyOperator } from '../networks.ts';
import { checkGradients } from './gradients.ts';
import { moving, randomBatch } from './moves.ts';

/** The graph with its ReLUs turned into squares: smooth everywhere. */
function smooth(graph: Graph): Graph {
  const tensors = new Map(graph.tensors);
  const nodes = graph.nodes.map((node): Node => {
    if (node.op !== 'activation') return node;
    const coefficients = node.coefficients ?? `${node.id}.coefficients`;
    if (!tensors.has(coefficients)) {
      const channels = inferShapes(graph).get(node.id)![0]!;
      const data = Float32Array.from({ length: 3 * channels }, (_, i) => [0.2, 0.5, 0.1][i % 3]!);
      tensors.set(coefficients, { shape: [channels, 3], data });
    }
    const kinds = node.kinds.map((kind) => (kind === RELU ? SQUARE : kind));
    return { ...node, kinds, coefficients };
  });
  return { ...graph, nodes, tensors };
}

/** A layer that leaves a one-channel image as it is, and learns. */
const unchanged = (b: GraphBuilder): string =>
  b.conv('image', 1, { id: 'same', kernel: 1, pad: 0, weights: [1], bias: false });

describe('gradients against finite differences', () => {
  it.each(['train', 'evaluate'] as const)('of every operator, smooth, in %s mode', (mode) => {
    const graph = smooth(everyOperator());
    const network = new Network(graph, 3);
    const { error, judged } = checkGradients(network, randomBatch(graph, 3), mode);
    expect([...error.keys()].sort()).toEqual(
      [...graph.tensors.keys()].filter((n) => !/mean|variance/.test(n)).sort(),
    );
    expect(judged).toBeGreaterThan(0.9);
    for (const [name, worst] of error) expect(worst, name).toBeLessThan(5e-3);
  });

  it('of operators that move and subtract', () => {
    const graph = smooth(moving(3));
    // Kinks would be judged wrongly: straight here, bent in the next case.
    for (const name of ['bent.bends', 'last.bends']) graph.tensors.get(name)!.data.fill(0);
    const network = new Network(graph, 2);
    const { error, judged } = checkGradients(network, randomBatch(graph, 2), 'train');
    const learnt = [...graph.tensors.keys()].filter((n) => !/slope|offset|knots|bends/.test(n));
    expect([...error.keys()].sort()).toEqual(learnt.sort());
    expect(judged).toBeGreaterThan(0.9);
    for (const [name, worst] of error) expect(worst, name).toBeLessThan(5e-3);
  });

  it('of straight pieces, by hand', () => {
    const b = new GraphBuilder(1, [2, 1, 3], 0, 1);
    const same = b.scale('image', [0, 0], { id: 'same', factors: [1, 1] });
    const graph = b.build(b.flatten(b.piecewise(same, 2, { id: 'bent' })));
    // ReLU6, and 1 - |x| / 2.
    graph.tensors.get('bent.offset')!.data.set([0, 1]);
    graph.tensors.get('bent.slope')!.data.set([0, 0.5]);
    graph.tensors.get('bent.knots')!.data.set([0, 6, 0, 9]);
    graph.tensors.get('bent.bends')!.data.set([1, -1, -1, 0]);
    const network = new Network(graph, 1);
    const image = Float32Array.of(-2, 5, 8, -4, 1, 20);
    expect([...network.forward(image, 'train')]).toEqual([0, 5, 6, -1, 0.5, -9]);
    network.backward(Float32Array.of(1, 10, 100, 1, 10, 100), 'train');
    const { data } = network.value('same').gradient!;
    expect([...data]).toEqual([0, 0.5, 10, -5, 0, -50]);
  });

  it('of the mixture with ReLUs', () => {
    const graph = everyOperator();
    const network = new Network(graph, 3);
    const { error, judged } = checkGradients(network, randomBatch(graph, 3), 'train');
    expect(judged).toBeGreaterThan(0.4);
    // Looser: kinks on both sides of the middle can look smooth.
    for (const [name, worst] of error) expect(worst, name).toBeLessThan(3e-2);
  });

  it('of each kind of activation, by hand', () => {
    const b = new GraphBuilder(1, [1, 1, 5], 0, 1);
    const mix = [RELU, RELU, SQUARE, SQUARE, IDENTITY];
    const act = b.activation(unchanged(b), mix, { quadratic: [1, 2, 0.5] });
    const graph = b.build(b.flatten(act));
    const network = new Network(graph, 1);
    const y = network.forward(Float32Array.of(3, -3, 2, -4, 5), 'train');
    expect([...y]).toEqual([3, 0, 7, 1, 5]);
    network.backward(Float32Array.of(1, 10, 100, 1000, 10000), 'train');
    // Slopes: 1, 0, 2 + 2, 2 - 4, 1; dc_k = 100 * 2^k + 1000 * (-4)^k.
    expect([...network.value('same').gradient!.data]).toEqual([1, 0, 400, -2000, 10000]);
    const [one, c] = network.parameters;
    expect([...c!.gradient]).toEqual([1100, 200 - 4000, 400 + 16000]);
    expect([...one!.gradient]).toEqual([3 + 800 + 8000 + 50000]);
  });

  it('of a soft network: masks and the polynomials behind them', () => {
    const graph = everyOperator();
    const nodes = graph.nodes.map((node) =>
      node.op === 'activation' ? { ...node, kinds: node.kinds.map(() => RELU) } : node,
    );
    const network = new Network({ ...graph, nodes }, 3, { soft: true });
    const next = numbers(31);
    for (const { kind, value } of network.parameters) {
      if (kind === 'mask') value.set(value.map(() => 0.5 + 0.4 * next()));
      if (kind === 'polynomial') value.set(value.map((v) => v + 0.2 * next()));
    }
    const { error, judged } = checkGradients(network, randomBatch(graph, 3), 'train');
    const soft = [...error.keys()].filter((name) => /mask|polynomial/.test(name));
    expect(soft).toHaveLength(2 * nodes.filter(({ op }) => op === 'activation').length);
    expect(judged).toBeGreaterThan(0.4);
    for (const [name, worst] of error) expect(worst, name).toBeLessThan(3e-2);
    const again = new Network(network.toGraph(), 3, { soft: true });
    expect(again.toGraph()).toEqual(network.toGraph());
  });

  it('of a soft network at its start: the hard one', () => {
    const graph = everyOperator();
    const nodes = graph.nodes.map((node) =>
      node.op === 'activation' ? { ...node, kinds: node.kinds.map(() => RELU) } : node,
    );
    const images = randomBatch(graph, 3);
    const soft = new Network({ ...graph, nodes }, 3, { soft: true });
    const hard = new Network({ ...graph, nodes }, 3);
    expect(soft.forward(images, 'train')).toEqual(hard.forward(images, 'train'));
  });

  it('of the penalty for wide ranges', () => {
    const b = new GraphBuilder(1, [1, 1, 5], 0, 1);
    const act = b.activation(unchanged(b), 'relu', { id: 'act', quadratic: false });
    const graph = b.build(b.flatten(act));
    const network = new Network(graph, 2, { ranges: { weight: 0.5, limits: { act: [2] } } });
    const images = Float32Array.of(1, 2, 3, -4, 0, 0, -2.5, 2, 9, 1);
    network.forward(images, 'evaluate');
    expect([...network.value('same').value.data]).toEqual([...images]);
    network.forward(images, 'train');
    network.backward(new Float32Array(10), 'train');
    // 9 is cut at twice the limit: 0.25 * (1 + 4 + 0.25 + 4)
    expect([...network.value('same').value.data]).toEqual([1, 2, 3, -4, 0, 0, -2.5, 2, 4, 1]);
    expect(network.penalty).toBeCloseTo(0.25 * 9.25, 5);
    const dx = [0, 0, 0.5, -1, 0, 0, -0.25, 0, 1, 0];
    expect([...network.value('same').gradient!.data]).toEqual(dx);
  });

  it('add those of losses inside the network', () => {
    const graph = everyOperator();
    const network = new Network(graph, 3);
    network.forward(randomBatch(graph, 3), 'evaluate');
    const zero = new Float32Array(3 * network.results);
    const inside = network.value('norm1').gradient!.data.slice().fill(0.5);
    network.backward(zero, 'evaluate', new Map([['norm1', inside]]));
    expect(network.value('norm1').gradient!.data).toEqual(inside);
    expect(network.parameters[0]!.gradient.some((g) => g !== 0)).toBe(true);
  });

  /** A convolution and the pooling behind it, between layers that learn; ends in a scale. */
  function pooled(pool: (b: GraphBuilder, source: string) => string, groups = 1): Graph {
    const b = new GraphBuilder(8, [2, 7, 8], 0, 1);
    const first = { id: 'first', kernel: 1, pad: 0, weights: 1, bias: false } as const;
    const second = { id: 'second', kernel: [3, 2], pad: [1, 0, 2, 1], groups } as const;
    const conv = b.conv(b.conv('image', 4, first), 6, { ...second, weights: 1, bias: 1 });
    return b.build(b.flatten(b.scale(pool(b, conv), 1, { id: 'scale', factors: 1 })));
  }

  it.each([
    { kernel: [2, 2], stride: [2, 2], groups: 1 },
    { kernel: [3, 2], stride: [2, 3], groups: 2 },
    { kernel: [2, 2], stride: [1, 1], groups: 1 },
  ] as { kernel: [number, number]; stride: [number, number]; groups: number }[])(
    'of a convolution that is pooled, $kernel by $stride in $groups groups, and of a scale',
    (window) => {
      const { groups, ...pool } = window;
      const graph = pooled((b, x) => b.pool(x, pool.kernel, pool), groups);
      const network = new Network(graph, 2);
      const images = randomBatch(graph, 2);
      const results = network.forward(images, 'train');
      const wanted = [0, 1].flatMap((b) => [
        ...runFloat(graph, images.subarray(112 * b, 112 * (b + 1))),
      ]);
      expect(results).toHaveLength(wanted.length);
      for (const [i, v] of results.entries()) expect(v).toBeCloseTo(wanted[i]!, 4);
      expect(() => network.value('second')).toThrow(/no value named 'second'/);
      const { error, judged } = checkGradients(network, images, 'train');
      expect([...error.keys()].sort()).toEqual([...graph.tensors.keys()].sort());
      expect(judged).toBeGreaterThan(0.9);
      for (const [name, worst] of error) expect(worst, name).toBeLessThan(3e-3);
    },
  );

  it.each([
    { kernel: [2, 2], stride: [2, 2], pads: [0, 0, 0, 0] },
    { kernel: [3, 3], stride: [2, 2], pads: [1, 1, 1, 1] },
    { kernel: [3, 2], stride: [1, 3], pads: [0, 1, 2, 0] },
  ] as const)('of max pooling, $kernel by $stride, pads $pads', (window) => {
    const { kernel, stride, pads: pad } = window;
    const graph = pooled((b, x) => b.maxPool(x, kernel, { stride, pad }));
    const network = new Network(graph, 2);
    const images = randomBatch(graph, 2);
    const results = network.forward(images, 'train');
    const wanted = [0, 1].flatMap((b) => [
      ...runFloat(graph, images.subarray(112 * b, 112 * (b + 1))),
    ]);
    expect(results).toHaveLength(wanted.length);
    for (const [i, v] of results.entries()) expect(v).toBeCloseTo(wanted[i]!, 4);
    const { error, judged } = checkGradients(network, images, 'train');
    expect(judged).toBeGreaterThan(0.4);
    // Looser: where another number of a window becomes the largest, there is a kink.
    for (const [name, worst] of error) expect(worst, name).toBeLessThan(3e-2);
  });

  it('of max pooling go to the first of the largest, also of the numbers below zero beside a border', () => {
    const b = new GraphBuilder(1, [1, 2, 4], 0, 1);
    const pool = b.maxPool(unchanged(b), 2, { stride: [1, 2], pad: [1, 0, 0, 0] });
    const graph = b.build(b.flatten(pool));
    const network = new Network(graph, 1);
    const image = Float32Array.of(-3, -2, 5, 5, -2, -4, 5, 7);
    expect([...network.forward(image, 'train')]).toEqual([-2, 5, -2, 7]);
    network.backward(Float32Array.of(1, 10, 100, 1000), 'train');
    const dx = [...network.value('same').gradient!.data];
    expect(dx).toEqual([0, 101, 10, 0, 0, 0, 0, 1000]);
  });

  it('of a convolution with other readers are left where they are', () => {
    const graph = pooled((b, x) => b.pool(x, 2));
    const nodes: Node[] = [
      ...graph.nodes,
      { op: 'flatten', id: 'own', inputs: ['second'] },
      { op: 'concat', id: 'both', inputs: [graph.output, 'own'] },
    ];
    expect(new Network({ ...graph, nodes: nodes.slice(0, -1) }, 1).value('second').channels).toBe(
      6,
    );
    expect(new Network({ ...graph, output: 'second' }, 1).value('second').channels).toBe(6);
  });

  it('leave frozen tensors out, and what stands before them alone', () => {
    const graph = pooled((b, x) => b.pool(x, 2));
    const images = randomBatch(graph, 2);
    const [whole, part] = [[], ['first.weight', 'scale.scale']].map((frozen) => {
      const network = new Network(graph, 2, { frozen });
      const results = network.forward(images, 'train');
      network.backward(results.slice(), 'train');
      return network;
    }) as [Network, Network];
    expect(part.parameters.map(({ name }) => name)).toEqual([
      'second.weight',
      'second.bias',
      'scale.shift',
    ]);
    expect(part.value('first').gradient).toBeUndefined();
    for (const { name, gradient } of part.parameters) {
      expect(gradient).toEqual(whole.parameters.find((p) => p.name === name)!.gradient);
    }
    expect(part.toGraph()).toEqual(graph);
  });

  it('see a fault of a few percent in any one tensor', () => {
    const graph = smooth(everyOperator());
    const network = new Network(graph, 3);
    for (const planted of network.parameters) {
      const { error } = checkGradients(network, randomBatch(graph, 3), 'evaluate', (parameters) => {
        const { gradient } = parameters.find(({ name }) => name === planted.name)!;
        for (let i = 0; i < gradient.length; i++) gradient[i]! *= 1.05;
      });
      for (const [name, worst] of error) {
        if (name === planted.name) expect(worst, name).toBeGreaterThan(2e-2);
        else expect(worst, name).toBeLessThan(5e-3);
      }
    }
  });

  it.each([
    { kernel: [3, 3], stride: [2, 2], pads: [1, 1, 1, 1], groups: 1 },
    { kernel: [3, 2], stride: [1, 3], pads: [0, 1, 2, 0], groups: 1 },
    { kernel: [5, 5], stride: [2, 2], pads: [2, 2, 2, 2], groups: 2 },
    { kernel: [1, 1], stride: [2, 2], pads: [0, 0, 0, 0], groups: 1 },
    { kernel: [3, 3], stride: [1, 1], pads: [1, 1, 1, 1], groups: 6 },
    { kernel: [2, 2], stride: [3, 3], pads: [0, 0, 0, 0], groups: 1 },
    { kernel: [4, 4], stride: [1, 1], pads: [3, 3, 3, 3], groups: 1 },
  ] as const)('of a convolution $kernel stride $stride pads $pads groups $groups', (window) => {
    const { kernel, stride, pads: pad, groups } = window;
    const b = new GraphBuilder(7, [1, 8, 9], 0, 1);
    // The first layer's gradients pass through the second's input gradient.
    const first = b.conv('image', 6, { kernel: 1, pad: 0, weights: 1, bias: 1 });
    const second = b.conv(first, 12, { kernel, stride, pad, groups, weights: 1, bias: 1 });
    const graph = b.build(b.flatten(second));
    const network = new Network(graph, 2);
    const { error, judged } = checkGradients(network, randomBatch(graph, 2), 'train');
    expect(judged).toBeGreaterThan(0.9);
    for (const [name, worst] of error) expect(worst, name).toBeLessThan(3e-3);
  });
});

describe('toGraph', () => {
  it('gives the network as it stands and shares nothing with it', () => {
    const graph = everyOperator();
    const network = new Network(graph, 2);
    expect(network.toGraph()).toEqual(graph);
    network.parameters[0]!.value[0] = 7;
    const taken = network.toGraph();
    expect(taken.tensors.get('conv1.weight')!.data[0]).toBe(7);
    network.parameters[0]!.value[0] = 8;
    expect(taken.tensors.get('conv1.weight')!.data[0]).toBe(7);
    expect(graph.tensors.get('conv1.weight')!.data[0]).not.toBe(7);
  });
});
