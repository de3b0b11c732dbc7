import { describe, expect, it } from 'vitest';
import { elements, type Graph, runFloat, type Tensor } from '../../../models/graph/index.ts';
import { moveStatistics, Network } from '../../../models/train/network.ts';
import { randomGraph } from '../compile/random-graphs.ts';
import { everyOperator } from '../networks.ts';
import { moving, randomBatch } from './moves.ts';

/** Compares every value of some images with the interpreter's. */
function expectValues(graph: Graph, batch: number, count: number): void {
  const network = new Network(graph, batch);
  const size = elements(graph.input.shape);
  const images = randomBatch(graph, count);
  network.forward(images, 'evaluate');
  for (let b = 0; b < count; b++) {
    runFloat(graph, images.subarray(b * size, (b + 1) * size), (id, expected) => {
      if (!network.has(id)) return;
      const { channels, height, width, value } = network.value(id);
      const plane = height * width;
      const got = Array.from(expected, (_, i) => {
        const pixel = (b * plane + (i % plane)) * channels;
        return value.data[pixel + Math.floor(i / plane)]!;
      });
      const worst = Math.max(...got.map((v, i) => Math.abs(v - expected[i]!)));
      const largest = Math.max(1, ...expected.map(Math.abs));
      expect(worst / largest, `${id} of image ${b}`).toBeLessThan(1e-5);
    });
  }
}

describe('forward', () => {
  it('agrees with the float interpreter on every value, partial batches included', () => {
    expectValues(everyOperator(), 5, 3);
    expectValues(moving(3), 3, 2);
  });

  it.each(Array.from({ length: 30 }, (_, i) => 50 * i))('agrees on random network %i', (seed) => {
    expectValues(randomGraph(seed), 2, 2);
  });

  it('normalises with the batch when training, and moves the running statistics when told', () => {
    const graph = everyOperator();
    const network = new Network(graph, 4);
    network.forward(randomBatch(graph, 4), 'train');
    expect(network.toGraph()).toEqual(graph);
    moveStatistics(network.statistics);
    const { value, channels } = network.value('norm1');
    const x = network.value('conv1').value.data;
    const after = network.toGraph().tensors;
    const before = graph.tensors;
    const at = (tensors: ReadonlyMap<string, Tensor>, name: string, c: number) =>
      tensors.get(name)!.data[c]!;
    for (let c = 0; c < channels; c++) {
      const own = (_: number, i: number) => i % channels === c;
      const raw = Array.from(x.filter(own));
      const mean = raw.reduce((s, v) => s + v) / raw.length;
      const squares = raw.reduce((s, v) => s + (v - mean) ** 2, 0);
      const inverse = 1 / Math.sqrt(squares / raw.length + 1e-5);
      const expected = raw.map(
        (v) => at(before, 'norm1.scale', c) * (v - mean) * inverse + at(before, 'norm1.shift', c),
      );
      Array.from(value.data.filter(own)).forEach((v, i) => {
        expect(v).toBeCloseTo(expected[i]!, 4);
      });
      expect(at(after, 'norm1.mean', c)).toBeCloseTo(
        0.9 * at(before, 'norm1.mean', c) + 0.1 * mean,
        5,
      );
      expect(at(after, 'norm1.variance', c)).toBeCloseTo(
        0.9 * at(before, 'norm1.variance', c) + (0.1 * squares) / (raw.length - 1),
        5,
      );
    }
  });

  it('keeps a variance beside a large mean', () => {
    const graph = everyOperator();
    const scaled = graph.tensors.get('conv1.weight')!;
    const nodes = graph.nodes.map((node) =>
      node.id === 'conv1' ? { ...node, pads: [0, 0, 0, 0] as const, bias: 'large' } : node,
    );
    // Only the first two layers: the map behind them would no longer fit.
    const cut: Graph = {
      ...graph,
      nodes: nodes.slice(0, 2),
      output: 'norm1',
      tensors: new Map([
        ...graph.tensors,
        ['large', { shape: [6], data: new Float32Array(6).fill(1000) }],
        ['conv1.weight', scaled],
      ]),
    };
    const network = new Network(cut, 8);
    network.forward(randomBatch(cut, 8), 'train');
    const { value, channels } = network.value('norm1');
    const first = Array.from(value.data.filter((_, i) => i % channels === 0));
    const mean = first.reduce((s, v) => s + v) / first.length;
    const deviation = Math.sqrt(first.reduce((s, v) => s + (v - mean) ** 2, 0) / first.length);
    expect(deviation).toBeCloseTo(graph.tensors.get('norm1.scale')!.data[0]!, 2);
  });

  it('refuses batches that do not fit', () => {
    const graph = everyOperator();
    const network = new Network(graph, 2);
    expect(() => network.forward(randomBatch(graph, 3), 'train')).toThrow(/up to 2 images/);
    expect(() => network.forward(new Float32Array(127), 'train')).toThrow(/127 numbers/);
    expect(() => network.value('nobody')).toThrow(/'nobody'/);
    expect(() => new Network(graph, 200_000)).toThrow(/smaller batch/);
  });
});
