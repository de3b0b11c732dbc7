/** `sotto compile`: makes the file that a server offers from a trained network. */

import { basename, extname } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { checkOutput, replaceFile } from '../protocol/files.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { encodeModel } from '../protocol/program/model.ts';
import { COMPARISONS, type Comparison } from '../protocol/program/program.ts';
import { showStatus } from '../protocol/terminal.ts';
import {
  type CompileOptions,
  compileMeasured,
  formatReport,
  prepare,
  usualComparison,
} from './compile/index.ts';
import { formatScore, type ScoredImages, scoreAll, type scoreTasks } from './compile/score.ts';
import { ModelError } from './errors.ts';
import { readLines } from './files.ts';
import { countOf, type FitOptions, fitOf, withFitOptions } from './fit.ts';
import { type Graph, preprocessAll } from './graph/index.ts';
import { measureOnThreads } from './measuring.ts';
import { MODEL_HELP, type NetworkReadOptions, readGraph, withReadOptions } from './read.ts';
import { type Images, readImages } from './samples/index.ts';

interface CompileCommandOptions extends NetworkReadOptions, FitOptions {
  readonly calibrate: readonly string[];
  readonly output: string;
  readonly images?: string;
  readonly activationBits?: string;
  readonly weightBits?: string;
  readonly compareBits?: string;
  readonly comparison?: Comparison;
  readonly margin?: string;
  readonly reveal?: 'logits' | 'label';
  readonly labels?: string;
  readonly name?: string;
  readonly score?: string;
  readonly errors?: string;
  readonly force?: true;
}

/** Most calibration images where the command does not say. LOCAL. */
const IMAGES = 200;

export function compileCommand(): Command {
  const command = new Command('compile')
    .description('compile a trained network to a .sotto file, the model that a server offers')
    .argument('<model>', MODEL_HELP)
    .requiredOption(
      '--calibrate <PATH>',
      'samples to measure ranges on: PNG and JPEG files, folders of them, folders of one folder for each class, .npy, .npz, CSV, IDX and CIFAR files, or the folder of MNIST or CIFAR; may be given several times',
      (path: string, before: readonly string[] | undefined) => [...(before ?? []), path],
    )
    .requiredOption('-o, --output <FILE>', 'the .sotto file to write')
    .option('--images <N>', `samples to measure on, at most (default: ${IMAGES})`)
    .option(
      '--activation-bits <N>',
      'fractional bits of activations whose largest sample is about 1 (default: 14, fewer where a range needs it)',
    )
    .option(
      '--weight-bits <N>',
      'how precise weights are: rounding them errs results by 2^-N of their size (default: 8)',
    )
    .option(
      '--compare-bits <BITS>',
      "fractional bits a ReLU's comparison looks at: fewer cost fewer bytes; auto measures how few each layer can do with (default: auto, of a network with more than 10^8 multiplications 12)",
    )
    .addOption(
      new Option(
        '--comparison <HOW>',
        'how ReLUs compare: encoded (default), or garbled, the baseline of half gates',
      ).choices(COMPARISONS),
    )
    .option('--margin <FACTOR>', 'room for values larger than the measured ones')
    .addOption(
      new Option('--reveal <WHAT>', 'what clients learn: logits, or the label alone').choices([
        'logits',
        'label',
      ]),
    )
    .option('--labels <FILE>', 'names of the classes, one a line')
    .option('--name <NAME>', "the model's name (default: that of its file)")
    .option(
      '--score <PATH>',
      'labelled images to compare fixed point and float on: folders by class, .npz, CSV, IDX or CIFAR files',
    )
    .option('--errors <N>', "samples to measure each layer's error on (default: 0)")
    .option('--force', "write the model even if its results are not the float network's");
  return withReadOptions(withFitOptions(command)).action(run);
}

async function run(path: string, options: CompileCommandOptions): Promise<void> {
  const settings = settingsOf(path, options);
  checkOutput(options.output);
  const graph = readGraph(path, options);
  const fit = fitOf(options);
  const samples = await readImages(options.calibrate, graph.input, {
    ...fit,
    most: options.images === undefined ? IMAGES : countOf('--images', options.images),
    onProgress: (done, total) => showStatus(`reading ${done} of ${total} samples`),
  });
  const scored =
    options.score === undefined
      ? undefined
      : scorable(await readImages(options.score, graph.input, fit), options.score);
  const images = preprocessAll(graph.input, samples.pixels, samples.count);
  const prepared = prepare(graph, settings);
  const measured = await measureOnThreads(prepared.graph, prepared.wanted, images);
  const { model, report } = compileMeasured(prepared, images, measured, {
    ...defaultsOf(graph),
    onProgress: showStatus,
    ...settings,
  });
  showStatus('');
  process.stdout.write(`${formatReport(report)}\n`);
  if (scored !== undefined) {
    const pool = createThreadPool<typeof scoreTasks>(
      new URL('./compile/worker.js', import.meta.url),
    );
    const score = await scoreAll(pool, { model, graph, ...scored });
    await pool.close();
    process.stdout.write(`${formatScore(score)}\n`);
  }
  const file = encodeModel(model);
  await replaceFile(options.output, file);
  process.stdout.write(`${options.output}: ${file.length} bytes\n`);
}

/** What a network's kind and size decide where the command does not say. */
function defaultsOf(graph: Graph): Pick<CompileOptions, 'reveal' | 'compareBits'> {
  const [result, ...others] = graph.results ?? [];
  const isLabel = result?.readout?.kind === 'argmax' && others.length === 0;
  return {
    reveal: isLabel && result.shape.filter((n) => n > 1).length <= 1 ? 'label' : 'logits',
    ...usualComparison(graph),
  };
}

/** @throws ModelError `data` when there are no labels to score with, or what scoring does not take */
function scorable({ pixels, labels }: Images, path: string): ScoredImages {
  if (labels === undefined) throw new ModelError('data', `${path} has no labels to score with`);
  if (!(pixels instanceof Uint8Array) || !(labels instanceof Uint8Array)) {
    throw new ModelError(
      'data',
      `${path} should have pixels and at most 256 classes to score with`,
    );
  }
  return { pixels, labels };
}

function settingsOf(path: string, options: CompileCommandOptions): CompileOptions {
  const { activationBits, weightBits, compareBits, margin, reveal, labels, errors, force } =
    options;
  const { comparison } = options;
  return {
    name: options.name ?? basename(path, extname(path)),
    ...(comparison === undefined ? {} : { comparison }),
    ...(activationBits === undefined
      ? {}
      : { activationBits: countOf('--activation-bits', activationBits) }),
    ...(weightBits === undefined ? {} : { weightBits: countOf('--weight-bits', weightBits) }),
    ...(compareBits === undefined ? {} : { compareBits: compareBitsOf(compareBits) }),
    ...(margin === undefined ? {} : { margin: Number(margin) }),
    ...(reveal === undefined ? {} : { reveal }),
    ...(errors === undefined ? {} : { errorImages: countOf('--errors', errors) }),
    ...(force === undefined ? {} : { force }),
    ...(labels === undefined ? {} : { labels: readLines(labels) }),
  };
}

function compareBitsOf(text: string): number | 'auto' {
  if (text === 'auto') return text;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`--compare-bits should be a whole number or auto, not ${text}`);
}
