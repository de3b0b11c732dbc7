import { describe, expect, it } from 'vitest';
import { fold } from '../../../models/compile/fold.ts';
import type { Network } from '../../../models/compile/network.ts';
import { type Graph, type Node, runFloat, type Tensor } from '../../../models/graph/index.ts';
import { GraphBuilder, plain, randomPixels, residual } from './graphs.ts';

/** The network as a graph again, so that the float interpreter runs it. */
function unfold(network: Network): Graph {
  const tensors = new Map<string, Tensor>();
  const nodes = network.nodes.flatMap((node): Node[] => {
    const { id } = node;
    if (node.op === 'add') return [{ op: 'add', id, inputs: node.inputs }];
    const [source] = node.inputs;
    if (node.op === 'pool') {
      return [
        { op: 'averagePool', id, inputs: [source], kernel: node.kernel, stride: node.stride },
      ];
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

  it('name a batch norm that follows no linear layer', () => {
    refuse((b) => b.norm(b.activation(b.conv('image', 3), 'relu')), /'norm3'.*right after one/);
    refuse((b) => b.norm('image'), /'norm1' \(batchNorm\).*2 groups/);
  });

  it('name a batch norm whose layer is read by others too', () => {
    refuse((b) => {
      const conv = b.conv('image', 3);
      return b.add(b.norm(conv), conv);
    }, /'norm2'.*alone reads/);
  });

  it('name what works on flattened planes', () => {
    refuse((b) => b.activation(b.flatten('image'), 'relu'), /'act2'.*flattened 'flat1'/);
  });

  it('name pooling that leaves a rest', () => {
    refuse((b) => b.pool(b.conv('image', 3, { pad: 0, kernel: 2 }), 2), /'pool2'.*2x2.*5x5/);
  });

  it('name a layer whose variance is zero', () => {
    const b = new GraphBuilder(1, [2, 6, 6]);
    const norm = b.norm(b.conv('image', 3));
    b.tensors.set(`${norm}.variance`, { shape: [3], data: new Float32Array(3) });
    const nodes = b.nodes.map((node) => (node.id === norm ? { ...node, epsilon: 0 } : node));
    expect(() => fold({ ...b.build(norm), nodes: nodes as Node[] })).toThrow(/'norm2'.*zero/);
  });
});
