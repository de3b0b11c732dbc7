/**
 * Compiles networks of the zoo to the `.sotto` files that servers load, and writes cards that say what they are and what they
 * are worth.
 *
 *   npm run build && node dist/models/zoo/compile.js digits|NAME [--cache FOLDER]
 *
 * Networks of a recipe come from the folder, where dense.ts and reduce.ts leave them; the digits' lies here. Of a network that
 * is not in the folder, the model that ships keeps its weights and its card, and only the bits that its ReLUs compare are chosen
 * anew. What a private inference takes and gives is added to the cards by bench/cards.ts.
 */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { replaceFile } from '../../protocol/files.ts';
import { createThreadPool } from '../../protocol/pool/node.ts';
import { encodeInput } from '../../protocol/program/input.ts';
import { RELU } from '../../protocol/program/kinds.ts';
import { decodeModel, encodeModel, type Model } from '../../protocol/program/model.ts';
import { showStatus } from '../../protocol/terminal.ts';
import { lowerComparisons } from '../compile/comparisons.ts';
import { compile, formatReport, usualComparison, withTolerance } from '../compile/index.ts';
import { formatComparisons } from '../compile/report.ts';
import { formatScore, scoreAll, type scoreTasks } from '../compile/score.ts';
import { countGraph, type Graph, loadGraph, preprocessAll, saveGraph } from '../graph/index.ts';
import { mapOf } from '../reduce/card.ts';
import { auditGroups, groupsOfLabels } from '../reduce/index.ts';
import {
  createTrainingPool,
  type LabelledImages,
  missing,
  Network,
  score,
  slice,
  type TrainingPool,
} from '../train/index.ts';
import {
  networksNamed,
  reduceArguments,
  reducedName,
  type Sets,
  shippedNamed,
  type ZooRecipe,
} from './recipes.ts';

/** Training images that ranges are measured on. */
const CALIBRATION = { digits: 2000, recipes: 500 } as const;

/** The working folder is the repository's root, as for every script of the zoo. */
const FOLDER = join('models', 'zoo');

/** Compiles a network, writes its model, and scores it. */
async function compileOne(
  graph: Graph,
  { name, labels }: { readonly name: string; readonly labels: readonly string[] },
  calibration: LabelledImages,
  test: LabelledImages,
) {
  const images = preprocessAll(graph.input, calibration.pixels, calibration.labels.length);
  const { model, report } = compile(graph, images, {
    ...{ name, labels, onProgress: showStatus },
    ...usualComparison(graph),
  });
  console.log(formatReport(report));
  return writeScored(name, model, test, graph);
}

/** Writes a model, and scores it, beside its float network where that is given. */
async function writeScored(name: string, model: Model, test: LabelledImages, graph?: Graph) {
  await replaceFile(join(FOLDER, `${name}.sotto`), encodeModel(model));
  const pool = createThreadPool<typeof scoreTasks>(
    new URL('../compile/worker.js', import.meta.url),
  );
  const scored = await scoreAll(pool, { model, graph, ...test });
  await pool.close();
  console.log(`${name}: ${formatScore(scored)}`);
  const { images, floatRight } = scored;
  return {
    testImages: images,
    ...(floatRight === undefined ? {} : { floatTestAccuracy: floatRight / images }),
    fixedPointTestAccuracy: scored.fixedRight / images,
    simulatedTestAccuracy: scored.simulatedRight / images,
  };
}

/** Room that ranges have beyond the sampled ones: the compiler's own. */
const MARGIN = 1.5;

/** Chooses anew the bits that the ReLUs of a model compare, as compiling it would: from 8 fractional bits on. */
function recompared(shipped: Model, { pixels, labels }: LabelledImages): Model {
  const { program } = shipped;
  const steps = program.steps.map((step) => {
    if (step.op !== 'activation' || !step.kinds.includes(RELU)) return step;
    const { fractionBits, shift } = step;
    return { ...step, dropBits: fractionBits + shift - Math.min(8, fractionBits) };
  });
  const size = pixels.length / labels.length;
  const inputs = Array.from(labels, (_, i) => {
    const image = pixels.subarray(i * size, (i + 1) * size);
    return encodeInput(
      program,
      Float32Array.from(image, (p) => p / 255),
    );
  });
  const { model, comparisons, before } = lowerComparisons(
    { ...shipped, program: { ...program, steps } },
    inputs,
    { margin: MARGIN, onProgress: showStatus },
  );
  for (const line of formatComparisons(comparisons, before)) console.log(line);
  return withTolerance(model, inputs.slice(0, 32));
}

