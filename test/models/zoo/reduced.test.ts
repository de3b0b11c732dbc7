/** The networks of the zoo at their budgets: what cards say holds, and private inference names what fixed point names. */

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { PNG } from 'pngjs';
import { describe, expect, it } from 'vitest';
import { scoreAll, type scoreTasks } from '../../../models/compile/score.ts';
import { countGraph, loadGraph } from '../../../models/graph/index.ts';
import { missing, slice } from '../../../models/train/index.ts';
import { grayPng } from '../../../models/zoo/draw.ts';
import { drawGarment, GARMENTS } from '../../../models/zoo/garments.ts';
import { networksOf, RECIPES, readSets, recipeOf } from '../../../models/zoo/recipes.ts';
import { costOf } from '../../../protocol/inference/cost.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import type { ProtocolPool } from '../../../protocol/inference/session.ts';
import type * as tasks from '../../../protocol/inference/tasks.ts';
import { createThreadPool } from '../../../protocol/pool/node.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { encodeInput } from '../../../protocol/program/input.ts';
import { countKinds } from '../../../protocol/program/kinds.ts';
import { decodeModel } from '../../../protocol/program/model.ts';
import { mapsOf, type OutputStep } from '../../../protocol/program/program.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';
import { inferBoth, openSessions, prepareBoth, seedOf } from '../../support/model.ts';
import { builtWorker, long } from '../networks/data.ts';

const zoo = new URL('../../../models/zoo/', import.meta.url);
const read = (file: string) => readFileSync(new URL(file, zoo));
const cardOf = (name: string) => JSON.parse(read(`${name}.json`).toString());
/** Those that ship. */
const recipes = Object.values(RECIPES).filter(({ name }) =>
  existsSync(new URL(`${name}.sotto`, zoo)),
);

/** Test images of each network that went through the whole protocol for its card, that do here, and that fixed point is scored on. */
const CARDED = 20;
const PRIVATE = long ? CARDED : 2;
const SCORED = 100;

it('all networks together take less than 30 MB', () => {
  // Hints that a server here has made are not of the package.
  const shipped = readdirSync(zoo).filter((file) => !/\.hint(-secret)?$/.test(file));
  const sizes = shipped.map((file) => statSync(new URL(file, zoo)).size);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(30e6);
});

it.each(['fashion', 'cifar10'])(
  '%s comes whole and at 50, 25, 10 and 5 %% of its ReLUs',
  (name) => {
    const relus = networksOf(recipeOf(name)).map((network) => cardOf(network).relus);
    expect(relus.map((count) => Math.round((100 * count) / relus[0]))).toEqual([
      100, 50, 25, 10, 5,
    ]);
  },
);

describe('our own drawings of clothing', () => {
  const models = networksOf(RECIPES['fashion']!).map((name) => decodeModel(read(`${name}.sotto`)));

  it.each(GARMENTS)('%s: every network of the family knows it', (name) => {
    const png = PNG.sync.read(read(`fashion-images/${name.replace(' ', '-')}.png`));
    const pixels = drawGarment(name);
    expect(PNG.sync.read(Buffer.from(grayPng(pixels))).data).toEqual(png.data);
    for (const model of models) {
      const image = Float32Array.from(pixels, (p) => p / 255);
      const label = indexOfLargest(runClear(model, encodeInput(model.program, image)));
      expect(model.program.labels[label], model.program.name).toBe(name);
    }
  });

  it('are of known things', () => {
    expect(() => drawGarment('hat')).toThrow(/draw one of T-shirt, .*, not hat/);
  });
});

