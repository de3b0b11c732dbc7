import { readFileSync } from 'node:fs';
import { PNG } from 'pngjs';
import { describe, expect, it } from 'vitest';
import {
  countGraph,
  type Graph,
  IDENTITY,
  inferShapes,
  loadGraph,
  preprocess,
  RELU,
  runFloat,
  SQUARE,
} from '../../../models/graph/index.ts';
import { CURVATURE } from '../../../models/reduce/parabola.ts';
import { dataFolder, missing, readMnist } from '../../../models/train/data/published.ts';
import { score } from '../../../models/train/loop.ts';
import { Network } from '../../../models/train/network.ts';
import { drawDigit, grayPng } from '../../../models/zoo/draw.ts';
import { costOf } from '../../../protocol/inference/cost.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import { decodeModel } from '../../../protocol/program/model.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';

const zoo = new URL('../../../models/zoo/', import.meta.url);
const graph = loadGraph(readFileSync(new URL('digits.sottonet', zoo)));
const card = JSON.parse(readFileSync(new URL('digits.json', zoo), 'utf8'));

/** Ids of the nodes that make what a node takes, looking through additions, pools and flattening. */
function sources(graph: Graph, id: string): string[] {
  const node = graph.nodes.find((n) => n.id === id);
  if (node === undefined) return [id];
  if (['add', 'averagePool', 'globalAveragePool', 'flatten'].includes(node.op)) {
    return node.inputs.flatMap((from) => sources(graph, from));
  }
  return [id];
}

describe('the shipped digit network', () => {
  it('is what its card says', () => {
    expect(card).toMatchObject({ name: 'digits', ...countGraph(graph) });
    for (const layer of card.layers) {
      const node = graph.nodes.find(({ id }) => id === layer.id);
      if (node?.op !== 'activation') throw new Error(`${layer.id} is no activation`);
      const count = (wanted: number) => node.kinds.filter((kind) => kind === wanted).length;
      expect(layer).toMatchObject({
        shape: inferShapes(graph).get(layer.id),
        relus: count(RELU),
        squares: count(SQUARE),
        identities: count(IDENTITY),
      });
    }
  });

  it('costs what its card says, and was asked in private', () => {
    const { program } = decodeModel(readFileSync(new URL('digits.sotto', zoo)));
    const { offline, online } = costOf(layoutOf(program));
    expect(card.cost).toEqual({ offline, online });
    expect(card.private.images).toBeGreaterThanOrEqual(20);
    const accuracies = Object.values<number>(card.classTestAccuracy);
    expect(Object.keys(card.classTestAccuracy)).toEqual(program.labels);
    // MNIST's classes are not of one size.
    const mean = accuracies.reduce((sum, accuracy) => sum + accuracy, 0) / accuracies.length;
    expect(Math.abs(mean - card.floatTestAccuracy)).toBeLessThan(1e-3);
  });

  it('has the shape the protocol is shown with, inside its budget', () => {
    const { relus, squares, identities, macs } = countGraph(graph);
    const elements = relus + squares + identities;
    expect(macs).toBeLessThan(1.5e6);
    expect(elements).toBeLessThan(6000);
    expect(relus / elements).toBeCloseTo(1 / 3, 2);
    const ops = graph.nodes.map((node) => node.op);
    expect(ops).toEqual(expect.arrayContaining(['add', 'averagePool', 'dense']));
    const strides = graph.nodes.flatMap((node) => (node.op === 'conv' ? [node.stride[0]] : []));
    expect(strides.length).toBeGreaterThan(1);
    expect(strides).toContain(2);
    const mixed = graph.nodes.filter(
      (node) => node.op === 'activation' && new Set(node.kinds).size === 3,
    );
    expect(mixed.length).toBeGreaterThan(1);
  });

  it('never feeds a linear layer from another but through an activation', () => {
    for (const node of graph.nodes) {
      if (node.op !== 'conv' && node.op !== 'dense') continue;
      for (const id of sources(graph, node.inputs[0])) {
        const from = graph.nodes.find((n) => n.id === id);
        expect(from?.op ?? 'input', `${node.id} <- ${id}`).toMatch(/^(activation|input)$/);
      }
    }
  });

  it('keeps its polynomials convex and its values tame', () => {
    for (const node of graph.nodes) {
      if (node.op !== 'activation') continue;
      const c = graph.tensors.get(node.coefficients!)!.data;
      for (let i = 2; i < c.length; i += 3) {
        expect(c[i]).toBeGreaterThanOrEqual(Math.fround(CURVATURE.least));
        expect(c[i]).toBeLessThanOrEqual(CURVATURE.most);
      }
    }
    expect(card.largestPreActivation).toBeLessThan(16);
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])('knows our own drawing of %i', (digit) => {
    const file = readFileSync(new URL(`digits-images/${digit}.png`, zoo));
    const png = PNG.sync.read(file);
    expect([png.width, png.height]).toEqual([28, 28]);
    const pixels = Uint8Array.from({ length: 784 }, (_, i) => png.data[4 * i]!);
    expect(pixels).toEqual(drawDigit(digit));
    expect(PNG.sync.read(Buffer.from(grayPng(drawDigit(digit)))).data).toEqual(png.data);
    const scores = runFloat(graph, preprocess(graph.input, pixels));
    expect(indexOfLargest(scores)).toBe(digit);
    const sorted = [...scores].sort((a, b) => b - a);
    expect(sorted[0]! - sorted[1]!).toBeGreaterThan(2);
  });

  it('draws nothing but digits', () => {
    expect(() => drawDigit(10)).toThrow(/0 to 9, not 10/);
  });

  const folder = dataFolder('mnist');
  if (folder === undefined) console.log(`accuracy is not checked: ${missing('mnist')}`);
  it.skipIf(folder === undefined)('has the test accuracy its card says', async () => {
    const test = readMnist(folder!, 't10k');
    const accuracy = await score(new Network(graph, 50), test);
    expect(card.floatTestAccuracy).toBeGreaterThan(0.985);
    // Single precision may turn a tie or two.
    expect(Math.abs(accuracy - card.floatTestAccuracy)).toBeLessThan(3e-4);
    // The reference interpreter agrees, on a part.
    let right = 0;
    for (let i = 0; i < 300; i++) {
      const pixels = test.pixels.subarray(784 * i, 784 * (i + 1));
      if (indexOfLargest(runFloat(graph, preprocess(graph.input, pixels))) === test.labels[i])
        right++;
    }
    expect(right).toBeGreaterThan(290);
  });
});
