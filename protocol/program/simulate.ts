/**
 * Private runs without cryptography: the clear interpreter with the errors that shares make, drawn from their exact
 * distribution, and what they come to at the output.
 *
 * A bound from norms alone would hold for every input and say nothing: it multiplies the sums of absolute weights of all
 * layers, and by the largest possible slope of every square. So the error budget of a program is measured: the compiler
 * runs this on its calibration images and states the tolerance in the program.
 */

import type { Random } from '../random/index.ts';
import { randomRing } from '../random/index.ts';
import { linear } from '../ring/linear.ts';
import { fanIn, linearOutput } from '../ring/shape.ts';
import { interpret, nearest, type Rounding } from './clear.ts';
import { cutBits } from './cut.ts';
import type { LinearWeights, Model } from './model.ts';
import type { LinearStep, OutputStep, Program } from './program.ts';

/** Words drawn at a time. */
const BATCH = 2 ** 16;

/**
 * The error of a linear step's outputs, normally distributed with variance `perSquare` times the sum of squares of an
 * output's weights, plus `constant`, in units of the last place (inference/errors.ts).
 */
export interface LinearError {
  readonly perSquare: number;
  readonly constant: number;
}

/** The errors of a program's linear steps, by their index; none for a step that is left out. */
export type LinearErrors = ReadonlyMap<number, LinearError>;

/** The errors of shared arithmetic (gadgets/, linear/), for shares drawn from `random`. */
function sharedRounding(
  random: Random,
  { program, weights }: Model,
  errors: LinearErrors,
): Rounding {
  const { comparison, steps } = program;
  let words: Int32Array = new Int32Array(0);
  let used = 0;
  const draw = (): number => {
    if (used === words.length) {
      words = randomRing(random, BATCH);
      used = 0;
    }
    return words[used++]!;
  };
  /** floor(a / 2^bits) + floor(c / 2^bits) for a uniform c and a = x - c. */
  const floors = (x: number, bits: number): number => {
    const mask = 2 ** bits - 1;
    const c = draw() & mask;
    return (x - ((x - c) & mask) - c) / 2 ** bits;
  };
  /** What an encoded comparison of x = a + c gives; see compare/encoding.ts. */
  const encoded = (x: number, dropBits: number): boolean => {
    // With t = 0 it reads x - 1 (gadgets/relu.ts).
    const read = dropBits === 0 ? x - 1 : x;
    const mask = 2 ** dropBits - 1;
    const c = draw();
    const a = (read - c) | 0;
    const kept = (read - (a & mask) - (c & mask)) / 2 ** dropBits;
    // Where all bits differ, the lowest one of a decides.
    return kept === -1 ? ((a >> dropBits) & 1) === 1 : kept >= 0;
  };
  const truncate = (x: number, bits: number) => (bits === 0 ? x : floors(x, bits) + 1);
  return {
    product(exact, index) {
      const error = errors.get(index);
      const step = steps[index]!;
      if (error === undefined || step.op !== 'linear') return exact;
      const squares = outputSquares((weights[index] as LinearWeights).kernel, fanIn(step.shape));
      const plane = exact.length / squares.length;
      for (let output = 0, i = 0; output < squares.length; output++) {
        const deviation = Math.sqrt(error.perSquare * squares[output]! + error.constant);
        for (const end = i + plane; i < end; i++) {
          // Twelve uniform bytes of deviation 256 / sqrt(12), less their means.
          let sum = -12 * 127.5;
          for (let word = 0; word < 3; word++) {
            const bytes = draw();
            sum += (bytes & 255) + ((bytes >> 8) & 255) + ((bytes >> 16) & 255) + (bytes >>> 24);
          }
          exact[i]! += Math.round((deviation * sum) / 256);
        }
      }
      return exact;
    },
    truncate,
    positive: (x, dropBits) =>
      comparison === 'encoded' ? encoded(x, dropBits) : floors(x, dropBits) >= 0,
    reveal: (x, bits) => truncate(x, bits) << bits,
  };
}

/** Kernels' sums of squares by output, kept as long as the kernel. */
const knownSquares = new WeakMap<Int32Array, Float64Array>();

function outputSquares(kernel: Int32Array, taps: number): Float64Array {
  let squares = knownSquares.get(kernel);
  if (squares === undefined) {
    squares = new Float64Array(kernel.length / taps);
    for (let i = 0; i < kernel.length; i++) squares[Math.floor(i / taps)]! += kernel[i]! ** 2;
    knownSquares.set(kernel, squares);
  }
  return squares;
}

/** One private run's result, simulated: what inference/ would compute for some shares. */
export function runSimulated(
  model: Model,
  input: Int32Array,
  random: Random,
  errors: LinearErrors,
): Int32Array {
  return interpret(model, input, sharedRounding(random, model, errors), () => {});
}

