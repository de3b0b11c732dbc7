import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Prg, randomRing } from '../../../protocol/random/index.ts';
import { conv2d, dense, linear } from '../../../protocol/ring/linear.ts';
import * as reference from '../../../protocol/ring/reference.ts';
import {
  type ConvShape,
  type DenseShape,
  type LinearShape,
  linearInputSize,
  linearOutput,
  sizeOf,
  weightCount,
} from '../../../protocol/ring/shape.ts';

const random = new Prg(new Uint8Array(16).fill(5));

function sample(shape: LinearShape) {
  return {
    input: randomRing(random, linearInputSize(shape)),
    weights: randomRing(random, weightCount(shape)),
    bias: randomRing(random, linearOutput(shape)[0]),
  };
}

const conv = (over: Partial<ConvShape>): ConvShape => ({
  kind: 'conv',
  channels: 3,
  height: 8,
  width: 8,
  outChannels: 5,
  kernel: [3, 3],
  stride: [1, 1],
  pads: [1, 1, 1, 1],
  groups: 1,
  ...over,
});

function expectExact(shape: LinearShape): void {
  const { input, weights, bias } = sample(shape);
  const expected = reference.linear(shape, input, weights, bias);
  expect(linear(shape, input, weights, bias)).toEqual(expected);
}

const small = (min: number, max: number) => fc.integer({ min, max });
const pair = (min: number, max: number) => fc.tuple(small(min, max), small(min, max));

/** Any convolution that has an output, up to 6 x 6 kernels, strides to 4, uneven pads. */
const anyConv: fc.Arbitrary<ConvShape> = fc
  .record({
    groups: small(1, 3),
    perGroup: pair(1, 6),
    kernel: pair(1, 6),
    stride: pair(1, 4),
    before: pair(0, 3),
    after: pair(0, 3),
    extra: pair(0, 20),
  })
  .map(({ groups, perGroup, kernel, stride, before, after, extra }) =>
    conv({
      groups,
      channels: groups * perGroup[0],
      outChannels: groups * perGroup[1],
      kernel,
      stride,
      pads: [before[0], before[1], after[0], after[1]],
      height: Math.max(1, kernel[0] - before[0] - after[0]) + extra[0],
      width: Math.max(1, kernel[1] - before[1] - after[1]) + extra[1],
    }),
  );

describe('convolution modulo 2^32', () => {
  it('equals the definition for any shape (property)', () => {
    fc.assert(fc.property(anyConv, expectExact), { numRuns: 250, seed: 1 });
  });

  it.each([
    ['3x3', conv({ channels: 16, outChannels: 16, height: 32, width: 32 })],
    ['stem 7x7, stride 2', conv({ kernel: [7, 7], stride: [2, 2], pads: [3, 3, 3, 3], width: 33 })],
    ['1x1, stride 2', conv({ kernel: [1, 1], stride: [2, 2], pads: [0, 0, 0, 0], channels: 9 })],
    ['depthwise', conv({ channels: 12, outChannels: 12, groups: 12, width: 17 })],
    ['depthwise with a multiplier', conv({ channels: 3, outChannels: 15, groups: 3 })],
    ['kernel as large as its input', conv({ kernel: [8, 8], pads: [0, 0, 0, 0] })],
    ['pad wider than the kernel', conv({ pads: [5, 4, 6, 7] })],
    ['one pixel', conv({ height: 1, width: 1 })],
  ])('equals the definition: %s', (_name, shape) => {
    expectExact(shape);
  });

  it('wraps at the boundary values', () => {
    const shape = conv({
      channels: 1,
      outChannels: 4,
      kernel: [1, 1],
      pads: [0, 0, 0, 0],
      height: 1,
    });
    const values = Int32Array.of(-0x80000000, 0x7fffffff, -1, 1, 0, 0x40000000, 3, 0x55555555);
    const weights = Int32Array.of(-0x80000000, 0x7fffffff, -1, 2);
    const bias = Int32Array.of(1, -0x80000000, 0x7fffffff, 0);
    const out = conv2d(shape, values, weights, bias);
    for (let m = 0; m < 4; m++) {
      for (let i = 0; i < 8; i++) {
        const exact = BigInt(weights[m]!) * BigInt(values[i]!) + BigInt(bias[m]!);
        expect(out[8 * m + i]).toBe(Number(BigInt.asIntN(32, exact)));
      }
    }
  });

  it('computes any range of channels as it computes the whole', () => {
    for (const groups of [1, 2, 6]) {
      const shape = conv({ channels: 6, outChannels: 12, groups });
      const { input, weights, bias } = sample(shape);
      const whole = conv2d(shape, input, weights, bias);
      for (const [from, to] of [
        [0, 12],
        [0, 1],
        [1, 8],
        [5, 7],
        [11, 12],
        [4, 4],
      ] as const) {
        const part = conv2d(shape, input, weights, bias, { from, to });
        expect(part).toEqual(whole.slice(64 * from, 64 * to));
      }
    }
  });

  it('is linear: shares add up', () => {
    const shape = conv({});
    const { input, weights, bias } = sample(shape);
    const mask = randomRing(random, input.length);
    const one = conv2d(
      shape,
      input.map((x, i) => x - mask[i]!),
      weights,
      bias,
    );
    const two = conv2d(shape, mask, weights);
    expect(one.map((x, i) => x + two[i]!)).toEqual(conv2d(shape, input, weights, bias));
  });

  it('splits large inputs and weights to fit the kernel memory', () => {
    // 40 MiB of input in bands of rows: a picture of ones under a kernel of ones counts the pixels in reach.
    const size = 1024;
    const picture = conv({ channels: 10, outChannels: 1, height: size, width: size });
    const ones = new Int32Array(10 * size * size).fill(1);
    const counts = conv2d(picture, ones, new Int32Array(90).fill(1));
    const reach = (i: number) => (i === 0 || i === size - 1 ? 2 : 3);
    let wrong = 0;
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        if (counts[y * size + x] !== 10 * reach(y) * reach(x)) wrong++;
      }
    }
    expect(wrong).toBe(0);
    // 9.4 MB of weights.
    const wide = conv({ channels: 512, outChannels: 512, height: 2, width: 2 });
    const { input, weights } = sample(wide);
    const out = conv2d(wide, input, weights);
    const part = { ...wide, outChannels: 1 };
    for (const m of [0, 255, 511]) {
      const own = weights.slice(4608 * m, 4608 * (m + 1));
      expect(out.slice(4 * m, 4 * m + 4)).toEqual(reference.linear(part, input, own));
    }
  });
});

