/** PNG and JPEG files. Node only. */

import { decode as decodeJpeg } from 'jpeg-js';
import { readWholeSync } from '../../protocol/files.ts';
import type { RgbaImage } from '../../protocol/program/pixels.ts';
import { decodePng, readPngHeader } from '../../protocol/program/png.ts';
import type { Raster } from '../../protocol/program/resize.ts';
import { ModelError } from '../errors.ts';

/** What is decoded at most: bytes of a file, millions of pixels, scans of a JPEG file, and the memory that one takes, in MB. LOCAL */
const MOST = { bytes: 2 ** 28, megapixels: 64, scans: 64, megabytes: 2048 };

const MANY = `${MOST.megapixels} million pixels`;
const HEAVY = `${MOST.megabytes} MB when it is decoded`;

/** Whether a file is a picture by its name. */
export function isPicture(name: string): boolean {
  return /\.(png|jpe?g)$/i.test(name);
}

/**
 * Reads a picture.
 * @param channels 1 for the luminance (Rec. 601), 3 for red, green and blue; opacity is ignored
 * @throws ModelError `file` with one sentence when the file is damaged or too large
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
function decode(path: string): RgbaImage {
  const bytes = readWholeSync(path, { most: MOST.bytes });
  if (/\.png$/i.test(path)) {
    const { width, height } = readPngHeader(bytes) ?? { width: 0, height: 0 };
    if (width * height > MOST.megapixels * 1e6) throw tooLarge(path, MANY);
    try {
      return decodePng(bytes, path);
    } catch (cause) {
      throw new ModelError('file', (cause as Error).message, { cause });
    }
  }
  // Each scan passes over all pixels, however few bytes it has.
  if (scansOf(bytes) > MOST.scans) {
    throw tooLarge(path, `${MOST.scans} scans`);
  }
  try {
    return decodeJpeg(bytes, {
      useTArray: true,
      maxResolutionInMP: MOST.megapixels,
      maxMemoryUsageInMB: MOST.megabytes,
    });
  } catch (cause) {
    const { message } = cause as Error;
    if (message.startsWith('maxResolutionInMP')) throw tooLarge(path, MANY);
    if (message.startsWith('maxMemoryUsageInMB')) throw tooLarge(path, HEAVY);
    throw new ModelError('file', `${path} is a damaged JPEG file`, { cause });
  }
}

/** How often a JPEG file begins a scan; its pixels never contain that marker. */
function scansOf(bytes: Uint8Array): number {
  let scans = 0;
  for (let at = bytes.indexOf(0xff); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    if (bytes[at + 1] === 0xda) scans++;
  }
  return scans;
}

function tooLarge(path: string, most: string): ModelError {
  return new ModelError(
    'file',
    `${path} has more than ${most}: make a smaller picture of it first`,
  );
}
