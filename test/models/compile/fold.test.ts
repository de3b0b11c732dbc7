import { describe, expect, it } from 'vitest';
import { delayRelus } from '../../../models/compile/delay.ts';
import { fold } from '../../../models/compile/fold.ts';
import type { ActivationNode, Network } from '../../../models/compile/network.ts';
import { type Graph, type Node, runFloat, type Tensor } from '../../../models/graph/index.ts';
import { GraphBuilder, plain, randomPixels, residual } from './graphs.ts';

/** The network as a graph again, so that the float interpreter runs it. */
function unfold(network: Network): Graph {
  const tensors = new Map<string, Tensor>();
  const nodes = network.nodes.flatMap((node): Node[] => {
    const { id } = node;
    if (node.op === 'add') return [{ op: 'add', id, inputs: node.inputs }];
    if (node.op === 'concat') {
      return [{ op: 'concat', id, inputs: node.inputs as [string, string] }];
    }
    const [source] = node.inputs;
    const inputs = [source] as const;
    if (node.op === 'pool') {
      return [{ op: 'averagePool', id, inputs, kernel: node.kernel, stride: node.stride }];
    }
    if (node.op === 'maxPool') {
      return [
        { op: 'maxPool', id, inputs, kernel: node.kernel, stride: node.stride, pads: node.pads },
      ];
    }
    if (node.op === 'slice') {
      return [{ op: 'slice', id, inputs, start: node.start, step: node.step, size: node.shape }];
    }
    if (node.op === 'pad') {
      return [{ op: 'pad', id, inputs, before: node.before, after: node.after }];
    }
    if (node.op === 'activation') {
      const name = `${id}.coefficients`;
      if (node.coefficients)
        tensors.set(name, { shape: [node.shape[0], 3], data: node.coefficients });
      const coefficients = node.coefficients && { coefficients: name };
      return [{ op: 'activation', id, inputs: [source], kinds: node.kinds, ...coefficients }];
    }
    const { layer } = node;
    const weight = `${id}.weight`;
    const bias = `${id}.bias`;
    const data = Float32Array.from(node.weight);
    tensors.set(bias, { shape: [node.bias.length], data: Float32Array.from(node.bias) });
    if (layer.kind === 'dense') {
      tensors.set(weight, { shape: [layer.outputs, layer.inputs], data });
      return [
        { op: 'flatten', id: `${id}.flat`, inputs: [source] },
        { op: 'dense', id, inputs: [`${id}.flat`], weight, bias },
      ];
    }
    const { kernel, stride, pads, groups, channels, outChannels } = layer;
    tensors.set(weight, { shape: [outChannels, channels / groups, ...kernel], data });
    return [{ op: 'conv', id, inputs: [source], weight, bias, kernel, stride, pads, groups }];
  });
  return { input: network.input, nodes, output: network.output, tensors };
}

/** Folds a graph, checks that it still computes the same, and returns what it has become. */
function same(graph: Graph): Network {
  const network = fold(delayRelus(graph));
  const folded = unfold(network);
  for (const seed of [1, 2, 3]) {
    const image = randomPixels(graph, seed).map((p) => 2 * p - 1);
    const expected = runFloat(graph, image);
    runFloat(folded, image).forEach((x, i) => {
      expect(Math.abs(x - expected[i]!)).toBeLessThan(1e-5);
    });
  }
  return network;
}

const ops = ({ nodes }: Network) => nodes.map(({ op }) => op);

