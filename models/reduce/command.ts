/** `sotto reduce`: brings a trained network to a budget of ReLUs, and makes the file that a server offers from it. */

import { basename } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { checkOutput, replaceFile } from '../../protocol/files.ts';
import { createThreadPool } from '../../protocol/pool/node.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { compile, formatReport } from '../compile/index.ts';
import { formatScore, scoreAll, type scoreTasks } from '../compile/score.ts';
import { type FitOptions, fitOf, withFitOptions } from '../fit.ts';
import { countGraph, type Graph, preprocessAll, saveGraph } from '../graph/index.ts';
import { type ReadOptions, readGraph, withReadOptions } from '../read.ts';
import { say, showStatus } from '../terminal.ts';
import {
  type Augmentation,
  createTrainingPool,
  Network,
  progressLine,
  slice,
} from '../train/index.ts';
import { best, METHODS, type Method, reduce } from './auto.ts';
import { formatCard } from './card.ts';
import {
  chanceWarning,
  GROUPINGS,
  holdOut,
  LABELLED,
  readGrouping,
  readLabelled,
  readScores,
} from './data.ts';
import { checkBudget, reluCount } from './elements.ts';
import { mitigate } from './fairness.ts';
import { frontier, type Point } from './frontier.ts';
import { auditGroups } from './groups.ts';
import { isModule, loadMethod } from './own.ts';
import { measureRanges } from './ranges.ts';
import { assess, formatStability, refuseUnstable, warningsOf } from './stability.ts';
import { accuracy, type Training } from './training.ts';

interface ReduceCommandOptions extends ReadOptions, FitOptions {
  readonly data: readonly string[];
  readonly validation?: readonly string[];
  readonly budget: number;
  /** One of METHODS, or the path of a module. */
  readonly method: string;
  readonly output: string;
  readonly augment: 'crop' | 'none';
  readonly searchEpochs?: string;
  readonly tuneEpochs?: string;
  readonly settleEpochs?: string;
  readonly pressure?: string;
  readonly scores?: string;
  readonly batch: number;
  readonly shards: number;
  readonly seed: number;
  readonly workers?: number;
  readonly checkpoints?: string;
  readonly fair?: string;
  readonly oneSided?: boolean;
}

/** Images that ranges are measured on, that compilation calibrates with, and that fixed point is scored on. LOCAL */
const MEASURED = 1024;
const CALIBRATION = 200;
const SCORED = 500;

/** How the dense network teaches: as SNL and AutoReP are published, its share that of the labels. */
const TEACHING = { share: 0.5, temperature: 4 } as const;

export function reduceCommand(): Command {
  const command = new Command('reduce')
    .description('bring a trained network to a budget of ReLUs, and compile it')
    .argument('<model>', 'a .sottonet file, an ONNX model, or a safetensors file with --network')
    .requiredOption('--data <PATH...>', `labelled training images: ${LABELLED}`)
    .requiredOption('--budget <N>', 'ReLUs to keep')
    .requiredOption('-o, --output <NAME>', 'writes NAME.sottonet, NAME.sotto and NAME.json')
    .option(
      '--validation <PATH...>',
      'labelled images to validate on; unless given, a tenth of the data',
    )
    .addOption(
      new Option('--method <NAME|FILE>', 'how ReLUs are chosen, or a module that chooses them')
        .choices(METHODS)
        .argParser(methodOf)
        .default('autorep'),
    )
    .addOption(
      new Option(
        '--augment <KIND>',
        'variants of training images: crop (shifted and mirrored) or none',
      )
        .choices(['crop', 'none'])
        .default('crop'),
    )
    .option('--search-epochs <N>', 'epochs of a search; those of its method unless given')
    .option('--tune-epochs <N>', 'epochs of fine-tuning; 20 unless given')
    .option(
      '--settle-epochs <N>',
      'epochs behind those with batch norms as inference uses them; deep networks of squares want some',
    )
    .option(
      '--pressure <FACTOR>',
      'of autorep: how hard its search pushes at first; 1 unless given, more for large networks and short searches',
    )
    .option(
      '--scores <FILE>',
      'scores of another teacher for the training images, validation images left out: 32-bit floats, image by image; unless given, the network itself teaches',
    )
    .option('--batch <COUNT>', 'images of a shard', '64')
    .option('--shards <COUNT>', 'shards of a step, which run at the same time', '2')
    .option('--seed <N>', 'the same seed gives the same network', '1')
    .option(
      '--fair <WHAT>',
      `tune so that groups lose alike; groups of the training images: ${GROUPINGS}`,
    )
    .option('--one-sided', 'with --fair: only groups that do worse than the mean count')
    .option('--workers <COUNT>', 'threads (default: those of the machine)')
    .option(
      '--checkpoints <FOLDER>',
      'where to go on from after a stop; NAME.checkpoints unless given',
    );
  return withReadOptions(withFitOptions(command)).action(run);
}

