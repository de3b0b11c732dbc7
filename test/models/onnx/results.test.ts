import onnxProto from 'onnx-proto';
import { describe, expect, it } from 'vitest';
import { runFloat } from '../../../models/graph/index.ts';
import { checkOnnx, readOnnx } from '../../../models/onnx/index.ts';
import { type ModelSpec, modelOf, node, random } from './models.ts';
import { ops, run, values } from './support.ts';

const { onnx } = onnxProto;
const image = (...nodes: ModelSpec['nodes']): ModelSpec => ({ input: [1, 4, 2, 2], nodes });
const softmax = node('Softmax', ['x'], 's', { axis: 1 });

describe('results', () => {
  it('are several as one value, each with its name, shape and readout', () => {
    const { graph, y } = run(
      {
        ...image(
          node('Transpose', ['x'], 't', { perm: [0, 2, 3, 1] }),
          node('Reshape', ['t', 'rows'], 'r'),
          softmax,
          node('Transpose', ['s'], 'u', { perm: [0, 2, 3, 1] }),
          node('GlobalAveragePool', ['x'], 'g'),
          node('ArgMax', ['x'], 'a', { axis: 1, keepdims: 0 }),
        ),
        constants: { rows: { integers: [1, -1, 2] } },
        outputs: ['r', 'u', 'g', 'a'],
      },
      Float32Array.from({ length: 16 }, (_, i) => (i * 7) % 5),
    );
    expect(graph.results).toEqual([
      { name: 'r', shape: [8, 2] },
      { name: 'u', shape: [2, 2, 4], readout: { kind: 'softmax', axis: 2 } },
      { name: 'g', shape: [4, 1, 1] },
      { name: 'a', shape: [4, 2, 2], readout: { kind: 'argmax', axis: 0 } },
    ]);
    expect(ops(graph).at(-1)).toBe('concat');
    // x[c, h, w] = (7 * (4c + 2h + w)) mod 5.
    const x = (c: number, h: number, w: number) => (7 * (4 * c + 2 * h + w)) % 5;
    expect(y.slice(0, 4)).toEqual([x(0, 0, 0), x(1, 0, 0), x(2, 0, 0), x(3, 0, 0)]);
    const own = [0, 1, 2, 3].map((c) => Math.exp(x(c, 1, 0)));
    expect(y[16 + 8]!).toBeCloseTo(own[0]! / own.reduce((a, b) => a + b), 5);
    expect(y.slice(-4)).toEqual(
      [1, 2, 0, 3].map((_v, i) => {
        const scores = [0, 1, 2, 3].map((c) => x(c, Math.floor(i / 2), i % 2));
        return scores.indexOf(Math.max(...scores));
      }),
    );
  });

  it('of functions of single numbers may be moved, joined and cut', () => {
    const { graph } = run(
      {
        ...image(
          node('Sigmoid', ['x'], 's'),
          node('Slice', ['s', 'one', 'three', 'one'], 'p'),
          node('Concat', ['p', 's'], 'y', { axis: 1 }),
        ),
        constants: { one: { integers: [1] }, three: { integers: [3] } },
      },
      values(1, [16]),
    );
    expect(graph.results).toEqual([{ name: 'y', shape: [6, 2, 2], readout: { kind: 'sigmoid' } }]);
  });

  it.each<[string, ModelSpec, RegExp]>([
    [
      'cut along the axis of a softmax',
      {
        ...image(softmax, node('Gather', ['s', 'i'], 'y', { axis: 1 })),
        constants: { i: { integers: 1 } },
      },
      /takes part of axis 1.*--output-name/,
    ],
    [
      'joined along it',
      image(softmax, node('Concat', ['s', 's'], 'y', { axis: 1 })),
      /joins results along axis 1/,
    ],
    [
      'joined with something else',
      image(softmax, node('Concat', ['s', 'x'], 'y', { axis: 2 })),
      /\(Softmax\).*exponentials of private numbers/,
    ],
    [
      'reshaped across it',
      {
        ...image(softmax, node('Reshape', ['s', 'n'], 'y')),
        constants: { n: { integers: [1, 16] } },
      },
      /cuts up axis 1/,
    ],
    [
      'padded',
      {
        ...image(softmax, node('Pad', ['s', 'p'], 'y')),
        constants: { p: { integers: [0, 0, 1, 1, 0, 0, 1, 1] } },
      },
      /puts zeros among the results of a softmax/,
    ],
    [
      'of a softmax over two axes',
      { ...image(node('Softmax', ['x'], 'y', { axis: 2 })), opset: 9 },
      /along axes 2 and 3 of \[1,4,2,2\] at once.*'x' with --output-name/,
    ],
    [
      'labels that are moved',
      image(
        node('ArgMax', ['x'], 'a', { axis: 1 }),
        node('Transpose', ['a'], 'y', { perm: [0, 1, 3, 2] }),
      ),
      /moves labels/,
    ],
  ])('are refused: %s', (_what, spec, message) => {
    expect(() => readOnnx(modelOf(spec))).toThrow(message);
  });
});

