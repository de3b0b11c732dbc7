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
import { replaceFile } from '../../protocol/files.ts';
import { say } from '../../protocol/terminal.ts';
import { saveGraph } from '../graph/index.ts';
import { loadResNetCifar } from '../networks/index.ts';
import {
  accuracyOf,
  createTrainingPool,
  type LabelledImages,
  missing,
  Network,
  score,
  scoresOf,
  type Teacher,
  type TrainingPool,
} from '../train/index.ts';
import { publishedWeights, readSets, recipeOf, scoresFile, type ZooRecipe } from './recipes.ts';
import { trainDense } from './training.ts';

/** Scores of a published network for the training images, computed once and kept in a file. */
async function cachedTeacher(
  recipe: ZooRecipe,
  set: LabelledImages,
  cache: string,
  pool: TrainingPool,
): Promise<Teacher | undefined> {
  const { name, teacher } = recipe;
  const path = scoresFile(recipe, cache);
  if (teacher === undefined || path === undefined) return undefined;
  const { depth, share, temperature } = teacher;
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
  await replaceFile(path, new Uint8Array(logits.buffer));
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
  const { name } = recipe;
  mkdirSync(values.cache, { recursive: true });
  const pool = createTrainingPool();
  const teacher = await cachedTeacher(recipe, sets.training, values.cache, pool);
  const checkpoint = join(values.cache, `${name}.checkpoint`);
  const network = await trainDense(recipe, sets, { checkpoint, teacher, pool });
  await replaceFile(join(values.cache, `${name}.sottonet`), saveGraph(network.toGraph()));
  const test = 100 * (await score(network, sets.test, pool));
  console.log(`${name}: ${test.toFixed(2)} % of ${sets.test.labels.length} test images right`);
  await pool.close();
}

await main();
