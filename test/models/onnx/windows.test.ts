import { describe, expect, it } from 'vitest';
import { readOnnx } from '../../../models/onnx/index.ts';
import { type ModelSpec, modelOf, node } from './models.ts';
import { build, ops, run, tensorAt, values } from './support.ts';

const closeTo = (y: readonly number[], expected: readonly number[]) => {
  expect(y.length).toBe(expected.length);
  y.forEach((value, i) => {
    expect(value).toBeCloseTo(expected[i]!, 4);
  });
};

const weights = (shape: number[], seed = 5) => ({
  shape,
  floats: values(seed, [shape.reduce((a, b) => a * b)]),
});
const sum = (n: number, f: (i: number) => number) =>
  Array.from({ length: n }, (_, i) => f(i)).reduce((a, b) => a + b, 0);

describe('convolutions', () => {
  it('are dilated, padded unevenly and cut by negative pads', () => {
    const x = values(1, [2, 7, 8]);
    const w = weights([3, 2, 3, 2]);
    const { graph, y } = run(
      {
        input: [1, 2, 7, 8],
        nodes: [
          node('Conv', ['x', 'w'], 'y', {
            dilations: [2, 3],
            pads: [1, -1, 2, 0],
            strides: [1, 2],
          }),
        ],
        constants: { w },
      },
      x,
    );
    const [at, k] = [tensorAt(x, [2, 7, 8]), tensorAt(w.floats, w.shape)];
    // What negative pads cut off is not seen.
    const seen = (c: number, i: number, j: number) => (j < 1 ? 0 : at(c, i, j));
    closeTo(
      y,
      build([3, 6, 2], (o, i, j) =>
        sum(2, (c) =>
          sum(3, (a) => sum(2, (b) => k(o, c, a, b) * seen(c, i + 2 * a - 1, 2 * j + 3 * b + 1))),
        ),
      ),
    );
    expect(ops(graph)).toEqual(['slice', 'conv']);
  });

  it('go along lines', () => {
    const x = values(1, [4, 9]);
    const w = weights([2, 2, 3]);
    const spec: ModelSpec = {
      input: ['N', 4, 9],
      nodes: [
        node('Conv', ['x', 'w'], 'c', { group: 2, strides: [2], pads: [1, 1] }),
        node('MaxPool', ['c'], 'y', { kernel_shape: [2], strides: [1] }),
      ],
      constants: { w: { ...w, shape: [2, 2, 3] } },
    };
    const { graph, y } = run(spec, x);
    const [at, k] = [tensorAt(x, [4, 9]), tensorAt(w.floats, [2, 2, 3])];
    const conv = (o: number, i: number) =>
      sum(2, (c) => sum(3, (a) => k(o, c, a) * at(2 * o + c, 2 * i + a - 1)));
    closeTo(
      y,
      build([2, 4], (o, i) => Math.max(conv(o, i), conv(o, i + 1))),
    );
    expect(graph.input).toMatchObject({ shape: [4, 1, 9], numbers: true });
    expect(graph.results).toEqual([{ name: 'y', shape: [2, 4] }]);
  });

  it.each([
    ['by their kernel', { strides: [2, 2] }, 1, [2, 2]],
    ['more than their kernel', { strides: [3, 2], pads: [1, 0, 0, 1] }, 1, [2, 2]],
    ['with room at the end', { strides: [2, 2], output_padding: [1, 0] }, 1, [3, 3]],
    ['in groups, dilated', { group: 2, dilations: [2, 1], pads: [1, 1, 1, 1] }, 2, [3, 3]],
  ] as const)('are transposed: %s', (_what, attributes, group, kernel) => {
    const x = values(1, [4, 3, 5]);
    const out = 3;
    const w = weights([4, out, ...kernel]);
    const { y } = run(
      {
        input: [1, 4, 3, 5],
        nodes: [node('ConvTranspose', ['x', 'w'], 'y', attributes)],
        constants: { w },
      },
      x,
    );
    const {
      strides = [1, 1],
      pads = [0, 0, 0, 0],
      dilations = [1, 1],
      output_padding: extra = [0, 0],
    } = attributes as Record<string, readonly number[]>;
    const size = [3, 5].map(
      (n, a) =>
        strides[a]! * (n - 1) +
        extra[a]! +
        (kernel[a]! - 1) * dilations[a]! +
        1 -
        pads[a]! -
        pads[a + 2]!,
    );
    // As it is defined: every element adds its multiples of the kernel.
    const expected = new Float64Array(out * group * size[0]! * size[1]!);
    build([4, out, ...kernel, 3, 5], (c, o, a, b, i, j) => {
      const row = i * strides[0]! + a * dilations[0]! - pads[0]!;
      const column = j * strides[1]! + b * dilations[1]! - pads[1]!;
      if (row >= 0 && row < size[0]! && column >= 0 && column < size[1]!) {
        const channel = Math.floor(c / (4 / group)) * out + o;
        expected[(channel * size[0]! + row) * size[1]! + column]! +=
          tensorAt(x, [4, 3, 5])(c, i, j) * tensorAt(w.floats, w.shape)(c, o, a, b);
      }
      return 0;
    });
    closeTo(y, [...expected]);
  });

  it('of volumes are refused', () => {
    const spec: ModelSpec = {
      input: [1, 2, 3, 4],
      nodes: [node('Unsqueeze', ['x', 'at'], 'v'), node('Conv', ['v', 'w'], 'y')],
      constants: { at: { integers: [2] }, w: weights([1, 2, 1, 1, 1]) },
    };
    expect(() => readOnnx(modelOf(spec))).toThrow(/over 3 axes: only those over 1 and 2/);
  });
});

