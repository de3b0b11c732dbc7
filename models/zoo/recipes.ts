/** How the dense networks of the zoo are built and trained, as data: what their cards say. */

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/index.ts';
import { AIR_FROZEN, airNet, compactResNet } from '../networks/index.ts';
import type { Method } from '../reduce/auto.ts';
import { holdOut } from '../reduce/data.ts';
import {
  type Augmentation,
  CIFAR10_LABELS,
  dataFolder,
  type LabelledImages,
  Lookahead,
  type Optimiser,
  readCifar10,
  readMnist,
  type Schedule,
  Sgd,
  slice,
  triangle,
  whiteningFilters,
} from '../train/index.ts';

/** Images in three parts: choices are made on those to validate, never on test images. */
export interface Sets {
  readonly training: LabelledImages;
  readonly validation: LabelledImages;
  readonly test: LabelledImages;
}

/** How `sotto reduce` makes a network of fewer ReLUs from the dense one. */
export interface Reduction {
  readonly budget: number;
  readonly method: Method;
  /** Default: 'crop'. */
  readonly augment?: 'cut';
  readonly searchEpochs: number;
  readonly tuneEpochs: number;
  /** With norms as inference uses them; default: none. */
  readonly settleEpochs?: number;
  /** How hard the search pushes at first, as a factor; default: 1. */
  readonly pressure?: number;
  /** Highest learning rate; default: the methods' own. */
  readonly rate?: number;
  /** As in {@link ZooRecipe}; default: as the dense network was trained. */
  readonly fused?: boolean;
}

/** A dense network of the zoo, and the reduced ones that come from it. */
export interface ZooRecipe {
  readonly name: string;
  readonly about: string;
  readonly labels: readonly string[];
  /** Folder of its data, see `dataFolder`, and what the data is called. */
  readonly data: string;
  readonly dataName: string;
  readonly seed: number;
  readonly epochs: number;
  /** Images of a shard; a step has two shards. */
  readonly batch: number;
  readonly rate: number;
  readonly augmentation: Augmentation;
  /** Default: SGD with momentum 0.9 and decay 5e-4. */
  readonly optimiser?: () => Optimiser;
  /** Of the learning rate; default: after a short rise half a cosine down to 0. */
  readonly schedule?: (peak: number) => Schedule;
  /** Share of every label that all classes get alike. */
  readonly smoothing?: number;
  /** Batches that the statistics of norms are measured on after every epoch; default: as training leaves them. */
  readonly measured?: number;
  /** Tensors that keep the values that `build` gave them. */
  readonly frozen?: readonly string[];
  /** Whether products and sums are fused in training (SOTTO_TRAIN_FMA=1); default: not. */
  readonly fused?: boolean;
  /** A published network whose scores are learnt from beside the labels. */
  readonly teacher?: {
    readonly depth: number;
    readonly share: number;
    readonly temperature: number;
  };
  readonly reduced: readonly Reduction[];
  readonly build: (seed: number, training: LabelledImages) => Graph;
  readonly read: (folder: string) => { training: LabelledImages; test: LabelledImages };
}

