/** Reading networks from files, as all commands that take one do. Node only. */

import { existsSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { readWholeSync } from '../protocol/files.ts';
import { ModelError } from './errors.ts';
import { type Graph, loadGraph } from './graph/index.ts';
import { loadNamed, NETWORK_NAMES } from './networks/index.ts';
import { exportAdvice } from './onnx/exporters.ts';
import { type OnnxOptions, type OnnxReading, readOnnxFile, tryOnnxFile } from './onnx/index.ts';

/** How a network is read: the options of every command that takes one. */
export interface NetworkReadOptions {
  readonly network?: string;
  readonly mean?: string;
  readonly std?: string;
  readonly outputName?: readonly string[];
  readonly shape?: readonly string[];
  readonly layout?: 'NCHW' | 'NHWC';
  readonly numbers?: boolean;
  readonly pixels?: boolean;
}

/** What a command's argument is, in its help. */
export const MODEL_HELP = 'an ONNX model, a safetensors file with --network, or a .sottonet file';

const also = (value: string, list: readonly string[] = []): string[] => [...list, value];

/** Gives a command the options that say how its network is read. */
export function withReadOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--network <NAME>', 'what safetensors are the weights of').choices(NETWORK_NAMES),
    )
    .option(
      '--mean <NUMBERS>',
      'per channel, of pixels in 0..1, with commas: what training subtracted',
    )
    .option('--std <NUMBERS>', 'per channel, with commas: what training divided by')
    .option(
      '--output-name <NAME>',
      'an output of the ONNX model to read up to; may be repeated',
      also,
    )
    .option(
      '--shape <NAME=NUMBERS>',
      'extents of an input that the ONNX model leaves open, as x=1,3,64,64; may be repeated',
      also,
    )
    .addOption(
      new Option('--layout <LAYOUT>', 'where the channels of an ONNX image are').choices([
        'NCHW',
        'NHWC',
      ]),
    )
    .option('--numbers', 'the network takes numbers of any size')
    .option('--pixels', 'the network takes pixels');
}

function numbersOf(option: string, text: string): number[] {
  const numbers = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  if (numbers.some((n) => !Number.isFinite(n))) {
    throw new InvalidArgumentError(
      `${option} should be numbers with commas between them, such as 0.5,0.5,0.5`,
    );
  }
  return numbers;
}

function shapeOf(text: string): [string, number[]] {
  const at = text.lastIndexOf('=');
  const list =
    at < 1
      ? []
      : text
          .slice(at + 1)
          .split(',')
          .map(Number);
  if (list.length === 0 || list.some((n) => !Number.isSafeInteger(n) || n < 1)) {
    throw new InvalidArgumentError(`--shape should be like x=1,3,64,64, not ${text}`);
  }
  return [text.slice(0, at), list];
}

function onnxOptions(options: NetworkReadOptions): OnnxOptions {
  const { outputName, shape, layout } = options;
  return {
    ...inputOptions(options),
    ...(outputName === undefined ? {} : { outputs: outputName }),
    ...(shape === undefined ? {} : { shapes: new Map(shape.map(shapeOf)) }),
    ...(layout === undefined ? {} : { layout }),
  };
}

/** What is said about the input. */
function inputOptions({
  mean,
  std,
  numbers,
  pixels,
}: NetworkReadOptions): Pick<OnnxOptions, 'mean' | 'std' | 'numbers'> {
  if (numbers && pixels)
    throw new InvalidArgumentError('--numbers and --pixels exclude each other');
  return {
    ...(mean === undefined ? {} : { mean: numbersOf('--mean', mean) }),
    ...(std === undefined ? {} : { std: numbersOf('--std', std) }),
    ...(numbers ? { numbers: true } : pixels ? { numbers: false } : {}),
  };
}

/** A graph whose input is what the options say. */
function withInput(graph: Graph, options: NetworkReadOptions): Graph {
  const { numbers, ...rest } = inputOptions(options);
  const { numbers: own, ...input } = graph.input;
  const takesNumbers = numbers ?? own ?? false;
  return { ...graph, input: { ...input, ...rest, ...(takesNumbers ? { numbers: true } : {}) } };
}

/** Whether a path is a folder that TensorFlow saved. */
function isSavedModel(path: string): boolean {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  return isFolder && existsSync(join(path, 'saved_model.pb'));
}

function refuse(path: string): never {
  const isFolder = isSavedModel(path);
  // Says so when there is none.
  if (!isFolder && !existsSync(path)) readWholeSync(path);
  const file = isFolder ? join(path, 'saved_model.pb') : path;
  const advice = exportAdvice(file);
  throw new ModelError(
    'argument',
    advice ?? `${path} should be an .onnx, .safetensors or .sottonet file`,
  );
}

function readOther(path: string, options: NetworkReadOptions): Graph {
  const { network } = options;
  switch (extname(path)) {
    case '.sottonet':
      return withInput(loadGraph(readWholeSync(path)), options);
    case '.safetensors': {
      const bytes = readWholeSync(path);
      if (network === undefined) {
        throw new ModelError(
          'argument',
          `${path} holds weights alone: say with --network what they are of (${NETWORK_NAMES.join(', ')})`,
        );
      }
      return withInput(loadNamed(network, bytes), options);
    }
    default:
      return refuse(path);
  }
}

/** Reads a network by what its file's name says it is. */
export function readGraph(path: string, options: NetworkReadOptions): Graph {
  return naming(path, () =>
    extname(path) === '.onnx' ? readOnnxFile(path, onnxOptions(options)) : readOther(path, options),
  );
}

/** What is wrong with a file's contents says which file it is. */
function naming<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { message } = error as Error;
    if (!(error instanceof RangeError) || message.includes(path)) throw error;
    const code = error instanceof ModelError ? error.code : 'file';
    throw new ModelError(code, `${path}: ${message}`, { cause: error });
  }
}

/** Reads a network as far as it can be: the graph, or all that is in the way. */
export function tryGraph(path: string, options: NetworkReadOptions): OnnxReading {
  return naming(path, () =>
    extname(path) === '.onnx'
      ? tryOnnxFile(path, onnxOptions(options))
      : { graph: readOther(path, options) },
  );
}
