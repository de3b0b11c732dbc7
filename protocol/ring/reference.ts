/** Linear layers in plain TypeScript: slow, obvious, and what the tests hold the kernels to. */

import { type LinearShape, linearOutput } from './shape.ts';

/** A linear layer in Z_2^32, straight from its definition. */
export function referenceLinear(
  shape: LinearShape,
  input: Int32Array,
  weights: Int32Array,
  bias?: Int32Array,
): Int32Array {
  const [outChannels, outHeight, outWidth] = linearOutput(shape);
  const out = new Int32Array(outChannels * outHeight * outWidth);
  const whole = bias?.length === out.length;
  if (shape.kind === 'dense') {
    const n = shape.inputs;
    return out.map((_, m) => {
      let sum = bias?.[m] ?? 0;
      for (let i = 0; i < n; i++) sum = (sum + Math.imul(weights[m * n + i]!, input[i]!)) | 0;
      return sum;
    });
  }
  const { height, width, kernel, stride, pads } = shape;
  const channels = shape.channels / shape.groups;
  for (let m = 0; m < outChannels; m++) {
    const group = Math.floor((m * shape.groups) / outChannels);
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++) {
        let sum = bias?.[whole ? (m * outHeight + y) * outWidth + x : m] ?? 0;
        for (let c = 0; c < channels; c++) {
          for (let ky = 0; ky < kernel[0]; ky++) {
            for (let kx = 0; kx < kernel[1]; kx++) {
              const row = y * stride[0] + ky - pads[0];
              const column = x * stride[1] + kx - pads[1];
              if (row < 0 || row >= height || column < 0 || column >= width) continue;
              const pixel = input[((group * channels + c) * height + row) * width + column]!;
              const weight = weights[((m * channels + c) * kernel[0] + ky) * kernel[1] + kx]!;
              sum = (sum + Math.imul(weight, pixel)) | 0;
            }
          }
        }
        out[(m * outHeight + y) * outWidth + x] = sum;
      }
    }
  }
  return out;
}
