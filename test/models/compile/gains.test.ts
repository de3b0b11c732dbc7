/** Layers that make much of little: what their errors come to, and what becomes of channels that never move. */

import { describe, expect, it } from 'vitest';
import { compile } from '../../../models/compile/index.ts';
import { runFloat } from '../../../models/graph/index.ts';
import { readOnnx } from '../../../models/onnx/index.ts';
import { marginsOf } from '../../../protocol/program/margins.ts';
import type { Program } from '../../../protocol/program/program.ts';
import { revealedLinears } from '../../../protocol/program/revealed.ts';
import { type ModelSpec, modelOf, node, random } from '../onnx/models.ts';
import { values } from '../onnx/support.ts';

function compiled(spec: ModelSpec) {
  const graph = readOnnx(modelOf(spec), { numbers: true });
  const samples = Array.from({ length: 16 }, (_, i) => values(50 + i, graph.input.shape));
  const { model, report } = compile(graph, samples);
  const results = samples.map((sample) => runFloat(graph, sample));
  return { program: model.program, report, results };
}

function outputOf({ steps }: Program) {
  const output = steps.at(-1)!;
  if (output.op !== 'output') throw new Error('the last step is no output');
  return output;
}

describe('precision', () => {
  it('is that of what passes, where a ReLU passes a small part of what it compares', () => {
    const { program, results } = compiled({
      input: [1, 8],
      nodes: [
        node('Gemm', ['x', 'w1', 'b1'], 'a'),
        node('Relu', ['a'], 'b'),
        node('Gemm', ['b', 'w2'], 'y'),
      ],
      constants: {
        w1: random(1, [8, 24]),
        // Sums of eight numbers of deviation 0.17 are seldom above 1.
        b1: random(2, [24], 0.2, -0.8),
        w2: random(3, [24, 4], 4),
      },
    });
    const all = results.flatMap((result) => [...result]);
    const size = Math.sqrt(all.reduce((sum, v) => sum + v * v, 0) / all.length);
    const { tolerance } = outputOf(program);
    expect(tolerance / 2 ** program.results[0]!.bits).toBeLessThan(0.2 * size);
  });
});

describe('a channel that never moves', () => {
  it('gets no scale that its errors would not fit', () => {
    const dead = random(2, [6], 0.1, 0.1);
    if (!('floats' in dead)) throw new Error('no floats');
    const { report } = compiled({
      input: [1, 3, 8, 8],
      nodes: [
        node('Conv', ['x', 'w1', 'b1'], 'a', { pads: [1, 1, 1, 1] }),
        node('Relu', ['a'], 'b'),
        node('Conv', ['b', 'w2', 'b2'], 'c', { pads: [1, 1, 1, 1], group: 6 }),
        node('Conv', ['c', 'w3'], 'd'),
        node('Relu', ['d'], 'e'),
        node('GlobalAveragePool', ['e'], 'f'),
        node('Flatten', ['f'], 'g'),
        node('Gemm', ['g', 'w4'], 'y'),
      ],
      constants: {
        w1: random(1, [6, 3, 3, 3]),
        // The first channel is zero behind its ReLU, and what follows a constant that is next to nothing.
        b1: { shape: [6], floats: Array.from(dead.floats, (v, i) => (i === 0 ? -50 : v)) },
        w2: random(3, [6, 1, 3, 3]),
        b2: { shape: [6], floats: [1e-5, 0.1, -0.2, 0.1, 0, 0.3] },
        w3: random(4, [8, 6, 1, 1]),
        w4: random(5, [8, 4]),
      },
    });
    expect(report.fidelity.error).toBeLessThan(0.02);
    for (const layer of report.layers) expect(layer.givenBits ?? 0).toBe(0);
  });
});

describe('noise of layers whose results are revealed', () => {
  it('is about the same at the output, whatever fractional bits they have', () => {
    const { program } = compiled({
      input: [1, 12],
      nodes: [
        node('Gemm', ['x', 'w1'], 'a'),
        node('Relu', ['a'], 'a1'),
        node('Gemm', ['a1', 'w4'], 'a2'),
        node('Relu', ['a2'], 'a3'),
        node('Gemm', ['a3', 'w5'], 'a4'),
        node('Relu', ['a4'], 'b'),
        node('Gemm', ['b', 'w2'], 'small'),
        // Sums of many numbers need more precise weights than one number.
        node('Gemm', ['b', 'w3'], 'large'),
      ],
      constants: {
        w1: random(1, [12, 32]),
        w2: { shape: [32, 2], floats: Array.from({ length: 64 }, (_, i) => (i < 2 ? 0.001 : 0)) },
        w3: random(3, [32, 2], 40),
        w4: random(4, [32, 32]),
        w5: random(5, [32, 32]),
      },
      outputs: ['small', 'large'],
    });
    const output = outputOf(program);
    const revealed = [...revealedLinears(program)].map((i) => program.steps[i]!);
    expect(revealed).toHaveLength(2);
    expect(new Set(revealed.map(({ fractionBits }) => fractionBits)).size).toBe(2);
    const noise = revealed.map((step) => {
      if (step.op !== 'linear') throw new Error('only linear steps are revealed');
      return step.tolerance * 2 ** (output.fractionBits - step.fractionBits);
    });
    expect(Math.max(...noise)).toBeLessThan(4 * Math.min(...noise));
    expect(marginsOf(program)[output.input]!).toBeLessThan(2 ** (output.rangeBits - 2));
  });
});
