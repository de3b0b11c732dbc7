/** How a dense network is trained, by its recipe. */

import { say, showStatus } from '../../protocol/terminal.ts';
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
import type { Sets, ZooRecipe } from './recipes.ts';

/** Trains the recipe's network from random weights, or goes on from the checkpoint; says how it goes. */
export async function trainDense(
  recipe: ZooRecipe,
  { training, validation }: Omit<Sets, 'test'>,
  options: Pick<StageOptions, 'checkpoint' | 'teacher'> & { readonly pool: TrainingPool },
): Promise<Network> {
  const { name, seed, epochs, batch, rate, smoothing, augmentation, frozen = [] } = recipe;
  const {
    optimiser = () => new Sgd({ momentum: 0.9, decay: 5e-4 }),
    schedule = (peak: number) => cosine(peak, 0, 0.05),
  } = recipe;
  const network = new Network(recipe.build(seed, training), batch, { frozen });
  let began = performance.now();
  await trainStage(network, training, {
    epochs,
    seed: seed + 1,
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
