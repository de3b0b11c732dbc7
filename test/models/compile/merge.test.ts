import { describe, expect, it } from 'vitest';
import { build } from '../../../models/compile/build.ts';
import { compile, measure, prepare } from '../../../models/compile/index.ts';
import { shortenings } from '../../../models/compile/merge.ts';
import type { FixedNetwork } from '../../../models/compile/network.ts';
import { settingsOf } from '../../../models/compile/options.ts';
import { Ranges } from '../../../models/compile/ranges.ts';
import { type Graph, preprocess, runFloat } from '../../../models/graph/index.ts';
import { costOf } from '../../../protocol/inference/cost.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { encodeInput } from '../../../protocol/program/input.ts';
import type { Program } from '../../../protocol/program/program.ts';
import { inferBoth, openSessions, prepareBoth, seedOf } from '../../support/model.ts';
import { GraphBuilder } from '../builder.ts';
import { randomPixels } from './graphs.ts';
import { randomGraph } from './random-graphs.ts';
import { unfold } from './unfold.ts';

interface Layer {
  readonly kernel: number;
  readonly stride?: number;
  readonly pad: number;
  readonly groups?: number;
}

/** Two convolutions with identities between them, and what follows. */
function pair(first: Layer, second: Layer, seed = 1, height = 8): Graph {
  const b = new GraphBuilder(seed, [4, height, 8]);
  const one = b.activation(b.conv('image', 8, first), 'identity');
  const two = b.activation(b.conv(one, 6, second), 'relu');
  return b.build(b.dense(b.flatten(two), 3));
}

const images = (graph: Graph, count = 16) =>
  Array.from({ length: count }, (_, i) => prepared(graph, randomPixels(graph, 50 + i)));
const prepared = (graph: Graph, pixels: Float32Array) =>
  preprocess(
    graph.input,
    pixels.map((p) => 255 * p),
  );

/** The network with everything that can be left out or merged. */
function shortest(network: FixedNetwork): FixedNetwork {
  return shortenings(network).reduce((from, shorten) => shorten(from), network);
}

const linears = ({ nodes }: FixedNetwork) => nodes.filter(({ op }) => op === 'linear').length;

function expectSame(graph: Graph, network: FixedNetwork): void {
  const again = unfold(network);
  for (const seed of [1, 2, 3]) {
    const image = prepared(graph, randomPixels(graph, seed));
    const expected = runFloat(graph, image);
    runFloat(again, image).forEach((x, i) => {
      expect(Math.abs(x - expected[i]!)).toBeLessThan(1e-5);
    });
  }
}

const toleranceOf = ({ steps }: Program) => {
  const output = steps.at(-1)!;
  return output.op === 'output' ? output.tolerance : 0;
};

/** [rounds, bytes of an inference, bytes of the hint] */
function pricesOf(program: Program): [number, number, number] {
  const { hint, offline, online } = costOf(layoutOf(program));
  return [online.rounds, offline.up + offline.down + online.up + online.down, hint];
}

/** What a graph costs as it is built without anything left out, and as it is compiled. */
function bothPrices(graph: Graph, compiled: Program) {
  const samples = images(graph, 32);
  const { network, wanted, graph: ready } = prepare(graph);
  const measured = measure(ready, wanted, samples);
  const plain = build(graph, network, new Ranges(network, measured), settingsOf({ margin: 4 }));
  return { before: pricesOf(plain.model.program), after: pricesOf(compiled) };
}

const compiled = (graph: Graph) => compile(graph, images(graph, 32), { margin: 4 }).model;

