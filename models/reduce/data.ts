/** Labelled images from files, as people have them: IDX, CIFAR-10, or the folder of a whole data set. Node only. */

import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readWholeSync } from '../../protocol/files.ts';
import { readText } from '../files.ts';
import type { Triple } from '../graph/graph.ts';
import { readPixels } from '../samples/index.ts';
import { concatenate, type LabelledImages, readCifar10, readMnist, slice } from '../train/index.ts';
import { type Grouping, groupsOfLabels, majorityAndMinority, readGroups } from './groups.ts';

/**
 * Reads labelled images: an IDX file of images with its labels' file beside it, a file of CIFAR-10 records, or a folder
 * that holds the training part of CIFAR-10 or of a set like MNIST, under the names they are published with.
 * @throws Error with one sentence when there are none, they have no labels, or another shape than the network takes
 */
export async function readLabelled(
  paths: readonly string[],
  shape: Triple,
): Promise<LabelledImages> {
  const sets = await Promise.all(paths.map((path) => readOne(path, shape)));
  return concatenate(sets);
}

async function readOne(path: string, shape: Triple): Promise<LabelledImages> {
  if (existsSync(path) && statSync(path).isDirectory()) {
    const set = existsSync(join(path, 'train-images-idx3-ubyte.gz'))
      ? readMnist(path, 'train')
      : readCifar10(path, 'train');
    if (`${set.shape}` === `${shape}`) return set;
    const is = set.shape.join('x');
    throw new RangeError(`${path} has images of ${is}, the network takes ${shape.join('x')}`);
  }
  const { pixels, labels } = await readPixels(path, shape);
  if (labels === undefined) throw new RangeError(`${path} has no labels to learn from`);
  if (labels instanceof Uint16Array) {
    throw new RangeError(`${path} has labels above 255, reduction takes labels from 0 to 255`);
  }
  return { shape, pixels, labels };
}

/** Share of the images that are held out, where there are no others to validate on. LOCAL */
const HELD_OUT = 0.1;

/** Splits off the last tenth of a set. */
export function holdOut(set: LabelledImages): {
  training: LabelledImages;
  validation: LabelledImages;
} {
  const count = set.labels.length - Math.max(1, Math.round(HELD_OUT * set.labels.length));
  return { training: slice(set, 0, count), validation: slice(set, count, set.labels.length) };
}

/**
 * Reads a teacher's scores, [image][class] as 32-bit floats.
 * @throws RangeError in one sentence when the file has another size
 */
export function readScores(path: string, images: number, classes: number): Float32Array {
  const { buffer, byteOffset, byteLength } = readWholeSync(path);
  if (byteLength !== 4 * images * classes) {
    throw new RangeError(
      `${path} has ${byteLength} bytes; scores of ${images} training images in ${classes} classes are ${4 * images * classes}`,
    );
  }
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer);
}

/** What {@link readGrouping} takes, for the help of commands. */
export const GROUPINGS = 'classes, halves (of the classes), or a CSV file of index,group lines';

/**
 * Groups of a set by what a command was told.
 * @param names of the classes
 * @throws RangeError in one sentence when there are not as many, or a CSV file is not what it should be
 */
export function readGrouping(
  what: string,
  set: LabelledImages,
  classes: number,
  names: readonly string[] = Array.from({ length: classes }, (_, k) => `class ${k}`),
): Grouping {
  if (names.length !== classes) {
    throw new RangeError(`there are names for ${names.length} classes, the network has ${classes}`);
  }
  if (what === 'classes') return groupsOfLabels(set, names);
  if (what === 'halves') return majorityAndMinority(set, classes);
  return readGroups(readText(what), set.labels.length, what);
}

/**
 * A warning when a network does no better on labelled images than the one class that most of them have, three standard errors
 * allowed; undefined when it does.
 * @param accuracy - share that it names rightly, 0..1
 */
export function chanceWarning(accuracy: number, labels: Uint8Array): string | undefined {
  const counts = new Float64Array(256);
  for (const label of labels) counts[label]!++;
  const guess = Math.max(...counts) / labels.length;
  if (accuracy > guess + 3 * Math.sqrt((guess * (1 - guess)) / labels.length)) return undefined;
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  return (
    `warning: the network names ${percent(accuracy)} of the images rightly, and one class for all would be right for ${percent(guess)}: ` +
    'are mean and std, the order of channels and the order of classes those of its training?'
  );
}
