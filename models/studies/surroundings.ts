/** What studies run in: the images and the training of a network of the zoo. */

import { join } from 'node:path';
import { say, showStatus } from '../../protocol/terminal.ts';
import type { Graph } from '../graph/index.ts';
import type { Training } from '../reduce/index.ts';
import {
  accuracyOf,
  createTrainingPool,
  missing,
  Network,
  progressLine,
  scoresOf,
  type TrainingPool,
} from '../train/index.ts';
import { readSets, recipeOf, type Sets, type ZooRecipe } from '../zoo/recipes.ts';

/** What a study runs in. */
export interface Study {
  readonly recipe: ZooRecipe;
  readonly sets: Sets;
  readonly pool: TrainingPool;
  /** Checkpoints, which are not kept in the repository. */
  readonly cache: string;
}

/**
 * Runs a study and closes its pool; says so and does nothing where there is no data.
 * @param name - of the study and its checkpoints
 * @param network - whose images and batches it takes; Fashion-MNIST's is small enough to train many times
 */
export async function withStudy(
  name: string,
  run: (study: Study) => Promise<void>,
  network = 'fashion',
): Promise<void> {
  const recipe = recipeOf(network);
  const sets = readSets(recipe);
  if (sets === undefined) {
    console.log(missing(recipe.data));
    return;
  }
  const pool = createTrainingPool();
  try {
    await run({ recipe, sets, pool, cache: join('.cache', 'studies', name) });
  } finally {
    await pool.close();
  }
}

/** How `sotto reduce` trains, from code: the same batches, variants and share of the teacher. */
export function trainingOf(
  { recipe, sets, pool, cache }: Study,
  dense: Graph,
  { seed, name }: { readonly seed: number; readonly name: string },
): Training {
  return {
    training: sets.training,
    validation: sets.validation,
    batch: recipe.batch,
    shards: 2,
    seed,
    augmentation: recipe.augmentation,
    teacher: { graph: dense, share: 0.5, temperature: 4 },
    pool,
    checkpoints: join(cache, name),
    onProgress: (stage, progress) => showStatus(`${name}, ${stage}: ${progressLine(progress)}`),
    onEpoch(stage, { epoch, epochs, validation, note }) {
      const right = `${(100 * validation).toFixed(2)} % of the validation images right`;
      say(`${name}, ${stage}: epoch ${epoch}/${epochs}, ${right}${note ? `, ${note}` : ''}`);
    },
  };
}

/** Share of the test images that a network names right. */
export async function testAccuracy({ sets, pool, recipe }: Study, graph: Graph): Promise<number> {
  const scores = await scoresOf(new Network(graph, recipe.batch), sets.test, { pool });
  return accuracyOf(scores, sets.test.labels);
}