describe('linear layers in a row', () => {
  it.each<[string, Layer, Layer]>([
    ['a pointwise convolution behind a padded one', { kernel: 3, pad: 1 }, { kernel: 1, pad: 0 }],
    ['one without pads behind a padded one', { kernel: 3, pad: 1 }, { kernel: 2, pad: 0 }],
    ['a padded one behind a pointwise one', { kernel: 1, pad: 0 }, { kernel: 3, pad: 1 }],
    ['strides', { kernel: 3, stride: 2, pad: 1 }, { kernel: 2, stride: 2, pad: 0 }],
    ['pads behind a stride of the kernel', { kernel: 2, stride: 2, pad: 0 }, { kernel: 3, pad: 1 }],
    ['one behind groups', { kernel: 3, pad: 1, groups: 4 }, { kernel: 1, pad: 0, groups: 2 }],
    ['groups', { kernel: 2, pad: 0, groups: 2 }, { kernel: 2, pad: 0, groups: 2 }],
  ])('are one that computes the same: %s', (_what, first, second) => {
    const graph = pair(first, second);
    const network = shortest(prepare(graph).network);
    // And the matrix behind ReLUs.
    expect(linears(network)).toBe(2);
    expectSame(graph, network);
  });

  it('stay two where one kernel would read what the second pads with zeros', () => {
    for (const [first, size] of [
      [{ kernel: 3, pad: 1 }, 8],
      // A row is left over, and a row behind the last would read it.
      [{ kernel: 2, stride: 2, pad: 0 }, 9],
    ] as const) {
      const graph = pair(first, { kernel: 3, pad: 1 }, 1, size);
      expect(linears(shortest(prepare(graph).network))).toBe(3);
    }
  });

  it('stay two where another reads the first, or its result is one', () => {
    const b = new GraphBuilder(1, [2, 6, 6]);
    const one = b.conv('image', 3);
    const two = b.conv(one, 3, { kernel: 1, pad: 0 });
    const graph = b.build(b.subtract(two, one));
    expect(linears(shortest(prepare(graph).network))).toBe(2);
  });

  it.each([
    ['a convolution', { kernel: 3 }, 2, 2],
    ['a convolution of strides', { kernel: 3, stride: 2 }, 2, 1],
    ['groups', { kernel: 3, groups: 2 }, 3, 1],
    ['a convolution, where a row is left over', { kernel: 2, pad: 0 }, 2, 2],
  ] as const)('take the means behind them: %s', (_what, window, kernel, stride) => {
    const b = new GraphBuilder(5, [2, 8, 8]);
    const conv = b.activation(b.norm(b.conv('image', 6, window)), 'identity');
    const graph = b.build(b.activation(b.pool(conv, kernel, { stride }), 'relu'));
    const network = shortest(prepare(graph).network);
    expect(network.nodes.map(({ op }) => op)).toEqual(['linear', 'activation']);
    expectSame(graph, network);
  });

  it('and means without a layer above them stay, and so do windows that reach over an edge', () => {
    const b = new GraphBuilder(5, [2, 8, 8]);
    const mean = b.pool(b.activation(b.conv('image', 6), 'relu'), 2);
    const padded = b.pool(b.conv(mean, 4), 3, { stride: 1, pad: 1 });
    const { network } = prepare(b.build(padded));
    expect(shortest(network)).toBe(network);
  });

  it.each([
    ['a convolution of it', { kernel: 3, pad: 1 }],
    ['uneven pads', { kernel: [2, 3], pad: [0, 2, 1, 0] }],
    ['groups', { kernel: 3, pad: 1, groups: 2 }],
  ] as const)('take the value that is added to them: %s', (_what, window) => {
    for (const turned of [false, true]) {
      const b = new GraphBuilder(6, [2, 6, 6]);
      const value = b.activation(b.conv('image', 4), 'relu');
      const layer = b.activation(b.norm(b.conv(value, 4, window)), 'identity');
      const sum = turned ? b.add(layer, value) : b.add(value, layer);
      const graph = b.build(b.activation(sum, 'relu'));
      const network = shortest(prepare(graph).network);
      expect(network.nodes.map(({ op }) => op)).not.toContain('add');
      expectSame(graph, network);
    }
  });

  it('leave a sum with something else, a difference, and one whose layer others read', () => {
    const sums: ((b: GraphBuilder, value: string, layer: string) => string)[] = [
      (b, _value, layer) => b.add('image', layer),
      (b, value, layer) => b.subtract(value, layer),
      (b, value, layer) => b.concat(b.add(value, layer), layer),
    ];
    for (const sum of sums) {
      const b = new GraphBuilder(6, [4, 6, 6]);
      const value = b.activation('image', 'relu');
      const graph = b.build(sum(b, value, b.conv(value, 4)));
      expect(shortest(prepare(graph).network).nodes.map(({ op }) => op)).toContain('add');
    }
  });

  it('are one matrix through means and a sum: the end of a network whose last activation is gone', () => {
    const b = new GraphBuilder(7, [2, 6, 6]);
    const value = b.pool(b.activation(b.conv('image', 4), 'relu'), 2);
    const layer = b.activation(b.norm(b.conv(value, 4)), 'identity');
    const graph = b.build(b.dense(b.flatten(b.mean(b.add(value, layer))), 5));
    const network = shortest(prepare(graph).network);
    expect(network.nodes.map(({ op }) => op)).toEqual(['linear', 'activation', 'pool', 'linear']);
    expectSame(graph, network);
    const { before, after } = bothPrices(graph, compiled(graph).program);
    expect(after[0]).toBe(before[0] - 1);
    expect(after[1]).toBeLessThan(before[1]);
  });

  it('are one matrix where the second is one, borders included', () => {
    const b = new GraphBuilder(2, [2, 6, 6]);
    const conv = b.activation(b.conv('image', 3, { stride: 2 }), 'identity');
    const dense = b.activation(b.dense(b.flatten(conv), 5), 'identity');
    const graph = b.build(b.dense(dense, 4));
    const network = shortest(prepare(graph).network);
    expect(network.nodes.map(({ op }) => op)).toEqual(['linear']);
    expectSame(graph, network);
  });

  it('stay two where one would have many times their multiplications', () => {
    const narrow = { kernel: 1, pad: 0 };
    const b = new GraphBuilder(3, [16, 4, 4]);
    const graph = b.build(b.conv(b.conv('image', 1, narrow), 16, narrow));
    expect(linears(shortest(prepare(graph).network))).toBe(2);
  });

  it('compute the same in random networks, with all that can be left out', () => {
    let [left, merges] = [0, 0];
    for (let seed = 0; seed < 60; seed++) {
      const graph = randomGraph(seed);
      const { network } = prepare(graph);
      const shorter = shortest(network);
      left += network.nodes.length - shorter.nodes.length;
      merges += linears(network) - linears(shorter);
      if (shorter !== network) expectSame(graph, shorter);
    }
    expect(left).toBeGreaterThan(20);
    expect(merges).toBeGreaterThan(2);
  });
});

