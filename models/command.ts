/** `sotto compile`: makes the file that a server offers from a trained network. */

import { writeFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { Command } from 'commander';
import { createThreadPool } from '../protocol/pool/node.ts';
import { encodeModel } from '../protocol/program/model.ts';
import { COMPARISONS, type Comparison } from '../protocol/program/program.ts';
import { readImages } from './compile/images.ts';
import { type CompileOptions, compile, formatReport } from './compile/index.ts';
import { formatScore, scoreAll, type scoreTasks } from './compile/score.ts';
import { readLines, readWhole } from './files.ts';
import { loadNamed, NETWORK_NAMES } from './graph/builders/index.ts';
import { type Graph, loadGraph, preprocessAll } from './graph/index.ts';
import { readOnnxFile } from './onnx/index.ts';
import { showStatus } from './terminal.ts';

interface CompileCommandOptions {
  readonly calibrate: string;
  readonly output: string;
  readonly network?: string;
  readonly images: number;
  readonly activationBits?: number;
  readonly weightBits?: number;
  readonly compareBits?: string;
  readonly comparison?: Comparison;
  readonly margin?: string;
  readonly reveal?: string;
  readonly labels?: string;
  readonly name?: string;
  readonly mean?: string;
  readonly std?: string;
  readonly score?: string;
  readonly errors?: number;
}

/** Calibration images unless told. LOCAL. */
const IMAGES = 200;

export function compileCommand(): Command {
  return new Command('compile')
    .description('compile a trained network to a .sotto file, the model that a server offers')
    .argument('<model>', 'an ONNX model, a safetensors file with --network, or a .sottonet file')
    .requiredOption(
      '--calibrate <PATH>',
      'sample images to measure ranges on: a folder of PNG files, an IDX file or a CIFAR-10 file',
    )
    .requiredOption('-o, --output <FILE>', 'the .sotto file to write')
    .option('--network <NAME>', `what safetensors are the weights of: ${NETWORK_NAMES.join(', ')}`)
    .option('--images <N>', `sample images to measure on, at most; ${IMAGES} unless given`)
    .option('--activation-bits <N>', 'fractional bits of activations')
    .option('--weight-bits <N>', 'fractional bits of weights')
    .option(
      '--compare-bits <BITS>',
      "fractional bits a ReLU's comparison looks at: fewer cost fewer bytes; auto (default) measures how few each layer can do with",
    )
    .option(
      '--comparison <HOW>',
      'how ReLUs compare: encoded (default), or garbled, the baseline of half gates',
    )
    .option('--margin <FACTOR>', 'room for values larger than the measured ones')
    .option('--reveal <WHAT>', 'what clients learn: logits, or the label alone')
    .option('--labels <FILE>', 'names of the classes, one a line')
    .option('--name <NAME>', "the model's name; that of its file unless given")
    .option(
      '--mean <NUMBERS>',
      'per channel, of pixels in 0..1, with commas: what training subtracted',
    )
    .option('--std <NUMBERS>', 'per channel, with commas: what training divided by')
    .option(
      '--score <PATH>',
      'labelled images (IDX or CIFAR-10) to compare fixed point and float on',
    )
    .option('--errors <N>', "sample images to measure each layer's error on; none unless given")
    .action(run);
}

async function run(path: string, options: CompileCommandOptions): Promise<void> {
  const settings = settingsOf(path, options);
  const graph = readGraph(path, options);
  const { shape } = graph.input;
  const samples = await readImages(options.calibrate, shape, options.images ?? IMAGES);
  const scored =
    options.score === undefined
      ? undefined
      : await readImages(options.score, shape, Number.POSITIVE_INFINITY);
  if (scored !== undefined && scored.labels === undefined) {
    throw new Error(`${options.score} has no labels to score with`);
  }
  const images = preprocessAll(graph.input, samples.pixels, samples.count);
  const reveal = graph.readout === 'argmax' ? 'label' : 'logits';
  const { model, report } = compile(graph, images, { reveal, onProgress: showStatus, ...settings });
  showStatus('');
  process.stdout.write(`${formatReport(report)}\n`);
  if (scored?.labels !== undefined) {
    const pool = createThreadPool<typeof scoreTasks>(
      new URL('./compile/worker.js', import.meta.url),
    );
    const { pixels, labels } = scored;
    const score = await scoreAll(pool, { model, graph, pixels, labels });
    await pool.close();
    process.stdout.write(`${formatScore(score)}\n`);
  }
  const file = encodeModel(model);
  await writeFile(options.output, file);
  process.stdout.write(`${options.output}: ${file.length} bytes\n`);
}

function settingsOf(path: string, options: CompileCommandOptions): CompileOptions {
  const { activationBits, weightBits, compareBits, margin, reveal, labels, errors } = options;
  if (reveal !== undefined && reveal !== 'logits' && reveal !== 'label') {
    throw new TypeError(`--reveal should be logits or label, not ${reveal}`);
  }
  const { comparison } = options;
  if (comparison !== undefined && !COMPARISONS.includes(comparison)) {
    throw new TypeError(`--comparison should be ${COMPARISONS.join(' or ')}, not ${comparison}`);
  }
  return {
    name: options.name ?? basename(path, extname(path)),
    ...(comparison === undefined ? {} : { comparison }),
    ...(activationBits === undefined ? {} : { activationBits }),
    ...(weightBits === undefined ? {} : { weightBits }),
    compareBits: compareBits === undefined ? 'auto' : compareBitsOf(compareBits),
    ...(margin === undefined ? {} : { margin: Number(margin) }),
    ...(reveal === undefined ? {} : { reveal }),
    ...(errors === undefined ? {} : { errorImages: errors }),
    ...(labels === undefined ? {} : { labels: readLines(labels) }),
  };
}

function compareBitsOf(text: string): number | 'auto' {
  if (text === 'auto') return text;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new TypeError(`--compare-bits should be a whole number or auto, not ${text}`);
}

function numbersOf(option: string, text: string): number[] {
  const numbers = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  if (numbers.some((n) => !Number.isFinite(n))) {
    throw new TypeError(
      `${option} should be numbers with commas between them, such as 0.5,0.5,0.5`,
    );
  }
  return numbers;
}

/** Reads a network by what its file's name says it is. */
export function readGraph(
  path: string,
  options: Pick<CompileCommandOptions, 'network' | 'mean' | 'std'>,
): Graph {
  const { network } = options;
  const mean = options.mean === undefined ? {} : { mean: numbersOf('--mean', options.mean) };
  const std = options.std === undefined ? {} : { std: numbersOf('--std', options.std) };
  const bytes = readWhole(path);
  switch (extname(path)) {
    case '.onnx':
      return readOnnxFile(path, { ...mean, ...std });
    case '.sottonet': {
      const graph = loadGraph(bytes);
      return { ...graph, input: { ...graph.input, ...mean, ...std } };
    }
    case '.safetensors': {
      if (network === undefined) {
        throw new TypeError(
          `${path} holds weights alone: say with --network what they are of (${NETWORK_NAMES.join(', ')})`,
        );
      }
      const graph = loadNamed(network, bytes);
      return { ...graph, input: { ...graph.input, ...mean, ...std } };
    }
    default:
      throw new TypeError(`${path} should be an .onnx, .safetensors or .sottonet file`);
  }
}