export const RECIPES: Readonly<Record<string, ZooRecipe>> = {
  fashion: {
    name: 'fashion',
    fused: true,
    about: 'Articles of clothing, 28x28 gray, light on black',
    labels: [
      'T-shirt',
      'trouser',
      'pullover',
      'dress',
      'coat',
      'sandal',
      'shirt',
      'sneaker',
      'bag',
      'ankle boot',
    ],
    data: 'fashion-mnist',
    dataName: 'Fashion-MNIST',
    seed: 20261124,
    epochs: 36,
    batch: 64,
    rate: 0.1,
    augmentation: { kind: 'cropFlip', pad: 2 },
    reduced: [
      ...[7296, 3648].map((budget) => ({
        method: 'channels' as const,
        ...{ budget, searchEpochs: 3, tuneEpochs: 12 },
      })),
      ...[1459, 729].map((budget) => ({
        method: 'autorep' as const,
        ...{ budget, searchEpochs: 5, tuneEpochs: 7 },
      })),
    ],
    build: (seed) =>
      compactResNet(
        [16, 32, 64],
        { kernel: 5, stride: 2 },
        {
          seed,
          channels: 1,
          size: 28,
          mean: [0.2861],
          std: [0.353],
        },
      ),
    read: (folder) => ({ training: readMnist(folder, 'train'), test: readMnist(folder, 't10k') }),
  },
  cifar10: {
    name: 'cifar10',
    fused: true,
    about: 'Photographs of animals and vehicles, 32x32 colour',
    labels: CIFAR10_LABELS,
    data: 'cifar10',
    dataName: 'CIFAR-10',
    seed: 20261124,
    epochs: 24,
    batch: 64,
    rate: 0.1,
    augmentation: { kind: 'cropFlip', pad: 4 },
    teacher: { depth: 32, share: 0.5, temperature: 4 },
    reduced: [
      ...[38_912, 19_456].map((budget) => ({
        method: 'channels' as const,
        ...{ budget, searchEpochs: 2, tuneEpochs: 8 },
      })),
      ...(
        [
          [7782, 2],
          [3891, 3],
        ] as const
      ).map(([budget, settleEpochs]) => ({
        method: 'autorep' as const,
        ...{ budget, searchEpochs: 3, tuneEpochs: 5, settleEpochs, pressure: 20 },
      })),
    ],
    build: (seed) =>
      compactResNet(
        [16, 32, 64, 128],
        { kernel: 3, stride: 1 },
        {
          seed,
          mean: [0.4914, 0.4822, 0.4465],
          std: [0.247, 0.2435, 0.2616],
        },
      ),
    read: (folder) => ({
      training: readCifar10(folder, 'train'),
      test: readCifar10(folder, 'test'),
    }),
  },
  air: {
    name: 'air',
    about: 'Photographs of animals and vehicles, 32x32 colour',
    labels: CIFAR10_LABELS,
    data: 'cifar10',
    dataName: 'CIFAR-10',
    seed: 20261128,
    epochs: 20,
    batch: 128,
    // Jordan's rates, decays and averages, by example instead of by step of 1,024; half the rate for a longer training.
    rate: 0.1875,
    schedule: (peak) => triangle(peak, { start: 0.2 * peak, at: 0.23, end: 0.01 * peak }),
    optimiser: () =>
      new Lookahead(
        new Sgd({
          momentum: 0.85,
          decay: 1.33e-3,
          rates: { vector: 64 },
          decays: { vector: 1 / 64 },
        }),
        { every: 25, share: 0.27 },
      ),
    smoothing: 0.2,
    measured: 64,
    augmentation: { kind: 'shiftTurns', shift: 3, cutout: 8 },
    frozen: AIR_FROZEN,
    reduced: [
      {
        ...{ budget: 80_448, method: 'channels', searchEpochs: 1, tuneEpochs: 5 },
        ...{ rate: 5e-4, augment: 'cut', fused: true },
      },
    ],
    build(seed, training) {
      const pixels = { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] };
      const { input } = airNet(pixels);
      const whitening = whiteningFilters(slice(training, 0, 5000), input, 2);
      return airNet({ ...pixels, seed, whitening });
    },
    read: (folder) => ({
      training: readCifar10(folder, 'train'),
      test: readCifar10(folder, 'test'),
    }),
  },
};

/**
 * The images of a recipe.
 * @returns undefined when there is no such data here
 */
export function readSets(recipe: ZooRecipe): Sets | undefined {
  const folder = dataFolder(recipe.data);
  if (folder === undefined) return undefined;
  const { training, test } = recipe.read(folder);
  return { ...holdOut(training), test };
}

