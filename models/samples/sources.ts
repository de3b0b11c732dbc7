/** Where samples come from: what a path holds, one sample at a time. Node only. */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readWholeSync } from '../../protocol/files.ts';
import type { Raster } from '../../protocol/program/resize.ts';
import { ModelError } from '../errors.ts';
import { readText } from '../files.ts';
import { readCifar } from '../train/data/cifar.ts';
import { readIdx } from '../train/data/idx.ts';
import type { LabelledImages } from '../train/data/images.ts';
import { readPublished } from '../train/data/published.ts';
import { type NumberArray, readNpy, readNpz } from './numpy.ts';
import { isPicture, readPicture } from './picture.ts';
import { readTable } from './table.ts';

type Shape = readonly [number, number, number];

/** One sample: a picture, or numbers of some shape. */
export type Sample =
  | { readonly kind: 'picture'; readonly raster: Raster }
  | {
      readonly kind: 'numbers';
      /** Without the axis of samples. */
      readonly shape: readonly number[];
      readonly type: string;
      readonly data: Float64Array | Uint8Array;
    };

/** Some samples. */
export interface SampleSource {
  readonly count: number;
  readonly labels?: ArrayLike<number> | undefined;
  name(index: number): string;
  sample(index: number): Sample;
}

/** Files that hold samples in a folder. */
const isSample = (name: string) => isPicture(name) || /\.npy$/i.test(name);

/**
 * What a path holds: the training images of MNIST, CIFAR-10 or CIFAR-100 in a folder of their files; a folder of pictures and
 * `.npy` files; a folder of such folders, one for each class; or one file.
 * @throws ModelError `data` or `file` with one sentence that names the path
 */
export function sampleSources(path: string, shape: Shape): SampleSource[] {
  if (!existsSync(path) || !statSync(path).isDirectory()) return [fileSource(path, shape)];
  const published = readPublished(path);
  if (published !== undefined) return [labelledSource(path, published, shape)];
  const entries = readdirSync(path, { withFileTypes: true })
    .filter(({ name }) => !name.startsWith('.'))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const inFolder = (folder: string, names: readonly string[]) =>
    names.filter(isSample).map((name) => join(folder, name));
  const own = inFolder(
    path,
    entries.map(({ name }) => name),
  );
  if (own.length > 0) return [filesSource(own, shape)];
  const classes = entries.filter((entry) => statSync(join(path, entry.name)).isDirectory());
  const sources = classes.flatMap(({ name }, label) => {
    const files = inFolder(join(path, name), readdirSync(join(path, name)).sort());
    if (files.length === 0) return [];
    const source = filesSource(files, shape);
    return [{ ...source, labels: new Array<number>(source.count).fill(label) }];
  });
  if (sources.length > 0) return sources;
  throw new ModelError(
    'data',
    `${path} has no PNG, JPEG or .npy files, nor folders of them, one for each class`,
  );
}

/** Files with one sample each. */
function filesSource(paths: readonly string[], shape: Shape): SampleSource {
  return {
    count: paths.length,
    name: (i) => paths[i]!,
    sample(i) {
      const path = paths[i]!;
      if (isPicture(path)) return pictureOf(path, shape);
      const array = readNpy(readWholeSync(path), path);
      const size = sizeOf(array.shape);
      // One axis of samples is allowed where there is one.
      const { shape: own } = array;
      const single = own.length > 1 && own[0] === 1 && own.length > shape.length;
      return {
        ...{ kind: 'numbers', shape: single ? own.slice(1) : own, type: array.type },
        data: array.numbers(0, size),
      };
    },
  };
}

function pictureOf(path: string, [channels]: Shape): Sample {
  if (channels !== 1 && channels !== 3) {
    throw new ModelError('data', `the network takes ${channels} channels, ${path} has 1 or 3`);
  }
  return { kind: 'picture', raster: readPicture(path, channels) };
}

/** The samples of one file. */
function fileSource(path: string, shape: Shape): SampleSource {
  if (isPicture(path)) return filesSource([path], shape);
  if (/\.npy$/i.test(path)) {
    const source = arraySource(path, readNpy(readWholeSync(path), path), shape);
    return { ...source, labels: labelsBeside(path, source.count, readNpy) };
  }
  if (/\.npz$/i.test(path)) return archiveSource(path, shape);
  if (/\.(csv|tsv)$/i.test(path)) {
    const { array, labels } = readTable(readText(path), path);
    return { ...arraySource(path, array, shape), labels };
  }
  const bytes = readWholeSync(path);
  if (/\.bin(\.br|\.gz)?$/.test(path)) return labelledSource(path, readCifar(bytes, path), shape);
  const { shape: own, data } = readIdx(bytes, path);
  if (own.length !== 3) {
    throw new ModelError('data', `${path} has numbers of shape ${own.join('x')}, not images`);
  }
  const idx = (file: Uint8Array, name: string) => {
    const labels = readIdx(file, name);
    return bytesArray(labels.shape, labels.data);
  };
  return {
    ...arraySource(path, bytesArray(own, data), shape),
    labels: labelsBeside(path, own[0]!, idx),
  };
}

