/**
 * Which classes does it cost? Every reduced network of `air`, by class, as it ships, and tuned on for an epoch so that its classes
 * lose alike. Validation images, 500 of each class: the test images here are 1,000 in all.
 *
 *   npm run build && node dist/models/studies/classes.js FOLDER
 *
 * Wants the `.sottonet` files that `zoo/reduce.ts` left in the folder. Goes on where it was stopped, and writes classes.json.
 */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { say } from '../../protocol/terminal.ts';
import { type Graph, loadGraph } from '../graph/index.ts';
import {
  auditGroups,
  type GroupTable,
  groupsOfLabels,
  mitigate,
  reluCount,
} from '../reduce/index.ts';
import { networksOf } from '../zoo/recipes.ts';
import { readStudy, writeResults } from './results.ts';
import { trainingOf, withStudy } from './surroundings.ts';

/** One network on the validation images, by class. */
export interface ClassResult {
  readonly tuned: 'dense' | 'before' | 'after';
  readonly relus: number;
  readonly table: GroupTable;
}

const EPOCHS = 1;
const RATE = 3e-4;

await withStudy(
  'classes',
  async (study) => {
    const { recipe, sets, pool } = study;
    const folder = process.argv[2] ?? '.cache/zoo';
    const [dense, ...reduced] = networksOf(recipe)
      .map((name) => join(folder, `${name}.sottonet`))
      .filter((path) => existsSync(path))
      .map((path) => loadGraph(readFileSync(path)));
    if (dense === undefined) {
      console.log(`${folder} has no network of ${recipe.name}`);
      return;
    }
    const results = readStudy<ClassResult>('classes');
    const classes = groupsOfLabels(sets.validation, recipe.labels);
    const done = (tuned: ClassResult['tuned'], relus: number) =>
      results.some((result) => result.tuned === tuned && result.relus === relus);
    const add = async (tuned: ClassResult['tuned'], relus: number, make: () => Promise<Graph>) => {
      if (done(tuned, relus)) return;
      const graph = await make();
      const table = await auditGroups(graph, sets.validation, classes, {
        batch: recipe.batch,
        pool,
      });
      results.push({ tuned, relus, table });
      await writeResults('classes', results);
      const right = [table.overall, ...table.groups].map(({ accuracy }) => accuracy.toFixed(3));
      say(`${tuned}, ${relus} ReLUs: overall and by class ${right.join(', ')}`);
    };
    await add('dense', reluCount(dense), async () => dense);
    for (const graph of reduced) {
      const relus = reluCount(graph);
      await add('before', relus, async () => graph);
      await add('after', relus, () => {
        const training = trainingOf(study, dense, { seed: recipe.seed, name: `${relus}` });
        const own = groupsOfLabels(sets.training, recipe.labels);
        return mitigate(graph, own, training, { epochs: EPOCHS, rate: RATE, oneSided: true });
      });
    }
  },
  'air',
);
