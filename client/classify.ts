/** Classes of images, the likeliest first: what is done around an inference for it. */

import { probabilities } from '../protocol/program/probabilities.ts';
import type { Program } from '../protocol/program/program.ts';
import { revealsLabel } from '../protocol/program/results.ts';
import type { Inference } from './answers.ts';
import type { Fit, ImageArgument, PixelReader } from './images.ts';
import { CALL_OPTIONS, type CallOptions, checkOptions } from './options.ts';

/** How an answer is told. */
export interface ClassOptions {
  /** Most classes in the answer; default: 5. */
  readonly topK?: number | undefined;
  /** How an image of another size is made to fit; default: `cover`. */
  readonly fit?: Fit | undefined;
  /**
   * What logits are divided by before the softmax; default: 1. Networks promise too much; the temperature on a model's card makes
   * scores hold for images like those it was tested on.
   */
  readonly temperature?: number | undefined;
}

/** Options of `classify()`. */
export interface ClassifyOptions extends CallOptions, ClassOptions {}

const CLASSIFY_OPTIONS = [...CALL_OPTIONS, 'topK', 'fit', 'temperature'];

/** A class of an answer. */
export interface Classification {
  /** Its name, or its index where the program names none. */
  readonly label: string;
  readonly index: number;
  /** Softmax of the logits, 0..1; undefined when the program reveals the label alone. */
  readonly score: number | undefined;
}

/** The options with their defaults. */
export interface CheckedClassOptions {
  readonly topK: number;
  readonly fit: Fit;
  readonly temperature: number;
}

const FITS: readonly Fit[] = ['cover', 'contain', 'fill'];

/**
 * @throws RangeError when an option is out of its range
 * @throws TypeError when the program's result is no list of classes
 */
export function checkClassOptions(
  program: Program,
  { topK = 5, fit = 'cover', temperature = 1 }: ClassOptions,
): CheckedClassOptions {
  if (!(Number.isInteger(topK) && topK >= 1)) {
    throw new RangeError(`topK: expected a positive integer, got ${topK}`);
  }
  if (!FITS.includes(fit)) {
    throw new RangeError(`fit: expected one of ${FITS.join(', ')}, got ${fit}`);
  }
  if (!(temperature > 0 && temperature < Infinity)) {
    throw new RangeError(`temperature: expected a positive number, got ${temperature}`);
  }
  const { results } = program;
  const classes = results.length === 1 && results[0]!.shape.filter((n) => n > 1).length <= 1;
  if (!revealsLabel(program) && !classes) {
    const what = results.map(({ name, shape }) => `${name} of ${shape.join('x')}`).join(', ');
    throw new TypeError(`the model gives ${what} and no list of classes: infer() has its results`);
  }
  return { topK, fit, temperature };
}

/** The classes of an answer, the likeliest first; of equals, the lower index. */
export function classesOf(
  { labels }: Pick<Program, 'labels'>,
  { label, logits }: Pick<Inference, 'label' | 'logits'>,
  { topK, temperature }: Pick<CheckedClassOptions, 'topK' | 'temperature'>,
): Classification[] {
  const named = (index: number, score: number | undefined): Classification => ({
    label: labels[index] ?? String(index),
    index,
    score,
  });
  if (logits === undefined) return [named(label!, undefined)];
  const shares = probabilities(logits, temperature);
  return [...logits.keys()]
    .sort((a, b) => logits[b]! - logits[a]! || a - b)
    .slice(0, topK)
    .map((index) => named(index, shares[index]!));
}

/** What an image is classified by. */
interface Classifier {
  readonly program: Program;
  infer(pixels: Float32Array, options: CallOptions): Promise<Inference>;
}

/** Reads an image and asks a session for its classes. */
export async function classifyImage(
  session: Classifier,
  readPixels: PixelReader,
  image: ImageArgument,
  options: ClassifyOptions,
): Promise<Classification[]> {
  checkOptions(options, CLASSIFY_OPTIONS);
  const { program } = session;
  const checked = checkClassOptions(program, options);
  const pixels = await readPixels(image, program.input.shape, checked.fit);
  const { signal, onProgress } = options;
  return classesOf(program, await session.infer(pixels, { signal, onProgress }), checked);
}
