import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Prg, randomRing } from '../../../protocol/random/index.ts';
import { conv2d, dense, linear, packWeights } from '../../../protocol/ring/linear.ts';
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

/** Weights of any width, and weights of 16 bits both as they are and packed. */
function expectExact(shape: LinearShape): void {
  const { input, weights, bias } = sample(shape);
  const expected = reference.referenceLinear(shape, input, weights, bias);
  expect(linear(shape, input, weights, bias)).toEqual(expected);
  const elements = randomRing(random, sizeOf(linearOutput(shape)));
  expect(linear(shape, input, weights, elements)).toEqual(
    reference.referenceLinear(shape, input, weights, elements),
  );
  const narrow = weights.map((word) => word >> 16);
  const exact = reference.referenceLinear(shape, input, narrow, bias);
  expect(linear(shape, input, narrow, bias)).toEqual(exact);
  const packed = packWeights(shape, narrow);
  expect(packed instanceof Int16Array).toBe(channelsOf(shape) > 1);
  expect(linear(shape, input, packed, bias)).toEqual(exact);
}

/** Input channels that make one output. */
const channelsOf = (shape: LinearShape): number =>
  shape.kind === 'dense' ? shape.inputs : shape.channels / shape.groups;

/** How many elements differ: quicker than toEqual where there are a million. */
const differing = (a: Int32Array, b: Int32Array): number =>
  a.reduce((count, value, i) => count + (value === b[i] ? 0 : 1), 0);

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
      const { input, weights: wide, bias } = sample(shape);
      const narrow = wide.map((word) => word >> 16);
      const elements = randomRing(random, 64 * 12);
      for (const weights of [wide, packWeights(shape, narrow)]) {
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
          const plain = conv2d(shape, input, weights, undefined, { from, to });
          const added = elements.subarray(64 * from, 64 * to).map((b, i) => b + plain[i]!);
          expect(conv2d(shape, input, weights, elements, { from, to })).toEqual(added);
          expect(part).toEqual(whole.slice(64 * from, 64 * to));
        }
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
    // The same in pairs of channels.
    const packed = packWeights(picture, new Int32Array(90).fill(1));
    expect(packed).toBeInstanceOf(Int16Array);
    expect(differing(conv2d(picture, ones, packed), counts)).toBe(0);
    // Input rows that none of the phases holds: 4 rows in 5.
    const sparse = conv({
      ...{ channels: 1, outChannels: 1, height: 5 * size, width: size },
      ...{ kernel: [1, 1], stride: [5, 5], pads: [0, 0, 0, 0] },
    });
    const image = new Int32Array(5 * size * size).map((_, i) => i);
    const picked = conv2d(sparse, image, Int32Array.of(1));
    const columns = Math.ceil(size / 5);
    const expected = picked.map((_, i) => 5 * size * Math.floor(i / columns) + 5 * (i % columns));
    expect(differing(picked, expected)).toBe(0);
    // 9.4 MB of weights.
    const wide = conv({ channels: 512, outChannels: 512, height: 2, width: 2 });
    const { input, weights } = sample(wide);
    const out = conv2d(wide, input, weights);
    const part = { ...wide, outChannels: 1 };
    for (const m of [0, 255, 511]) {
      const own = weights.slice(4608 * m, 4608 * (m + 1));
      expect(out.slice(4 * m, 4 * m + 4)).toEqual(reference.referenceLinear(part, input, own));
    }
  });
});

describe('weights packed in pairs of 16 bits', () => {
  const pointwise = (channels: number, width: number): ConvShape =>
    conv({ channels, outChannels: 2, kernel: [1, 1], pads: [0, 0, 0, 0], height: 1, width });

  it('multiply exactly at the boundary values of both factors', () => {
    const values = [
      -0x80000000, 0x7fffffff, 0x7fff8000, 0x80008000, 0x80007fff, -0x8000, 0x7fff, 0x8000, -1, 0,
    ].map((value) => value | 0);
    const factors = [-0x8000, -0x7fff, 0x7fff, -1, 0, 1];
    // Every pair of values beside each other, under every pair of weights.
    const pairs = values.flatMap((a) => values.map((b) => [a, b] as const));
    const width = pairs.length;
    const input = Int32Array.from([...pairs.map(([a]) => a), ...pairs.map(([, b]) => b)]);
    for (const p of factors) {
      for (const q of factors) {
        const weights = Int32Array.of(p, q, q, p);
        const packed = packWeights(pointwise(2, width), weights);
        expect(packed).toBeInstanceOf(Int16Array);
        const expected = Int32Array.from(
          [p, q].flatMap((first) =>
            pairs.map(([a, b]) => Math.imul(first, a) + Math.imul(p + q - first, b)),
          ),
        );
        expect(conv2d(pointwise(2, width), input, packed)).toEqual(expected);
      }
    }
    // Long sums of the largest products, in both kinds of layers.
    const many = 301;
    const x = new Int32Array(many).fill(0x80008000 | 0);
    const shape: DenseShape = { kind: 'dense', inputs: many, outputs: 2 };
    const lowest = new Int32Array(2 * many).fill(-0x8000);
    const sum = reference.referenceLinear(shape, x, lowest);
    expect(dense(shape, x, packWeights(shape, lowest))).toEqual(sum);
    expect(conv2d(pointwise(many, 1), x, packWeights(pointwise(many, 1), lowest))).toEqual(sum);
  });

  it.each([0x8000, -0x8001, 0x7fffffff, -0x80000000])(
    'leave a kernel with a weight %i as it is, and the result exact',
    (wide) => {
      for (const shape of [conv({}), { kind: 'dense', inputs: 9, outputs: 5 } as const]) {
        const { input, weights, bias } = sample(shape);
        const almost = weights.map((word) => word >> 16);
        almost[almost.length - 1] = wide;
        const packed = packWeights(shape, almost);
        expect(packed).toBe(almost);
        const expected = reference.referenceLinear(shape, input, almost, bias);
        expect(linear(shape, input, packed, bias)).toEqual(expected);
      }
    },
  );

  it('lie as promised: pairs of channels, an odd one with 0; rows of a matrix in sixteens', () => {
    const shape = conv({ outChannels: 2, kernel: [1, 2] });
    const weights = Int32Array.from({ length: 12 }, (_, i) => i + 1);
    expect([...packWeights(shape, weights)]).toEqual([
      ...[1, 3, 2, 4, 5, 0, 6, 0],
      ...[7, 9, 8, 10, 11, 0, 12, 0],
    ]);
    const matrix: DenseShape = { kind: 'dense', inputs: 3, outputs: 2 };
    expect([...packWeights(matrix, weights.subarray(0, 6))]).toEqual([
      ...[1, 2, 3, ...new Array<number>(13).fill(0)],
      ...[4, 5, 6, ...new Array<number>(13).fill(0)],
    ]);
  });

  it('are refused for a shape they do not fit', () => {
    const { input, weights } = sample(conv({}));
    expect(() => packWeights(conv({}), weights.subarray(1))).toThrow('weights: expected');
    const packed = packWeights(conv({}), new Int32Array(weights.length));
    const shorter = packed.subarray(1) as Int16Array;
    expect(() => linear(conv({}), input, shorter)).toThrow('weights: expected');
    const depthwise = conv({ groups: 3, outChannels: 6 });
    expect(packWeights(depthwise, new Int32Array(54))).toBeInstanceOf(Int32Array);
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
