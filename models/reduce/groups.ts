/** Groups of images, and how a network does on each. */

import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/index.ts';
import { Stream } from '../random.ts';
import {
  crossEntropy,
  type LabelledImages,
  Losses,
  Network,
  scoresOf,
  type TrainingPool,
} from '../train/index.ts';

/** A group for each image of a set. */
export interface Grouping {
  /** Group of each image, counted from 0. */
  readonly of: Uint8Array;
  readonly names: readonly string[];
}

/**
 * Are there images in every group?
 * @throws ModelError `data` in one sentence when one has none, or images and groups do not belong together
 */
export function checkGroups({ of, names }: Grouping, images: number): void {
  if (of.length !== images) {
    throw new ModelError('data', `there are groups for ${of.length} images, but ${images} images`);
  }
  const counts = new Uint32Array(256);
  for (const g of of) counts[g]!++;
  const strange = of.findIndex((g) => g >= names.length);
  if (strange >= 0) {
    throw new ModelError(
      'data',
      `image ${strange} is in group ${of[strange]}, but there are ${names.length}`,
    );
  }
  const empty = names.findIndex((_, g) => counts[g] === 0);
  if (empty >= 0) throw new ModelError('data', `group '${names[empty]}' has no images`);
}

/** Every class is a group. */
export function groupsOfLabels({ labels }: LabelledImages, names: readonly string[]): Grouping {
  return { of: labels.slice(), names };
}

/** Two groups: the classes that an imbalanced split keeps whole, and those that it thins. */
export function majorityAndMinority({ labels }: LabelledImages, classes: number): Grouping {
  const of = labels.map((label) => (label < Math.ceil(classes / 2) ? 0 : 1));
  return { of, names: ['majority', 'minority'] };
}

/**
 * The imbalanced split of the field: all images of the first half of the classes, a share of each class of the second.
 * @param share 0..1 of the images of a class, at least one
 */
export function imbalance(
  set: LabelledImages,
  {
    classes,
    share,
    seed,
  }: { readonly classes: number; readonly share: number; readonly seed: number },
): LabelledImages {
  if (!(share > 0 && share <= 1)) {
    throw new ModelError(
      'argument',
      `a share of the minority's images is above 0 and at most 1, not ${share}`,
    );
  }
  const size = set.pixels.length / set.labels.length;
  const left = new Uint32Array(classes);
  for (const label of set.labels) left[label]!++;
  for (let k = Math.ceil(classes / 2); k < classes; k++) {
    left[k] = Math.max(1, Math.round(share * left[k]!));
  }
  const kept = new Uint8Array(set.labels.length);
  for (const i of new Stream(seed).permutation(set.labels.length)) {
    const label = set.labels[i]!;
    if (left[label] === 0) continue;
    left[label]!--;
    kept[i] = 1;
  }
  const chosen = Array.from(kept.keys()).filter((i) => kept[i] === 1);
  const pixels = new Uint8Array(chosen.length * size);
  chosen.forEach((from, to) => {
    pixels.set(set.pixels.subarray(from * size, (from + 1) * size), to * size);
  });
  return { shape: set.shape, pixels, labels: Uint8Array.from(chosen, (i) => set.labels[i]!) };
}

/**
 * Groups from a table: a line `index,group` for every image, in any order, groups by name; a first line of titles may
 * stand before them.
 * @param name of the file, for error messages
 * @throws ModelError `file` in one sentence that names the line; `data` when an image has no group
 */
export function readGroups(text: string, images: number, name: string): Grouping {
  const names: string[] = [];
  const of = new Uint8Array(images);
  const known = new Uint8Array(images);
  text.split(/\r?\n/).forEach((line, n) => {
    if (line.trim() === '') return;
    const fail = (what: string): never => {
      throw new ModelError('file', `${name}, line ${n + 1}: ${what}`);
    };
    const cells = line.split(',').map((cell) => cell.trim());
    const [index = '', group = ''] = cells;
    if (n === 0 && !/^\d+$/.test(index)) return;
    if (cells.length !== 2 || group === '') fail(`a line should be index,group, not "${line}"`);
    if (!/^\d{1,9}$/.test(index) || Number(index) >= images) {
      fail(`"${index}" is no image: there are images 0 to ${images - 1}`);
    }
    if (known[Number(index)]) fail(`image ${index} has a group already`);
    if (!names.includes(group)) names.push(group);
    if (names.length > 256) fail('there are more than 256 groups');
    known[Number(index)] = 1;
    of[Number(index)] = names.indexOf(group);
  });
  const missing = known.indexOf(0);
  if (missing >= 0) throw new ModelError('data', `${name}: image ${missing} has no group`);
  return { of, names };
}

/** How a network does on some images. */
export interface GroupResult {
  readonly images: number;
  /** 0..1; an image whose scores are no numbers is not right. */
  readonly accuracy: number;
  /** Mean cross-entropy of the images with scores. */
  readonly loss: number;
  /** Images with a score that is no number: they are in no mean. */
  readonly lost: number;
}

export interface GroupTable {
  readonly overall: GroupResult;
  /** In the order of the names. */
  readonly groups: readonly GroupResult[];
}

/** Accuracy and loss by group, from scores [image][class]. */
export function groupTable(
  scores: Float32Array,
  labels: Uint8Array,
  grouping: Grouping,
): GroupTable {
  checkGroups(grouping, labels.length);
  const classes = scores.length / labels.length;
  const losses = new Losses(labels.length, classes);
  crossEntropy(scores, labels, losses);
  const sums = [...grouping.names, 'overall'].map(() => ({
    images: 0,
    right: 0,
    loss: 0,
    lost: 0,
  }));
  for (let i = 0; i < labels.length; i++) {
    const row = scores.subarray(i * classes, (i + 1) * classes);
    const lost = !row.every(Number.isFinite);
    const right = !lost && row.indexOf(Math.max(...row)) === labels[i];
    for (const sum of [sums[grouping.of[i]!]!, sums.at(-1)!]) {
      sum.images++;
      if (right) sum.right++;
      if (lost) sum.lost++;
      else sum.loss += losses.values[i]!;
    }
  }
  const results = sums.map(({ images, right, loss, lost }) => ({
    images,
    accuracy: right / images,
    loss: loss / (images - lost),
    lost,
  }));
  return { overall: results.at(-1)!, groups: results.slice(0, -1) };
}

/**
 * What removing ReLUs did to each group beyond what it did to all: the drop of its accuracy minus the overall drop.
 * Positive means worse off.
 */
export function disparity(before: GroupTable, after: GroupTable): number[] {
  const overall = before.overall.accuracy - after.overall.accuracy;
  return before.groups.map(({ accuracy }, g) => accuracy - after.groups[g]!.accuracy - overall);
}

/** Runs a network on a set and tells its groups apart. */
export async function auditGroups(
  graph: Graph,
  set: LabelledImages,
  grouping: Grouping,
  {
    batch,
    pool,
    signal,
  }: {
    readonly batch: number;
    readonly pool?: TrainingPool | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<GroupTable> {
  const scores = await scoresOf(new Network(graph, batch), set, { pool, signal });
  return groupTable(scores, set.labels, grouping);
}
