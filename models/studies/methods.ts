/**
 * Is choosing worth it? Random removal, SNL, AutoReP and removal by channels bring one dense network to the same budgets, with the same number of
 * epochs and three seeds each; test images are scored once, at the end.
 *
 *   npm run build && node dist/models/studies/methods.js
 *
 * Goes on where it was stopped, and writes methods.json.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { say } from '../../protocol/terminal.ts';
import { loadGraph } from '../graph/index.ts';
import { type Method, reduce, reluCount } from '../reduce/index.ts';
import { slice } from '../train/index.ts';
import { readStudy, writeResults } from './results.ts';
import { type Study, testAccuracy, trainingOf, withStudy } from './surroundings.ts';

/** One network. */
export interface MethodResult {
  readonly method: Method | 'dense';
  readonly seed: number;
  readonly relus: number;
  /** Share of the test images, 0..1. */
  readonly accuracy: number;
}

const METHODS: readonly Method[] = ['autorep', 'channels', 'snl', 'random'];
const SEEDS = [1, 2, 3];
/** 5 % of the ReLUs. */
const BUDGETS = [729];
/** Training images: a part, so that all of it takes no longer than ten minutes. */
const IMAGES = 10_000;
const SEARCH = 4;
const TUNE = 3;

await withStudy('methods', async (whole) => {
  const training = slice(whole.sets.training, 0, IMAGES);
  const study: Study = { ...whole, sets: { ...whole.sets, training } };
  const dense = loadGraph(readFileSync(join('models', 'zoo', 'fashion.sottonet')));
  const results = readStudy<MethodResult>('methods');
  const add = async (result: MethodResult): Promise<void> => {
    results.push(result);
    await writeResults('methods', results);
    say(`${result.method}, seed ${result.seed}, ${result.relus} ReLUs: ${result.accuracy}`);
  };
  if (results.length === 0) {
    const accuracy = await testAccuracy(study, dense);
    await add({ method: 'dense', seed: study.recipe.seed, relus: reluCount(dense), accuracy });
  }
  for (const budget of BUDGETS) {
    for (const seed of SEEDS) {
      for (const method of METHODS) {
        const known = results.some(
          (r) => r.method === method && r.seed === seed && r.relus === budget,
        );
        if (known) continue;
        const surroundings = trainingOf(study, dense, {
          seed,
          name: `${method}-${budget}-${seed}`,
        });
        const fine = { searchEpochs: SEARCH, tune: { epochs: TUNE } };
        const [point] = await reduce(dense, budget, method, surroundings, {
          snl: fine,
          autorep: fine,
          channels: fine,
          // Without a search, all epochs go into fine-tuning.
          tune: { epochs: SEARCH + TUNE },
        });
        const accuracy = await testAccuracy(study, point!.graph);
        await add({ method, seed, relus: budget, accuracy });
      }
    }
  }
});
