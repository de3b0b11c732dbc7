/**
 * AutoReP (Peng et al., ICCV 2023): ReLUs go element by element and may come back; squares take their place.
 *
 *   every element   m in {0, 1} from 1, and an auxiliary number a from U(0, 1);  y = m*ReLU(x) + (1 - m)*(c0 + c1 x + c2 x^2)
 *   hysteresis      m stays 1 while a > -h, and becomes 1 again when a > h
 *   gradient        dL/da = dL/dm * softplus(a)
 *   budget          loss + pressure * max(0, density - wanted): no push once the budget is met; more while it is far
 *   polynomials     by channel, from the closed form for the measured inputs (parabola.ts), then trained
 *
 * The search ends with exactly `budget` ReLUs, those with the highest a. Squares are not free: see within.ts, which asks for
 * identities in their place where that is worth more.
 */

import { type Graph, tensorOf } from '../graph/index.ts';
import { Stream } from '../random.ts';
import { Adam, cosine, Network, type Optimiser, type Parameter } from '../train/index.ts';
import {
  checkBudget,
  keepLargest,
  reluCount,
  removeRelus,
  type Scores,
  withoutSoftTensors,
} from './elements.ts';
import { clampCurvature, startingPolynomials } from './parabola.ts';
import { PressureState } from './pressure.ts';
import { measureRanges, rangeLimits } from './ranges.ts';
import { countAbove, fixedRelus, maskRateFor, masksOf, softLayers } from './soft.ts';
import { fineTune, runStage, type Training, type Tuning } from './training.ts';

/** The next state of an element: 1 stays 1 above -h, 0 becomes 1 above h. */
export function hysteresis(state: number, auxiliary: number, h: number): 0 | 1 {
  return auxiliary > (state === 1 ? -h : h) ? 1 : 0;
}

/** log(1 + e^a): the slope of an element's state by its auxiliary number, as the straight-through gradient takes it. */
export function softplus(a: number): number {
  return Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));
}

/** The gradient by each mask of pressure * max(0, density - wanted), over `total` elements. */
export function budgetGradient(
  relus: number,
  budget: number,
  total: number,
  pressure: number,
): number {
  return relus > budget ? pressure / total : 0;
}

interface MaskOptions {
  readonly seed: number;
  /** h */
  readonly threshold: number;
  /** ReLUs of soft layers wanted. */
  readonly budget: number;
  /** Read anew at every step. */
  readonly pressure: { readonly weight: number };
}

/**
 * Adam over everything, with masks in the place of their auxiliary numbers: it moves those, and sets the masks by
 * hysteresis. The auxiliary numbers are part of its memory.
 */
export class MaskOptimiser implements Optimiser {
  readonly memory: Map<string, Float32Array>;
  readonly #inner: Adam;
  readonly #options: MaskOptions;

  constructor(inner: Adam, options: MaskOptions) {
    this.#inner = inner;
    this.memory = inner.memory;
    this.#options = options;
  }

