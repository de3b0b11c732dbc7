/**
 * Compiles networks of the zoo to the `.sotto` files that servers load, and writes cards that say what they are and what they
 * are worth.
 *
 *   npm run build && node dist/models/zoo/compile.js digits|NAME [--cache FOLDER]
 *
 * Networks of a recipe come from the folder, where dense.ts and reduce.ts leave them; the digits' lies here. What a private
 * inference takes and gives is added to the cards by bench/cards.ts.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createThreadPool } from '../../protocol/pool/node.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { compile, formatReport } from '../compile/index.ts';
import { formatScore, scoreAll, type scoreTasks } from '../compile/score.ts';
import { countGraph, type Graph, loadGraph, preprocessAll, saveGraph } from '../graph/index.ts';
import { mapOf } from '../reduce/card.ts';
import { auditGroups, groupsOfLabels } from '../reduce/index.ts';
import {
  createTrainingPool,
  dataFolder,
  type LabelledImages,
  missing,
  Network,
  readMnist,
  score,
  slice,
  type TrainingPool,
} from '../train/index.ts';
import {
  networksOf,
  type Recipe,
  readSets,
  recipeOf,
  reduceArguments,
  type Sets,
} from './recipes.ts';

/** Training images that ranges are measured on. */
const CALIBRATION = { digits: 2000, recipes: 500 } as const;

/** The working folder is the repository's root, as for every script of the zoo. */
const FOLDER = join('models', 'zoo');

/** Writes the model of a network, and scores it. */
async function compileOne(
  graph: Graph,
  { name, labels }: { readonly name: string; readonly labels: readonly string[] },
  calibration: LabelledImages,
  test: LabelledImages,
): Promise<{ testImages: number; floatTestAccuracy: number; fixedPointTestAccuracy: number }> {
  const images = preprocessAll(graph.input, calibration.pixels, calibration.labels.length);
  const { model, report } = compile(graph, images, { name, labels });
  console.log(formatReport(report));
  writeFileSync(join(FOLDER, `${name}.sotto`), encodeModel(model));
  const pool = createThreadPool<typeof scoreTasks>(
    new URL('../compile/worker.js', import.meta.url),
  );
  const scored = await scoreAll(pool, { model, graph, ...test });
  await pool.close();
  console.log(`${name}: ${formatScore(scored)}`);
  return {
    testImages: scored.images,
    floatTestAccuracy: scored.floatRight! / scored.images,
    fixedPointTestAccuracy: scored.fixedRight / scored.images,
  };
}

async function compileDigits(data: string): Promise<void> {
  const graph = loadGraph(readFileSync(join(FOLDER, 'digits.sottonet')));
  const card = JSON.parse(readFileSync(join(FOLDER, 'digits.json'), 'utf8'));
  const calibration = slice(readMnist(data, 'train'), 0, CALIBRATION.digits);
  const { fixedPointTestAccuracy } = await compileOne(
    graph,
    card,
    calibration,
    readMnist(data, 't10k'),
  );
  writeCard('digits', { ...card, fixedPointTestAccuracy });
}

function writeCard(name: string, card: object): void {
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(card, null, 2)}\n`);
}

/** The commands that make a network, as they are typed. */
function commandsOf(recipe: Recipe, name: string): string[] {
  const cache = '.cache/zoo';
  const reduction = recipe.reduced.find(({ budget }) => name === `${recipe.name}-${budget}`);
  const environment = 'SOTTO_TRAIN_FMA=1';
  const dense = `${environment} node dist/models/zoo/dense.js ${recipe.name}`;
  if (reduction === undefined) return [dense];
  const words = reduceArguments(recipe, reduction, cache, recipe.data);
  return [dense, `${environment} sotto ${words.join(' ')}`];
}

async function compileRecipe(
  recipe: Recipe,
  { training, validation, test }: Sets,
  cache: string,
  pool: TrainingPool,
): Promise<void> {
  const { about, labels, seed, batch, epochs } = recipe;
  const count = (set: LabelledImages) => set.labels.length.toLocaleString('en');
  for (const name of networksOf(recipe)) {
    const graph = loadGraph(readFileSync(join(cache, `${name}.sottonet`)));
    // What sotto reduce starts from ships as well; the others are its results.
    if (name === recipe.name) writeFileSync(join(FOLDER, `${name}.sottonet`), saveGraph(graph));
    const reduction = recipe.reduced.find(({ budget }) => name === `${recipe.name}-${budget}`);
    const validationAccuracy = await score(new Network(graph, batch), validation, pool);
    const scored = await compileOne(
      graph,
      { name, labels },
      slice(training, 0, CALIBRATION.recipes),
      test,
    );
    const { groups } = await auditGroups(graph, test, groupsOfLabels(test, labels), {
      batch,
      pool,
    });
    writeCard(name, {
      ...{ name, about, labels },
      data: `${recipe.dataName}: ${count(training)} images to train, ${count(validation)} to validate, ${count(test)} to test`,
      commands: commandsOf(recipe, name),
      seed,
      epochs: {
        dense: epochs,
        search: reduction?.searchEpochs,
        tune: reduction?.tuneEpochs,
        settle: reduction?.settleEpochs,
      },
      teacher:
        recipe.teacher === undefined
          ? reduction && `${recipe.name}, the dense network`
          : `ResNet-${recipe.teacher.depth}, published weights`,
      method: reduction?.method,
      ...countGraph(graph),
      layers: mapOf(graph),
      validationAccuracy,
      ...scored,
      classTestAccuracy: Object.fromEntries(labels.map((label, k) => [label, groups[k]!.accuracy])),
    });
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cache: { type: 'string', default: '.cache/zoo' } },
});
if (positionals[0] === 'digits') {
  const data = dataFolder('mnist');
  if (data === undefined) console.log(missing('mnist'));
  else await compileDigits(data);
} else {
  const recipe = recipeOf(positionals[0]);
  const sets = readSets(recipe);
  if (sets === undefined) {
    console.log(missing(recipe.data));
  } else {
    const pool = createTrainingPool();
    await compileRecipe(recipe, sets, values.cache, pool);
    await pool.close();
  }
}
