/**
 * A model: the public program and the server's secret numbers for it, and the `.sotto` file that keeps both.
 *
 * File: "SOTTO" 0 0 1 | u32 program bytes | program | per tensor, in step order: u8 width (2 or 4 bytes a number) and the
 * numbers, little-endian | SHA-256 of everything before it. Lengths of tensors follow from the program.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import type { Shape } from '../ring/shape.ts';
import { sizeOf, weightCount } from '../ring/shape.ts';
import { type CheckedProgram, checkProgram } from './check.ts';
import { decodeProgram, encodeProgram } from './encode.ts';
import { type ActivationKind, kindsIn } from './kinds.ts';
import type { ActivationStep, Program, Step } from './program.ts';

/** Weights of a linear layer: kernel as in ring/shape.ts, and the bias (at the output's scale), as the step says. */
export interface LinearWeights {
  readonly kernel: Int32Array;
  readonly bias: Int32Array;
}

/**
 * Secret constants of an activation layer: `before` is added to the pre-activation (at its scale), `after` to the result (at
 * the output's scale). Elements of one kind and one channel have one of each: of the kinds that the layer has, in the order
 * of KINDS, each has a number per channel. So they are a number per channel where all elements are of one kind.
 */
export interface ChannelConstants {
  readonly before: Int32Array;
  readonly after: Int32Array;
}

/** The secret numbers of one step; nothing for steps that have none. */
export type StepWeights = LinearWeights | ChannelConstants | undefined;

/** A program and the secret numbers of each of its steps. */
export interface Model {
  readonly program: Program;
  readonly weights: readonly StepWeights[];
}

const MAGIC = Uint8Array.of(0x53, 0x4f, 0x54, 0x54, 0x4f, 0, 0, 1);
const DIGEST_BYTES = 32;

/** Lengths of a step's two tensors, [0, 0] when it has none. */
function tensorLengths(step: Step, output: Shape): [number, number] {
  if (step.op === 'linear') {
    return [weightCount(step.shape), step.bias === 'element' ? sizeOf(output) : output[0]];
  }
  if (step.op !== 'activation' || !step.constants) return [0, 0];
  const length = kindsIn(step.kinds).length * output[0];
  return [length, length];
}

/** The constants of one kind of a layer's elements, a number per channel. */
export function constantsOf(
  { kinds }: Pick<ActivationStep, 'kinds'>,
  { before, after }: ChannelConstants,
  kind: ActivationKind,
): ChannelConstants {
  const own = kindsIn(kinds);
  const channels = before.length / own.length;
  const from = own.indexOf(kind) * channels;
  return {
    before: before.subarray(from, from + channels),
    after: after.subarray(from, from + channels),
  };
}

/** The tensors of a step, in the order of the file. */
export function tensorsOf(weights: StepWeights): Int32Array[] {
  if (weights === undefined) return [];
  return 'kernel' in weights ? [weights.kernel, weights.bias] : [weights.before, weights.after];
}

/**
 * Checks the program, and that each of its steps has its tensors.
 * @throws RangeError naming the step: one of the program's, or whose tensor is missing or has the wrong length
 */
export function checkModel(model: Model): CheckedProgram {
  const { program } = model;
  const shapes = checkProgram(program);
  program.steps.forEach((step, i) => {
    const expected = tensorLengths(step, shapes[i + 1] as Shape).filter((n) => n > 0);
    const actual = tensorsOf(model.weights[i]).map((tensor) => tensor.length);
    if (expected.join() !== actual.join()) {
      throw new RangeError(
        `model step "${step.name}": expected tensors of ${expected.join(' and ') || 'no'} numbers, got ${actual.join(' and ') || 'none'}`,
      );
    }
  });
  return { program, shapes };
}

/** The `.sotto` bytes of a model. */
export function encodeModel(model: Model): Uint8Array {
  checkModel(model);
  const program = encodeProgram(model.program);
  const tensors = model.weights.flatMap(tensorsOf).map((values) => {
    const narrow = values.every((v) => v === (v << 16) >> 16);
    return { narrow, values };
  });
  const body = tensors.reduce((sum, t) => sum + 1 + t.values.length * (t.narrow ? 2 : 4), 0);
  const out = new Uint8Array(MAGIC.length + 4 + program.length + body + DIGEST_BYTES);
  const view = new DataView(out.buffer);
  out.set(MAGIC);
  view.setUint32(MAGIC.length, program.length, true);
  out.set(program, MAGIC.length + 4);
  let at = MAGIC.length + 4 + program.length;
  for (const { narrow, values } of tensors) {
    out[at++] = narrow ? 2 : 4;
    for (const value of values) {
      if (narrow) view.setInt16(at, value, true);
      else view.setInt32(at, value, true);
      at += narrow ? 2 : 4;
    }
  }
  out.set(sha256(out.subarray(0, at)), at);
  return out;
}

/**
 * Reads a `.sotto` file.
 * @throws RangeError with one sentence on what is wrong: not a model, cut short, changed, or an invalid program
 */
export function decodeModel(bytes: Uint8Array): Model {
  const fail = (what: string): never => {
    throw new RangeError(`model file: ${what}`);
  };
  if (bytes.length < MAGIC.length || !MAGIC.every((b, i) => bytes[i] === b)) {
    fail('this is not a .sotto file of version 1');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length - DIGEST_BYTES;
  let at = MAGIC.length + 4;
  if (end < at) fail('it is cut short');
  const programBytes = view.getUint32(MAGIC.length, true);
  if (at + programBytes > end) fail('it is cut short');
  const { program, shapes } = decodeProgram(bytes.subarray(at, at + programBytes));
  at += programBytes;
  const weights = program.steps.map((step, i): StepWeights => {
    const tensors = tensorLengths(step, shapes[i + 1] as Shape).map((length) => {
      if (length === 0) return new Int32Array(0);
      if (at >= end) fail('it is cut short');
      const width = bytes[at++];
      if (width !== 2 && width !== 4) return fail(`weights of "${step.name}" are not readable`);
      if (at + length * width > end) fail('it is cut short');
      const values = new Int32Array(length);
      for (let j = 0; j < length; j++, at += width) {
        values[j] = width === 2 ? view.getInt16(at, true) : view.getInt32(at, true);
      }
      return values;
    });
    const [first, second] = tensors as [Int32Array, Int32Array];
    if (first.length === 0) return undefined;
    return step.op === 'linear'
      ? { kernel: first, bias: second }
      : { before: first, after: second };
  });
  if (at !== end) fail(`${end - at} bytes follow the last weight`);
  const digest = sha256(bytes.subarray(0, end));
  if (!digest.every((b, i) => b === bytes[end + i])) fail('its contents do not match its checksum');
  return { program, weights };
}
