/** How a dense network is trained, by its recipe. */

import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/index.ts';
import { say, showStatus } from '../terminal.ts';
import {
  cosine,
  measureStatistics,
  Network,
  progressLine,
  Sgd,
  type StageOptions,
  score,
  type TrainingPool,
  trainStage,
} from '../train/index.ts';
import type { Recipe, Sets } from './recipes.ts';

/**
 * Trains the recipe's network from random weights, or a trained one again, or goes on from the checkpoint; says how it goes.
 * @throws ModelError `argument` when the recipe has no second training
 */
export async function trainDense(
  recipe: Recipe,
  { training, validation }: Omit<Sets, 'test'>,
  {
    from,
    ...options
  }: Pick<StageOptions, 'checkpoint' | 'teacher'> & {
    readonly from?: Graph | undefined;
    readonly pool: TrainingPool;
  },
): Promise<Network> {
  const { name, seed, batch, smoothing, augmentation, frozen = [] } = recipe;
  const phase = from === undefined ? recipe : recipe.again;
  if (phase === undefined) throw new ModelError('argument', `${name} is trained once`);
  const { epochs, rate } = phase;
  const {
    optimiser = () => new Sgd({ momentum: 0.9, decay: 5e-4 }),
    schedule = (peak: number) => cosine(peak, 0, 0.05),
  } = recipe;
  const network = new Network(from ?? recipe.build(seed, training), batch, { frozen });
  let began = performance.now();
  await trainStage(network, training, {
    epochs,
    seed: seed + (from === undefined ? 1 : 2),
    shards: 2,
    optimiser: optimiser(),
    schedule: schedule(rate),
    smoothing,
    augmentation,
    ...options,
    onProgress: (progress) => showStatus(`${name}: ${progressLine(progress)}`),
    async onEpoch(done, { loss }) {
      if (recipe.measured !== undefined) {
        const { measured: batches } = recipe;
        const { pool } = options;
        await measureStatistics(network, training, { batches, seed, augmentation, pool });
      }
      const right = 100 * (await score(network, validation, options.pool));
      const minutes = ((performance.now() - began) / 60_000).toFixed(1);
      began = performance.now();
      say(
        `${name}: epoch ${done}, loss ${loss.toFixed(4)}, ${right.toFixed(2)} % of the validation images right, ${minutes} minutes`,
      );
    },
  });
  return network;
}
