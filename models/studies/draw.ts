/**
 * Draws what the zoo and the studies came to, as SVG pictures beside the results.
 *
 *   npm run build && node dist/models/studies/draw.js
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '../../protocol/files.ts';
import { drawChart } from '../reduce/chart.ts';
import { disparity, type Line, PUBLISHED_CIFAR10 } from '../reduce/index.ts';
import { networksOf, recipeOf } from '../zoo/recipes.ts';
import type { FairnessResult } from './fairness.ts';
import type { MethodResult } from './methods.ts';
import type { PublishedResult } from './published.ts';
import { FOLDER, readStudy } from './results.ts';

/** Accuracy on validation images of a family of the zoo and a method, the dense network too, in float, by rising ReLUs. */
function zooLine(family: string, method: string, name: string): Line {
  const points = networksOf(recipeOf(family))
    .map((network) => JSON.parse(readFileSync(join('models', 'zoo', `${network}.json`), 'utf8')))
    .filter((card) => [undefined, method].includes(card.method))
    .map((card) => [card.relus, card.validationAccuracy] as const);
  return { name, points: points.sort((a, b) => a[0] - b[0]) };
}

/** The mean of all seeds at each budget, and how far they lie apart. */
function methodLine(results: readonly MethodResult[], method: string): Line {
  const budgets = [...new Set(results.map(({ relus }) => relus))].sort((a, b) => a - b);
  const rows = budgets.flatMap((relus) => {
    const found = results
      .filter((result) => result.relus === relus && [method, 'dense'].includes(result.method))
      .map(({ accuracy }) => accuracy);
    if (found.length === 0) return [];
    const mean = found.reduce((sum, accuracy) => sum + accuracy, 0) / found.length;
    return [{ relus, mean, least: Math.min(...found), most: Math.max(...found) }];
  });
  return {
    name: method,
    points: rows.map(({ relus, mean }) => [relus, mean]),
    spread: rows.map(({ relus, least, most }) => [relus, least, most]),
  };
}

/** What a minority's classes lost beyond what all lost. */
function minorityLine(results: readonly FairnessResult[], tuned: string, name: string): Line {
  const dense = results.find((result) => result.tuned === 'dense')!;
  const points = results
    .filter((result) => result.tuned === tuned)
    .map(({ relus, table }) => [relus, disparity(dense.table, table)[1]!] as const);
  return { name, points: points.sort((a, b) => a[0] - b[0]) };
}

const write = (name: string, svg: string) => replaceFile(join(FOLDER, `${name}.svg`), svg);

await write(
  'accuracy',
  drawChart({
    title: 'CIFAR-10: accuracy against the ReLU budget, ours on 5,000 validation images',
    axis: 'accuracy',
    lines: [
      zooLine('air', 'channels', 'air, channels to lines'),
      zooLine('cifar10', 'channels', 'cifar10, channels to lines'),
      zooLine('cifar10', 'autorep', 'cifar10, elements to squares by AutoReP'),
      ...PUBLISHED_CIFAR10.map((line) => ({ ...line, name: `${line.name}, other networks` })),
    ],
  }),
);

const rows = readStudy<PublishedResult>('published');
/** From the published network down to what a method came to here. */
const rowOf = (method: string, name: string): Line => ({
  name,
  points: rows
    .filter((row) => [method, 'dense'].includes(row.method))
    .map(({ relus, accuracy }) => [relus, accuracy] as const)
    .sort((a, b) => a[0] - b[0]),
});
await write(
  'published',
  drawChart({
    title: 'CIFAR-10: published rows, and five epochs on a third of the images',
    axis: 'accuracy',
    lines: [
      rowOf('deepreduce', 'DeepReDuce here, ResNet-20'),
      rowOf('snl', 'SNL here, ResNet-20'),
      ...PUBLISHED_CIFAR10.filter(({ name }) => !name.startsWith('AutoReP')).map((line) => ({
        ...line,
        name: `${line.name}, larger networks`,
      })),
    ],
  }),
);

const methods = readStudy<MethodResult>('methods');
await write(
  'methods',
  drawChart({
    title: 'Fashion-MNIST at 5 % of the ReLUs: three seeds a method',
    axis: 'accuracy',
    lines: ['autorep', 'channels', 'snl', 'random'].map((method) => methodLine(methods, method)),
  }),
);

const fairness = readStudy<FairnessResult>('fairness');
await write(
  'disparity',
  drawChart({
    title: 'Fashion-MNIST, half of the classes at 10 %: their extra drop',
    axis: 'disparity',
    lines: [
      minorityLine(fairness, 'before', 'before mitigation'),
      minorityLine(fairness, 'after', 'after mitigation'),
    ],
  }),
);
