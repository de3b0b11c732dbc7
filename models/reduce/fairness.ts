/**
 * Fine-tuning that does not leave groups behind ("Disparate Impact of Linearization", ICML 2024): removing ReLUs costs
 * small groups more than others. The map stays; weights learn
 *
 *   min over weights   L + sum over groups g of multiplier_g * v_g,    v_g = |L_g - L|, or max(0, L_g - L)
 *   after an epoch     multiplier_g += step * sum over the epoch's steps of v_g
 *
 * with the gradient flowing through v_g (groupWeights in train/shard.ts): a penalty that is only added to the number
 * changes nothing.
 */

import type { Graph } from '../graph/index.ts';
import { checkGroups, type Grouping } from './groups.ts';
import { fineTune, type Training, type Tuning } from './training.ts';

/** The multipliers of the next epoch, in single precision as checkpoints keep them. */
export function ascend(multipliers: Float64Array, violations: Float64Array, step: number): void {
  for (let g = 0; g < multipliers.length; g++) {
    multipliers[g] = Math.fround(multipliers[g]! + step * violations[g]!);
  }
}

export interface MitigationOptions extends Tuning {
  /** Of the multipliers, for each step's violation. Default: 1e-3. */
  readonly ascent?: number;
  /** Only groups that do worse than the mean count. Default: all whose loss differs. */
  readonly oneSided?: boolean;
  /** Of the checkpoint. Default: 'mitigate'. */
  readonly name?: string;
}

/**
 * Fine-tunes a reduced network so that its groups' losses come together.
 * @param grouping of the training images
 * @throws ModelError `data` when a group has no images
 */
export async function mitigate(
  graph: Graph,
  grouping: Grouping,
  training: Training,
  options: MitigationOptions = {},
): Promise<Graph> {
  checkGroups(grouping, training.training.labels.length);
  const { ascent = 1e-3, oneSided = false, name = 'mitigate', ...tuning } = options;
  const multipliers = new Float64Array(grouping.names.length);
  return fineTune(
    graph,
    training,
    { ...tuning, name },
    {
      settings: { ascent, oneSided },
      memory: { multipliers },
      groups: { of: grouping.of, multipliers, oneSided },
      onEpoch(_epoch, { violations }) {
        ascend(multipliers, violations!, ascent);
        return undefined;
      },
      note: () => `multipliers ${Array.from(multipliers, (m) => m.toFixed(3)).join(' ')}`,
    },
  );
}
