/** From numbers to ring elements and from ring elements to numbers: the two ends of a program, at the client. */

import { sizeOf } from '../ring/shape.ts';
import type { Program } from './program.ts';
import { decodeResults } from './results.ts';

/**
 * The fixed-point input of a program: (number - mean) / std, rounded to the input's fractional bits.
 * @param numbers [channels, height, width]: pixels 0..1, or what the program takes in their place
 * @throws RangeError when there are too many or too few, or one is not a pixel in 0..1, or of other numbers one is not
 *   finite or beyond the program's limit (calibrated ranges hold for such numbers alone)
 */
export function encodeInput(program: Program, numbers: Float32Array): Int32Array {
  const { shape, fractionBits, mean, std, limit } = program.input;
  const size = sizeOf(shape);
  if (numbers.length !== size) {
    const what = limit === undefined ? 'pixels' : 'numbers';
    throw new RangeError(
      `the input of "${program.name}" has ${size} ${what} (${shape.join('x')}), got ${numbers.length}`,
    );
  }
  const scale = 2 ** fractionBits;
  const plane = shape[1] * shape[2];
  const out = new Int32Array(size);
  for (let i = 0; i < size; i++) {
    const number = numbers[i] as number;
    if (limit === undefined && !(number >= 0 && number <= 1)) {
      throw new RangeError(`pixel ${i} is not a number in 0..1: divide bytes by 255 first`);
    }
    const channel = Math.floor(i / plane);
    const normal = (number - (mean[channel] as number)) / (std[channel] as number);
    if (limit !== undefined && !(Math.abs(normal) <= limit)) {
      throw new RangeError(
        `number ${i} of the input is ${number}, normalised ${normal}: it must lie within +-${limit}`,
      );
    }
    out[i] = Math.round(normal * scale);
  }
  return out;
}

/** All numbers of a program's results, one result after the other; of a program that reveals the label alone its index. */
export function decodeLogits(program: Program, raw: Int32Array): Float32Array {
  return Float32Array.from(decodeResults(program, raw).flatMap(({ data }) => [...data]));
}
