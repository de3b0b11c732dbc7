/** The published sets of images, MNIST's like and CIFAR's: where they are looked for, and how their folders are read. */

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readWholeSync } from '../../../protocol/files.ts';
import { ModelError } from '../../errors.ts';
import { readCifar } from './cifar.ts';
import { readIdx } from './idx.ts';
import { concatenate, type LabelledImages } from './images.ts';

/**
 * The folder of a data set: below SOTTO_DATA when that is set, otherwise `../shared/data` beside the repository.
 * @returns undefined when there is none
 */
export function dataFolder(name: string): string | undefined {
  const here = fileURLToPath(new URL('.', import.meta.url));
  // From the sources the repository's root is three levels up, from the built files four.
  const candidates = process.env['SOTTO_DATA']
    ? [process.env['SOTTO_DATA']]
    : ['../../../..', '../../../../..'].map((up) => resolve(here, up, 'shared/data'));
  return candidates.map((folder) => join(folder, name)).find((folder) => existsSync(folder));
}

/** What to tell whoever misses a data set. */
export function missing(name: string): string {
  return `no ${name} data: set SOTTO_DATA to a folder that holds ${name}/`;
}

/** The names that a file of a published set may have, and whether it is compressed. */
const endings = (stem: string): string[] => ['', '.br', '.gz'].map((ending) => stem + ending);

/**
 * The first file of some names that a folder holds, compressed or not.
 * @throws ModelError `file` when it holds none
 */
function find(folder: string, ...names: readonly string[]): string {
  const all = names.flatMap(endings);
  const name = all.find((candidate) => existsSync(join(folder, candidate)));
  if (name !== undefined) return join(folder, name);
  throw new ModelError('file', `${folder} holds no ${all.join(' or ')}`);
}

/**
 * Reads one half of an MNIST-like set (28x28 gray images in IDX files).
 * @param part 'train' (60,000 images) or 't10k' (10,000)
 * @throws ModelError `data` when the files do not belong together, `file` when one is missing or is not what it should be.
 */
export function readMnist(folder: string, part: 'train' | 't10k'): LabelledImages {
  const read = (kind: string) => {
    const path = find(folder, `${part}-${kind}-ubyte`);
    return readIdx(readWholeSync(path), path);
  };
  const images = read('images-idx3');
  const labels = read('labels-idx1');
  const [count, height, width] = images.shape;
  if (images.shape.length !== 3 || labels.shape.length !== 1 || labels.shape[0] !== count) {
    throw new ModelError(
      'data',
      `${folder}: ${part} has images [${images.shape}] but labels [${labels.shape}]`,
    );
  }
  return { shape: [1, height!, width!], pixels: images.data, labels: labels.data };
}

/**
 * Reads CIFAR-10: the 50,000 training images, or the test images there are (test_batch, or its first 1,000).
 * @param part 'train' (data_batch_1..5) or 'test'
 * @throws ModelError `file` when a file is missing or is not what it should be.
 */
export function readCifar10(folder: string, part: 'train' | 'test'): LabelledImages {
  const names =
    part === 'train'
      ? [1, 2, 3, 4, 5].map((n) => [`data_batch_${n}.bin`])
      : [['test_batch.bin', 'test_batch_first1000.bin']];
  const paths = names.map((candidates) => find(folder, ...candidates));
  return concatenate(paths.map((path) => readCifar(readWholeSync(path), path)));
}

/**
 * Reads the training images of a set like MNIST, of CIFAR-10 or of CIFAR-100 from a folder that has their files, under the
 * names they are published with.
 * @returns undefined when the folder has none of them
 * @throws ModelError `file` when one is missing beside others, or is not what it should be
 */
export function readPublished(folder: string): LabelledImages | undefined {
  const has = (name: string) => endings(name).some((file) => existsSync(join(folder, file)));
  if (has('train-images-idx3-ubyte')) return readMnist(folder, 'train');
  if (has('data_batch_1.bin')) return readCifar10(folder, 'train');
  if (!has('train.bin')) return undefined;
  const path = find(folder, 'train.bin');
  return readCifar(readWholeSync(path), path);
}
