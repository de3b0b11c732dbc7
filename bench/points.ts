/**
 * What is measured: networks, each at several ReLU budgets, with the encoded comparison and some with half gates as well.
 *
 * - Every model of the zoo, with the weights it ships with and the accuracy its card states; models of one's own likewise.
 * - The networks the field argues with, as graphs with random weights: times and bytes do not depend on weights, and
 *   accuracy is not claimed. Their ReLUs are chosen at random all over the network; what is no ReLU is the identity or the
 *   square. A method that removes whole layers would save their rounds as well.
 * - Points that others publish, as ResNet-18s of so many ReLUs: planned, not run.
 * - Networks of ImageNet's size, where they are asked for. What max pools compare is left in them, and so are ReLUs in
 *   front of a pool that is padded.
 */

import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { compile } from '../models/compile/index.ts';
import { readText } from '../models/files.ts';
import { elements, type Graph, loadGraph, preprocess } from '../models/graph/index.ts';
import type { BuilderOptions, ReluMap, RestKind } from '../models/networks/index.ts';
import {
  allRelus,
  hybReNet,
  mobileNetV2,
  randomMap,
  resNet18,
  resNet50,
  resNetCifar,
  squeezeNet,
} from '../models/networks/index.ts';
import { PUBLISHED_CIFAR10 } from '../models/reduce/published.ts';
import { ZOO } from '../models/shipped.ts';
import { drawDigit } from '../models/zoo/draw.ts';
import { drawGarment } from '../models/zoo/garments.ts';
import { readWholeSync } from '../protocol/files.ts';
import { decodeModel, type Model } from '../protocol/program/model.ts';
import type { Comparison } from '../protocol/program/program.ts';
import { Prg, randomBytes } from '../protocol/random/index.ts';
import { sizeOf } from '../protocol/ring/shape.ts';
import type { FidelityResult, PointResult, Weights } from './results.ts';

/** Seed of weights and maps. */
export const SEED = 1;

/** A network at a budget with a comparison, before it is made. */
export interface BenchPoint {
  /** Names it among all. */
  readonly id: string;
  readonly network: string;
  readonly weights: Weights;
  readonly comparison: Comparison;
  make(): Subject | Promise<Subject>;
}

/** What is run. */
export interface Subject {
  readonly model: Model;
  /** Pixels 0..255. */
  readonly image: Uint8Array;
  /** The network in float, to be run without privacy beside it; default: it is not. */
  readonly graph?: Graph;
  readonly accuracy?: PointResult['accuracy'];
  readonly fidelity?: FidelityResult;
}

/** The network compiled on an image of noise, and that image. */
export function compileOnNoise(
  name: string,
  graph: Graph,
  comparison: Comparison = 'encoded',
): Subject & { readonly graph: Graph } {
  const image = randomBytes(new Prg(new Uint8Array(16)), elements(graph.input.shape));
  // Noise has no ranges worth keeping: a wide margin, so that every image fits. Nor does it matter what deep random squares
  // make of it.
  const options = { name, margin: 2, comparison, force: true };
  const { model } = compile(graph, [preprocess(graph.input, image)], options);
  return { model, image, graph };
}

const suffix = (comparison: Comparison) => (comparison === 'garbled' ? '/half-gates' : '');

interface Family {
  readonly name: string;
  /** Budgets by what all other elements are, and those that are run with half gates as well. */
  readonly budgets: Readonly<Record<RestKind | 'half gates', readonly number[]>>;
  build(options: BuilderOptions): Graph;
}

const FAMILIES: readonly Family[] = [
  {
    name: 'ResNet-20',
    budgets: {
      identity: [188_416, 37_683, 9421, 0],
      square: [37_683, 0],
      'half gates': [188_416, 9421],
    },
    build: (options) => resNetCifar(20, options),
  },
  {
    name: 'ResNet-32',
    budgets: {
      identity: [303_104, 60_621, 15_155, 0],
      square: [],
      'half gates': [303_104, 15_155],
    },
    build: (options) => resNetCifar(32, options),
  },
  {
    name: 'ResNet-18',
    budgets: {
      identity: [557_056, 111_411, 27_853, 12_900, 0],
      square: [],
      'half gates': [557_056, 27_853],
    },
    build: (options) => resNet18(options),
  },
  {
    name: 'HybReNet-5x5x3x',
    budgets: { identity: [343_040, 17_152, 0], square: [], 'half gates': [] },
    build: (options) => hybReNet([5, 5, 3], 16, options),
  },
];

