/**
 * Trains a dense network of the zoo, all ReLU, from random weights.
 *
 *   npm run build && node dist/models/zoo/dense.js NAME [--cache FOLDER]
 *
 * It goes on from its checkpoint when an earlier run was stopped, and leaves `NAME.sottonet` in the folder.
 */

import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadResNetCifar } from '../graph/builders/index.ts';
import { saveGraph } from '../graph/index.ts';
import { say, showStatus } from '../terminal.ts';
import {
  accuracyOf,
  cosine,
  createTrainingPool,
  type LabelledImages,
  missing,
  Network,
  progressLine,
  replaceFile,
  Sgd,
  score,
  scoresOf,
  type Teacher,
  type TrainingPool,
  trainStage,
} from '../train/index.ts';
import { publishedWeights, type Recipe, readSets, recipeOf } from './recipes.ts';

/** Scores of a published network for the training images, computed once and kept in a file. */
async function cachedTeacher(
  { name, teacher }: Recipe,
  set: LabelledImages,
  cache: string,
  pool: TrainingPool,
): Promise<Teacher | undefined> {
  if (teacher === undefined) return undefined;
  const { depth, share, temperature } = teacher;
  const path = join(cache, `${name}.resnet${depth}.logits`);
  if (existsSync(path)) {
    const bytes = new Uint8Array(readFileSync(path));
    return { share, temperature, logits: new Float32Array(bytes.buffer) };
  }
  const weights = publishedWeights(depth);
  if (weights === undefined) {
    say(`${name}: no published ResNet-${depth} here, learning from the labels alone`);
    return undefined;
  }
  say(`${name}: scoring ${set.labels.length} images with ResNet-${depth}`);
  const network = new Network(loadResNetCifar(readFileSync(weights), depth), 16);
  const logits = await scoresOf(network, set, { pool });
  say(`${name}: the teacher has ${(100 * accuracyOf(logits, set.labels)).toFixed(2)} %`);
  replaceFile(path, new Uint8Array(logits.buffer));
  return { share, temperature, logits };
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      cache: { type: 'string', default: '.cache/zoo' },
    },
  });
  const recipe = recipeOf(positionals[0]);
  const sets = readSets(recipe);
  if (sets === undefined) {
    console.log(missing(recipe.data));
    return;
  }
  const { name, seed, epochs, batch, rate, augmentation } = recipe;
  mkdirSync(values.cache, { recursive: true });
  const pool = createTrainingPool();
  const teacher = await cachedTeacher(recipe, sets.training, values.cache, pool);
  const network = new Network(recipe.build(seed), batch);
  await trainStage(network, sets.training, {
    checkpoint: join(values.cache, `${name}.checkpoint`),
    epochs,
    seed: seed + 1,
    shards: 2,
    optimiser: new Sgd({ momentum: 0.9, decay: 5e-4 }),
    schedule: cosine(rate, 0, 0.05),
    augmentation,
    teacher,
    pool,
    onProgress: (progress) => showStatus(`${name}: ${progressLine(progress)}`),
    async onEpoch(done) {
      const right = 100 * (await score(network, sets.validation, pool));
      say(`${name}: epoch ${done}, ${right.toFixed(2)} % of the validation images right`);
    },
  });
  replaceFile(join(values.cache, `${name}.sottonet`), saveGraph(network.toGraph()));
  const test = 100 * (await score(network, sets.test, pool));
  console.log(`${name}: ${test.toFixed(2)} % of ${sets.test.labels.length} test images right`);
  await pool.close();
}

await main();