function labelledSource(path: string, set: LabelledImages, shape: Shape): SampleSource {
  const { pixels, labels, shape: own } = set;
  return { ...arraySource(path, bytesArray([labels.length, ...own], pixels), shape), labels };
}

/** The labels in the file beside that is called `labels` where this one is called `images`, if there is one. */
function labelsBeside(
  path: string,
  count: number,
  read: (file: Uint8Array, name: string) => NumberArray,
): ArrayLike<number> | undefined {
  const name = basename(path).replace('images-idx3', 'labels-idx1').replace('images', 'labels');
  const beside = join(dirname(path), name);
  if (name === basename(path) || !existsSync(beside)) return undefined;
  const { shape, numbers } = read(readWholeSync(beside), beside);
  if (shape.length === 1 && shape[0] === count) return numbers(0, count);
  throw new ModelError(
    'data',
    `${beside} should have one label for each of the ${count} images of ${path}, but has numbers of shape ${shape.join('x')}`,
  );
}

function bytesArray(shape: readonly number[], data: Uint8Array): NumberArray {
  return {
    shape,
    type: 'uint8',
    numbers: (from, to) => data.subarray(from, to),
  };
}

/** Samples along the first axis of an array, or an array that is one sample itself. */
function arraySource(path: string, array: NumberArray, shape: Shape): SampleSource {
  const { type } = array;
  const alone = isOne(array.shape, shape);
  const own = alone ? array.shape : array.shape.slice(1);
  const size = sizeOf(own);
  const count = alone ? 1 : array.shape[0]!;
  return {
    count,
    name: (i) => (count === 1 ? path : `${path}, sample ${i}`),
    sample: (i) => ({
      ...{ kind: 'numbers', shape: own, type },
      data: array.numbers(i * size, (i + 1) * size),
    }),
  };
}

/** Whether an array is one sample: it has the network's shape, or is a picture of another size. */
function isOne(own: readonly number[], shape: Shape): boolean {
  if (own.length < 2 || sameWithoutOnes(own, shape) || isLast(own, shape)) return true;
  const [channels] = shape;
  const picture = own.length === 3 && (own[0] === channels || own[2] === channels);
  return picture && channels > 1 && sizeOf(own.slice(1)) !== sizeOf(shape);
}

/** Whether two shapes hold the same numbers in the same order, such as [4] and [4, 1, 1]. */
export function sameWithoutOnes(one: readonly number[], other: readonly number[]): boolean {
  const long = (shape: readonly number[]) => `${shape.filter((n) => n !== 1)}`;
  return long(one) === long(other) || (one.length === 1 && one[0] === sizeOf(other));
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** Whether a shape is the network's with the channels at the end. */
export function isLast(own: readonly number[], [c, h, w]: Shape): boolean {
  return `${own}` === `${[h, w, c]}`;
}

/** The one array of an archive that fits the network, and the one that holds classes. */
function archiveSource(path: string, shape: Shape): SampleSource {
  const arrays = readNpz(readWholeSync(path), path);
  const several = [...arrays].filter(([, { shape: own }]) => own.length > 1);
  const fits = several.filter(([, array]) => sizeOf(array.shape.slice(1)) === sizeOf(shape));
  const [found, ...others] = fits.length > 0 ? fits : several;
  if (found === undefined || others.length > 0) {
    const list = [...arrays].map(([name, { shape: own }]) => `${name} of ${own.join('x')}`);
    throw new ModelError(
      'data',
      `${path} should have one array of samples, but has ${list.join(', ') || 'none'}`,
    );
  }
  const source = arraySource(path, found[1], shape);
  const labels = [...arrays.values()].filter(
    (array) =>
      array.shape.length === 1 && array.shape[0] === source.count && !/float/.test(array.type),
  );
  return {
    ...source,
    ...(labels.length === 1 ? { labels: labels[0]!.numbers(0, source.count) } : {}),
  };
}
