/** From pixels to ring elements and from ring elements to logits: the two ends of a program, at the client. */

import { sizeOf } from '../ring/shape.ts';
import type { Program, Step } from './program.ts';

/**
 * The fixed-point input of a program: (pixel - mean) / std, rounded to the input's fractional bits.
 * @param pixels 0..1, [channels, height, width]
 * @throws RangeError when there are too many or too few pixels, or one is not a number in 0..1 (calibrated ranges hold
 *   for such pixels alone)
 */
export function encodeInput(program: Program, pixels: Float32Array): Int32Array {
  const { shape, fractionBits, mean, std } = program.input;
  const size = sizeOf(shape);
  if (pixels.length !== size) {
    throw new RangeError(
      `the input of "${program.name}" has ${size} pixels (${shape.join('x')}), got ${pixels.length}`,
    );
  }
  const scale = 2 ** fractionBits;
  const plane = shape[1] * shape[2];
  const out = new Int32Array(size);
  for (let i = 0; i < size; i++) {
    const pixel = pixels[i] as number;
    if (!(pixel >= 0 && pixel <= 1)) {
      throw new RangeError(`pixel ${i} is not a number in 0..1: divide bytes by 255 first`);
    }
    const channel = Math.floor(i / plane);
    out[i] = Math.round(((pixel - (mean[channel] as number)) / (std[channel] as number)) * scale);
  }
  return out;
}

/** Logits of a program as numbers: ring elements divided by the output's scale. */
export function decodeLogits(program: Program, logits: Int32Array): Float32Array {
  const { fractionBits } = program.steps.at(-1) as Step;
  return Float32Array.from(logits, (logit) => logit / 2 ** fractionBits);
}
