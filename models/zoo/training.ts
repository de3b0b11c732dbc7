/** How a dense network is trained, by its recipe. */

import { say, showStatus } from '../terminal.ts';
import {
  cosine,
  Network,
  progressLine,
  Sgd,
  type StageOptions,
  score,
  type TrainingPool,
  trainStage,
} from '../train/index.ts';
import type { Recipe, Sets } from './recipes.ts';

/** Trains the recipe's network from random weights, or goes on from the checkpoint; says how it goes. */
export async function trainDense(
  { name, seed, epochs, batch, rate, augmentation, build }: Recipe,
  { training, validation }: Omit<Sets, 'test'>,
  options: Pick<StageOptions, 'checkpoint' | 'teacher'> & { readonly pool: TrainingPool },
): Promise<Network> {
  const network = new Network(build(seed), batch);
  await trainStage(network, training, {
    epochs,
    seed: seed + 1,
    shards: 2,
    optimiser: new Sgd({ momentum: 0.9, decay: 5e-4 }),
    schedule: cosine(rate, 0, 0.05),
    augmentation,
    ...options,
    onProgress: (progress) => showStatus(`${name}: ${progressLine(progress)}`),
    async onEpoch(done) {
      const right = 100 * (await score(network, validation, options.pool));
      say(`${name}: epoch ${done}, ${right.toFixed(2)} % of the validation images right`);
    },
  });
  return network;
}