describe('matrix times vector modulo 2^32', () => {
  it('equals the definition for any shape (property)', () => {
    const anyDense = fc
      .tuple(small(1, 70), small(1, 20))
      .map(([inputs, outputs]): DenseShape => ({ kind: 'dense', inputs, outputs }));
    fc.assert(fc.property(anyDense, expectExact), { numRuns: 100, seed: 1 });
  });

  it('splits a matrix larger than the kernel memory', () => {
    const shape: DenseShape = { kind: 'dense', inputs: 4096, outputs: 4096 };
    const { input, bias } = sample(shape);
    // Row m holds m + 1 in column m: y_m = (m + 1) x_m + b_m.
    const weights = new Int32Array(4096 * 4096);
    for (let m = 0; m < 4096; m++) weights[4097 * m] = m + 1;
    const out = dense(shape, input, weights, bias);
    expect(out).toEqual(input.map((x, m) => Math.imul(m + 1, x) + bias[m]!));
    const part = dense(shape, input, weights, bias, { from: 1000, to: 1003 });
    expect(part).toEqual(out.slice(1000, 1003));
  });
});

describe('linear layers refuse', () => {
  it.each([conv({}), { kind: 'dense', inputs: 4, outputs: 5 } as const])(
    'what does not fit',
    (shape) => {
      const { input, weights, bias } = sample(shape);
      const shorter = (data: Int32Array) => data.subarray(1);
      expect(() => linear(shape, shorter(input), weights)).toThrow('input: expected');
      expect(() => linear(shape, input, shorter(weights))).toThrow('weights: expected');
      expect(() => linear(shape, input, weights, shorter(bias))).toThrow('bias: expected');
      for (const [from, to] of [
        [-1, 2],
        [3, 2],
        [0, 6],
        [0.5, 2],
      ] as const) {
        expect(() => linear(shape, input, weights, bias, { from, to })).toThrow(RangeError);
      }
      expect(sizeOf(linearOutput(shape))).toBe(linear(shape, input, weights).length);
    },
  );

  it('groups that do not divide the channels, kernels larger than the input', () => {
    const nothing = new Int32Array(0);
    expect(() => conv2d(conv({ groups: 2 }), nothing, nothing)).toThrow('groups');
    const large = conv({ kernel: [11, 3] });
    expect(() => conv2d(large, nothing, nothing)).toThrow('larger than its input');
  });
});
