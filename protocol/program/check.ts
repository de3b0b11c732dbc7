/**
 * Is this a program both parties can run? Shapes fit, every value is made before it is read and read at least once,
 * ranges fit the ring, and each linear layer's input is one the client can mask before anything is known (protocol/README,
 * "Sharing"): the network input or activation outputs, through public local operations only.
 */

import type { Shape } from '../ring/shape.ts';
import { linearInputSize, linearOutput, sizeOf } from '../ring/shape.ts';
import { cutBits, outputLimit } from './cut.ts';
import { isKind, KINDS, kindOf, kindsIn, RELU } from './kinds.ts';
import { localShape } from './local.ts';
import { marginOf } from './margins.ts';
import type {
  ActivationStep,
  LinearStep,
  LocalStep,
  OutputStep,
  Program,
  Step,
} from './program.ts';
import { inputsOf } from './program.ts';
import { resultSize, revealsLabel } from './results.ts';

/** Widest range of the logits, in bits: an argmax compares them as a ReLU does. SECURITY. */
const MAX_OUTPUT_BITS = kindOf(RELU).maxRangeBits;

/** The shapes of all values: element 0 is the input's, element i + 1 is step i's. */
export type Shapes = readonly Shape[];

/** A program that {@link checkProgram} has let pass, with what it gave. */
export interface CheckedProgram {
  readonly program: Program;
  readonly shapes: Shapes;
}

/** What is known of a value when steps read it. */
interface Known {
  readonly shape: Shape;
  readonly fractionBits: number;
  /** Fresh: the client knows its share of this value before the server's first answer. */
  readonly fresh: boolean;
  /** The most its shares err by, in units of the last place; see margins.ts. */
  readonly margin: number;
}

/** Refuses a step: the sentence says what is wrong with it. */
type Fail = (what: string) => never;

/**
 * Checks `program` and returns the shape of every value.
 * @throws RangeError with one sentence that names the step and what would be right
 */
export function checkProgram(program: Program): Shapes {
  const { steps, input } = program;
  checkInput(input);
  if (steps.length === 0) throw new RangeError('program: there are no steps');
  const { shape, fractionBits } = input;
  const values: Known[] = [{ shape, fractionBits, fresh: true, margin: 0 }];
  const shapes: Shape[] = [shape];
  const margins = [0];
  const used = new Set<number>();
  for (const [i, step] of steps.entries()) {
    const fail: Fail = (what) => {
      throw new RangeError(`program step "${step.name}" (${step.op}): ${what}`);
    };
    for (const value of inputsOf(step)) {
      if (!(Number.isInteger(value) && value >= 0 && value <= i)) {
        fail(`reads value ${value}, but only values 0..${i} exist before it`);
      }
      used.add(value);
    }
    if ((step.op === 'output') !== (i === steps.length - 1)) {
      fail('the one output step must come last');
    }
    const made = checkStep(program, step, values, fail);
    shapes.push(made.shape);
    const margin = marginOf(step, margins, shapes);
    margins.push(margin);
    values.push({ ...made, fractionBits: step.fractionBits, margin });
  }
  for (let value = 0; value < steps.length; value++) {
    if (!used.has(value)) {
      const what = value === 0 ? 'the input' : `the result of "${steps[value - 1]?.name}"`;
      throw new RangeError(`program: nothing reads ${what}`);
    }
  }
  checkResults(program, sizeOf(shapes[steps.length] as Shape));
  return shapes;
}

function checkInput(input: Program['input']): void {
  if (!input.shape.every((n) => Number.isInteger(n) && n > 0)) {
    throw new RangeError(`program input: shape must be positive, got ${input.shape.join('x')}`);
  }
  if (input.mean.length !== input.shape[0] || input.std.length !== input.shape[0]) {
    throw new RangeError('program input: one mean and one std per channel are needed');
  }
  if (input.limit !== undefined && !(input.limit > 0 && inputLimit(input) < 2 ** 31)) {
    throw new RangeError(
      `program input: numbers up to ${input.limit} with ${input.fractionBits} fractional bits do not fit 32 bits`,
    );
  }
}

/** Checks a step whose inputs exist; what it makes. */
function checkStep(
  program: Program,
  step: Step,
  values: readonly Known[],
  fail: Fail,
): Pick<Known, 'shape' | 'fresh'> {
  const read = inputsOf(step).map((value) => values[value] as Known);
  const source = read[0] as Known;
  switch (step.op) {
    case 'linear':
      return { shape: checkLinear(step, source, fail), fresh: false };
    case 'add':
    case 'sumPool':
    case 'gather':
    case 'concat':
      return { shape: checkLocal(step, read, fail), fresh: read.every(({ fresh }) => fresh) };
    case 'activation':
      checkActivation(step, source, fail);
      return { shape: source.shape, fresh: true };
    case 'output':
      checkOutput(program, step, source, fail);
      return { shape: source.shape, fresh: false };
  }
}

