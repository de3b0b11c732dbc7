/** `sotto reduce`: brings a trained network to a budget, and makes the file that a server offers from it. */

import { basename, join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { checkOutput, replaceFile } from '../../protocol/files.ts';
import { LINKS } from '../../protocol/inference/links.ts';
import { createThreadPool } from '../../protocol/pool/node.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { say, showStatus } from '../../protocol/terminal.ts';
import { formatReport } from '../compile/index.ts';
import { formatScore, scoreAll, type scoreTasks } from '../compile/score.ts';
import { ModelError } from '../errors.ts';
import { type FitOptions, fitOf, withFitOptions } from '../fit.ts';
import { countGraph, type Graph, preprocessAll, saveGraph } from '../graph/index.ts';
import { nearestWord } from '../nearest.ts';
import { type NetworkReadOptions, readGraph, withReadOptions } from '../read.ts';
import {
  type Augmentation,
  createTrainingPool,
  Network,
  progressLine,
  slice,
} from '../train/index.ts';
import { best, METHODS, type Method, type ReduceOptions, reduce } from './auto.ts';
import { type Budget, formatBudget, readBudget } from './budget.ts';
import { formatCard, formatPoints } from './card.ts';
import { type PricedPoint, Pricing, spent } from './cost.ts';
import {
  chanceWarning,
  GROUPINGS,
  holdOut,
  LABELLED,
  readGrouping,
  readLabelled,
  readScores,
} from './data.ts';
import type { TrainedPoint } from './deepreduce.ts';
import { checkBudget, reluCount } from './elements.ts';
import { mitigate } from './fairness.ts';
import { auditGroups, type Grouping } from './groups.ts';
import { isModule, loadMethod, type OwnMethod } from './own.ts';
import { measureRanges } from './ranges.ts';
import { LAMBDA } from './snl.ts';
import { assess, formatStability, refuseUnstable, warningsOf } from './stability.ts';
import { accuracy, type Training, type Tuning } from './training.ts';
import { reduceWithin } from './within.ts';

interface ReduceCommandOptions extends NetworkReadOptions, FitOptions {
  readonly data: readonly string[];
  readonly validation?: readonly string[];
  readonly budget: string;
  readonly link?: string;
  /** One of METHODS, or the path of a module. */
  readonly method: string;
  readonly output: string;
  readonly augment: keyof typeof AUGMENTATIONS;
  readonly searchEpochs?: string;
  readonly tuneEpochs?: string;
  readonly settleEpochs?: string;
  readonly rate?: string;
  readonly pressure?: string;
  readonly teacher?: string;
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

/** Variants of training images, by the height of an image. */
const AUGMENTATIONS = {
  crop: () => ({ kind: 'cropFlip', pad: 2 }),
  cut: (height) => ({ kind: 'shiftTurns', shift: 3, cutout: Math.round(height / 4) }),
  none: () => undefined,
} as const satisfies Record<string, (height: number) => Augmentation | undefined>;

/** How the dense network teaches: as SNL and AutoReP are published, its share that of the labels. */
const TEACHING = { share: 0.5, temperature: 4 } as const;

export function reduceCommand(): Command {
  const command = new Command('reduce')
    .description('bring a trained network to a budget of ReLUs, bytes or time, and compile it')
    .argument('<model>', 'a .sottonet file, an ONNX model, or a safetensors file with --network')
    .requiredOption('--data <PATH...>', `labelled training images: ${LABELLED}`)
    .requiredOption(
      '--budget <BUDGET>',
      'ReLUs to keep, such as 12900; or bytes of one inference, offline and online, such as 8MB; or its online time over a link, such as 400ms',
    )
    .addOption(
      new Option(
        '--link <NAME>',
        'of a budget of time, and what the OTs of a budget of bytes are made for: loopback; LAN (0.5 ms, 1 Gbit/s); WAN (40 ms, 100 Mbit/s); mobile (60 ms, 20 Mbit/s)',
      ).choices(LINKS.map(({ name }) => name)),
    )
    .requiredOption('-o, --output <NAME>', 'writes NAME.sottonet, NAME.sotto and NAME.json')
    .option(
      '--validation <PATH...>',
      'labelled images to validate on (default: the last tenth of the data)',
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
        'variants of training images: crop (shifted by 2 pixels and mirrored), cut (shifted by 3, mirrored, and without a square of a quarter of the height: more to learn, for long tuning) or none',
      )
        .choices(Object.keys(AUGMENTATIONS))
        .default('crop'),
    )
    .option('--search-epochs <N>', 'epochs of a search (default: those of its method)')
    .option('--tune-epochs <N>', 'epochs of fine-tuning (default: 20)')
    .option(
      '--settle-epochs <N>',
      'epochs behind those with batch norms as inference uses them; deep networks of squares want some',
    )
    .option(
      '--rate <RATE>',
      'highest learning rate of searches and fine-tuning, by Adam (default: 0.001); less where few epochs are to keep what a long training found',
    )
    .option(
      '--pressure <FACTOR>',
      'of autorep and snl: how hard their search pushes at first, as a factor (default: 1); more for large networks and short searches, less where the first epoch removes too much',
    )
    .option(
      '--teacher <FILE>',
      'a .sottonet file of the network to learn from beside the labels, such as the dense one of a network that is reduced further (default: the network itself)',
    )
    .addOption(
      new Option(
        '--scores <FILE>',
        'scores of another teacher for the training images, validation images left out: 32-bit floats, image by image',
      ).conflicts('teacher'),
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
      'where to go on from after a stop (default: NAME.checkpoints)',
    );
  return withReadOptions(withFitOptions(command)).action(run);
}

/** @throws InvalidArgumentError when it is neither a method's name nor the path of a module */
function methodOf(text: string): string {
  if (METHODS.some((name) => name === text) || isModule(text)) return text;
  const meant = nearestWord(text, METHODS);
  const which = meant === undefined ? '' : ` (Did you mean ${meant}?)`;
  throw new InvalidArgumentError(
    `It must be one of ${METHODS.join(', ')}, or a module such as ./mine.js.${which}`,
  );
}

/** Bad options are told before anything is read or trained. */
function checkOptions(options: ReduceCommandOptions): void {
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
  for (const name of ['rate', 'pressure'] as const) {
    if (!(Number(options[name] ?? 1) > 0)) {
      throw new InvalidArgumentError(`--${name} should be above 0, not ${options[name]}`);
    }
  }
}

async function run(path: string, options: ReduceCommandOptions): Promise<void> {
  checkOptions(options);
  const method = isModule(options.method)
    ? await loadMethod(options.method)
    : (options.method as Method);
  const { output, data, validation: apart, fair } = options;
  const budget = budgetOf(options);
  for (const kind of ['sottonet', 'json', 'sotto']) checkOutput(`${output}.${kind}`);
  const dense = readGraph(path, options);
  if (budget.unit === 'ReLUs') checkBudget(dense, budget.most);
  const { shape } = dense.input;
  const fit = fitOf(options);
  const all = await readLabelled(data, shape, fit);
  const sets =
    apart === undefined
      ? holdOut(all)
      : { training: all, validation: await readLabelled(apart, shape, fit) };
  const classes = new Network(dense, 1).results;
  const grouping = fair === undefined ? undefined : readGrouping(fair, all, classes);
  const taught =
    options.scores === undefined
      ? { graph: teacherOf(options, dense) }
      : { logits: readScores(options.scores, sets.training.labels.length, classes) };
  const pool = createTrainingPool(options.workers);
  const stop = new AbortController();
  const checkpoints = options.checkpoints ?? `${output}.checkpoints`;
  process.once('SIGINT', () => stop.abort(`its checkpoints are in ${checkpoints}`));
  const training: Training = {
    ...sets,
    batch: Number(options.batch),
    shards: Number(options.shards),
    seed: Number(options.seed),
    augmentation: AUGMENTATIONS[options.augment](shape[1]),
    teacher: { ...taught, ...TEACHING },
    pool,
    signal: stop.signal,
    checkpoints,
    ...TOLD,
  };
  try {
    const reduction = await reduced(dense, budget, method, training, options);
    const chosen =
      grouping === undefined
        ? reduction.chosen
        : await fairer(reduction, grouping, training, options);
    process.stdout.write(`${formatPoints(reduction.known, budget)}\n`);
    await finish(chosen, dense, training, options, { ...reduction, budget });
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error;
    const help = `the same command goes on from ${checkpoints}`;
    throw new Error(`stopped: ${help}`, { cause: error });
  } finally {
    await pool.close();
  }
}

/** @throws ModelError `argument` when it takes other images or gives other results than the network */
function teacherOf({ teacher }: ReduceCommandOptions, dense: Graph): Graph {
  if (teacher === undefined) return dense;
  const graph = readGraph(teacher, {});
  const [own, wanted] = [graph, dense].map(
    (one) => `${one.input.shape.join('x')} images to ${new Network(one, 1).results}`,
  );
  if (own === wanted) return graph;
  throw new ModelError(
    'argument',
    `${teacher} takes ${own} results, the network ${wanted}: it cannot teach it`,
  );
}

/** @throws InvalidArgumentError when it cannot be read */
function budgetOf({ budget, link }: ReduceCommandOptions): Budget {
  try {
    return readBudget(
      budget,
      LINKS.find(({ name }) => name === link),
    );
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** What a run says of its epochs. */
const TOLD: Pick<Training, 'onProgress' | 'onEpoch'> = {
  onProgress(stage, progress) {
    showStatus(`${stage}: ${progressLine(progress)}`);
  },
  onEpoch(stage, { epoch, epochs, loss, validation, note }) {
    const right = `${(100 * validation).toFixed(2)} % of the validation images right`;
    const line = `${stage}: epoch ${epoch}/${epochs}, loss ${loss.toFixed(4)}, ${right}`;
    say(note ? `${line}, ${note}` : line);
  },
};

/** Epochs, rates and pressure of all methods. */
function methodOptions(options: ReduceCommandOptions): ReduceOptions & { readonly tune: Tuning } {
  const rate = options.rate === undefined ? undefined : Number(options.rate);
  const search = {
    ...(options.searchEpochs !== undefined && { searchEpochs: Number(options.searchEpochs) }),
    ...(rate !== undefined && { searchRate: rate }),
  };
  const pressure = options.pressure === undefined ? 1 : Number(options.pressure);
  const tune = {
    ...(options.tuneEpochs !== undefined && { epochs: Number(options.tuneEpochs) }),
    ...(options.settleEpochs !== undefined && { settleEpochs: Number(options.settleEpochs) }),
    ...(rate !== undefined && { rate }),
  };
  return {
    snl: { ...search, lambda: pressure * LAMBDA, tune },
    autorep: { ...search, pressure, tune },
    channels: { ...search, tune },
    deepreduce: tune,
    tune,
  };
}

/** Networks that were made, compiled and priced, and which of them it is. */
interface Reduction {
  readonly pricing: Pricing;
  /** The dense network first. */
  readonly known: PricedPoint[];
  readonly chosen: PricedPoint;
}

/** Brings the network to its budget, and prices everything on the way. */
async function reduced(
  dense: Graph,
  budget: Budget,
  method: Method | OwnMethod,
  training: Training,
  options: ReduceCommandOptions,
): Promise<Reduction> {
  const { output } = options;
  const right = await accuracy(new Network(dense, training.batch), training);
  const warning = chanceWarning(right, training.validation.labels);
  if (warning !== undefined) say(warning);
  const samples = slice(training.training, 0, CALIBRATION);
  const pricing = new Pricing({
    images: preprocessAll(dense.input, samples.pixels, samples.labels.length),
    name: basename(output),
    memory: join(training.checkpoints!, 'prices.json'),
    onProgress: showStatus,
  });
  const start = { name: 'all ReLUs', relus: reluCount(dense), accuracy: right, graph: dense };
  const own = methodOptions(options);
  const price = (point: TrainedPoint) => pricing.price(point, budget);
  let known: PricedPoint[];
  if (budget.unit === 'ReLUs') {
    const points = await reduce(dense, budget.most, method, training, own);
    known = [start, ...points].map(price);
  } else {
    const first = price(start);
    const points = await reduceWithin(first, budget, method, training, pricing, own);
    known = [first, ...points.filter((point) => point !== first)];
  }
  showStatus('');
  // The dense network is a choice where it costs no more than the budget.
  const within = budget.unit === 'ReLUs' ? known.slice(1) : known;
  return { pricing, known, chosen: best(within, budget.most, (point) => spent(point, budget)) };
}

/** The chosen network after tuning that brings its groups together; one of the known ones from then on. */
async function fairer(
  { chosen, known, pricing }: Reduction,
  grouping: Grouping,
  training: Training,
  options: ReduceCommandOptions,
): Promise<PricedPoint> {
  const budget = budgetOf(options);
  const own = { ...grouping, of: grouping.of.subarray(0, training.training.labels.length) };
  const { tune } = methodOptions(options);
  const fair = { ...tune, oneSided: options.oneSided ?? false };
  const graph = await mitigate(chosen.graph, own, training, fair);
  const right = await accuracy(new Network(graph, training.batch), training);
  const { name, relus } = chosen;
  const point = { name: `${name}, groups tuned`, relus, accuracy: right, graph };
  const tuned = pricing.price(point, budget);
  known.push(tuned);
  if (spent(tuned, budget) > budget.most) {
    say(`warning: with its groups tuned the network costs more than ${formatBudget(budget)}`);
  }
  return tuned;
}

/** Looks at the reduced network, scores its program, and writes its files. */
async function finish(
  { graph, compiled, refused }: PricedPoint,
  dense: Graph,
  training: Training,
  options: ReduceCommandOptions,
  {
    known,
    budget,
  }: {
    readonly known: readonly PricedPoint[];
    readonly budget: Budget;
  },
): Promise<void> {
  const { output, method, seed } = options;
  const { validation } = training;
  await replaceFile(`${output}.sottonet`, saveGraph(graph));
  const fitted = measureRanges(graph, training.training, { ...training, images: MEASURED });
  const stability = await assess(graph, validation, { ...training, fitted });
  process.stdout.write(`${formatStability(stability)}\n`);
  for (const warning of warningsOf(stability)) process.stdout.write(`${warning}\n`);
  refuseUnstable(stability);
  if (compiled === undefined) throw refused;
  const { model, report } = compiled;
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
    ...{ name: basename(output), method, budget, seed: Number(seed), data: options.data },
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