describe.each(recipes)('$name', (recipe) => {
  const names = networksOf(recipe);

  it('ships its dense network to reduce further', () => {
    const dense = loadGraph(read(`${recipe.name}.sottonet`));
    expect(cardOf(names[0]!)).toMatchObject({ ...countGraph(dense), squares: 0, identities: 0 });
  });

  it.each(names)('%s is what its card says', (name) => {
    const card = cardOf(name);
    const { program } = decodeModel(read(`${name}.sotto`));
    const counts = countKinds(...mapsOf(program));
    const { relus, squares } = counts;
    expect(card).toMatchObject({ name, relus, squares, labels: recipe.labels });
    // Layers of identities alone are merged with those around them.
    expect(counts.identities).toBeLessThanOrEqual(card.identities);
    const { offline, online } = costOf(layoutOf(program));
    expect(card.cost).toEqual({ offline, online });
    expect(card.private.images).toBeGreaterThanOrEqual(CARDED);
    for (const layer of ['relus', 'squares', 'identities']) {
      const sum = card.layers.reduce((n: number, of: Record<string, number>) => n + of[layer]!, 0);
      expect(sum).toBe(card[layer]);
    }
    const reduction = recipe.reduced.find(({ budget }) => name === `${recipe.name}-${budget}`);
    const unspent = reduction === undefined ? 0 : reduction.budget - counts.relus;
    expect(unspent).toBeGreaterThanOrEqual(0);
    // By channels a budget is met to within a channel.
    expect(unspent).toBeLessThan(reduction?.method === 'channels' ? 64 : 1);
    const accuracies = Object.values<number>(card.classTestAccuracy);
    const mean = accuracies.reduce((sum, accuracy) => sum + accuracy, 0) / accuracies.length;
    // CIFAR-10's first 1,000 test images have not quite as many of each class.
    expect(Math.abs(mean - card.floatTestAccuracy)).toBeLessThan(0.01);
  });

  const sets = readSets(recipe);
  if (sets === undefined) console.log(`skipped: ${missing(recipe.data)}`);

  it.skipIf(sets === undefined).each(names)(
    '%s has the accuracy in fixed point that its card says',
    async (name) => {
      const card = cardOf(name);
      const model = decodeModel(read(`${name}.sotto`));
      const worker = builtWorker('models/compile/worker.js')!;
      const pool = createThreadPool<typeof scoreTasks>(worker);
      const test = long ? sets!.test : slice(sets!.test, 0, SCORED);
      const { images, fixedRight, imagesOutOfRange } = await scoreAll(pool, { model, ...test });
      await pool.close();
      const expected = card.fixedPointTestAccuracy;
      if (long) expect(fixedRight / images).toBe(expected);
      // Four deviations of a part's mean.
      const spread = 4 * Math.sqrt((expected * (1 - expected)) / images);
      expect(Math.abs(fixedRight / images - expected)).toBeLessThan(spread);
      // One of these images, of high contrast, leaves the ranges of two networks of CIFAR-10.
      expect(imagesOutOfRange / images).toBeLessThanOrEqual(0.01);
    },
    600_000,
  );

  it.skipIf(sets === undefined).each(names)(
    `%s: the labels of ${PRIVATE} images between two parties are those of fixed point`,
    async (name) => {
      const model = decodeModel(read(`${name}.sotto`));
      const worker = builtWorker('protocol/inference/worker.js');
      const pool: ProtocolPool | undefined =
        worker && createThreadPool<typeof tasks>(worker, { workers: availableParallelism() });
      const sessions = await openSessions(model, seedOf(500), pool);
      const { tolerance } = model.program.steps.at(-1) as OutputStep;
      let worst = 0;
      for (let i = 0; i < PRIVATE; i++) {
        const { pixels } = slice(sets!.test, i, i + 1);
        const input = encodeInput(
          model.program,
          Float32Array.from(pixels, (p) => p / 255),
        );
        await prepareBoth(sessions);
        const result = await inferBoth(sessions, input);
        const clear = runClear(model, input, () => {});
        result.forEach((logit, j) => {
          worst = Math.max(worst, Math.abs(logit - clear[j]!));
        });
        const sorted = clear.toSorted((a, b) => b - a);
        // Nearer than the tolerance, either of two classes is right.
        if (sorted[0]! - sorted[1]! > 2 * tolerance)
          expect(indexOfLargest(result)).toBe(indexOfLargest(clear));
      }
      await pool?.close();
      expect(worst).toBeLessThanOrEqual(tolerance);
      expect(worst).toBeGreaterThan(0);
    },
    600_000,
  );
});
