/** Operations on tensors of Z_2^32 that a party does on its share alone; the oracle does them on the value. */

import type { Shape } from './shape.ts';
import { sizeOf } from './shape.ts';

/** a + b mod 2^32. */
export function add(a: Int32Array, b: Int32Array): Int32Array {
  sameLength(a, b);
  const sum = a.slice();
  addInto(sum, b);
  return sum;
}

/** a - b mod 2^32. */
export function subtract(a: Int32Array, b: Int32Array): Int32Array {
  sameLength(a, b);
  return a.map((x, i) => x - b[i]!);
}

/** Adds b to a in place. */
export function addInto(a: Int32Array, b: Int32Array): void {
  sameLength(a, b);
  for (let i = 0; i < a.length; i++) a[i]! += b[i]!;
}

/** a * 2^bits mod 2^32, `bits` in 0 .. 31: more fractional bits for the same value. */
export function shiftLeft(a: Int32Array, bits: number): Int32Array {
  if (!Number.isInteger(bits) || bits < 0 || bits > 31) {
    throw new RangeError(`shift: expected 0 to 31 bits, got ${bits}`);
  }
  // A loop, not map(): that calls a function for each of up to a million elements.
  const shifted = new Int32Array(a.length);
  for (let i = 0; i < shifted.length; i++) shifted[i] = a[i]! << bits;
  return shifted;
}

/** Shape of {@link sumPool}'s result: windows that lie wholly inside the input. */
export function sumPoolOutput(
  [channels, height, width]: Shape,
  kernel: readonly [number, number],
  stride: readonly [number, number],
): Shape {
  return [
    channels,
    Math.floor((height - kernel[0]) / stride[0]) + 1,
    Math.floor((width - kernel[1]) / stride[1]) + 1,
  ];
}

/** Sums over windows of each channel, mod 2^32, without padding. */
export function sumPool(
  input: Int32Array,
  shape: Shape,
  kernel: readonly [number, number],
  stride: readonly [number, number],
): Int32Array {
  if (input.length !== sizeOf(shape)) {
    throw new RangeError(`pooling: expected ${sizeOf(shape)} elements, got ${input.length}`);
  }
  const [channels, height, width] = shape;
  const [, outHeight, outWidth] = sumPoolOutput(shape, kernel, stride);
  if (outHeight < 1 || outWidth < 1) throw new RangeError('pooling: window larger than its input');
  const out = new Int32Array(channels * outHeight * outWidth);
  let to = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++, to++) {
        const corner = (c * height + y * stride[0]) * width + x * stride[1];
        let sum = 0;
        for (let ky = 0; ky < kernel[0]; ky++) {
          for (let kx = 0; kx < kernel[1]; kx++) sum = (sum + input[corner + ky * width + kx]!) | 0;
        }
        out[to] = sum;
      }
    }
  }
  return out;
}

function sameLength(a: Int32Array, b: Int32Array): void {
  if (a.length !== b.length) {
    throw new RangeError(`tensors: ${a.length} and ${b.length} elements do not match`);
  }
}