/** @throws InvalidArgumentError when it is neither a method's name nor the path of a module */
function methodOf(text: string): string {
  if (METHODS.some((name) => name === text) || isModule(text)) return text;
  throw new InvalidArgumentError(
    `Allowed choices are ${METHODS.join(', ')}, or a module, such as ./mine.js.`,
  );
}

/** Bad options are told before anything is read or trained. */
function checked(options: ReduceCommandOptions): { augmentation?: Augmentation } {
  for (const name of ['batch', 'shards'] as const) {
    if (!(Number(options[name]) >= 1))
      throw new InvalidArgumentError(`--${name} should be at least 1`);
  }
  for (const name of ['search', 'tune', 'settle'] as const) {
    const epochs = Number(options[`${name}Epochs`] ?? 0);
    if (!(Number.isInteger(epochs) && epochs >= 0)) {
      throw new InvalidArgumentError(`--${name}-epochs should be a whole number, 0 or more`);
    }
  }
  if (!(Number(options.pressure ?? 1) > 0)) {
    throw new InvalidArgumentError(`--pressure should be above 0, not ${options.pressure}`);
  }
  if (options.augment === 'none') return {};
  return { augmentation: { kind: 'cropFlip', pad: 2 } };
}

async function run(path: string, options: ReduceCommandOptions): Promise<void> {
  const { augmentation } = checked(options);
  const method = isModule(options.method)
    ? await loadMethod(options.method)
    : (options.method as Method);
  const { output, data, validation: apart } = options;
  const budget = Number(options.budget);
  for (const kind of ['sottonet', 'json', 'sotto']) checkOutput(`${output}.${kind}`);
  const dense = readGraph(path, options);
  checkBudget(dense, budget);
  const { shape } = dense.input;
  const fit = fitOf(options);
  const all = await readLabelled(data, shape, fit);
  const sets =
    apart === undefined
      ? holdOut(all)
      : { training: all, validation: await readLabelled(apart, shape, fit) };
  const classes = new Network(dense, 1).results;
  const grouping =
    options.fair === undefined ? undefined : readGrouping(options.fair, all, classes);
  const taught =
    options.scores === undefined
      ? { graph: dense }
      : { logits: readScores(options.scores, sets.training.labels.length, classes) };
  const checkpoints = options.checkpoints ?? `${output}.checkpoints`;
  const pool = createTrainingPool(options.workers);
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort(`its checkpoints are in ${checkpoints}`));
  const training: Training = {
    ...sets,
    batch: Number(options.batch),
    shards: Number(options.shards),
    seed: Number(options.seed),
    augmentation,
    teacher: { ...taught, ...TEACHING },
    pool,
    signal: stop.signal,
    checkpoints,
    onProgress(stage, progress) {
      showStatus(`${stage}: ${progressLine(progress)}`);
    },
    onEpoch(stage, { epoch, epochs, loss, validation, note }) {
      const right = `${(100 * validation).toFixed(2)} % of the validation images right`;
      const line = `${stage}: epoch ${epoch}/${epochs}, loss ${loss.toFixed(4)}, ${right}`;
      say(note ? `${line}, ${note}` : line);
    },
  };
  try {
    const search =
      options.searchEpochs === undefined ? {} : { searchEpochs: Number(options.searchEpochs) };
    const push = options.pressure === undefined ? {} : { pressure: Number(options.pressure) };
    const tune = {
      ...(options.tuneEpochs !== undefined && { epochs: Number(options.tuneEpochs) }),
      ...(options.settleEpochs !== undefined && { settleEpochs: Number(options.settleEpochs) }),
    };
    const right = await accuracy(new Network(dense, training.batch), training);
    const warning = chanceWarning(right, training.validation.labels);
    if (warning !== undefined) say(warning);
    const points = await reduce(dense, budget, method, training, {
      snl: { ...search, tune },
      autorep: { ...search, ...push, tune },
      deepreduce: tune,
      tune,
    });
    const known = [{ name: 'all ReLUs', relus: reluCount(dense), accuracy: right }, ...points];
    let chosen = best(points, budget);
    if (grouping !== undefined) {
      const own = { ...grouping, of: grouping.of.subarray(0, sets.training.labels.length) };
      const fair = { ...tune, oneSided: options.oneSided ?? false };
      const graph = await mitigate(chosen.graph, own, training, fair);
      const right = await accuracy(new Network(graph, training.batch), training);
      chosen = { ...chosen, name: `${chosen.name}, groups tuned`, accuracy: right, graph };
      known.push(chosen);
    }
    for (const { name, relus, accuracy: right } of frontier(known)) {
      process.stdout.write(
        `${`${relus}`.padStart(9)} ReLUs  ${(100 * right).toFixed(2)} %  ${name}\n`,
      );
    }
    await finish(chosen.graph, dense, training, options, known);
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error;
    const help = `the same command goes on from ${checkpoints}`;
    throw new Error(`stopped: ${help}`, { cause: error });
  } finally {
    await pool.close();
  }
}