/** MNIST in three parts, for the digits' network, which has a script, digits.ts, and no recipe. */
export function digitsSets(): Sets | undefined {
  const folder = dataFolder('mnist');
  if (folder === undefined) return undefined;
  const all = readMnist(folder, 'train');
  const { length } = all.labels;
  return {
    training: slice(all, 0, length - 5000),
    validation: slice(all, length - 5000, length),
    test: readMnist(folder, 't10k'),
  };
}

/** The file of a published CIFAR ResNet (`resnet32-....safetensors`); undefined when there is none here. */
export function publishedWeights(depth: number): string | undefined {
  const weights = dataFolder('weights');
  if (weights === undefined) return undefined;
  const folder = join(weights, 'resnet-cifar10');
  const name = readdirSync(folder).find((file) => file.startsWith(`resnet${depth}-`));
  return name && join(folder, name);
}

/** The file in the working folder that has the teacher's scores of a recipe's training images. */
export function scoresFile({ name, teacher }: ZooRecipe, folder: string): string | undefined {
  return teacher && join(folder, `${name}.resnet${teacher.depth}.logits`);
}

/** The recipe of a name. */
export function recipeOf(name: string | undefined): ZooRecipe {
  const recipe = RECIPES[name ?? ''];
  if (recipe !== undefined) return recipe;
  throw new ModelError('argument', `name one of ${Object.keys(RECIPES).join(', ')}, not ${name}`);
}

/** What a reduction makes: NAME-BUDGET. */
export const reducedName = ({ name }: ZooRecipe, { budget }: Pick<Reduction, 'budget'>): string =>
  `${name}-${budget}`;

/** Names of the networks that come from a recipe, the dense one first. */
export function networksOf(recipe: ZooRecipe): string[] {
  return [recipe.name, ...recipe.reduced.map((reduction) => reducedName(recipe, reduction))];
}

/** The networks of a name, and their recipe: all of a recipe, or one reduced network. */
export function networksNamed(name: string | undefined): {
  readonly recipe: ZooRecipe;
  readonly names: readonly string[];
} {
  const recipe = recipeOf(name?.split('-')[0]);
  const names = networksOf(recipe).filter((one) => [one, recipe.name].includes(name!));
  if (names.length > 0) return { recipe, names };
  throw new ModelError(
    'argument',
    `the networks of ${recipe.name} are ${networksOf(recipe).join(', ')}, not ${name}`,
  );
}

/** Those of a name that ship, the digits' too, what their data is called for `dataFolder`, and its images if they are here. */
export function shippedNamed(name: string | undefined): {
  readonly names: readonly string[];
  readonly data: string;
  readonly sets: Sets | undefined;
} {
  if (name === 'digits') return { names: [name], data: 'mnist', sets: digitsSets() };
  const { recipe, names } = networksNamed(name);
  return { names, data: recipe.data, sets: readSets(recipe) };
}

/**
 * What `sotto` is told to make a reduced network: its dense one, its teacher's scores and the results in one folder.
 * @param data the folder of the recipe's data
 */
export function reduceArguments(
  recipe: ZooRecipe,
  reduction: Reduction,
  folder: string,
  data: string,
): string[] {
  const { name, seed, batch } = recipe;
  const { budget, method, augment, searchEpochs, tuneEpochs } = reduction;
  const { settleEpochs, pressure, rate } = reduction;
  const scores = scoresFile(recipe, folder);
  const option = (name: string, value: string | number | undefined) =>
    value === undefined ? [] : [name, `${value}`];
  return [
    ...['reduce', join(folder, `${name}.sottonet`), '--data', data],
    ...['--budget', `${budget}`, '--method', method, '--seed', `${seed}`, '--batch', `${batch}`],
    ...option('--search-epochs', searchEpochs),
    ...option('--tune-epochs', tuneEpochs),
    ...option('--settle-epochs', settleEpochs),
    ...option('--pressure', pressure),
    ...option('--rate', rate),
    ...option('--augment', augment),
    ...option('--scores', scores !== undefined && existsSync(scores) ? scores : undefined),
    ...['--output', join(folder, reducedName(recipe, reduction))],
  ];
}