describe('a check', () => {
  it('says what a network is', () => {
    const spec: ModelSpec = {
      input: [1, 3, 4, 4],
      nodes: [
        node('Conv', ['x', 'w'], 'c'),
        node('Clip', ['c', 'low', 'high'], 'r'),
        node('GlobalMaxPool', ['r'], 'g'),
        node('Softmax', ['g'], 'y', { axis: 1 }),
      ],
      constants: {
        w: random(1, [2, 3, 3, 3]),
        low: { shape: [], floats: [0] },
        high: { shape: [], floats: [6] },
      },
    };
    expect(checkOnnx(modelOf(spec))).toEqual({
      summary: {
        input: { name: 'x', shape: [3, 4, 4], kind: 'pixels' },
        results: [{ name: 'y', shape: [2, 1, 1], readout: { kind: 'softmax', axis: 0 } }],
        layers: 1,
        parameters: 54 + 2 * 6,
        macs: 54 * 4,
        relus: 2 * 8 + 2 * 3,
        notes: [],
      },
    });
  });

  it('lists every node that is in the way, and none that is not', () => {
    const { refused } = checkOnnx(
      modelOf({
        ...image(
          node('Elu', ['x'], 'a'),
          node('Relu', ['a'], 'b'),
          node('GlobalAveragePool', ['b'], 'c'),
          node('Sigmoid', ['c'], 'd'),
          node('Mul', ['b', 'd'], 'e'),
          node('LayerNormalization', ['e', 'k'], 'f'),
          node('Relu', ['f'], 'g'),
          node('TopK', ['g', 'n'], 'h'),
          node('Frobnicate', ['h'], 'y'),
        ),
        constants: { k: { shape: [2], floats: [1, 1] }, n: { integers: [1] } },
      }),
    );
    expect(refused!.map(({ op }) => op)).toEqual([
      'Elu',
      'Sigmoid',
      'Mul',
      'LayerNormalization',
      'TopK',
      'Frobnicate',
    ]);
    for (const { reason } of refused!) expect(reason).toMatch(/^it .*: /);
  });
});

describe('functions of a model', () => {
  it('stand for their nodes', () => {
    const spec: ModelSpec = {
      input: [1, 2],
      nodes: [node('Twice', ['x'], 'm'), node('Neg', ['m'], 'y')],
    };
    const decoded = onnx.ModelProto.decode(modelOf(spec));
    const [call] = decoded.graph!.node!;
    call!.domain = 'own';
    const inner = onnx.NodeProto.encode(
      onnx.NodeProto.create({ opType: 'Add', input: ['a', 'a'], output: ['b'] }),
    ).finish();
    const text = (field: number, value: string) => [
      8 * field + 2,
      value.length,
      ...new TextEncoder().encode(value),
    ];
    const body = [
      ...text(1, 'Twice'),
      ...text(4, 'a'),
      ...text(5, 'b'),
      8 * 7 + 2,
      inner.length,
      ...inner,
      ...text(10, 'own'),
    ];
    // ModelProto's field 25, which the encoder does not know.
    const model = onnx.ModelProto.encode(decoded).finish();
    const bytes = Uint8Array.from([...model, 0xca, 0x01, body.length, ...body]);
    expect([...runFloat(readOnnx(bytes), Float32Array.of(1, -2))]).toEqual([-2, 4]);
  });
});

describe('inputs', () => {
  const relu = [node('Relu', ['x'], 'y')];
  it('leave extents open that the caller says', () => {
    const bytes = modelOf({ input: ['N', 3, 'H', 'W'], nodes: relu });
    const shapes = new Map([['x', [1, 3, 5, 6]]]);
    expect(readOnnx(bytes, { shapes }).input).toEqual({
      id: 'x',
      shape: [3, 5, 6],
      mean: [0, 0, 0],
      std: [1, 1, 1],
    });
    expect(() => readOnnx(bytes)).toThrow(/say them with --shape x=/);
    const other = new Map([['x', [1, 4, 5, 6]]]);
    expect(() => readOnnx(bytes, { shapes: other })).toThrow(/\[1,4,5,6\] does not fit/);
  });

  it.each<[string, (number | string)[], readonly number[], boolean]>([
    ['an image', [1, 3, 5, 6], [3, 5, 6], false],
    ['a grey image without its channel', ['N', 5, 6], [1, 5, 6], false],
    ['features', ['N', 7], [7, 1, 1], true],
    ['many channels', [1, 7, 5, 6], [7, 5, 6], true],
    ['a row', [1, 3, 1, 6], [3, 1, 6], true],
  ])('are pixels or numbers: %s', (_what, input, shape, isNumbers) => {
    const bytes = modelOf({ input, nodes: relu });
    const read = readOnnx(bytes).input;
    expect(read.shape).toEqual(shape);
    expect(read.numbers ?? false).toBe(isNumbers);
    expect(readOnnx(bytes, { numbers: !isNumbers }).input.numbers ?? false).toBe(!isNumbers);
  });

  it('of version 6 align constants by an axis', () => {
    const { y } = run(
      {
        input: [1, 2, 1, 2],
        nodes: [node('Mul', ['x', 'c'], 'y', { broadcast: 1, axis: 1 })],
        constants: { c: { shape: [2], floats: [2, 3] } },
        opset: 6,
      },
      Float32Array.of(1, 2, 3, 4),
    );
    expect(y).toEqual([2, 4, 9, 12]);
  });
});
