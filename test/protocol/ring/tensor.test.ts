import { describe, expect, it } from 'vitest';
import { Prg, randomRing } from '../../../protocol/random/index.ts';
import { conv2d } from '../../../protocol/ring/linear.ts';
import type { Shape } from '../../../protocol/ring/shape.ts';
import {
  add,
  addInto,
  type Pooling,
  poolWeights,
  shiftLeft,
  subtract,
  sumPool,
  sumPoolOutput,
} from '../../../protocol/ring/tensor.ts';

const random = new Prg(new Uint8Array(16).fill(6));

describe('local operations on shares', () => {
  const edges = Int32Array.of(0, 1, -1, 0x7fffffff, -0x80000000, 5);
  const others = Int32Array.of(-1, -1, 0x7fffffff, 1, -1, -5);

  it('add and subtract modulo 2^32', () => {
    expect([...add(edges, others)]).toEqual([-1, 0, 0x7ffffffe, -0x80000000, 0x7fffffff, 0]);
    expect([...subtract(edges, others)]).toEqual([1, 2, -0x80000000, 0x7ffffffe, -0x7fffffff, 10]);
    const sum = edges.slice();
    addInto(sum, others);
    expect(sum).toEqual(add(edges, others));
    expect(() => add(edges, others.subarray(1))).toThrow(RangeError);
  });

  it('shift left modulo 2^32', () => {
    expect([...shiftLeft(edges, 1)]).toEqual([0, 2, -2, -2, 0, 10]);
    expect([...shiftLeft(edges, 31)]).toEqual([0, 1 << 31, 1 << 31, 1 << 31, 0, 1 << 31]);
    expect(shiftLeft(edges, 0)).toEqual(edges);
    for (const bits of [-1, 32, 1.5]) expect(() => shiftLeft(edges, bits)).toThrow(RangeError);
  });

  it.each([
    { shape: [2, 4, 4], kernel: [2, 2], stride: [2, 2] },
    { shape: [3, 7, 5], kernel: [3, 2], stride: [2, 1] },
    { shape: [1, 8, 8], kernel: [8, 8], stride: [8, 8] },
    { shape: [2, 5, 5], kernel: [1, 1], stride: [3, 3] },
  ] as { shape: Shape; kernel: [number, number]; stride: [number, number] }[])(
    'sum pooling is the depthwise convolution with ones: $shape, $kernel, $stride',
    ({ shape, kernel, stride }) => {
      const [channels, height, width] = shape;
      const input = randomRing(random, channels * height * width);
      const ones = new Int32Array(channels * kernel[0] * kernel[1]).fill(1);
      const pooling = { kernel, stride, pads: [0, 0, 0, 0] } as const;
      const out = sumPool(input, shape, pooling);
      const expected = conv2d(
        {
          kind: 'conv',
          channels,
          height,
          width,
          outChannels: channels,
          kernel,
          stride,
          pads: [0, 0, 0, 0],
          groups: channels,
        },
        input,
        ones,
      );
      expect(out).toEqual(expected);
      const [c, h, w] = sumPoolOutput(shape, pooling);
      expect(out.length).toBe(c * h * w);
    },
  );

  it('sum pooling refuses what does not fit', () => {
    const pooling = { kernel: [2, 2], stride: [2, 2], pads: [0, 0, 0, 0] } as const;
    const shape = [1, 4, 4] as const;
    expect(() => sumPool(new Int32Array(15), shape, pooling)).toThrow('expected 16 elements');
    expect(() => sumPool(new Int32Array(16), shape, { ...pooling, kernel: [5, 2] })).toThrow(
      'window larger than its input',
    );
    // Windows of 20 to 39 rows: their common multiple has 18 digits.
    const tall = { kernel: [39, 1], stride: [1, 1], pads: [19, 0, 0, 0] } as const;
    expect(() => sumPool(new Int32Array(60), [1, 60, 1], tall)).toThrow(
      'pooling: the cells of windows have no common multiple below 2^31',
    );
  });

  it.each<[Shape, Pooling, number]>([
    [[2, 4, 4], { kernel: [2, 2], stride: [2, 2], pads: [0, 0, 0, 0] }, 4],
    // Rows of 2, 3, 3, 2 cells, and columns likewise.
    [[1, 4, 4], { kernel: [3, 3], stride: [1, 1], pads: [1, 1, 1, 1] }, 36],
    [[2, 6, 5], { kernel: [3, 3], stride: [2, 2], pads: [1, 1, 1, 1] }, 36],
    // The last row of windows has one cell less, columns are all alike.
    [[1, 7, 4], { kernel: [4, 2], stride: [2, 2], pads: [0, 0, 1, 0] }, 24],
    // Windows larger than the input: each has all of it.
    [[1, 2, 2], { kernel: [4, 4], stride: [1, 1], pads: [2, 2, 2, 2] }, 4],
    [[1, 3, 1], { kernel: [3, 1], stride: [1, 1], pads: [2, 0, 2, 0] }, 6],
  ])('sum pooling of %j by %j counts real cells alone: means times %i', (shape, pooling, level) => {
    const input = randomRing(random, shape[0] * shape[1] * shape[2]).map((x) => x >> 12);
    expect(poolWeights(shape, pooling).level).toBe(level);
    const out = sumPool(input, shape, pooling);
    const [channels, height, width] = sumPoolOutput(shape, pooling);
    let at = 0;
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const cells: number[] = [];
          for (let i = 0; i < pooling.kernel[0]; i++) {
            for (let j = 0; j < pooling.kernel[1]; j++) {
              const row = y * pooling.stride[0] + i - pooling.pads[0];
              const column = x * pooling.stride[1] + j - pooling.pads[1];
              if (row < 0 || column < 0 || row >= shape[1] || column >= shape[2]) continue;
              cells.push(input[(c * shape[1] + row) * shape[2] + column]!);
            }
          }
          const sum = cells.reduce((all, cell) => all + cell, 0);
          expect(out[at++]).toBe((sum * level) / cells.length);
        }
      }
    }
    expect(at).toBe(out.length);
  });
});