async function compileDigits({ training, test }: Sets, pool: TrainingPool): Promise<void> {
  const graph = loadGraph(readFileSync(join(FOLDER, 'digits.sottonet')));
  const card = readCard('digits');
  const calibration = slice(training, 0, CALIBRATION.digits);
  const scored = await compileOne(graph, card, calibration, test);
  const classTestAccuracy = await byClass(graph, test, card.labels, pool);
  await writeCard('digits', { ...card, ...scored, classTestAccuracy });
}

/** The shares of each class's images that a float network is right of. */
async function byClass(
  graph: Graph,
  test: LabelledImages,
  labels: readonly string[],
  pool: TrainingPool,
) {
  const grouping = groupsOfLabels(test, labels);
  const { groups } = await auditGroups(graph, test, grouping, { batch: 64, pool });
  return Object.fromEntries(labels.map((label, k) => [label, groups[k]!.accuracy]));
}

/** The card of a network as it is. */
function readCard(name: string) {
  return JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8'));
}

function writeCard(name: string, card: object): Promise<void> {
  return replaceFile(join(FOLDER, `${name}.json`), `${JSON.stringify(card, null, 2)}\n`);
}

/** What made a network of a recipe; undefined for the dense one. */
const reductionOf = (recipe: ZooRecipe, name: string) =>
  recipe.reduced.find((reduction) => reducedName(recipe, reduction) === name);

/** The commands that make a network, as they are typed. */
function commandsOf(recipe: ZooRecipe, name: string): string[] {
  const reduction = reductionOf(recipe, name);
  const environment = (fused = recipe.fused) => (fused ? 'SOTTO_TRAIN_FMA=1 ' : '');
  const dense = `${environment()}node dist/models/zoo/dense.js ${recipe.name}`;
  if (reduction === undefined) return [dense];
  const words = reduceArguments(recipe, reduction, '.cache/zoo', recipe.data);
  return [dense, `${environment(reduction.fused)}sotto ${words.join(' ')}`];
}

async function compileRecipe(
  { recipe, names }: ReturnType<typeof networksNamed>,
  { training, validation, test }: Sets,
  cache: string,
  pool: TrainingPool,
): Promise<void> {
  const { about, labels, seed, batch, epochs } = recipe;
  const count = (set: LabelledImages) => set.labels.length.toLocaleString('en');
  const calibration = slice(training, 0, CALIBRATION.recipes);
  for (const name of names) {
    const file = join(cache, `${name}.sottonet`);
    if (!existsSync(file)) {
      const path = join(FOLDER, `${name}.sotto`);
      if (!existsSync(path)) {
        console.log(`${name}: neither in ${cache} nor here yet`);
        continue;
      }
      const shipped = decodeModel(readFileSync(path));
      const scored = await writeScored(name, recompared(shipped, calibration), test);
      await writeCard(name, { ...readCard(name), ...scored });
      continue;
    }
    const graph = loadGraph(readFileSync(file));
    // What sotto reduce starts from ships as well; the others are its results.
    if (name === recipe.name) await replaceFile(join(FOLDER, `${name}.sottonet`), saveGraph(graph));
    const reduction = reductionOf(recipe, name);
    const validationAccuracy = await score(new Network(graph, batch), validation, pool);
    const scored = await compileOne(graph, { name, labels }, calibration, test);
    await writeCard(name, {
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
      classTestAccuracy: await byClass(graph, test, labels, pool),
    });
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cache: { type: 'string', default: '.cache/zoo' } },
});
const { data, sets } = shippedNamed(positionals[0]);
if (sets === undefined) {
  console.log(missing(data));
} else {
  const pool = createTrainingPool();
  if (positionals[0] === 'digits') await compileDigits(sets, pool);
  else await compileRecipe(networksNamed(positionals[0]), sets, values.cache, pool);
  await pool.close();
}
