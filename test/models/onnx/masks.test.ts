/** Networks whose ReLUs were removed elsewhere: masks, and the polynomials that stand in for ReLUs. */

import { describe, expect, it } from 'vitest';
import { countGraph } from '../../../models/graph/index.ts';
import { checkOnnx, formatCheck } from '../../../models/onnx/index.ts';
import {
  channelOf,
  MASK,
  maskedConstants,
  maskedNodes,
  perElement,
  SHAPE,
  SHIFTS,
  SIZE,
  SLOPES,
} from './masked.ts';
import { type ModelSpec, modelOf, type NodeSpec, node, random, type Values } from './models.ts';
import { ops, run, values } from './support.ts';

const KEPT = MASK.filter((m) => m === 1).length;
const m = perElement(MASK);
const one: Values = { shape: [], floats: [1] };

/** A layer that reads the input as it is, so that what it computes is plain to see. */
const layer = (
  nodes: readonly NodeSpec[],
  constants: Readonly<Record<string, Values>>,
): ModelSpec => ({
  input: [1, ...SHAPE],
  nodes: [node('Identity', ['x'], 'a'), ...nodes],
  constants,
});

/** Numbers in [-4, 4). */
const image = values(3, SHAPE).map((v) => 4 * v);

function expectLayer(spec: ModelSpec, f: (a: number, element: number) => number) {
  const { graph, y } = run(spec, image);
  y.forEach((value, i) => {
    expect(value).toBeCloseTo(f(image[i]!, i), 5);
  });
  expect(y).toHaveLength(SIZE);
  return graph;
}

const snl = (a: number, i: number) => (MASK[i] === 1 ? Math.max(a, 0) : a);
const relu = node('Relu', ['a'], 'r');
const kept = node('Mul', ['m', 'r'], 'kept');

describe('a mask of 0 and 1 between ReLU and identity is one activation layer', () => {
  it.each<[string, readonly NodeSpec[]]>([
    [
      'm*relu(a) + (1 - m)*a',
      [
        relu,
        kept,
        node('Sub', ['one', 'm'], 'rest'),
        node('Mul', ['a', 'rest'], 'removed'),
        node('Add', ['kept', 'removed'], 'y'),
      ],
    ],
    [
      'm*relu(a) + a - m*a',
      [
        relu,
        kept,
        node('Add', ['kept', 'a'], 's'),
        node('Mul', ['m', 'a'], 'ma'),
        node('Sub', ['s', 'ma'], 'y'),
      ],
    ],
    [
      'a + m*(relu(a) - a)',
      [
        relu,
        node('Sub', ['r', 'a'], 'd'),
        node('Mul', ['d', 'm'], 'md'),
        node('Add', ['a', 'md'], 'y'),
      ],
    ],
    [
      'where(m, relu(a), a)',
      [relu, node('Cast', ['m'], 'b', { to: 9 }), node('Where', ['b', 'r', 'a'], 'y')],
    ],
  ])('%s', (_name, nodes) => {
    const graph = expectLayer(layer(nodes, { m, one }), snl);
    expect(ops(graph)).toEqual(['activation']);
    expect(countGraph(graph)).toMatchObject({ relus: KEPT, identities: SIZE - KEPT, squares: 0 });
  });

  it('also behind a bias that stands apart, and with a mask of channels', () => {
    const biased: ModelSpec = {
      input: [1, 3, 6, 6],
      nodes: [
        node('Conv', ['x', 'w'], 'c', { pads: [1, 1, 1, 1] }),
        node('Add', ['c', 'bias'], 'a'),
        relu,
        kept,
        node('Sub', ['one', 'm'], 'rest'),
        node('Mul', ['a', 'rest'], 'removed'),
        node('Add', ['kept', 'removed'], 'y'),
      ],
      constants: {
        m: { shape: [4, 1, 1], floats: [1, 0, 0, 1] },
        one,
        w: random(1, [4, 3, 3, 3]),
        bias: { shape: [1, 4, 1, 1], floats: [0.5, -0.5, 0.25, 0] },
      },
    };
    const { graph } = run(biased, values(1, [3, 6, 6]));
    expect(ops(graph)).toEqual(['conv', 'activation']);
    expect(countGraph(graph)).toMatchObject({ relus: SIZE / 2, identities: SIZE / 2 });
  });
});