/** Looks at the reduced network, compiles it, scores it, and writes its files. */
async function finish(
  graph: Graph,
  dense: Graph,
  training: Training,
  options: ReduceCommandOptions,
  known: readonly Point[],
): Promise<void> {
  const { output, method, budget, seed } = options;
  const { validation } = training;
  await replaceFile(`${output}.sottonet`, saveGraph(graph));
  const fitted = measureRanges(graph, training.training, { ...training, images: MEASURED });
  const stability = await assess(graph, validation, { ...training, fitted });
  process.stdout.write(`${formatStability(stability)}\n`);
  for (const warning of warningsOf(stability)) process.stdout.write(`${warning}\n`);
  refuseUnstable(stability);
  const name = basename(output);
  const samples = slice(training.training, 0, CALIBRATION);
  const images = preprocessAll(graph.input, samples.pixels, samples.labels.length);
  const { model, report } = compile(graph, images, {
    ...{ name, compareBits: 'auto', onProgress: showStatus },
  });
  showStatus('');
  process.stdout.write(`${formatReport(report)}\n`);
  const scoring = createThreadPool<typeof scoreTasks>(
    new URL('../compile/worker.js', import.meta.url),
  );
  const { pixels, labels } = slice(validation, 0, Math.min(SCORED, validation.labels.length));
  const score = await scoreAll(scoring, { model, graph, pixels, labels });
  await scoring.close();
  process.stdout.write(`${formatScore(score)}\n`);
  const grouping = readGrouping('classes', validation, new Network(graph, 1).results);
  // A small set may lack a class: then there is nothing to compare.
  const complete = grouping.names.every((_, k) => validation.labels.includes(k));
  const card = {
    ...{ name, method, budget, seed: Number(seed), data: options.data },
    command: `sotto ${process.argv.slice(2).join(' ')}`,
    accuracy: {
      dense: known[0]!.accuracy,
      reduced: await accuracy(new Network(graph, training.batch), training),
      fixedPoint: score.fixedRight / score.images,
      fixedPointImages: score.images,
    },
    points: known,
    groups: complete
      ? {
          classes: {
            dense: await auditGroups(dense, validation, grouping, training),
            reduced: await auditGroups(graph, validation, grouping, training),
          },
        }
      : {},
    stability,
  };
  await replaceFile(`${output}.json`, formatCard(card, graph));
  const file = encodeModel(model);
  await replaceFile(`${output}.sotto`, file);
  const { relus, squares, identities } = countGraph(graph);
  process.stdout.write(
    `${output}.sotto: ${file.length} bytes, ${relus} ReLUs, ${squares} squares, ${identities} identities\n`,
  );
}
