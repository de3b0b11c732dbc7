import { describe, expect, it } from 'vitest';
import { delayRelus } from '../../../models/compile/delay.ts';
import { fold } from '../../../models/compile/fold.ts';
import type { ActivationNode, FixedNetwork, LinearNode } from '../../../models/compile/network.ts';
import { type Graph, runFloat } from '../../../models/graph/index.ts';
import { GraphBuilder } from '../builder.ts';
import { plain, randomPixels, residual } from './graphs.ts';
import { unfold } from './unfold.ts';

/** Folds a graph, checks that it still computes the same, and returns what it has become. */
function same(graph: Graph): FixedNetwork {
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

const ops = ({ nodes }: FixedNetwork) => nodes.map(({ op }) => op);

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

  it('folds a shift through a padding as a bias for each element', () => {
    const b = new GraphBuilder(3, [2, 6, 6]);
    const [layer, ...others] = same(b.build(b.conv(b.norm('image'), 3))).nodes;
    expect(others).toEqual([]);
    expect((layer as LinearNode).bias).toHaveLength(3 * 36);
  });

  it('copies a layer whose results others read without the scale', () => {
    const c = new GraphBuilder(3, [2, 6, 6]);
    const conv = c.conv('image', 3);
    expect(ops(same(c.build(c.add(c.norm(conv), conv))))).toEqual(['linear', 'linear', 'add']);
  });

  it('folds a scale in front of a layer where another reader needs what is before it', () => {
    const d = new GraphBuilder(3, [2, 6, 6]);
    const relu = d.activation(d.conv('image', 3), 'relu');
    const valid = d.conv(d.norm(relu), 3, { kernel: 1, pad: 0 });
    expect(ops(same(d.build(d.add(valid, relu))))).toEqual([
      ...['linear', 'activation', 'linear', 'add'],
    ]);
  });

  it('leaves positive factors and shifts in front of ReLUs to scales and constants', () => {
    const b = new GraphBuilder(4, [2, 4, 4]);
    const joined = b.concat(b.conv('image', 2), b.conv('image', 3));
    const norm = b.norm(joined);
    const graph = b.build(b.conv(b.activation(norm, 'relu'), 2));
    const factor = b.tensors.get(`${norm}.scale`)!;
    const positive = { shape: factor.shape, data: factor.data.map((a) => Math.abs(a) + 0.1) };
    const tensors = new Map(graph.tensors).set(`${norm}.scale`, positive);
    const network = same({ ...graph, tensors });
    expect(ops(network)).toEqual([
      ...['linear', 'linear', 'concat', 'rescale', 'activation', 'linear'],
    ]);
    expect((network.nodes[4] as ActivationNode).before).toHaveLength(5);
  });

  it('gives a layer to what nothing beside it can take', () => {
    const b = new GraphBuilder(4, [2, 4, 4]);
    const relu = b.activation(b.conv('image', 2), 'relu');
    const graph = b.build(b.add(b.norm(relu), relu));
    expect(ops(same(graph))).toEqual(['linear', 'activation', 'linear', 'add']);
  });

  it('works on flattened planes as on planes', () => {
    const b = new GraphBuilder(4, [2, 4, 4]);
    const flat = b.norm(b.flatten(b.conv('image', 3)));
    const graph = b.build(b.dense(b.activation(flat, 'relu'), 4));
    same(graph);
    expect(ops(fold(graph))).toContain('activation');
  });

  it('reads functions of straight pieces as ReLUs of one round, and a sum', () => {
    for (const [slope, bends, knots, expected] of [
      // ReLU6, a leaky ReLU, Abs, a clip around zero, and one whose bends differ in sign between the channels.
      [0, [1, -1], [0, 6], ['linear', 'activation', 'activation', 'add']],
      [0.1, [0.9], [0], ['linear', 'activation', 'linear', 'activation', 'add']],
      [-1, [2], [0], ['linear', 'activation', 'activation', 'add', 'add']],
    ] as const) {
      const b = new GraphBuilder(4, [2, 4, 4]);
      const conv = b.conv('image', 3);
      const graph = b.build(conv);
      const count = bends.length;
      const each = (values: readonly number[]) =>
        Float32Array.from({ length: 3 * count }, (_, i) => values[i % count]!);
      const tensors = new Map(graph.tensors)
        .set('offset', { shape: [3], data: new Float32Array(3).fill(0.25) })
        .set('slope', { shape: [3], data: new Float32Array(3).fill(slope) })
        .set('knots', { shape: [3, count], data: each(knots) })
        .set('bends', { shape: [3, count], data: each(bends) });
      const names = { offset: 'offset', slope: 'slope', knots: 'knots', bends: 'bends' };
      const node = { op: 'piecewise', id: 'bent', inputs: [conv], ...names } as const;
      const network = same({ ...graph, nodes: [...graph.nodes, node], output: 'bent', tensors });
      expect(ops(network).filter((op) => op !== 'rescale')).toEqual(expected);
      const signs = new Map(tensors).set('bends', {
        shape: [3, count],
        data: each(bends).map((bend, i) => (i < count ? -bend : bend)),
      });
      same({ ...graph, nodes: [...graph.nodes, node], output: 'bent', tensors: signs });
    }
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
      ...['linear', 'activation', 'gather', 'gather', 'linear', 'concat', 'pool', 'linear'],
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
  it('name a layer whose variance is below zero', () => {
    const b = new GraphBuilder(1, [2, 6, 6]);
    const norm = b.norm(b.conv('image', 3));
    b.tensors.set(`${norm}.variance`, { shape: [3], data: new Float32Array(3).fill(-1) });
    expect(() => fold(b.build(norm))).toThrow(/'norm2'.*below zero/);
  });
});
