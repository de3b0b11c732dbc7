/** Images from PNG files as the pixels a program takes. Node only. */

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { PNG } from 'pngjs';
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
export function pixelsOf(image: Image, [channels, height, width]: Shape): Float32Array {
  const { name } = image;
  if (channels !== 1 && channels !== 3) {
    throw new RangeError(`the model takes ${channels} channels, an image has 1 or 3`);
  }
  if (image.width !== width || image.height !== height) {
    throw new RangeError(
      `${name} is ${image.width}x${image.height}, the model takes ${width}x${height}`,
    );
  }
  let rgba: Uint8Array;
  try {
    rgba = PNG.sync.read(Buffer.from(image.bytes)).data;
  } catch (cause) {
    throw new RangeError(`${name} is a damaged PNG file`, { cause });
  }
  const plane = width * height;
  const pixels = new Float32Array(channels * plane);
  for (let i = 0; i < plane; i++) {
    const red = rgba[4 * i]!;
    const green = rgba[4 * i + 1]!;
    const blue = rgba[4 * i + 2]!;
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
