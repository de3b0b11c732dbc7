/** Images as callers have them, on every platform. */

import {
  type PixelTensor,
  pixelsOfRgba,
  pixelsOfTensor,
  type RgbaImage,
} from '../protocol/program/pixels.ts';
import type { Shape } from '../protocol/ring/shape.ts';

/** An image that has been read, or an element of a page that shows one: an image, a canvas, a video, a bitmap. */
export interface Image {
  readonly width: number;
  readonly height: number;
}

/** A `VideoFrame`. */
export interface Frame {
  readonly displayWidth: number;
  readonly displayHeight: number;
}

/** Whatever holds an image: in Node what {@link readImage} gave, or numbers. Elements and videos must have loaded. */
export type ImageSource = Image | Frame | RgbaImage | PixelTensor;

/** An image that is still to be read: a file or blob, a URL, in Node the path of a file. Or one that has been. */
export type ImageArgument = string | URL | Blob | ImageSource;

/** How an image of another size is made to fit: in the middle and cut, in the middle with black around, stretched. */
export type Fit = 'cover' | 'contain' | 'fill';

/** The pixels of an image, 0..1, as a program takes them. */
export type PixelReader = (image: ImageArgument, shape: Shape, fit: Fit) => Promise<Float32Array>;

/** Reads pixels with what a platform has for it. */
export function pixelReader<Read extends ImageSource>(
  readImage: (source: string | URL | Blob) => Promise<Read>,
  pixelsOf: (image: ImageSource, shape: Shape, fit: Fit) => Float32Array,
): PixelReader {
  return async (image, shape, fit) => {
    const file = typeof image === 'string' || image instanceof URL || image instanceof Blob;
    return pixelsOf(file ? await readImage(image) : image, shape, fit);
  };
}

/** Pixels of what every platform can look into. */
export const readRaw: PixelReader = async (image, shape) => {
  if (typeof image === 'object' && 'dims' in image) {
    return pixelsOfTensor(image as PixelTensor, shape);
  }
  if (typeof image === 'object' && 'data' in image) return pixelsOfRgba(image as RgbaImage, shape);
  throw new TypeError('image: expected RGBA pixels or a tensor');
};
