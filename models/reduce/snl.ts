/**
 * SNL (Cho et al., "Selective Network Linearization", ICML 2022): ReLUs go element by element, under an L1 penalty.
 *
 *   every element   y = m*ReLU(x) + (1 - m)*x, m from 1
 *   search          loss + lambda * sum |m|, weights and masks together, until at most `budget` masks are above a threshold;
 *                   lambda grows while they are too slow
 *   binarise        the largest masks stay ReLUs, all others become the identity
 *   fine-tune       weights alone
 */

import type { Graph } from '../graph/index.ts';
import { Adam, Network, type Parameter } from '../train/index.ts';
import {
  checkBudget,
  keepLargest,
  reluCount,
  removeRelus,
  withoutSoftTensors,
} from './elements.ts';
import { PressureState } from './pressure.ts';
import { countAbove, fixedRelus, maskRateFor, maskScores, masksOf } from './soft.ts';
import { fineTune, runStage, type Training, type Tuning } from './training.ts';

/** The first lambda where none is given. */
export const LAMBDA = 1e-4;

/** A mask above it counts as a ReLU. */
export const MASK_THRESHOLD = 1e-2;

/** Adds the gradient of lambda * sum |m| over all masks. */
export function addSparsity(parameters: readonly Parameter[], lambda: number): void {
  for (const { value, gradient } of masksOf(parameters)) {
    for (let i = 0; i < value.length; i++) gradient[i]! += lambda * Math.sign(value[i]!);
  }
}

export interface SnlOptions {
  /** Epochs of the search, which ends as soon as the budget is met. Default: 30. */
  readonly searchEpochs?: number;
  /** Of Adam, constant. Default: 1e-3. */
  readonly searchRate?: number;
  /** Learning rate of masks as a factor. Default: see `maskRateFor`. */
  readonly maskRate?: number;
  /** First lambda. Default: `LAMBDA`. Published: 1e-5 for half a million ReLUs, beside a loss of twice the weight. */
  readonly lambda?: number;
  /** See `PressureRule`. Default: 1.5 and 1; published: 1.1 and 5. */
  readonly growth?: number;
  readonly patience?: number;
  /** Whether lambda follows a plan that meets the budget in the last epoch. Default: true. */
  readonly planned?: boolean;
  readonly tune?: Tuning;
  /** ReLUs that the search aims at: one search serves several budgets near it. Default: the budget. */
  readonly searched?: number;
}

/**
 * Brings a trained network to a budget of ReLUs; the others become the identity. Layers that have lost elements before
 * stay as they are.
 * @throws ModelError `argument` when the budget is out of range
 */
export async function snl(
  graph: Graph,
  budget: number,
  training: Training,
  options: SnlOptions = {},
): Promise<Graph> {
  checkBudget(graph, budget);
  const { searchEpochs = 30, searchRate = 1e-3, tune = {}, searched = budget } = options;
  const { maskRate = maskRateFor(training, searchEpochs, searchRate) } = options;
  const { lambda = LAMBDA, growth = 1.5, patience = 1, planned = true } = options;
  const plan = { from: reluCount(graph), to: Math.max(1, searched), epochs: searchEpochs };
  const rule = { growth, patience, ...(planned && { plan }) };
  const network = new Network(graph, training.batch, { soft: true });
  const fixed = fixedRelus(graph);
  const count = () => fixed + countAbove(network.parameters, MASK_THRESHOLD);
  const pressure = new PressureState(lambda, rule);
  // Polynomials stay the identity: SNL has no other.
  const optimiser = new Adam({ rates: { mask: maskRate, polynomial: 0 } });
  await runStage(network, training, {
    optimiser,
    name: `snl-${searched}-search`,
    epochs: searchEpochs,
    schedule: () => searchRate,
    settings: { budget: searched, searchRate, maskRate, lambda, rule },
    memory: { pressure: pressure.numbers },
    beforeStep: (parameters) => addSparsity(parameters, pressure.weight),
    onEpoch(epochsDone) {
      const relus = count();
      if (relus <= searched) return 'stop';
      pressure.move(relus, epochsDone);
      return undefined;
    },
    note: () => `${count()} ReLUs, lambda ${pressure.weight.toExponential(1)}`,
  });
  const kept = keepLargest(graph, maskScores(network), budget);
  const linear = removeRelus(withoutSoftTensors(network.toGraph()), kept);
  return fineTune(linear, training, { ...tune, name: `snl-${budget}-tune` });
}
