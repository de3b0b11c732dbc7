import { describe, expect, it } from 'vitest';
import { readOnnx } from '../../../models/onnx/index.ts';
import { type ModelSpec, modelOf, node } from './models.ts';
import { ops, run, values } from './support.ts';

type Nodes = ModelSpec['nodes'];

const numbers = { zero: 0, one: 1, two: 2, half: 0.5, minus: -0.5, tenth: 0.1, three: 3, six: 6 };
const constants = Object.fromEntries(
  Object.entries(numbers).map(([name, value]) => [name, { shape: [], floats: [value] }]),
);
const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);

/** Functions of x: how a model writes it, what it is, and the operators that should become of it. */
const functions: Readonly<Record<string, [Nodes, (x: number) => number, string[]]>> = {
  ReLU6: [[node('Clip', ['x', 'zero', 'six'], 'y')], (x) => clamp(x, 0, 6), ['piecewise']],
  'a clip from both sides': [
    [node('Clip', ['x', 'minus', 'half'], 'y')],
    (x) => clamp(x, -0.5, 0.5),
    ['piecewise'],
  ],
  'a clip from below': [
    [node('Clip', ['x', 'half'], 'y')],
    (x) => Math.max(x, 0.5),
    ['scale', 'activation', 'scale'],
  ],
  'a clip from above': [
    [node('Clip', ['x', '', 'half'], 'y')],
    (x) => Math.min(x, 0.5),
    ['piecewise'],
  ],
  'two ReLUs that are a ReLU6': [
    [
      node('Relu', ['x'], 'a'),
      node('Sub', ['x', 'six'], 'b'),
      node('Relu', ['b'], 'c'),
      node('Sub', ['a', 'c'], 'y'),
    ],
    (x) => clamp(x, 0, 6),
    ['piecewise'],
  ],
  'a leaky ReLU': [
    [node('LeakyRelu', ['x'], 'y', { alpha: 0.25 })],
    (x) => (x < 0 ? 0.25 * x : x),
    ['piecewise'],
  ],
  'a leaky ReLU as a maximum': [
    [node('Mul', ['x', 'tenth'], 'a'), node('Max', ['x', 'a'], 'y')],
    (x) => Math.max(x, 0.1 * x),
    ['piecewise'],
  ],
  'a magnitude': [[node('Abs', ['x'], 'y')], Math.abs, ['piecewise']],
  'ReLU of a shifted value': [
    [node('Add', ['x', 'half'], 'a'), node('Relu', ['a'], 'y')],
    (x) => Math.max(x + 0.5, 0),
    ['scale', 'activation'],
  ],
  'ReLU of a ReLU': [
    [node('Relu', ['x'], 'a'), node('Relu', ['a'], 'y')],
    (x) => Math.max(x, 0),
    ['activation'],
  ],
  'ReLU of a magnitude less something': [
    [node('Abs', ['x'], 'a'), node('Sub', ['a', 'half'], 'b'), node('Relu', ['b'], 'y')],
    (x) => Math.max(Math.abs(x) - 0.5, 0),
    ['piecewise'],
  ],
  'a hard tanh as minimum and maximum': [
    [node('Max', ['minus', 'x'], 'a'), node('Min', ['a', 'half'], 'y')],
    (x) => clamp(x, -0.5, 0.5),
    ['piecewise'],
  ],
  'a hard sigmoid': [
    [node('HardSigmoid', ['x'], 'y', { alpha: 0.3, beta: 0.5 })],
    (x) => clamp(0.3 * x + 0.5, 0, 1),
    ['piecewise'],
  ],
  'a soft shrinkage': [
    [node('Shrink', ['x'], 'y', { lambd: 0.5, bias: 0.5 })],
    (x) => x - clamp(x, -0.5, 0.5),
    ['piecewise'],
  ],
  'the square of a ReLU': [
    [node('Relu', ['x'], 'a'), node('Mul', ['a', 'a'], 'y')],
    (x) => Math.max(x, 0) ** 2,
    ['activation', 'activation'],
  ],
  'a value times its ReLU': [
    [node('Relu', ['x'], 'a'), node('Mul', ['x', 'a'], 'y')],
    (x) => Math.max(x, 0) ** 2,
    ['activation', 'activation'],
  ],
  'a hard swish': [
    [node('HardSwish', ['x'], 'y')],
    (x) => x * clamp(x / 6 + 0.5, 0, 1),
    ['piecewise', 'scale', 'activation', 'activation', 'add'],
  ],
  'a value times its magnitude': [
    [node('Abs', ['x'], 'a'), node('Mul', ['a', 'x'], 'y')],
    (x) => x * Math.abs(x),
    ['piecewise', 'activation', 'activation', 'scale', 'activation', 'add'],
  ],
  'ReLU of a parabola': [
    [node('Pow', ['x', 'two'], 'a'), node('Sub', ['a', 'one'], 'b'), node('Relu', ['b'], 'y')],
    (x) => Math.max(x * x - 1, 0),
    ['activation', 'activation'],
  ],
  'a parabola and a bend': [
    [node('Mul', ['x', 'x'], 'a'), node('Abs', ['x'], 'b'), node('Sub', ['a', 'b'], 'y')],
    (x) => x * x - Math.abs(x),
    ['activation', 'scale', 'activation', 'add'],
  ],
};