/** The shape that a linear layer makes. */
function checkLinear(step: LinearStep, { shape, fresh }: Known, fail: Fail): Shape {
  if (step.shape.kind === 'conv') {
    const { channels, height, width, outChannels, groups } = step.shape;
    if (channels !== shape[0] || height !== shape[1] || width !== shape[2]) {
      fail(`expects ${channels}x${height}x${width}, its input is ${shape.join('x')}`);
    }
    if (channels % groups !== 0 || outChannels % groups !== 0) {
      fail(`${groups} groups do not divide ${channels} and ${outChannels} channels`);
    }
  } else if (linearInputSize(step.shape) !== sizeOf(shape)) {
    fail(`expects ${step.shape.inputs} inputs, its input has ${sizeOf(shape)}`);
  }
  if (!fresh) fail('its input is no activation output: put an identity activation before it');
  const out = linearOutput(step.shape);
  if (!out.every((n) => n > 0)) fail(`makes an empty tensor ${out.join('x')}`);
  return out;
}

/** The shape that a public local operation makes. */
function checkLocal(step: LocalStep, read: readonly Known[], fail: Fail): Shape {
  const shapes = read.map(({ shape }) => shape);
  let made: Shape;
  try {
    made = localShape(step, shapes);
  } catch (cause) {
    return fail((cause as Error).message);
  }
  if (step.op === 'sumPool') return made;
  // Values that are added or joined have the same number of fractional bits; a pool may take its window into account.
  read.forEach(({ fractionBits }, i) => {
    const scale = fractionBits + (step.op === 'add' ? (step.shifts[i] as number) : 0);
    if (scale !== step.fractionBits) {
      fail(`its input ${i} arrives with ${scale} fractional bits, not ${step.fractionBits}`);
    }
  });
  return made;
}

function checkOutput(
  program: Program,
  step: OutputStep,
  { fractionBits, margin }: Known,
  fail: Fail,
): void {
  if (!(step.rangeBits >= 2 && step.rangeBits <= MAX_OUTPUT_BITS)) {
    fail(`logits need k in 2..${MAX_OUTPUT_BITS} bits`);
  }
  if (step.fractionBits !== fractionBits) fail('the output keeps the scale of its input');
  if (!(outputLimit(program) > 0)) {
    const cut = cutBits(program);
    const rounded = cut > 0 ? `, rounded to 2^${cut}` : '';
    fail(`shares that err by ${margin}${rounded} leave no range of ${step.rangeBits} bits`);
  }
}

/** The results are the output, cut, and everything said of them can be done. */
function checkResults(program: Program, outputs: number): void {
  const { results, labels } = program;
  const sizes = results.map(({ shape }) => resultSize(shape));
  const all = sizes.reduce((sum, size) => sum + size, 0);
  if (results.length === 0 || all !== outputs) {
    throw new RangeError(`program: its results have ${all} numbers, its output ${outputs}`);
  }
  if (new Set(results.map(({ name }) => name)).size !== results.length) {
    throw new RangeError('program: two results have the same name');
  }
  for (const { name, shape, bits, readout } of results) {
    if (!shape.every((n) => Number.isInteger(n) && n > 0)) {
      throw new RangeError(`program result "${name}": ${shape.join('x')} is no shape`);
    }
    if (!(Number.isInteger(bits) && Math.abs(bits - 20) <= 60)) {
      throw new RangeError(`program result "${name}": ${bits} bits, expected -40 to 80`);
    }
    if (readout === undefined) continue;
    const { kind, axis } = readout;
    const axes = kind === 'sigmoid' || kind === 'tanh' ? 1 : shape.length;
    if (!(Number.isInteger(axis) && axis >= 0 && axis < axes)) {
      throw new RangeError(`program result "${name}": ${kind} along axis ${axis} of ${axes}`);
    }
  }
  const one = results.length === 1;
  if (!one && revealsLabel(program)) {
    throw new RangeError(`program: it reveals one label, and has ${results.length} results`);
  }
  if (labels.length > 0 && !(one && labels.length === outputs)) {
    const what = one ? `${outputs} outputs` : `${results.length} results`;
    throw new RangeError(`program: ${labels.length} labels for ${what}`);
  }
}

/** The largest number that enters the network, in units of the last place. */
function inputLimit({ limit = 0, fractionBits }: Program['input']): number {
  return Math.ceil(limit * 2 ** fractionBits);
}

function checkActivation(
  step: ActivationStep,
  { shape, fractionBits, margin }: Known,
  fail: Fail,
): void {
  if (step.kinds.length !== sizeOf(shape)) {
    fail(`its ReLU map has ${step.kinds.length} elements, its input ${sizeOf(shape)}`);
  }
  const unknown = step.kinds.find((code) => !isKind(code));
  if (unknown !== undefined) {
    const names = KINDS.map((kind) => kindOf(kind).name).join(', ');
    fail(`its ReLU map holds the code ${unknown}, which is no element kind (${names})`);
  }
  const { rangeBits: k, dropBits: t, shift, squareShift } = step;
  const kinds = kindsIn(step.kinds).map(kindOf);
  const limit = Math.min(...kinds.map(({ maxRangeBits }) => maxRangeBits));
  if (!(k >= 2 && k <= limit)) fail(`k = ${k} is outside 2..${limit} bits`);
  if (!(t >= 0 && t <= k - 2)) fail(`t = ${t} must lie in 0..k - 2 = ${k - 2}`);
  if (!(margin < 2 ** (k - 1) - 2 ** t)) {
    fail(`shares that err by ${margin} leave no range of k = ${k} and t = ${t} bits`);
  }
  if (!(shift >= 0 && shift <= 30 && squareShift >= 0 && squareShift <= 30)) {
    fail('shifts must lie in 0..30 bits');
  }
  for (const kind of kinds) {
    const fault = kind.fault(step, fractionBits);
    if (fault !== undefined) fail(fault);
  }
}
