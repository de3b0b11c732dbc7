/**
 * How near does a short run come to a published row? DeepReDuce has 88.5 % on CIFAR-10 with 36,000 ReLUs of a ResNet-18, and
 * SNL 91.68 % with 40,000. The same recipe of DeepReDuce (no ReLU in the first stage, every second layer of the others)
 * leaves the published ResNet-20 36,864. DeepReDuce and SNL bring it there, with a part of the images and few epochs; the
 * test images are scored once, at the end.
 *
 *   npm run build && node dist/models/studies/published.js
 *
 * Goes on where it was stopped, and writes published.json.
 */

import { readFileSync } from 'node:fs';
import { say } from '../../protocol/terminal.ts';
import { loadResNetCifar } from '../networks/index.ts';
import { type Method, reduce, reluCount } from '../reduce/index.ts';
import { missing, slice } from '../train/index.ts';
import { publishedWeights } from '../zoo/recipes.ts';
import { readStudy, writeResults } from './results.ts';
import { type Study, testAccuracy, trainingOf, withStudy } from './surroundings.ts';

/** One network. */
export interface PublishedResult {
  readonly method: Method | 'dense';
  readonly relus: number;
  /** Images that it was trained on; of the published network none here. */
  readonly images: number;
  readonly searchEpochs: number;
  readonly tuneEpochs: number;
  /** Shares of the validation and the test images, 0..1. */
  readonly validation?: number;
  readonly accuracy: number;
  readonly testImages: number;
}

const DEPTH = 20;
/** What is left of 188,416 without the first stage, of the others every second layer. */
const BUDGET = 36_864;
const SEED = 1;
/** Parts of the sets: a row beside the published one, not the best that there is. */
const IMAGES = 15_000;
const VALIDATED = 2_000;
const SEARCH = 3;
const TUNE = 2;
/** DeepReDuce first: without a search it is done sooner. */
const RUNS = [
  { method: 'deepreduce', searchEpochs: 0, tuneEpochs: SEARCH + TUNE },
  { method: 'snl', searchEpochs: SEARCH, tuneEpochs: TUNE },
] as const;

await withStudy(
  'published',
  async (whole) => {
    const file = publishedWeights(DEPTH);
    if (file === undefined) {
      console.log(missing('weights'));
      return;
    }
    const dense = loadResNetCifar(readFileSync(file), DEPTH);
    const training = slice(whole.sets.training, 0, IMAGES);
    const validation = slice(whole.sets.validation, 0, VALIDATED);
    const study: Study = { ...whole, sets: { ...whole.sets, training, validation } };
    const testImages = study.sets.test.labels.length;
    const results = readStudy<PublishedResult>('published');
    const add = async (result: PublishedResult): Promise<void> => {
      results.push(result);
      await writeResults('published', results);
      say(`${result.method}, ${result.relus} ReLUs: ${result.accuracy}`);
    };
    if (results.length === 0) {
      const accuracy = await testAccuracy(study, dense);
      const none = { images: 0, searchEpochs: 0, tuneEpochs: 0 };
      await add({ method: 'dense', relus: reluCount(dense), ...none, accuracy, testImages });
    }
    for (const { method, searchEpochs, tuneEpochs } of RUNS) {
      if (results.some((result) => result.method === method)) continue;
      const surroundings = trainingOf(study, dense, { seed: SEED, name: method });
      const [point] = await reduce(dense, BUDGET, method, surroundings, {
        // The published order of the stages, least critical first, of the three that there are.
        deepreduce: { order: [0, 1, 2], tries: 1, epochs: tuneEpochs },
        snl: { searchEpochs, tune: { epochs: tuneEpochs } },
      });
      const accuracy = await testAccuracy(study, point!.graph);
      const relus = reluCount(point!.graph);
      const spent = { images: IMAGES, searchEpochs, tuneEpochs };
      await add({ method, relus, ...spent, validation: point!.accuracy, accuracy, testImages });
    }
  },
  'cifar10',
);
