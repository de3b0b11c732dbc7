/** Images from PNG files, and from memory, as the pixels a program takes. Node only. */

import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readWhole } from '../protocol/files.ts';
import {
  checkSize,
  type PixelTensor,
  pixelsOfRgba,
  pixelsOfTensor,
  type RgbaImage,
} from '../protocol/program/pixels.ts';
import { decodePng, readPngHeader } from '../protocol/program/png.ts';
import type { Shape } from '../protocol/ring/shape.ts';
import { fitRgba } from './fit.ts';
import type { Fit, ImageSource } from './images.ts';

/** A PNG file that has been read, not yet decoded. */
export interface PngImage {
  /** The file's name without its folder, for messages. */
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
}

/** Bytes of the largest file that is read. LOCAL */
const MOST_BYTES = 2 ** 26;

/** Pixels of the largest image that is made to fit, which takes some eight bytes for each. LOCAL */
const MOST_PIXELS = 2 ** 25;

/**
 * Reads a PNG file and its size.
 * @param source - the path of a file, a URL, or a file or blob
 * @throws Error with one sentence when there is no such file, it is larger than 64 MiB, or it is not a PNG
 */
export async function readImage(source: string | URL | Blob): Promise<PngImage> {
  const { name, bytes } = await readSource(source);
  const header = readPngHeader(bytes);
  if (header === undefined) throw new RangeError(`${name} is not a PNG file`);
  return { name, width: header.width, height: header.height, bytes };
}

async function readSource(
  source: string | URL | Blob,
): Promise<{ name: string; bytes: Uint8Array }> {
  if (source instanceof Blob) {
    const { name = 'the image' } = source as Partial<File>;
    return { name, bytes: await readStream(source.stream(), name) };
  }
  const url = source instanceof URL || /^https?:/.test(source) ? new URL(source) : undefined;
  if (url === undefined || url.protocol === 'file:') {
    const path = url === undefined ? String(source) : fileURLToPath(url);
    return { name: basename(path), bytes: await readWhole(path, { most: MOST_BYTES }) };
  }
  const response = await fetch(url).catch((cause) => {
    throw new Error(`${url} cannot be reached`, { cause });
  });
  if (!response.ok) throw new RangeError(`${url} answers ${response.status}`);
  return { name: basename(url.pathname), bytes: await readStream(response.body ?? [], url.href) };
}

async function readStream(
  stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name: string,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of stream) {
    length += piece.length;
    if (length > MOST_BYTES) throw new RangeError(`${name} has more than 64 MiB`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/**
 * The pixels of an image, 0..1, [channels, height, width]. A program of one channel gets the luminance (Rec. 601), one of
 * three red, green and blue; opacity is ignored.
 * @param fit - for images of another size; without it they are refused
 * @throws RangeError with one sentence when the image is damaged or is not of the size that the program takes
 * @throws TypeError when it is none that Node can look into
 */
export function pixelsOf(image: ImageSource, shape: Shape, fit?: Fit): Float32Array {
  const held = image as Partial<PngImage & RgbaImage & PixelTensor>;
  if (held.bytes !== undefined) {
    const { name, bytes } = image as PngImage;
    if (fit === undefined) checkSize(image as PngImage, shape, name);
    else if (held.width! * held.height! > MOST_PIXELS) {
      throw new RangeError(`${name} is ${held.width}x${held.height}: more than 32 Mpixel`);
    }
    return fitting(decodePng(bytes, name), shape, fit, name);
  }
  if (held.dims !== undefined) return pixelsOfTensor(image as PixelTensor, shape);
  if (held.data !== undefined) return fitting(image as RgbaImage, shape, fit);
  throw new TypeError('image: expected what readImage gave, RGBA pixels or a tensor');
}

function fitting(image: RgbaImage, shape: Shape, fit: Fit | undefined, name?: string) {
  const [, height, width] = shape;
  const exact = image.height === height && image.width === width;
  const fitted = fit === undefined || exact ? image : fitRgba(image, height, width, fit);
  return pixelsOfRgba(fitted, shape, name);
}
