import { describe, expect, it } from 'vitest';
import { Prg, randomRing } from '../../../protocol/random/index.ts';
import { conv2d } from '../../../protocol/ring/linear.ts';
import type { Shape } from '../../../protocol/ring/shape.ts';
import {
  add,
  addInto,
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
      const out = sumPool(input, shape, kernel, stride);
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
      const [c, h, w] = sumPoolOutput(shape, kernel, stride);
      expect(out.length).toBe(c * h * w);
    },
  );

  it('sum pooling refuses what does not fit', () => {
    expect(() => sumPool(new Int32Array(15), [1, 4, 4], [2, 2], [2, 2])).toThrow(RangeError);
    expect(() => sumPool(new Int32Array(16), [1, 4, 4], [5, 2], [2, 2])).toThrow(RangeError);
  });
});
