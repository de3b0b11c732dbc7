import fc from 'fast-check';
import type { Random } from '../../../protocol/random/index.ts';
import { deriveSeed, Prg, randomRing } from '../../../protocol/random/index.ts';
import type { ConvShape, LinearShape } from '../../../protocol/ring/shape.ts';
import {
  linearInputSize,
  linearOutput,
  sizeOf,
  weightCount,
} from '../../../protocol/ring/shape.ts';

/** A fixed seed named by its purpose. */
export function testSeed(name: string, ...indices: number[]): Uint8Array {
  return deriveSeed(new Uint8Array(16), `linear test ${name}`, ...indices);
}

/** W r mod 2^32 from the definition of the layer. */
export function plainLinear(
  shape: LinearShape,
  weights: Int32Array,
  input: Int32Array,
): Int32Array {
  const out = new Int32Array(sizeOf(linearOutput(shape)));
  if (shape.kind === 'dense') {
    for (let m = 0; m < shape.outputs; m++) {
      for (let i = 0; i < shape.inputs; i++) {
        out[m]! += Math.imul(weights[m * shape.inputs + i]!, input[i]!);
      }
    }
    return out;
  }
  const { channels, height, width, outChannels, groups, stride, pads } = shape;
  const [kh, kw] = shape.kernel;
  const [, outHeight, outWidth] = linearOutput(shape);
  const perGroup = channels / groups;
  for (let m = 0; m < outChannels; m++) {
    const group = Math.floor(m / (outChannels / groups));
    for (let i = 0; i < outHeight; i++) {
      for (let j = 0; j < outWidth; j++) {
        let sum = 0;
        for (let c = 0; c < perGroup; c++) {
          for (let ki = 0; ki < kh; ki++) {
            for (let kj = 0; kj < kw; kj++) {
              const y = i * stride[0] + ki - pads[0];
              const x = j * stride[1] + kj - pads[1];
              if (y < 0 || y >= height || x < 0 || x >= width) continue;
              const at = ((group * perGroup + c) * height + y) * width + x;
              sum += Math.imul(weights[((m * perGroup + c) * kh + ki) * kw + kj]!, input[at]!);
              sum |= 0;
            }
          }
        }
        out[(m * outHeight + i) * outWidth + j] = sum;
      }
    }
  }
  return out;
}

/** `count` uniform integers in [-bound, bound] (modulo bias does not matter here). */
export function randomWeights(random: Random, count: number, bound: number): Int32Array {
  return randomRing(random, count).map((x) => (Math.abs(x % (2 * bound + 1)) - bound) | 0);
}

/** Uniform input and weights of a layer. */
export function randomLayer(
  shape: LinearShape,
  bound: number,
  seed: Uint8Array,
): { input: Int32Array; weights: Int32Array } {
  const random = new Prg(seed);
  return {
    input: randomRing(random, linearInputSize(shape)),
    weights: randomWeights(random, weightCount(shape), bound),
  };
}

/** [0, count) in steps. */
export function ranges(count: number, step: number): [number, number][] {
  const out: [number, number][] = [];
  for (let from = 0; from < count; from += step) out.push([from, Math.min(count, from + step)]);
  return out;
}

/** Any convolution with an output, small. */
export const convolutions = fc
  .record({
    groups: fc.constantFrom(1, 1, 1, 2, 3),
    perGroup: fc.integer({ min: 1, max: 3 }),
    outPerGroup: fc.integer({ min: 1, max: 3 }),
    height: fc.integer({ min: 1, max: 9 }),
    width: fc.integer({ min: 1, max: 9 }),
    kernel: fc.tuple(fc.constantFrom(1, 2, 3, 5), fc.constantFrom(1, 2, 3, 5)),
    stride: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
    pads: fc.tuple(
      fc.integer({ min: 0, max: 4 }),
      fc.integer({ min: 0, max: 4 }),
      fc.integer({ min: 0, max: 4 }),
      fc.integer({ min: 0, max: 4 }),
    ),
  })
  .map(
    ({ groups, perGroup, outPerGroup, ...rest }): ConvShape => ({
      kind: 'conv',
      channels: groups * perGroup,
      outChannels: groups * outPerGroup,
      groups,
      ...rest,
    }),
  )
  .filter((shape) => linearOutput(shape).every((size) => size > 0));
