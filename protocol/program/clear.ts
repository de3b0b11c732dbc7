/**
 * What a program computes: its exact meaning in fixed point, on the clear input, with all the model's secrets.
 *
 * This is the definition a private run is compared with. The two differ by rounding alone: a private truncation may end
 * one unit in the last place beside the one done here (simulate.ts measures what that comes to at the output).
 */

import { linear } from '../ring/linear.ts';
import type { Shape } from '../ring/shape.ts';
import { sizeOf } from '../ring/shape.ts';
import { indexOfLargest } from '../ring/tensor.ts';
import { checkProgram, type Shapes } from './check.ts';
import { cutBits, outputLimit } from './cut.ts';
import { type ActivationKind, type ElementRounding, kindOf, kindsIn } from './kinds.ts';
import { localOf } from './local.ts';
import { marginsOf } from './margins.ts';
import { type ChannelConstants, constantsOf, type LinearWeights, type Model } from './model.ts';
import type { ActivationStep, OutputStep, Program, Step } from './program.ts';
import { walk } from './walk.ts';

/**
 * Sees what each step made, in order.
 * @param value the step's result; not to be changed
 * @param outOfRange elements of the step's input that break the range the program promises for it: a private run may
 *   go wrong there. Only activation and output steps promise one
 */
export type ClearObserver = (step: Step, value: Int32Array, outOfRange: number) => void;

/** x / 2^bits rounded to the nearest integer, halves up. */
export function roundShift(x: number, bits: number): number {
  return bits === 0 ? x : (x >> bits) + ((x >> (bits - 1)) & 1);
}

/** Where runs of one program may differ: how they round. */
export interface Rounding extends ElementRounding {
  /** What the linear layer that step `index` is makes of x, given its exact result, which may be changed in place. */
  product(exact: Int32Array, index: number, x: Int32Array): Int32Array;
  /** The logit that the client learns for x: a multiple of 2^bits. */
  reveal(x: number, bits: number): number;
}

/** No error but the nearest integer. */
export const nearest: Rounding = {
  product: (exact) => exact,
  truncate: roundShift,
  positive: (x) => x > 0,
  reveal: (x, bits) => roundShift(x, bits) << bits,
};

/**
 * Runs a model on a clear input, mod 2^32.
 * @param input fixed-point input (see encodeInput)
 * @param observe sees every step; without it a value outside its range is an error
 * @returns the logits, at the output's scale and rounded as cut.ts says, or one element, the label's index, when the program
 *   reveals the label alone
 * @throws RangeError when the input has the wrong size, or a value breaks its range and nobody observes
 */
export function runClear(model: Model, input: Int32Array, observe?: ClearObserver): Int32Array {
  return interpret(model, input, nearest, observe);
}

/** Shapes of programs that have been checked: calibration runs the same program thousands of times. */
const checked = new WeakMap<Program, Shapes>();

function shapesOf(program: Program): Shapes {
  let shapes = checked.get(program);
  if (shapes === undefined) {
    shapes = checkProgram(program);
    checked.set(program, shapes);
  }
  return shapes;
}

/** {@link runClear} with another rounding. */
export function interpret(
  { program, weights }: Model,
  input: Int32Array,
  rounding: Rounding,
  observe: ClearObserver = refuseOutOfRange,
): Int32Array {
  const shapes = shapesOf(program);
  const margins = marginsOf(program);
  if (input.length !== sizeOf(program.input.shape)) {
    throw new RangeError(
      `the input of "${program.name}" has ${sizeOf(program.input.shape)} elements, got ${input.length}`,
    );
  }
  const made = (step: Step, value: Int32Array, outOfRange = 0) => {
    observe(step, value, outOfRange);
    return value;
  };
  return walk<Int32Array>(program, {
    input: () => input,
    linear: (step, x, i) => {
      const { kernel, bias } = weights[i] as LinearWeights;
      return made(step, rounding.product(linear(step.shape, x, kernel, bias), i, x));
    },
    local: (step, inputs) => made(step, localOf(shapes, step, inputs)),
    activation: (step, x, i) => {
      const constants = weights[i] as ChannelConstants | undefined;
      const site = { shape: shapes[i + 1] as Shape, constants, margin: margins[step.input]! };
      const { value, outOfRange } = runActivation(step, site, x, rounding);
      return made(step, value, outOfRange);
    },
    output: (step, x) =>
      made(
        step,
        runOutput(step, x, cutBits(program), rounding),
        countBeyond(x, outputLimit(program)),
      ),
  });
}

function refuseOutOfRange(step: Step, _value: Int32Array, outOfRange: number): void {
  if (outOfRange > 0) {
    throw new RangeError(
      `"${step.name}": ${outOfRange} inputs leave the layer's range; compile with more calibration data or a wider margin`,
    );
  }
}

/** What an activation layer knows beside its step. */
interface ActivationSite {
  readonly shape: Shape;
  readonly constants: ChannelConstants | undefined;
  /** See margins.ts. */
  readonly margin: number;
}

function runActivation(
  step: ActivationStep,
  { shape, constants, margin }: ActivationSite,
  x: Int32Array,
  rounding: Rounding,
): { value: Int32Array; outOfRange: number } {
  const { kinds, rangeBits, dropBits } = step;
  const limit = 2 ** (rangeBits - 1) - 2 ** dropBits - margin;
  const plane = shape[1] * shape[2];
  const value = new Int32Array(x.length);
  const added: ChannelConstants[] = [];
  if (constants !== undefined) {
    for (const kind of kindsIn(kinds)) added[kind] = constantsOf(step, constants, kind);
  }
  let outOfRange = 0;
  for (let i = 0; i < x.length; i++) {
    const kind = kinds[i] as ActivationKind;
    let element = x[i] as number;
    const own = added[kind];
    if (own !== undefined) {
      const { before, after } = own;
      const channel = Math.floor(i / plane);
      element = (element + (before[channel] as number)) | 0;
      value[i] = after[channel] as number;
    }
    value[i]! += kindOf(kind).clear(element, step, rounding);
    if (Math.abs(element) >= limit) outOfRange++;
  }
  return { value, outOfRange };
}

function countBeyond(x: Int32Array, limit: number): number {
  return x.reduce((count, element) => count + (Math.abs(element) >= limit ? 1 : 0), 0);
}

function runOutput(
  { reveal }: OutputStep,
  x: Int32Array,
  cut: number,
  rounding: Rounding,
): Int32Array {
  if (reveal === 'label') return Int32Array.of(indexOfLargest(x));
  return x.map((logit) => rounding.reveal(logit, cut));
}
