/** Images of bytes, and what brings them to the size that a network takes. */

import { type Raster, resizeRaster } from '../../protocol/program/resize.ts';
import { ModelError } from '../errors.ts';

/** How images of another size become what a network takes. */
export interface Fit {
  /** The shorter side is made so long, and the other one in proportion. */
  readonly resize?: number | undefined;
  /** The middle is cut out. */
  readonly crop?: boolean | undefined;
}

/**
 * Makes an image fit.
 * @param name what the image is called in a message
 * @throws ModelError `data` when it has another size than is wanted, with what would help
 */
export function fitted(
  image: Raster,
  height: number,
  width: number,
  { resize, crop = false }: Fit,
  name: string,
): Raster {
  const resized = resize === undefined ? image : resizeShorter(image, resize);
  if (resized.height === height && resized.width === width) return resized;
  const is = `${resized.width}x${resized.height}`;
  const wanted = `${width}x${height}`;
  const shorter = Math.min(height, width);
  if (crop) {
    if (resized.height >= height && resized.width >= width) return cropped(resized, height, width);
    throw new ModelError(
      'data',
      `${name} is ${is} where ${wanted} are to be cut out: use --resize ${Math.max(height, width)}`,
    );
  }
  throw new ModelError(
    'data',
    resize === undefined
      ? `${name} is ${is}, the network takes ${wanted}: use --resize ${shorter} --crop, or what its training did`
      : `${name} is ${is} after resizing, the network takes ${wanted}: use --crop`,
  );
}

/** The middle of an image, as torchvision's CenterCrop finds it. */
function cropped({ channels, data, ...from }: Raster, height: number, width: number): Raster {
  const top = halfToEven(from.height - height);
  const left = halfToEven(from.width - width);
  const out = new Uint8Array(height * width * channels);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * from.width + left) * channels;
    out.set(data.subarray(start, start + width * channels), y * width * channels);
  }
  return { width, height, channels, data: out };
}

/** Half of a whole number, rounded as Python does. */
function halfToEven(n: number): number {
  const half = Math.floor(n / 2);
  return n % 2 === 1 && half % 2 === 1 ? half + 1 : half;
}

/** The shorter side as long as told, the other one in proportion, rounded down as torchvision does. */
function resizeShorter(image: Raster, shorter: number): Raster {
  const { width, height } = image;
  const longer = Math.floor((shorter * Math.max(width, height)) / Math.min(width, height));
  return width <= height
    ? resizeRaster(image, longer, shorter)
    : resizeRaster(image, shorter, longer);
}

/** The planes [channel][row][column] of an image. */
export function planesOf({ width, height, channels, data }: Raster): Uint8Array {
  const out = new Uint8Array(data.length);
  const plane = width * height;
  for (let c = 0, o = 0; c < channels; c++) {
    for (let i = 0; i < plane; i++, o++) out[o] = data[i * channels + c]!;
  }
  return out;
}
