/**
 * From images in memory to the pixels a program takes: 0..1, [channels, height, width]. What the network then does to
 * them, its mean and deviation, stands in the program and is done inside `infer`.
 */

import type { Shape } from '../ring/shape.ts';

/** Red, green, blue and opacity of each pixel, 0..255, row by row: what an ImageData is. */
export interface RgbaImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** An image as other libraries hold it: floats in 0..1, or bytes in 0..255. */
export interface PixelTensor {
  readonly data: Float32Array | Uint8Array | Uint8ClampedArray;
  /** [channels, height, width], or with a batch of 1 before them. */
  readonly dims: readonly number[];
}

/**
 * The pixels of an image. A program of one channel gets the luminance (Rec. 601), one of three red, green and blue;
 * opacity is ignored.
 * @param name - what the image is called in a message
 * @throws RangeError when the image is not of the size that the program takes, or the program takes no image
 */
export function pixelsOfRgba(
  { width, height, data }: RgbaImage,
  shape: Shape,
  name = 'the image',
): Float32Array {
  checkSize({ width, height }, shape, name);
  const [channels] = shape;
  const plane = width * height;
  const pixels = new Float32Array(channels * plane);
  for (let i = 0; i < plane; i++) {
    const red = data[4 * i]!;
    const green = data[4 * i + 1]!;
    const blue = data[4 * i + 2]!;
    if (channels === 1) {
      // In whole numbers, so that a gray pixel stays exactly what it is.
      pixels[i] = (299 * red + 587 * green + 114 * blue) / 255_000;
    } else {
      pixels[i] = red / 255;
      pixels[plane + i] = green / 255;
      pixels[2 * plane + i] = blue / 255;
    }
  }
  return pixels;
}

/** @throws RangeError with one sentence when no image, or none of that size, is what the program takes */
export function checkSize(
  image: { readonly width: number; readonly height: number },
  [channels, height, width]: Shape,
  name: string,
): void {
  if (channels !== 1 && channels !== 3) {
    throw new RangeError(`the model takes ${channels} channels, an image has 1 or 3`);
  }
  if (image.width !== width || image.height !== height) {
    throw new RangeError(
      `${name} is ${image.width}x${image.height}, the model takes ${width}x${height}`,
    );
  }
}

/**
 * The pixels of a tensor, which must have the program's shape.
 * @throws RangeError when it has another
 */
export function pixelsOfTensor({ data, dims }: PixelTensor, shape: Shape): Float32Array {
  const own = dims.length === 4 && dims[0] === 1 ? dims.slice(1) : dims;
  const size = shape[0] * shape[1] * shape[2];
  if (own.join() !== shape.join() || data.length !== size) {
    throw new RangeError(
      `a tensor of ${dims.join('x')} with ${data.length} elements: the model takes ${shape.join('x')}`,
    );
  }
  return Float32Array.from(data, data instanceof Float32Array ? (v) => v : (v) => v / 255);
}
