/** PNG and JPEG files. Node only. */

import { decode as decodeJpeg } from 'jpeg-js';
import { PNG } from 'pngjs';
import { readWholeSync } from '../../protocol/files.ts';
import type { Raster } from './raster.ts';

/** Largest JPEG file that is read, millions of pixels, and the memory it may take. LOCAL */
const MOST_MEGAPIXELS = 200;
const MOST_MEGABYTES = 4096;

/** Whether a file is a picture by its name. */
export function isPicture(name: string): boolean {
  return /\.(png|jpe?g)$/i.test(name);
}

/**
 * Reads a picture.
 * @param channels 1 for the luminance (Rec. 601), 3 for red, green and blue; opacity is ignored
 * @throws RangeError with one sentence when the file is damaged
 */
export function readPicture(path: string, channels: number): Raster {
  const { width, height, data } = decode(path);
  const pixels = width * height;
  const out = new Uint8Array(pixels * channels);
  for (let i = 0; i < pixels; i++) {
    const [red, green, blue] = [data[4 * i]!, data[4 * i + 1]!, data[4 * i + 2]!];
    // In whole numbers, so that a gray pixel stays exactly what it is.
    if (channels === 1) out[i] = Math.round((299 * red + 587 * green + 114 * blue) / 1000);
    else out.set([red, green, blue], 3 * i);
  }
  return { width, height, channels, data: out };
}

/** Red, green, blue and opacity of each pixel. */
function decode(path: string): { width: number; height: number; data: Uint8Array } {
  const bytes = readWholeSync(path);
  const isPng = /\.png$/i.test(path);
  try {
    if (isPng) return PNG.sync.read(Buffer.from(bytes));
    return decodeJpeg(bytes, {
      useTArray: true,
      maxResolutionInMP: MOST_MEGAPIXELS,
      maxMemoryUsageInMB: MOST_MEGABYTES,
    });
  } catch (cause) {
    throw new RangeError(`${path} is not a sound ${isPng ? 'PNG' : 'JPEG'} file`, { cause });
  }
}