describe('a program', () => {
  it('has a round less for two layers that became one, no more bytes, and the same results in private', async () => {
    const graph = pair({ kernel: 3, pad: 1 }, { kernel: 2, pad: 0 });
    const model = compiled(graph);
    const { before, after } = bothPrices(graph, model.program);
    expect(after[0]).toBe(before[0] - 1);
    expect(after[1]).toBeLessThan(before[1]);
    expect(after[2]).toBeLessThanOrEqual(before[2]);
    const sessions = await openSessions(model, seedOf(1));
    await prepareBoth(sessions);
    const pixels = randomPixels(graph, 9);
    const input = encodeInput(model.program, pixels);
    const result = await inferBoth(sessions, input);
    const unit = 2 ** model.program.results[0]!.bits;
    const clear = runClear(model, input);
    runFloat(graph, prepared(graph, pixels)).forEach((logit, i) => {
      expect(Math.abs(result[i]! - clear[i]!)).toBeLessThanOrEqual(toleranceOf(model.program));
      expect(Math.abs(logit - result[i]! / unit)).toBeLessThan(0.05);
    });
  });

  it('needs a round less where what goes into a sum was an identity', () => {
    const b = new GraphBuilder(4, [2, 8, 8]);
    const skip = b.activation(b.conv('image', 4), 'relu');
    const inner = b.activation(b.conv(skip, 4), 'identity');
    const graph = b.build(b.activation(b.add(inner, skip), 'relu'));
    const { before, after } = bothPrices(graph, compiled(graph).program);
    expect(after[0]).toBe(before[0] - 1);
    expect(after[1]).toBeLessThan(before[1]);
  });

  it('never costs more than without: rounds, bytes and hint', () => {
    let less = 0;
    for (let seed = 0; seed < 10; seed++) {
      const graph = randomGraph(300 + seed);
      const { before, after } = bothPrices(graph, compiled(graph).program);
      after.forEach((price, i) => {
        expect(price, `${seed}`).toBeLessThanOrEqual(before[i]!);
      });
      if (after[0] < before[0]) less++;
    }
    expect(less).toBeGreaterThan(0);
  });

  it('keeps two layers that are cheaper than the one they could be', () => {
    const narrow = { kernel: 1, pad: 0 };
    const b = new GraphBuilder(3, [8, 8, 8]);
    const middle = b.activation(b.conv('image', 2, { kernel: 3, pad: 1 }), 'identity');
    const graph = b.build(b.activation(b.conv(middle, 8, narrow), 'relu'));
    const { before, after } = bothPrices(graph, compiled(graph).program);
    expect(after).toEqual(before);
    const { network, wanted, graph: ready } = prepare(graph);
    const measured = measure(ready, wanted, images(graph, 32));
    const shorter = shortest(network);
    expect(linears(shorter)).toBe(1);
    const one = build(graph, shorter, new Ranges(shorter, measured), settingsOf({ margin: 4 }));
    const [rounds, ...sizes] = pricesOf(one.model.program);
    expect(rounds).toBe(before[0] - 1);
    expect(sizes.some((size, i) => size > before[i + 1]!)).toBe(true);
  });
});