/** The same rounding with whole logits: errors below what is cut off them (cut.ts) could not be measured. */
const whole = (rounding: Rounding): Rounding => ({ ...rounding, reveal: (x) => x });

/** The logits of a model with whole numbers of the output's scale, without any error. */
const exactLogits = (model: Model, input: Int32Array): Int32Array =>
  interpret(model, input, whole(nearest), () => {});

/** Fractional bits of what rounding has taken off weights. */
export const WEIGHT_RESIDUE_BITS = 5;

/** Adds what a linear layer would make of x beside its result, had its weights not been rounded. */
function addResidue(
  made: Int32Array,
  { program }: Model,
  index: number,
  x: Int32Array,
  residue: Int32Array,
): void {
  const step = program.steps[index] as LinearStep;
  const lost = linear(step.shape, x, residue, new Int32Array(linearOutput(step.shape)[0]));
  for (let i = 0; i < made.length; i++) made[i]! += lost[i]! >> WEIGHT_RESIDUE_BITS;
}

/**
 * A simulated run with the errors of one step alone, its logits whole.
 * @param shared - the errors of all steps
 */
function runSimulatedAt(
  step: number,
  model: Model,
  input: Int32Array,
  shared: Rounding,
  residue: Int32Array | undefined,
): Int32Array {
  // The interpreter tells of every step it has made, in order.
  let at = 0;
  const now = () => (at === step ? shared : nearest);
  const rounding: Rounding = {
    product(exact, index, x) {
      const made = now().product(exact, index, x);
      if (index === step && residue !== undefined) addResidue(made, model, index, x, residue);
      return made;
    },
    truncate: (x, bits) => now().truncate(x, bits),
    positive: (x, dropBits) => now().positive(x, dropBits),
    reveal: (x) => x,
  };
  return interpret(model, input, rounding, () => {
    at++;
  });
}

/**
 * What each step's errors come to at the output: root mean squares over the logits of all inputs, in units of the
 * output's last place. Local steps and the output have none.
 * @param residues by the index of linear steps: what rounding took off their weights, in 2^-WEIGHT_RESIDUE_BITS of their unit
 */
export function measureErrors(
  model: Model,
  inputs: readonly Int32Array[],
  random: Random,
  linearErrors: LinearErrors,
  residues: ReadonlyMap<number, Int32Array> = new Map(),
): Float64Array {
  const logits = { ...model, program: revealing(model.program, { reveal: 'logits' }) };
  const squares = new Float64Array(model.program.steps.length);
  let count = 0;
  for (const input of inputs) {
    const exact = exactLogits(logits, input);
    count += exact.length;
    model.program.steps.forEach(({ op }, i) => {
      if (op !== 'linear' && op !== 'activation') return;
      const shared = sharedRounding(random, logits, linearErrors);
      runSimulatedAt(i, logits, input, shared, residues.get(i)).forEach((value, j) => {
        squares[i]! += (value - exact[j]!) ** 2;
      });
    });
  }
  return squares.map((sum) => Math.sqrt(sum / Math.max(1, count)));
}

/** Standard deviations that a tolerance covers: beyond eight lies less than 2^-49 of a normal distribution. */
const DEVIATIONS = 8;

/** Simulated runs for each input: so many that the logits of all of them are a sample of some size. */
const runsFor = (logits: number) => Math.min(8, Math.max(2, Math.ceil(80 / logits)));

/**
 * How far a private logit may lie from runClear's, in units of the output's last place: eight standard deviations of the
 * difference, of the input on which it varies most.
 * @param inputs fixed-point inputs, typical ones
 */
export function measureTolerance(
  model: Model,
  inputs: readonly Int32Array[],
  random: Random,
  errors: LinearErrors,
): number {
  const logits = { ...model, program: revealing(model.program, { reveal: 'logits' }) };
  let worst = 0;
  const shared = whole(sharedRounding(random, logits, errors));
  for (const input of inputs) {
    const exact = exactLogits(logits, input);
    const runs = runsFor(exact.length);
    let squares = 0;
    for (let run = 0; run < runs; run++) {
      interpret(logits, input, shared, () => {}).forEach((value, i) => {
        squares += (value - exact[i]!) ** 2;
      });
    }
    worst = Math.max(worst, squares / (runs * exact.length));
  }
  // One more for the rounding of whole units. Of cut ones a private logit is off by one at most, a clear one by half.
  const cut = cutBits(logits.program);
  return Math.ceil(DEVIATIONS * Math.sqrt(worst)) + (cut === 0 ? 1 : 3 * 2 ** (cut - 1));
}

/** The same program with something of its output step changed. */
export function revealing(program: Program, change: Partial<OutputStep>): Program {
  const output = program.steps.at(-1) as OutputStep;
  return { ...program, steps: [...program.steps.slice(0, -1), { ...output, ...change }] };
}
