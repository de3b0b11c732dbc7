/**
 * Whom does it cost? The split of "Disparate Impact of Linearization": the second half of the classes keeps 10 % of its training
 * images. A dense network learns from that, is brought to some budgets, and each reduced network is tuned on for some epochs
 * twice: as it was, and so that the losses of the groups come together. Test images are those of all classes in equal
 * numbers.
 *
 *   npm run build && node dist/models/studies/fairness.js
 *
 * Goes on where it was stopped, and writes fairness.json.
 */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { say } from '../../protocol/terminal.ts';
import type { Graph } from '../graph/index.ts';
import {
  auditGroups,
  fineTune,
  type GroupTable,
  imbalance,
  majorityAndMinority,
  mitigate,
  reduce,
  reluCount,
} from '../reduce/index.ts';
import { trainDense } from '../zoo/training.ts';
import { readStudy, writeResults } from './results.ts';
import { type Study, trainingOf, withStudy } from './surroundings.ts';

/** One network, on the test images; groups are the majority's and the minority's classes. */
export interface FairnessResult {
  readonly tuned: 'dense' | 'before' | 'after';
  readonly relus: number;
  readonly table: GroupTable;
}

const CLASSES = 10;
/** Of the training images, in each class of the second half. */
const SHARE = 0.1;
const SEED = 1;
/** 20 %, 5 % and 1 % of the ReLUs of the network `fashion`, 14,592. */
const BUDGETS = [2918, 729, 145];

/** Epochs of the dense network's training, of AutoReP's search, of its tuning, and of tuning on, plainly or to mitigate. */
const DENSE = 12;
const SEARCH = 2;
const TUNE = 2;
const AFTER = 2;

await withStudy('fairness', async (whole) => {
  const training = imbalance(whole.sets.training, { classes: CLASSES, share: SHARE, seed: SEED });
  // All that follows trains on the unequal classes; the test images stay as they are.
  const study: Study = { ...whole, sets: { ...whole.sets, training } };
  const { recipe, sets, pool, cache } = study;
  mkdirSync(cache, { recursive: true });
  const checkpoint = join(cache, 'dense.checkpoint');
  const network = await trainDense({ ...recipe, epochs: DENSE }, sets, { checkpoint, pool });
  const dense = network.toGraph();
  const results = readStudy<FairnessResult>('fairness');
  const add = async (tuned: FairnessResult['tuned'], graph: Graph) => {
    const groups = majorityAndMinority(sets.test, CLASSES);
    const table = await auditGroups(graph, sets.test, groups, { batch: recipe.batch, pool });
    results.push({ tuned, relus: reluCount(graph), table });
    await writeResults('fairness', results);
    const right = [table.overall, ...table.groups].map(({ accuracy }) => accuracy.toFixed(4));
    say(`${tuned}, ${reluCount(graph)} ReLUs: overall, majority, minority ${right.join(', ')}`);
  };
  if (results.length === 0) await add('dense', dense);
  const groups = majorityAndMinority(training, CLASSES);
  for (const budget of BUDGETS) {
    if (results.some(({ tuned, relus }) => tuned === 'after' && relus === budget)) continue;
    const surroundings = trainingOf(study, dense, { seed: SEED, name: `${budget}` });
    const [reduced] = await reduce(dense, budget, 'autorep', surroundings, {
      autorep: { searchEpochs: SEARCH, tune: { epochs: TUNE } },
    });
    const tuning = { epochs: AFTER };
    if (!results.some(({ tuned, relus }) => tuned === 'before' && relus === budget)) {
      await add('before', await fineTune(reduced!.graph, surroundings, { ...tuning, name: 'on' }));
    }
    await add(
      'after',
      await mitigate(reduced!.graph, groups, surroundings, { ...tuning, oneSided: true }),
    );
  }
});
