/** What goes into an inference, and what comes out. */

import { decodeLogits } from '../protocol/program/input.ts';
import type { Program } from '../protocol/program/program.ts';
import {
  decodeResults,
  type ResultTensor,
  readOut,
  revealsLabel,
} from '../protocol/program/results.ts';
import { indexOfLargest } from '../protocol/ring/tensor.ts';
import type { PhaseStats } from './link.ts';

/** What a model made of an input. */
export interface Inference {
  /** Index of the largest logit of a program with one result; undefined when it has several. */
  readonly label: number | undefined;
  /** Its name, when the program names its classes. */
  readonly labelName: string | undefined;
  /** All logits, before readouts, one result after the other; undefined when the program reveals the label alone. */
  readonly logits: Float32Array | undefined;
  /** The results as the model's file has them, with their readouts done; of a program that reveals the label, that label. */
  readonly results: readonly ResultTensor[];
  /**
   * `offline`: the preparation of the bundle it used. `waitMs`: from the call to the beginning of the inference, for calls before it,
   * a bundle or a link.
   */
  readonly stats: {
    readonly offline: PhaseStats;
    readonly online: PhaseStats;
    readonly waitMs: number;
  };
}

/** @param raw - what the program computed */
export function answerOf(program: Program, raw: Int32Array): Omit<Inference, 'stats'> {
  const alone = revealsLabel(program);
  const label = alone ? raw[0]! : program.results.length === 1 ? indexOfLargest(raw) : undefined;
  return {
    label,
    labelName: label === undefined ? undefined : program.labels[label],
    logits: alone ? undefined : decodeLogits(program, raw),
    results: readOut(program, decodeResults(program, raw)),
  };
}

/** @throws TypeError when the pixels are not what the program takes */
export function floatsOf({ input }: Program, pixels: Float32Array | Uint8Array): Float32Array {
  if (pixels instanceof Float32Array) return pixels;
  if (input.limit !== undefined) {
    throw new TypeError('the model takes numbers and no pixels: expected a Float32Array');
  }
  if (pixels instanceof Uint8Array) return Float32Array.from(pixels, (pixel) => pixel / 255);
  throw new TypeError('pixels: expected a Float32Array in 0..1 or a Uint8Array in 0..255');
}