describe('pools', () => {
  it('take maxima of dilated windows, the border left out', () => {
    const x = values(1, [2, 7, 7]).map((v) => v - 2);
    const { y } = run(
      {
        input: [1, 2, 7, 7],
        nodes: [
          node('MaxPool', ['x'], 'y', {
            kernel_shape: [2, 3],
            dilations: [3, 2],
            pads: [1, 2, 2, 1],
          }),
        ],
      },
      x,
    );
    const at = (c: number, i: number, j: number) =>
      i >= 0 && i < 7 && j >= 0 && j < 7 ? tensorAt(x, [2, 7, 7])(c, i, j) : -Infinity;
    closeTo(
      y,
      build([2, 7, 6], (c, i, j) =>
        Math.max(...build([2, 3], (a, b) => at(c, i + 3 * a - 1, j + 2 * b - 2))),
      ),
    );
  });

  it.each([
    [0, 1],
    [1, 1],
    [0, 2],
    [1, 2],
  ])('take means, with count_include_pad %i and dilations of %i', (counted, dilation) => {
    const x = values(1, [2, 6, 9]);
    const { y } = run(
      {
        input: [1, 2, 6, 9],
        nodes: [
          node('AveragePool', ['x'], 'y', {
            kernel_shape: [2, 2],
            strides: [2, 2],
            pads: [1, 0, 1, 0],
            dilations: [dilation, dilation],
            count_include_pad: counted,
            ceil_mode: 1,
          }),
        ],
        opset: 19,
      },
      x,
    );
    const shape = dilation === 1 ? [2, 4, 5] : [2, 4, 4];
    const expected = build(shape, (c, i, j) => {
      let [total, count] = [0, 0];
      for (let a = 0; a < 2; a++) {
        for (let b = 0; b < 2; b++) {
          const [row, column] = [2 * i + a * dilation - 1, 2 * j + b * dilation];
          const inside = row >= 0 && row < 6 && column < 9;
          if (inside) total += tensorAt(x, [2, 6, 9])(c, row, column);
          // Padding counts, what is beyond it never does.
          if (inside || (counted === 1 && row <= 6 && column < 9)) count++;
        }
      }
      return total / count;
    });
    closeTo(y, expected);
  });

  it('reduce any axes', () => {
    const x = values(1, [2, 3, 4]);
    const at = tensorAt(x, [2, 3, 4]);
    const reduce = (op: string, axes: number[], keepdims: number, opset = 11) =>
      run({ input: [1, 2, 3, 4], nodes: [node(op, ['x'], 'y', { axes, keepdims })], opset }, x);
    closeTo(
      reduce('ReduceMean', [1], 0).y,
      build([3, 4], (h, w) => (at(0, h, w) + at(1, h, w)) / 2),
    );
    closeTo(
      reduce('ReduceSum', [-1], 1).y,
      build([2, 3], (c, h) => sum(4, (w) => at(c, h, w))),
    );
    closeTo(
      reduce('ReduceMax', [1, 3], 0).y,
      build([3], (h) => Math.max(...build([2, 4], (c, w) => at(c, h, w)))),
    );
    closeTo(
      reduce('ReduceMin', [2], 0).y,
      build([2, 4], (c, w) => Math.min(...build([3], (h) => at(c, h, w)))),
    );
    closeTo(reduce('ReduceSumSquare', [1, 2, 3], 0).y, [x.reduce((total, v) => total + v * v, 0)]);
  });
});

describe('matrices', () => {
  const x = values(1, [3, 4]);
  const at = tensorAt(x, [3, 4]);
  const model = (input: (number | string)[], nodes: ModelSpec['nodes'], shape: number[]) => {
    const w = weights(shape);
    return { w: tensorAt(w.floats, shape), ...run({ input, nodes, constants: { w } }, x) };
  };

  it('multiply tokens from the right and from the left', () => {
    const right = model(['N', 3, 4], [node('MatMul', ['x', 'w'], 'y')], [4, 5]);
    closeTo(
      right.y,
      build([3, 5], (t, o) => sum(4, (i) => at(t, i) * right.w(i, o))),
    );
    expect(right.graph.results).toEqual([{ name: 'y', shape: [3, 5] }]);
    const left = model(['N', 3, 4], [node('MatMul', ['w', 'x'], 'y')], [2, 3]);
    closeTo(
      left.y,
      build([2, 4], (o, i) => sum(3, (t) => left.w(o, t) * at(t, i))),
    );
    const einsum = model(
      ['N', 3, 4],
      [node('Einsum', ['x', 'w'], 'y', { equation: 'bti,io->bot' })],
      [4, 5],
    );
    closeTo(
      einsum.y,
      build([5, 3], (o, t) => sum(4, (i) => at(t, i) * einsum.w(i, o))),
    );
  });
});
