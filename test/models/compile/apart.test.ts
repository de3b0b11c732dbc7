/** Sums of values of very different sizes: scales on both sides of an edge differ where one would take too many bits. */

import { describe, expect, it } from 'vitest';
import { compile, formatReport } from '../../../models/compile/index.ts';
import { readOnnx } from '../../../models/onnx/index.ts';
import { type ModelSpec, modelOf, type NodeSpec, node, random } from '../onnx/models.ts';
import { values } from '../onnx/support.ts';

const CHANNELS = 8;

/** What a block makes of x and its branch: names of values that its nodes read and make. */
type Block = (x: string, name: string) => readonly NodeSpec[];

const conv = (x: string, y: string, name: string) =>
  node('Conv', [x, name], y, { pads: [1, 1, 1, 1] });

const BLOCKS: Readonly<Record<string, Block>> = {
  'with ReLUs behind sums': (x, name) => [
    conv(x, `${name}.a`, 'w'),
    node('Relu', [`${name}.a`], `${name}.b`),
    conv(`${name}.b`, `${name}.f`, `${name}.w`),
    node('Add', [`${name}.f`, x], `${name}.sum`),
    node('Relu', [`${name}.sum`], name),
  ],
  'with ReLUs in branches': (x, name) => [
    node('Relu', [x], `${name}.a`),
    conv(`${name}.a`, `${name}.f`, `${name}.w`),
    node('Add', [`${name}.f`, x], name),
  ],
  'with linear layers that read sums': (x, name) => [
    conv(x, `${name}.a`, 'w'),
    node('Relu', [`${name}.a`], `${name}.b`),
    conv(`${name}.b`, `${name}.f`, `${name}.w`),
    node('Add', [`${name}.f`, x], name),
  ],
};

/** A network of residual blocks, whose branches make `gain` times what they read. */
function residual(block: Block, gain: number, count: number): ModelSpec {
  const names = Array.from({ length: count }, (_, i) => `block${i}`);
  const weight = [CHANNELS, CHANNELS, 3, 3];
  const size = Math.sqrt(2 / (9 * CHANNELS));
  return {
    input: [1, 3, 6, 6],
    nodes: [
      conv('x', 'stem', 'w0'),
      ...names.flatMap((name, i) => block(i === 0 ? 'stem' : names[i - 1]!, name)),
      node('Relu', [names.at(-1)!], 'last'),
      node('GlobalAveragePool', ['last'], 'pooled'),
      node('Flatten', ['pooled'], 'flat'),
      node('Gemm', ['flat', 'w1'], 'y'),
    ],
    constants: {
      w0: random(1, [CHANNELS, 3, 3, 3], 0.3),
      w1: random(2, [CHANNELS, 4]),
      w: random(3, weight, 1.5 * size),
      ...Object.fromEntries(
        names.map((name, i) => [`${name}.w`, random(4 + i, weight, 1.5 * gain * size)]),
      ),
    },
  };
}

function compiled(spec: ModelSpec) {
  const graph = readOnnx(modelOf(spec), { numbers: true });
  const samples = Array.from({ length: 16 }, (_, i) => values(50 + i, graph.input.shape));
  const { report } = compile(graph, samples);
  const inserted = report.layers.filter(({ isInserted }) => isInserted);
  return { inserted: inserted.map(({ name }) => name), report };
}

describe.each(Object.entries(BLOCKS))('residual blocks %s', (_, block) => {
  it('keep their precision while values grow a thousandfold', () => {
    const { inserted, report } = compiled(residual(block, 10, 4));
    expect(report.fidelity.error).toBeLessThan(0.03);
    // Not in front of every sum.
    expect(inserted.length).toBeGreaterThan(0);
    expect(inserted.length).toBeLessThan(4);
  });

  it('may make a sum that is a hundred thousand times larger than its first part', () => {
    const { inserted, report } = compiled(residual(block, 1e5, 1));
    expect(report.fidelity.error).toBeLessThan(0.03);
    expect(inserted).toHaveLength(1);
  });

  it.each([1, 0.3])('get nothing in between where branches are %d times as large', (gain) => {
    const { inserted, report } = compiled(residual(block, gain, 3));
    expect(report.fidelity.error).toBeLessThan(0.03);
    expect(inserted).toEqual([]);
  });

  it('get nothing in between where branches are far smaller than what they are added to', () => {
    const { inserted, report } = compiled(residual(block, 1e-5, 3));
    expect(report.fidelity.error).toBeLessThan(0.03);
    expect(inserted).toEqual([]);
  });
});

it('finds the edge where a value on its way to a sum is pooled and joined with others first', () => {
  const halves = { kernel_shape: [2, 2], strides: [2, 2] };
  const { inserted, report } = compiled({
    input: [1, 3, 8, 8],
    nodes: [
      node('Conv', ['x', 'w0'], 'a', { pads: [1, 1, 1, 1] }),
      node('Relu', ['a'], 'b'),
      node('AveragePool', ['b'], 'pooled', halves),
      node('Conv', ['b', 'w1'], 'c', halves),
      node('Concat', ['c', 'pooled'], 'joined', { axis: 1 }),
      node('Conv', ['b', 'w2'], 'd', halves),
      node('Add', ['d', 'joined'], 'sum'),
      node('Relu', ['sum'], 'e'),
      node('Flatten', ['e'], 'f'),
      node('Gemm', ['f', 'w3'], 'y'),
    ],
    constants: {
      w0: random(1, [8, 3, 3, 3]),
      w1: random(2, [8, 8, 2, 2]),
      w2: random(3, [16, 8, 2, 2], 1e4),
      w3: random(4, [256, 4]),
    },
  });
  expect(report.fidelity.error).toBeLessThan(0.03);
  expect(inserted).toEqual(['b.scale']);
  expect(formatReport(report)).toContain('scales are far apart: b.scale\n');
});
