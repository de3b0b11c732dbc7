/** Images from PNG files as the pixels a program takes. Node only. */

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { PNG } from 'pngjs';
import { checkSize, pixelsOfRgba } from '../protocol/program/pixels.ts';
import type { Shape } from '../protocol/ring/shape.ts';

/** A PNG file that has been read, not yet decoded. */
export interface Image {
  /** The file's name without its folder, for messages. */
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
}

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** Signature, then the chunk IHDR: length, type, width, height. */
const HEADER_BYTES = 24;

/**
 * Reads a PNG file and its size.
 * @throws Error with one sentence when there is no such file or it is not a PNG
 */
export async function readImage(path: string): Promise<Image> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const what = missing ? 'there is no such file' : 'it cannot be read';
    throw new Error(`${path}: ${what}`, { cause });
  }
  const name = basename(path);
  if (bytes.length < HEADER_BYTES || !SIGNATURE.every((byte, i) => bytes[i] === byte)) {
    throw new RangeError(`${name} is not a PNG file`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { name, width: view.getUint32(16), height: view.getUint32(20), bytes };
}

/**
 * The pixels of an image, 0..1, [channels, height, width]. A program of one channel gets the luminance (Rec. 601), one of
 * three red, green and blue; transparency is ignored.
 * @throws RangeError with one sentence when the image is damaged or is not of the size that the program takes
 */
export function pixelsOf(image: Image, shape: Shape): Float32Array {
  const { name, width, height } = image;
  checkSize(image, shape, name);
  let data: Uint8Array;
  try {
    data = PNG.sync.read(Buffer.from(image.bytes)).data;
  } catch (cause) {
    throw new RangeError(`${name} is a damaged PNG file`, { cause });
  }
  return pixelsOfRgba({ width, height, data }, shape, name);
}