/** What is done of the first family when it has to be quick. */
const QUICK: Family['budgets'] = {
  identity: [188_416, 9421, 0],
  square: [],
  'half gates': [188_416],
};

/** A parabola so flat that random networks keep their values in range at any depth; its cost is that of any other. */
const FLAT = [0, 0.5, 0.01] as const;

function familyPoints(family: Family): BenchPoint[] {
  const point = (budget: number, rest: RestKind, comparison: Comparison): BenchPoint => ({
    id: `${family.name}/${rest}/${budget}${suffix(comparison)}`,
    network: family.name,
    weights: 'random',
    comparison,
    make() {
      const map = randomMap(budget, SEED, rest);
      const graph = family.build({ map, seed: SEED, quadratic: FLAT });
      return compileOnNoise(`${family.name}, ${budget} ReLUs, rest ${rest}`, graph, comparison);
    },
  });
  const { 'half gates': garbled, ...rests } = family.budgets;
  return [
    ...(Object.keys(rests) as RestKind[]).flatMap((rest) =>
      rests[rest].map((budget) => point(budget, rest, 'encoded')),
    ),
    ...garbled.map((budget) => point(budget, 'identity', 'garbled')),
  ];
}

/** What others published on CIFAR-10, each as a ResNet-18 of so many ReLUs, the rest squares where the method has polynomials. */
export function publishedPoints(): BenchPoint[] {
  return PUBLISHED_CIFAR10.flatMap(({ name, points }) => {
    const method = name.split(',')[0]!;
    return points.map(
      ([relus, share]): BenchPoint => ({
        id: `published/${method}/${relus}`,
        network: method,
        weights: 'published',
        comparison: 'encoded',
        make() {
          const map = randomMap(relus, SEED, method === 'AutoReP' ? 'square' : 'identity');
          const subject = compileOnNoise(method, resNet18({ map, seed: SEED, quadratic: FLAT }));
          return { ...subject, accuracy: { share, data: 'CIFAR-10', images: 10_000 } };
        },
      }),
    );
  });
}

const IMAGENET: readonly (readonly [string, (options: BuilderOptions) => Graph])[] = [
  ['SqueezeNet 227', squeezeNet],
  ['MobileNetV2 224', mobileNetV2],
  ['ResNet-50 224', resNet50],
];

/** ResNet-50's ReLUs in front of its max pool. Its padding is zeros, so that what it reads may not be negative. */
const BEFORE_PADDED_POOL = 'relu';

/** One ReLU in twenty, chosen at random; all of those that have to stay. */
const twentieth: ReluMap = (layers) => {
  const others = layers.filter(({ id }) => id !== BEFORE_PADDED_POOL);
  const total = others.reduce((sum, { shape }) => sum + elements(shape), 0);
  const maps = [...randomMap(Math.round(total / 20), SEED, 'identity')(others)];
  return layers.map((layer) =>
    layer.id === BEFORE_PADDED_POOL ? allRelus([layer])[0]! : maps.shift()!,
  );
};

/** Networks of ImageNet's size, with all ReLUs and with a twentieth of them. */
export function imageNetPoints(): BenchPoint[] {
  return IMAGENET.flatMap(([network, build]) =>
    // Where most elements are identities, weights of gain 1 keep the size of values.
    [{}, { map: twentieth, gain: 1 }].map(
      (options, i): BenchPoint => ({
        id: `imagenet/${network}/${i === 0 ? 'all' : '5-percent'}`,
        network,
        weights: 'random',
        comparison: 'encoded',
        make() {
          const { model, image } = compileOnNoise(network, build(options));
          return { model, image };
        },
      }),
    ),
  );
}

