/** Images from PNG files as the pixels a program takes. Node only. */

import { basename } from 'node:path';
import { readWhole } from '../protocol/files.ts';
import { checkSize, pixelsOfRgba } from '../protocol/program/pixels.ts';
import { decodePng, readPngHeader } from '../protocol/program/png.ts';
import type { Shape } from '../protocol/ring/shape.ts';

/** A PNG file that has been read, not yet decoded. */
export interface Image {
  /** The file's name without its folder, for messages. */
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
}

/** Bytes of the largest file that is read. LOCAL */
const MOST_BYTES = 2 ** 26;

/**
 * Reads a PNG file and its size.
 * @throws Error with one sentence when there is no such file, it is larger than 64 MiB, or it is not a PNG
 */
export async function readImage(path: string): Promise<Image> {
  const bytes = await readWhole(path, { most: MOST_BYTES });
  const name = basename(path);
  const header = readPngHeader(bytes);
  if (header === undefined) throw new RangeError(`${name} is not a PNG file`);
  return { name, width: header.width, height: header.height, bytes };
}

/**
 * The pixels of an image, 0..1, [channels, height, width]. A program of one channel gets the luminance (Rec. 601), one of
 * three red, green and blue; transparency is ignored.
 * @throws RangeError with one sentence when the image is damaged or is not of the size that the program takes
 */
export function pixelsOf(image: Image, shape: Shape): Float32Array {
  checkSize(image, shape, image.name);
  return pixelsOfRgba(decodePng(image.bytes, image.name), shape, image.name);
}
