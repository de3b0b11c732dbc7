/**
 * What is measured: networks, each at several ReLU budgets.
 *
 * - Every model of the zoo, with the weights it ships with and the accuracy its card states.
 * - The networks the field argues with, as graphs with random weights: times and bytes do not depend on weights, and
 *   accuracy is not claimed. Their ReLUs are chosen at random all over the network; what is no ReLU is the identity, or in
 *   a series of its own the square. A method that removes whole layers would save the rounds of those as well. The ResNets
 *   have a series with half gates: all else as in the one with the identity, but the ReLUs' comparison is garbled.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Graph } from '../../models/graph/index.ts';
import type { BuilderOptions, RestKind } from '../../models/networks/index.ts';
import { hybReNet, randomMap, resNet18, resNetCifar } from '../../models/networks/index.ts';
import { drawDigit } from '../../models/zoo/draw.ts';
import { drawGarment } from '../../models/zoo/garments.ts';
import { decodeModel, type Model } from '../../protocol/program/model.ts';
import { sizeOf } from '../../protocol/ring/shape.ts';
import { compileOnNoise } from '../networks.ts';
import { zooFolder } from '../zoo.ts';

/** Seed of weights and maps. */
export const SEED = 1;

/** What a network of random weights has where it has no ReLU; with `half gates` the identity, its ReLUs garbled. */
type Sweep = RestKind | 'half gates';

export type Series = 'trained' | Sweep;

/** One network at one budget, before it is made. */
export interface Point {
  /** Names it among all. */
  readonly id: string;
  readonly network: string;
  readonly series: Series;
  make(): Subject;
}

/** What is run. */
export interface Subject {
  readonly model: Model;
  /** Pixels 0..255. */
  readonly image: Uint8Array;
  /** Share of images that the fixed-point network names right, where it is trained, and which images. */
  readonly accuracy: { readonly share: number; readonly data: string } | undefined;
}

interface Family {
  readonly name: string;
  /** Activation elements. */
  readonly elements: number;
  /** Shares of them that are kept as ReLUs, by series. */
  readonly shares: Readonly<Record<Sweep, readonly number[]>>;
  build(options: BuilderOptions): Graph;
}

const SWEEP = [1, 1 / 5, 1 / 20, 0];
const GARBLED = [1, 1 / 20];

const FAMILIES: readonly Family[] = [
  {
    name: 'ResNet-20',
    elements: 188_416,
    shares: { identity: SWEEP, square: [1 / 5, 0], 'half gates': GARBLED },
    build: (options) => resNetCifar(20, options),
  },
  {
    name: 'ResNet-32',
    elements: 303_104,
    shares: { identity: SWEEP, square: [], 'half gates': GARBLED },
    build: (options) => resNetCifar(32, options),
  },
  {
    name: 'ResNet-18',
    elements: 557_056,
    shares: { identity: SWEEP, square: [], 'half gates': GARBLED },
    build: (options) => resNet18(options),
  },
  {
    name: 'HybReNet-5x5x3x',
    elements: 343_040,
    shares: { identity: [1, 1 / 20, 0], square: [], 'half gates': [] },
    build: (options) => hybReNet([5, 5, 3], 16, options),
  },
];

/** What is done of the first family when it has to be quick. */
const QUICK_SHARES: Family['shares'] = { identity: [1, 1 / 20, 0], square: [], 'half gates': [1] };

/** A parabola so flat that random networks keep their values in range at any depth; its cost is that of any other. */
const FLAT = [0, 0.5, 0.01] as const;

function graphPoint(family: Family, series: Sweep, share: number): Point {
  const budget = Math.round(family.elements * share);
  const garbled = series === 'half gates';
  const rest = garbled ? 'identity' : series;
  const name = `${family.name}, ${budget.toLocaleString('en')} ReLUs, rest ${rest}`;
  return {
    id: `${family.name}/${series.replace(' ', '-')}/${budget}`,
    network: family.name,
    series,
    make() {
      const map = randomMap(budget, SEED, rest);
      const graph = family.build({ map, seed: SEED, quadratic: FLAT });
      const { model, images } = compileOnNoise(name, graph, 1, garbled ? 'garbled' : 'encoded');
      return { model, image: images[0]!, accuracy: undefined };
    },
  };
}

/** The parts of a card that are read; cards may have more, and models may lack one. */
export interface Card {
  readonly data?: string | readonly string[];
  /** On the test images. */
  readonly fixedPointTestAccuracy?: number;
  /** Of a network that `sotto reduce` made: on images that were kept from training. */
  readonly accuracy?: { readonly fixedPoint?: number };
}

/** What a card says about the network in fixed point. */
export function accuracyOf(card: Card, network: string): Subject['accuracy'] {
  const { data, fixedPointTestAccuracy, accuracy } = card;
  const [name] = (typeof data === 'string' ? data : network).split(':') as [string];
  if (fixedPointTestAccuracy !== undefined) return { share: fixedPointTestAccuracy, data: name };
  if (accuracy?.fixedPoint === undefined) return undefined;
  return { share: accuracy.fixedPoint, data: `${name}, validation images` };
}

function readCard(path: string): Card {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Card;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new Error(`${path}: it is not a card: ${(error as Error).message}`, { cause: error });
  }
}

function zooPoint(folder: string, file: string): Point {
  const stem = file.slice(0, -'.sotto'.length);
  // A family's budgets are told apart behind the first dash.
  const network = stem.split('-')[0]!;
  return {
    id: `zoo/${stem}`,
    network,
    series: 'trained',
    make() {
      const model = decodeModel(readFileSync(join(folder, file)));
      const accuracy = accuracyOf(readCard(join(folder, `${stem}.json`)), network);
      return { model, image: pictureFor(network, model), accuracy };
    },
  };
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

/** All points, each network's largest budget first; when it has to be quick, the zoo's smallest ones and one small graph. */
export function pointsOf(quick: boolean): Point[] {
  const folder = zooFolder();
  const models = readdirSync(folder)
    .filter((file) => file.endsWith('.sotto'))
    .sort(new Intl.Collator('en', { numeric: true }).compare)
    .reverse()
    .map((file) => zooPoint(folder, file));
  const families = quick ? [{ ...FAMILIES[0]!, shares: QUICK_SHARES }] : FAMILIES;
  const graphs = families.flatMap((family) =>
    (Object.keys(family.shares) as Sweep[]).flatMap((series) =>
      family.shares[series].map((share) => graphPoint(family, series, share)),
    ),
  );
  const smallest = new Map(models.map((point) => [point.network, point]));
  return [...(quick ? smallest.values() : models), ...graphs];
}