  /** The auxiliary numbers of a mask; drawn when they are first asked for. */
  auxiliary({ name, value }: Parameter): Float32Array {
    const key = `auxiliary ${name}`;
    let known = this.memory.get(key);
    if (known === undefined) {
      const stream = new Stream(this.#options.seed, ...new TextEncoder().encode(name));
      known = Float32Array.from(value, () => stream.uniform());
      this.memory.set(key, known);
    }
    return known;
  }

  step(parameters: readonly Parameter[], rate: number): void {
    const { threshold, budget, pressure } = this.#options;
    const masks = masksOf(parameters);
    const total = masks.reduce((sum, { value }) => sum + value.length, 0);
    const push = budgetGradient(countAbove(masks, 0.5), budget, total, pressure.weight);
    const moved = parameters.map((parameter) => {
      if (parameter.kind !== 'mask') return parameter;
      const value = this.auxiliary(parameter);
      const gradient = parameter.gradient.map((g, i) => (g + push) * softplus(value[i]!));
      return { ...parameter, value, gradient };
    });
    this.#inner.step(moved, rate);
    for (const { value, ...mask } of masks) {
      const auxiliary = this.auxiliary({ ...mask, value });
      for (let i = 0; i < value.length; i++)
        value[i] = hysteresis(value[i]!, auxiliary[i]!, threshold);
    }
  }
}

export interface AutoRepOptions {
  /** Epochs of the search. Default: 40. */
  readonly searchEpochs?: number;
  /** Of Adam. It falls to a hundredth by half a cosine. Default: 1e-3. */
  readonly searchRate?: number;
  /** Learning rate of auxiliary numbers as a factor. Default: see `maskRateFor`. */
  readonly maskRate?: number;
  /** First weight of the budget's term. Default: 1. */
  readonly pressure?: number;
  /** What it grows by after an epoch that removed too little, see `PressureRule`. Default: 1.5; published: 1. */
  readonly growth?: number;
  /** h. Default: 0.003. */
  readonly threshold?: number;
  /** Images that inputs of activations are measured on. Default: 1,024. */
  readonly measured?: number;
  /** Of the penalty on inputs beyond four deviations, see NetworkOptions.ranges; 0 for none. Default: 5e-3. */
  readonly rangeWeight?: number;
  readonly tune?: Tuning;
  /** Layers in which elements become the identity; with all of them the search has identities too. Default: none. */
  readonly identities?: ReadonlySet<string>;
  /** ReLUs that the search aims at: one search serves several budgets near it. Default: the budget. */
  readonly searched?: number;
}

/**
 * Brings a trained network to a budget of ReLUs; the others become squares, or the identity. Layers that have lost elements before stay as
 * they are.
 * @throws ModelError `argument` when the budget is out of range
 */
export async function autoRep(
  graph: Graph,
  budget: number,
  training: Training,
  options: AutoRepOptions = {},
): Promise<Graph> {
  checkBudget(graph, budget);
  const { searchEpochs = 40, searchRate = 1e-3, tune = {} } = options;
  const { searched = budget, identities = new Set<string>() } = options;
  const { maskRate = maskRateFor(training, searchEpochs, searchRate) } = options;
  const { growth = 1.5, threshold = 0.003, measured = 1024, rangeWeight = 5e-3 } = options;
  const found = measureRanges(graph, training.training, { ...training, images: measured });
  const ranges =
    rangeWeight > 0
      ? { ranges: { weight: rangeWeight, limits: rangeLimits(found, LIMIT_STDS) } }
      : {};
  const network = new Network(graph, training.batch, { soft: true, ...ranges });
  const layers = softLayers(network);
  const squares = [...layers.keys()].filter((id) => !identities.has(id));
  const anySquares = squares.length > 0;
  // Without squares they stay what they are at first: the identity.
  for (const { id, channels } of anySquares ? found : []) {
    layers.get(id)?.polynomial.value.set(startingPolynomials(channels));
  }
  const fixed = fixedRelus(graph);
  const count = () => fixed + countAbove(network.parameters, 0.5);
  const plan = {
    from: reluCount(graph),
    to: Math.max(1, searched),
    epochs: PLANNED * searchEpochs,
  };
  const rule = { growth, patience: 1, plan };
  const pressure = new PressureState(options.pressure ?? 1, rule);
  const rates = { mask: maskRate, ...(!anySquares && { polynomial: 0 }) };
  const optimiser = new MaskOptimiser(new Adam({ rates }), {
    seed: training.seed,
    threshold,
    budget: searched - fixed,
    pressure,
  });
  await runStage(network, training, {
    optimiser,
    name: `autorep-${searched}${anySquares ? '' : '-identities'}-search`,
    epochs: searchEpochs,
    schedule: cosine(searchRate, searchRate / 100),
    settings: {
      budget: searched,
      searchRate,
      maskRate,
      pressure: pressure.weight,
      rule,
      threshold,
      measured,
    },
    memory: { pressure: pressure.numbers },
    ...(anySquares && { afterStep: clampCurvature }),
    onEpoch(epochsDone) {
      pressure.move(count(), epochsDone);
      return undefined;
    },
    note: () => `${count()} ReLUs, pressure ${pressure.weight.toPrecision(2)}`,
  });
  const scores: Scores = new Map(
    [...layers].map(([id, { mask }]) => [id, optimiser.auxiliary(mask)]),
  );
  const kept = keepLargest(graph, scores, budget);
  const mixed = removed(network.toGraph(), kept, squares);
  const apart = identities.size > 0 ? `-${identities.size}-identities` : '';
  return fineTune(mixed, training, { ...ranges, ...tune, name: `autorep-${budget}${apart}-tune` });
}

/** Part of a search's epochs after which the budget should be met: the rest settles which elements stay. LOCAL */
const PLANNED = 0.75;

/**
 * Deviations of a channel's inputs beyond which training pulls them back. Less than the eight that one image of a batch of 64
 * can have after a norm over that batch: a higher limit sees nothing of the images that escape in inference. LOCAL
 */
const LIMIT_STDS = 4;

/** The network without the elements that are not kept: squares of trained polynomials in some layers, identities in the others. */
function removed(
  graph: Graph,
  kept: ReadonlyMap<string, Uint8Array>,
  squares: readonly string[],
): Graph {
  const part = (inSquares: boolean) =>
    new Map([...kept].filter(([id]) => squares.includes(id) === inSquares));
  const polynomials = squares.map((id) => [id, tensorOf(graph, `${id}.polynomial`).data] as const);
  const linear = removeRelus(withoutSoftTensors(graph), part(false));
  return removeRelus(linear, part(true), new Map(polynomials));
}