describe('folding', () => {
  it.each([
    ['plain', plain(5, 'mixed')],
    ['residual', residual(5, 'mixed')],
  ])('keeps what the network computes: %s', (_name, graph) => {
    const network = fold(graph);
    expect(graph.nodes.some(({ op }) => op === 'batchNorm')).toBe(true);
    expect(new Set(network.nodes.map(({ op }) => op))).not.toContain('batchNorm');
    const folded = unfold(network);
    for (const seed of [1, 2, 3]) {
      const image = randomPixels(graph, seed);
      const expected = runFloat(graph, image);
      runFloat(folded, image).forEach((x, i) => {
        expect(Math.abs(x - expected[i]!)).toBeLessThan(1e-5);
      });
    }
  });

  it('names a folded layer after its convolution', () => {
    expect(fold(plain(1, 'relu')).nodes[0]).toMatchObject({ id: 'norm2', name: 'conv1' });
  });

  it('folds one batch norm after the other, and one after a dense layer', () => {
    const b = new GraphBuilder(1, [2, 4, 4]);
    const graph = b.build(
      b.norm(b.norm(b.dense(b.flatten(b.norm(b.norm(b.conv('image', 3)))), 4))),
    );
    const network = fold(graph);
    expect(network.nodes.map(({ op }) => op)).toEqual(['linear', 'linear']);
    const image = randomPixels(graph, 4);
    const expected = runFloat(graph, image);
    runFloat(unfold(network), image).forEach((x, i) => {
      expect(Math.abs(x - expected[i]!)).toBeLessThan(1e-5);
    });
  });

  it('folds a scale into the layer after it, if there is none before', () => {
    const b = new GraphBuilder(2, [2, 6, 6]);
    const relu = b.activation(b.conv('image', 4), 'relu');
    const valid = b.conv(b.norm(relu), 3, { kernel: 2, pad: 0 });
    const grouped = b.conv(b.scale(b.activation(valid, 'relu'), 0), 3, { groups: 3 });
    const dense = b.dense(b.flatten(b.norm(b.activation(grouped, 'relu'))), 4);
    expect(ops(same(b.build(dense)))).toEqual([
      ...['linear', 'activation', 'linear', 'activation', 'linear', 'activation', 'linear'],
    ]);
  });

  it('gives a scale a layer of its own where a padding or another reader needs what is before it', () => {
    const b = new GraphBuilder(3, [2, 6, 6]);
    const padded = b.conv(b.norm('image'), 3);
    expect(same(b.build(padded)).nodes[0]).toMatchObject({ name: 'norm1', layer: { groups: 2 } });
    const c = new GraphBuilder(3, [2, 6, 6]);
    const conv = c.conv('image', 3);
    expect(ops(same(c.build(c.add(c.norm(conv), conv))))).toEqual(['linear', 'linear', 'add']);
    const d = new GraphBuilder(3, [2, 6, 6]);
    const relu = d.activation(d.conv('image', 3), 'relu');
    const valid = d.conv(d.norm(relu), 3, { kernel: 1, pad: 0 });
    expect(ops(same(d.build(d.add(valid, relu))))).toEqual([
      ...['linear', 'activation', 'linear', 'add'],
    ]);
  });

  it('moves ReLUs behind the max pool that alone reads them', () => {
    const b = new GraphBuilder(4, [2, 6, 6]);
    const pool = b.maxPool(b.activation(b.conv('image', 3), 'relu'), 3, { stride: 2, pad: 1 });
    const network = same(b.build(pool));
    expect(ops(network)).toEqual(['linear', 'maxPool', 'activation']);
    expect(network.nodes.at(-1)).toMatchObject({ id: pool, name: pool, shape: [3, 3, 3] });
    expect((network.nodes.at(-1) as ActivationNode).kinds).toHaveLength(27);
  });

  it('moves them behind one max pool after the other, whose zeros still cannot win', () => {
    const b = new GraphBuilder(4, [2, 8, 8]);
    const padded = { stride: 1, pad: 1 };
    const relu = b.activation(b.maxPool(b.conv('image', 3), 3, padded), 'relu');
    const graph = b.build(b.maxPool(relu, 3, padded));
    expect(ops(same(graph))).toEqual(['linear', 'maxPool', 'maxPool', 'activation']);
  });

  it('leaves ReLUs where others read them, or they are not all ReLUs', () => {
    const b = new GraphBuilder(5, [2, 6, 6]);
    const relu = b.activation(b.conv('image', 3), 'relu');
    const both = b.add(b.maxPool(relu, 2), b.pool(relu, 2));
    expect(ops(same(b.build(both)))).toEqual(['linear', 'activation', 'maxPool', 'pool', 'add']);
    const c = new GraphBuilder(5, [2, 6, 6]);
    const mixed = c.maxPool(c.activation(c.conv('image', 3), 'mixed'), 2);
    expect(ops(same(c.build(mixed)))).toEqual(['linear', 'activation', 'maxPool']);
  });

  it('keeps slices, paddings, joins and pools that leave a rest', () => {
    const b = new GraphBuilder(6, [2, 7, 7]);
    const relu = b.activation(b.conv('image', 4), 'relu');
    const sampled = b.slice(relu, [1, 0, 1], [2, 2, 3], [2, 4, 2]);
    const padded = b.pad(sampled, [1, 0, 0], [0, 0, 2]);
    const joined = b.concat(padded, b.conv(padded, 2));
    const graph = b.build(b.dense(b.flatten(b.pool(joined, 3)), 3));
    expect(ops(same(graph))).toEqual([
      ...['linear', 'activation', 'slice', 'pad', 'linear', 'concat', 'pool', 'linear'],
    ]);
  });

  it('forgets what nobody reads', () => {
    const b = new GraphBuilder(1, [2, 4, 4]);
    const used = b.conv('image', 3);
    b.activation(b.norm(used), 'relu');
    expect(fold(b.build(used)).nodes.map(({ id }) => id)).toEqual(['conv1']);
  });
});

describe('refusals', () => {
  const refuse = (make: (b: GraphBuilder) => string, message: RegExp) => {
    const b = new GraphBuilder(1, [2, 6, 6]);
    const output = make(b);
    expect(() => fold(b.build(output))).toThrow(message);
  };

  it('name what works on flattened planes', () => {
    refuse((b) => b.activation(b.flatten('image'), 'relu'), /'act2'.*flattened 'flat1'/);
  });

  it('name a max pool whose zeros could win', () => {
    refuse((b) => b.maxPool(b.conv('image', 3), 3, { pad: 1 }), /'maxpool2'.*put a ReLU/);
    refuse(
      (b) => b.activation(b.maxPool(b.conv('image', 3), 3, { pad: 1 }), 'mixed'),
      /'maxpool2'.*padding/,
    );
  });

  it('name a layer whose variance is zero', () => {
    const b = new GraphBuilder(1, [2, 6, 6]);
    const norm = b.norm(b.conv('image', 3));
    b.tensors.set(`${norm}.variance`, { shape: [3], data: new Float32Array(3) });
    const nodes = b.nodes.map((node) => (node.id === norm ? { ...node, epsilon: 0 } : node));
    expect(() => fold({ ...b.build(norm), nodes: nodes as Node[] })).toThrow(/'norm2'.*zero/);
  });
});
