/** Images for calibration and scoring, from what people have them in: PNG files, IDX files, CIFAR-10's files. Node only. */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { pixelsOfRgba, type RgbaImage } from '../../protocol/program/pixels.ts';
import { readWhole } from '../files.ts';
import { readCifar } from '../train/data/cifar.ts';
import { readIdx } from '../train/data/idx.ts';

/** Images of one shape: pixels 0..255, [image][C][H][W]. */
export interface Images {
  readonly count: number;
  readonly pixels: Uint8Array;
  /** The class of each, where the source says. */
  readonly labels?: Uint8Array;
}

type Shape = readonly [number, number, number];

/**
 * Reads the first `most` images of a folder of PNG files (in the order of their names), an IDX file (with the labels of
 * the file beside it, as MNIST names them) or a CIFAR-10 file (`.bin`, `.bin.br`).
 * @throws Error with one sentence when there is no image, or they are not of the shape a network takes
 */
export async function readImages(path: string, shape: Shape, most: number): Promise<Images> {
  const found =
    existsSync(path) && statSync(path).isDirectory()
      ? readFolder(path, shape, most)
      : readSet(path);
  if (`${found.shape}` !== `${shape}`) {
    const is = found.shape.join('x');
    throw new RangeError(`${path} has images of ${is}, the network takes ${shape.join('x')}`);
  }
  const size = shape[0] * shape[1] * shape[2];
  const count = Math.min(most, found.pixels.length / size);
  if (count === 0) throw new RangeError(`${path} has no images`);
  const { labels } = found;
  return {
    count,
    pixels: found.pixels.subarray(0, count * size),
    ...(labels === undefined ? {} : { labels: labels.subarray(0, count) }),
  };
}

interface Found {
  readonly shape: readonly number[];
  readonly pixels: Uint8Array;
  readonly labels?: Uint8Array;
}

function readFolder(path: string, shape: Shape, most: number): Found {
  const names = readdirSync(path).filter((name) => name.toLowerCase().endsWith('.png'));
  if (names.length === 0) throw new RangeError(`${path} has no PNG files`);
  const chosen = names.sort().slice(0, most);
  const size = shape[0] * shape[1] * shape[2];
  const pixels = new Uint8Array(chosen.length * size);
  for (const [i, name] of chosen.entries()) {
    const image = pixelsOfRgba(readPng(join(path, name)), shape, name);
    for (let j = 0; j < size; j++) pixels[i * size + j] = Math.round(255 * image[j]!);
  }
  return { shape, pixels };
}

function readPng(path: string): RgbaImage {
  const bytes = readWhole(path);
  try {
    return PNG.sync.read(Buffer.from(bytes));
  } catch (cause) {
    throw new RangeError(`${path} is not a sound PNG file`, { cause });
  }
}

function readSet(path: string): Found {
  const bytes = readWhole(path);
  if (/\.bin(\.br)?$/.test(path)) return readCifar(bytes, path);
  const { shape, data } = readIdx(bytes, path);
  const [, height, width] = shape;
  if (shape.length !== 3) {
    throw new RangeError(`${path} has numbers of shape ${shape.join('x')}, not images`);
  }
  const beside = path.replace('images-idx3', 'labels-idx1');
  const labels = beside !== path && existsSync(beside) ? readIdx(readWhole(beside), beside) : null;
  return {
    shape: [1, height!, width!],
    pixels: data,
    ...(labels !== null && labels.data.length === shape[0] ? { labels: labels.data } : {}),
  };
}
