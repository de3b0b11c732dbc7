import { describe, expect, it } from 'vitest';
import { compile } from '../../../models/compile/index.ts';
import { type Graph, preprocess, runFloat } from '../../../models/graph/index.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { decodeLogits, encodeInput } from '../../../protocol/program/input.ts';
import type { ActivationStep, Program } from '../../../protocol/program/program.ts';
import { GraphBuilder } from '../builder.ts';
import { randomPixels } from './graphs.ts';

function compiled(graph: Graph) {
  const images = Array.from({ length: 8 }, (_, i) => {
    const pixels = randomPixels(graph, 50 + i).map((p) => 255 * p);
    return preprocess(graph.input, pixels);
  });
  return compile(graph, images, { margin: 2 });
}

const comparisons = ({ steps }: Program) =>
  steps.filter((step): step is ActivationStep => step.op === 'activation' && step.shift === 0);

describe('max pooling', () => {
  it.each([
    [2, 2, 0, 2],
    [2, 1, 0, 2],
    [3, 2, 1, 4],
    [3, 1, 0, 4],
    [4, 4, 0, 4],
    [5, 3, 2, 6],
    [1, 2, 0, 0],
    [12, 12, 0, 8],
  ])(
    'of %i wide windows at stride %i, %i zeros around: %i rounds',
    (kernel, stride, pad, rounds) => {
      const b = new GraphBuilder(kernel, [2, 12, 12]);
      const graph = b.build(
        b.maxPool(b.activation(b.conv('image', 3), 'channels'), kernel, { stride, pad: 0 }),
      );
      const relu = new GraphBuilder(kernel, [2, 12, 12]);
      const padded = relu.build(
        relu.maxPool(relu.activation(relu.conv('image', 3), 'relu'), kernel, { stride, pad }),
      );
      for (const network of pad === 0 ? [graph, padded] : [padded]) {
        const { model } = compiled(network);
        expect(comparisons(model.program)).toHaveLength(rounds);
        const pixels = randomPixels(network, 7);
        const image = preprocess(
          network.input,
          pixels.map((p) => 255 * p),
        );
        const clear = decodeLogits(
          model.program,
          runClear(model, encodeInput(model.program, pixels)),
        );
        runFloat(network, image).forEach((x, i) => {
          expect(Math.abs(x - clear[i]!)).toBeLessThan(0.05);
        });
      }
    },
  );

  it('compares w - 1 pairs along each axis, of what the axis before left', () => {
    const b = new GraphBuilder(1, [2, 12, 12]);
    const graph = b.build(b.maxPool(b.conv('image', 3), 3));
    const { model, report } = compiled(graph);
    const count = comparisons(model.program).reduce((sum, { kinds }) => sum + kinds.length, 0);
    expect(count).toBe(3 * (2 * 4 * 12 + 2 * 4 * 4));
    expect(report.layers.reduce((sum, { relus = 0 }) => sum + relus, 0)).toBe(count);
  });

  it('needs nothing before it and one ReLU a window behind it', () => {
    const b = new GraphBuilder(1, [2, 8, 8]);
    const pool = b.maxPool(b.activation(b.norm(b.conv('image', 3)), 'relu'), 2);
    const { program } = compiled(b.build(b.dense(b.flatten(pool), 2))).model;
    const acts = program.steps.filter((step) => step.op === 'activation');
    expect(acts.map(({ kinds }) => kinds.length)).toEqual([96, 48, 48]);
    expect(acts.map(({ shift }) => shift > 0)).toEqual([false, false, true]);
  });

  it('covers every difference of two values in its range', () => {
    const b = new GraphBuilder(2, [2, 8, 8]);
    const graph = b.build(b.maxPool(b.conv('image', 3), 8));
    const { model } = compiled(graph);
    for (let seed = 50; seed < 58; seed++) {
      runClear(model, encodeInput(model.program, randomPixels(graph, seed)), (step, _v, out) => {
        expect(`${step.name} ${out}`).toBe(`${step.name} 0`);
      });
    }
  });
});