describe('functions of straight pieces', () => {
  it.each(Object.entries(functions))('%s', (_name, [nodes, f, wanted]) => {
    // Across all bends, and at them.
    const x = Float32Array.from({ length: 2 * 8 * 8 }, (_, i) => (i - 64) / 8);
    const { graph, y } = run({ input: [1, 2, 8, 8], nodes, constants }, x);
    y.forEach((value, i) => {
      expect(value, `at ${x[i]}`).toBeCloseTo(f(x[i]!), 4);
    });
    expect(ops(graph)).toEqual(wanted);
  });

  it('with one slope per channel, or per element', () => {
    const x = values(1, [2, 3, 3]);
    for (const shape of [
      [2, 1, 1],
      [2, 3, 3],
    ]) {
      const slope = values(2, shape);
      const { y } = run(
        {
          input: [1, 2, 3, 3],
          nodes: [node('PRelu', ['x', 's'], 'y')],
          constants: { s: { shape, floats: slope } },
        },
        x,
      );
      y.forEach((value, i) => {
        const own = slope[shape[1] === 1 ? Math.floor(i / 9) : i]!;
        expect(value).toBeCloseTo(x[i]! < 0 ? own * x[i]! : x[i]!, 5);
      });
    }
  });

  it('behind a bias per channel have the same knots everywhere', () => {
    const { graph } = run(
      {
        input: [1, 2, 3, 3],
        nodes: [
          node('Add', ['x', 'b'], 'a'),
          node('Sub', ['a', 'six'], 'c'),
          node('Relu', ['c'], 'd'),
          node('Relu', ['a'], 'e'),
          node('Sub', ['e', 'd'], 'y'),
        ],
        constants: { ...constants, b: { shape: [2, 1, 1], floats: [0.3, -1.7] } },
      },
      values(1, [18]),
    );
    expect(ops(graph)).toEqual(['scale', 'piecewise']);
  });

  it('of two values: the larger, the smaller, and of more', () => {
    const x = values(1, [2, 3, 3]);
    const w = { shape: [2, 2, 1, 1], floats: [0, 1, 1, 0] };
    const swapped = (i: number) => x[(i + 9) % 18]!;
    const model = (op: string, inputs: string[]): ModelSpec => ({
      input: [1, 2, 3, 3],
      nodes: [node('Conv', ['x', 'w'], 'c'), node(op, inputs, 'y')],
      constants: { ...constants, w },
    });
    const larger = run(model('Max', ['x', 'c']), x);
    expect(ops(larger.graph)).toEqual(['conv', 'add', 'activation', 'add']);
    larger.y.forEach((v, i) => {
      expect(v).toBeCloseTo(Math.max(x[i]!, swapped(i)), 5);
    });
    run(model('Min', ['c', 'half', 'x']), x).y.forEach((v, i) => {
      expect(v).toBeCloseTo(Math.min(x[i]!, swapped(i), 0.5), 5);
    });
  });

  it('are refused where they jump, bend smoothly, or are of two values', () => {
    const refusal = (...nodes: ModelSpec['nodes']) => {
      try {
        readOnnx(modelOf({ input: [1, 2, 3, 3], nodes, constants }));
      } catch (error) {
        return (error as Error).message;
      }
      return '';
    };
    expect(refusal(node('Shrink', ['x'], 'y', { lambd: 0.5 }))).toMatch(/it jumps by 0.5/);
    expect(refusal(node('ThresholdedRelu', ['x'], 'y'))).toMatch(/with jumps/);
    expect(refusal(node('Elu', ['x'], 'y'))).toMatch(/smooth function.*replace it by Relu/);
    expect(refusal(node('GlobalAveragePool', ['x'], 'g'), node('Mul', ['x', 'g'], 'y'))).toMatch(
      /multiplies two values/,
    );
  });
});
