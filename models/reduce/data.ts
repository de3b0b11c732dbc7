/** Labelled images to train on and to judge networks by, what is held out of them, and their groups. Node only. */

import { readWholeSync } from '../../protocol/files.ts';
import { ModelError } from '../errors.ts';
import { readText } from '../files.ts';
import type { Triple } from '../graph/graph.ts';
import { type Fit, readPixels } from '../samples/index.ts';
import { concatenate, type LabelledImages, slice } from '../train/index.ts';
import { type Grouping, groupsOfLabels, majorityAndMinority, readGroups } from './groups.ts';

/** What {@link readLabelled} takes, for the help of commands. */
export const LABELLED =
  'folders of one folder for each class, .npz, CSV, IDX and CIFAR files, or the folder of MNIST or CIFAR';

/**
 * Reads labelled images from what samples/ reads: folders of one folder for each class, arrays, tables, IDX and CIFAR files, or
 * the training images of a published set from a folder of its files.
 * @param fit how images of another size are made to fit; default: not at all
 * @throws ModelError with one sentence: `data` when there are none, they have no labels, or another shape than the network takes;
 *   `file` when one is damaged
 */
export async function readLabelled(
  paths: readonly string[],
  shape: Triple,
  fit: Fit = {},
): Promise<LabelledImages> {
  const sets = await Promise.all(paths.map((path) => readOne(path, shape, fit)));
  return concatenate(sets);
}

async function readOne(path: string, shape: Triple, fit: Fit): Promise<LabelledImages> {
  const { pixels, labels } = await readPixels(path, shape, { ...fit, evenly: true });
  if (labels === undefined) {
    throw new ModelError(
      'data',
      `${path} has no labels to learn from: they should be a folder for each class, a column named label, an array of whole numbers beside that of images, or a file named labels beside one named images`,
    );
  }
  if (labels instanceof Uint16Array) {
    throw new ModelError(
      'data',
      `${path} has the label ${Math.max(...labels)}: training takes 256 classes at most, labels from 0 to 255`,
    );
  }
  return { shape, pixels, labels };
}

/** Share of the images that are held out, where there are no others to validate on. LOCAL */
const HELD_OUT = 0.1;

/** Images of a class from which on some should be among those that are held out: chance leaves out one in e^10. LOCAL */
const SEEN = 10 / HELD_OUT;

/**
 * Splits off the last tenth of a set.
 * @throws ModelError `data` in one sentence when it has none of a class that the others have many of
 */
export function holdOut(set: LabelledImages): {
  training: LabelledImages;
  validation: LabelledImages;
} {
  const count = set.labels.length - Math.max(1, Math.round(HELD_OUT * set.labels.length));
  const [training, validation] = [slice(set, 0, count), slice(set, count, set.labels.length)];
  const counts = countsOf(training.labels);
  const missing = counts.findIndex((n, k) => n >= SEEN && !validation.labels.includes(k));
  if (missing < 0) return { training, validation };
  throw new ModelError(
    'data',
    `the last tenth of the images, which is held out, has none of the ${counts[missing]} of class ${missing}: mix the images, or name others with --validation`,
  );
}

/** Images of each class. */
function countsOf(labels: Uint8Array): Uint32Array {
  const counts = new Uint32Array(256);
  for (const label of labels) counts[label]!++;
  return counts;
}

/**
 * Reads a teacher's scores, [image][class] as 32-bit floats.
 * @throws ModelError `data` in one sentence when the file has another size
 */
export function readScores(path: string, images: number, classes: number): Float32Array {
  const { buffer, byteOffset, byteLength } = readWholeSync(path);
  if (byteLength !== 4 * images * classes) {
    throw new ModelError(
      'data',
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
 * @throws ModelError in one sentence: `data` when there are not as many, `file` when a CSV file is not what it should be
 */
export function readGrouping(
  what: string,
  set: LabelledImages,
  classes: number,
  names: readonly string[] = Array.from({ length: classes }, (_, k) => `class ${k}`),
): Grouping {
  if (names.length !== classes) {
    throw new ModelError(
      'data',
      `there are names for ${names.length} classes, the network has ${classes}`,
    );
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
  const guess = Math.max(...countsOf(labels)) / labels.length;
  if (accuracy > guess + 3 * Math.sqrt((guess * (1 - guess)) / labels.length)) return undefined;
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  return (
    `warning: the network names ${percent(accuracy)} of the images rightly, and one class for all would be right for ${percent(guess)}: ` +
    'are mean and std, the order of channels and the order of classes those of its training?'
  );
}