/** The parts of a card that are read; cards may have more, and models may lack one. */
export interface Card {
  readonly data?: string | readonly string[];
  /** On the test images. */
  readonly fixedPointTestAccuracy?: number;
  readonly testImages?: number;
  /** Of a network that `sotto reduce` made: on images that were kept from training. */
  readonly accuracy?: { readonly fixedPoint?: number };
}

/** What a card says about the network in fixed point. */
export function cardAccuracy(card: Card, network: string): PointResult['accuracy'] {
  const { data, fixedPointTestAccuracy, testImages, accuracy } = card;
  const [name] = (typeof data === 'string' ? data : network).split(':') as [string];
  if (fixedPointTestAccuracy !== undefined) {
    const images = testImages === undefined ? {} : { images: testImages };
    return { share: fixedPointTestAccuracy, data: name, ...images };
  }
  if (accuracy?.fixedPoint === undefined) return undefined;
  return { share: accuracy.fixedPoint, data: `${name}, validation images` };
}

function readCard(path: string): Card {
  if (!existsSync(path)) return {};
  try {
    return JSON.parse(readText(path)) as Card;
  } catch (cause) {
    throw new Error(`${path}: it is not a card: ${(cause as Error).message}`, { cause });
  }
}

/** A model in a file, its card and its network in float beside it where they are there. */
function modelPoint(path: string, id: string, network: string, comparison: Comparison): BenchPoint {
  const beside = (ending: string) => path.replace(/(\.sotto)?$/, ending);
  return {
    id: id + suffix(comparison),
    network,
    weights: 'trained',
    comparison,
    make() {
      const { program, ...weights } = decodeModel(readWholeSync(path));
      const model = { ...weights, program: { ...program, comparison } };
      const accuracy = cardAccuracy(readCard(beside('.json')), network);
      const float = beside('.sottonet');
      return {
        model,
        image: pictureFor(network, model),
        ...(existsSync(float) && { graph: loadGraph(readWholeSync(float)) }),
        ...(accuracy && { accuracy }),
      };
    },
  };
}

/** Models of one's own, each with the comparison that it was compiled with: `models/STEM`. */
export function ownPoints(paths: readonly string[]): BenchPoint[] {
  return paths.map((path) => {
    const { program } = decodeModel(readWholeSync(path));
    const stem = basename(path, '.sotto');
    return modelPoint(path, `models/${stem}`, stem, program.comparison);
  });
}

/**
 * What a network is asked: a digit or a garment where it knows them, else a soft gradient, which stays within the ranges of
 * photographs. Errors are bounded for images like those a network was made for: a gradient strays from the garments'.
 */
function pictureFor(network: string, { program: { input } }: Model): Uint8Array {
  if (network === 'digits') return drawDigit(3);
  if (network === 'fashion') return drawGarment('coat');
  const [, height, width] = input.shape;
  return Uint8Array.from({ length: sizeOf(input.shape) }, (_, i) => {
    const [row, column] = [Math.floor(i / width) % height, i % width];
    return Math.round((200 * (row + column)) / (height + width));
  });
}

/** The zoo and the families, each network's largest budget first; when it has to be quick, the zoo's smallest and one family. */
export function standardPoints(quick: boolean): BenchPoint[] {
  const stems = readdirSync(ZOO)
    .filter((file) => file.endsWith('.sotto'))
    .sort(new Intl.Collator('en', { numeric: true }).compare)
    .reverse()
    .map((file) => basename(file, '.sotto'));
  // A network's budgets are told apart behind the first dash.
  const networkOf = (stem: string) => stem.split('-')[0]!;
  const smallest = new Map(stems.map((stem) => [networkOf(stem), stem]));
  const trained = (['encoded', 'garbled'] as const).flatMap((comparison) =>
    (quick ? [...smallest.values()] : stems).map((stem) =>
      modelPoint(join(ZOO, `${stem}.sotto`), `zoo/${stem}`, networkOf(stem), comparison),
    ),
  );
  const families = quick ? [{ ...FAMILIES[0]!, budgets: QUICK }] : FAMILIES;
  return [...trained, ...families.flatMap(familyPoints)];
}