describe('a mask of 0 and 1 between ReLU and a parabola of each channel', () => {
  const f = (curvatures: readonly number[]) => (a: number, i: number) => {
    const c = channelOf(i);
    return MASK[i] === 1 ? Math.max(a, 0) : curvatures[c]! * a * a + SLOPES[c]! * a + SHIFTS[c]!;
  };

  it('is one activation layer where all open upwards', () => {
    const curvatures = [0.2, 0.1, 0.3, 0.15];
    const spec = layer(maskedNodes(), maskedConstants(curvatures));
    const graph = expectLayer(spec, f(curvatures));
    expect(ops(graph)).toEqual(['activation']);
    expect(countGraph(graph)).toMatchObject({ relus: KEPT, squares: SIZE - KEPT, identities: 0 });
    const [only] = graph.nodes;
    const { coefficients } = only as { coefficients: string };
    expect([...graph.tensors.get(coefficients)!.data.subarray(0, 6)]).toEqual(
      [0.1, 0.5, 0.2, 0, 0.4, 0.1].map(Math.fround),
    );
  });

  it('is one activation layer with one parabola for all channels, by Horner', () => {
    const nodes = [
      relu,
      kept,
      node('Mul', ['c2', 'a'], 't'),
      node('Add', ['t', 'c1'], 'u'),
      node('Mul', ['u', 'a'], 'v'),
      node('Add', ['v', 'c0'], 'p'),
      node('Sub', ['one', 'm'], 'rest'),
      node('Mul', ['rest', 'p'], 'removed'),
      node('Add', ['kept', 'removed'], 'y'),
    ];
    const number = (value: number): Values => ({ shape: [], floats: [value] });
    const constants = { m, one, c2: number(0.25), c1: number(0.5), c0: number(0.125) };
    const graph = expectLayer(layer(nodes, constants), (a, i) =>
      MASK[i] === 1 ? Math.max(a, 0) : 0.25 * a * a + 0.5 * a + 0.125,
    );
    expect(ops(graph)).toEqual(['activation']);
    expect(countGraph(graph)).toMatchObject({ relus: KEPT, squares: SIZE - KEPT });
  });

  it('takes a square for each parabola that opens downwards, and no comparison more', () => {
    const curvatures = [0.2, -0.1, 0.3, -0.15];
    const spec = layer(maskedNodes(), maskedConstants(curvatures));
    const graph = expectLayer(spec, f(curvatures));
    expect(ops(graph)).toEqual(['activation', 'activation', 'gather', 'add']);
    expect(countGraph(graph)).toMatchObject({ relus: KEPT, squares: SIZE - KEPT });
  });
});

describe('a mask that is neither 0 nor 1', () => {
  const soft = Array.from({ length: SIZE }, (_, i) => (i % 7) / 7);

  it('is refused between ReLU and square, with the element and what to do', () => {
    const spec = layer(maskedNodes(), maskedConstants([0.2, 0.1, 0.3, 0.15], soft));
    expect(() => run(spec, image)).toThrow(
      /^node 'Add of y' \(Add\) cannot be read: its mask of ReLUs is 0\.143 at element 1, where a ReLU and a square mix: round the mask to 0 and 1, fine-tune and export again$/,
    );
  });

  it('is a slope between ReLU and identity, and a check says that all is compared', () => {
    const nodes = [
      relu,
      kept,
      node('Sub', ['one', 'm'], 'rest'),
      node('Mul', ['a', 'rest'], 'removed'),
      node('Add', ['kept', 'removed'], 'y'),
    ];
    const spec = layer(nodes, { m: perElement(soft), one });
    expectLayer(
      spec,
      (a, i) => Math.fround(soft[i]!) * Math.max(a, 0) + (1 - Math.fround(soft[i]!)) * a,
    );
    const check = checkOnnx(modelOf(spec));
    expect(formatCheck(check)).toMatch(
      /\nnote {4}all 144 elements of 'y\.elements' are compared, .*: if the slopes are a mask of ReLUs, round it to 0 and 1$/,
    );
    const hard = layer(nodes, { m, one });
    expect(checkOnnx(modelOf(hard)).summary!.notes).toEqual([]);
  });
});
