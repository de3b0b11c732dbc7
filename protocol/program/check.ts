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
import type { ActivationStep, LocalStep, Program, Step } from './program.ts';
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

/**
 * Checks `program` and returns the shape of every value.
 * @throws RangeError with one sentence that names the step and what would be right
 */
export function checkProgram(program: Program): Shapes {
  const { steps, input } = program;
  const shapes: Shape[] = [input.shape];
  const fractions: number[] = [input.fractionBits];
  // Fresh: the client knows its share of this value before the server's first answer.
  const fresh: boolean[] = [true];
  const used = new Set<number>();
  const margins: number[] = [0];
  const fail = (step: Step, what: string): never => {
    throw new RangeError(`program step "${step.name}" (${step.op}): ${what}`);
  };
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
  for (const [i, step] of steps.entries()) {
    for (const value of inputsOf(step)) {
      if (!(Number.isInteger(value) && value >= 0 && value <= i)) {
        fail(step, `reads value ${value}, but only values 0..${i} exist before it`);
      }
      used.add(value);
    }
    if ((step.op === 'output') !== (i === steps.length - 1)) {
      fail(step, 'the one output step must come last');
    }
    const source = inputsOf(step)[0] as number;
    const shape = shapes[source] as Shape;
    const fraction = fractions[source] as number;
    switch (step.op) {
      case 'linear': {
        if (step.shape.kind === 'conv') {
          const { channels, height, width, outChannels, groups } = step.shape;
          if (channels !== shape[0] || height !== shape[1] || width !== shape[2]) {
            fail(step, `expects ${channels}x${height}x${width}, its input is ${shape.join('x')}`);
          }
          if (channels % groups !== 0 || outChannels % groups !== 0) {
            fail(step, `${groups} groups do not divide ${channels} and ${outChannels} channels`);
          }
        } else if (linearInputSize(step.shape) !== sizeOf(shape)) {
          fail(step, `expects ${step.shape.inputs} inputs, its input has ${sizeOf(shape)}`);
        }
        if (!fresh[source]) {
          fail(step, 'its input is no activation output: put an identity activation before it');
        }
        const out = linearOutput(step.shape);
        if (!out.every((n) => n > 0)) fail(step, `makes an empty tensor ${out.join('x')}`);
        shapes.push(out);
        fresh.push(false);
        break;
      }
      case 'add':
      case 'sumPool':
      case 'gather':
      case 'concat': {
        const read = inputsOf(step);
        try {
          shapes.push(
            localShape(
              step,
              read.map((value) => shapes[value] as Shape),
            ),
          );
        } catch (cause) {
          fail(step, (cause as Error).message);
        }
        checkScales(
          step,
          read.map((value) => fractions[value] as number),
          fail,
        );
        fresh.push(read.every((value) => fresh[value]));
        break;
      }
      case 'activation':
        checkActivation(step, shape, fraction, margins[source]!, fail);
        shapes.push(shape);
        fresh.push(true);
        break;
      case 'output':
        if (!(step.rangeBits >= 2 && step.rangeBits <= MAX_OUTPUT_BITS)) {
          fail(step, `logits need k in 2..${MAX_OUTPUT_BITS} bits`);
        }
        if (step.fractionBits !== fraction) fail(step, 'the output keeps the scale of its input');
        if (!(outputLimit(program) > 0)) {
          const cut = cutBits(program);
          const rounded = cut > 0 ? `, rounded to 2^${cut}` : '';
          fail(
            step,
            `shares that err by ${margins[source]}${rounded} leave no range of ${step.rangeBits} bits`,
          );
        }
        shapes.push(shape);
        fresh.push(false);
        break;
    }
    fractions.push(step.fractionBits);
    margins.push(marginOf(step, margins, shapes));
  }
  if (steps.length === 0) throw new RangeError('program: there are no steps');
  for (let value = 0; value < steps.length; value++) {
    if (!used.has(value)) {
      const what = value === 0 ? 'the input' : `the result of "${steps[value - 1]?.name}"`;
      throw new RangeError(`program: nothing reads ${what}`);
    }
  }
  const outputs = sizeOf(shapes[steps.length] as Shape);
  checkResults(program, outputs);
  return shapes;
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

/** Values that are added or joined have the same number of fractional bits; a pool may take its window into account. */
function checkScales(
  step: LocalStep,
  fractions: readonly number[],
  fail: (step: Step, what: string) => never,
): void {
  if (step.op === 'sumPool') return;
  fractions.forEach((fraction, i) => {
    const scale = fraction + (step.op === 'add' ? (step.shifts[i] as number) : 0);
    if (scale !== step.fractionBits) {
      fail(step, `its input ${i} arrives with ${scale} fractional bits, not ${step.fractionBits}`);
    }
  });
}

/** The largest number that enters the network, in units of the last place. */
function inputLimit({ limit = 0, fractionBits }: Program['input']): number {
  return Math.ceil(limit * 2 ** fractionBits);
}

function checkActivation(
  step: ActivationStep,
  shape: Shape,
  fraction: number,
  margin: number,
  fail: (step: Step, what: string) => never,
): void {
  if (step.kinds.length !== sizeOf(shape)) {
    fail(step, `its ReLU map has ${step.kinds.length} elements, its input ${sizeOf(shape)}`);
  }
  const unknown = step.kinds.find((code) => !isKind(code));
  if (unknown !== undefined) {
    const names = KINDS.map((kind) => kindOf(kind).name).join(', ');
    fail(step, `its ReLU map holds the code ${unknown}, which is no element kind (${names})`);
  }
  const { rangeBits: k, dropBits: t, shift, squareShift } = step;
  const kinds = kindsIn(step.kinds).map(kindOf);
  const limit = Math.min(...kinds.map(({ maxRangeBits }) => maxRangeBits));
  if (!(k >= 2 && k <= limit)) fail(step, `k = ${k} is outside 2..${limit} bits`);
  if (!(t >= 0 && t <= k - 2)) fail(step, `t = ${t} must lie in 0..k - 2 = ${k - 2}`);
  if (!(margin < 2 ** (k - 1) - 2 ** t)) {
    fail(step, `shares that err by ${margin} leave no range of k = ${k} and t = ${t} bits`);
  }
  if (!(shift >= 0 && shift <= 30 && squareShift >= 0 && squareShift <= 30)) {
    fail(step, 'shifts must lie in 0..30 bits');
  }
  for (const kind of kinds) {
    const fault = kind.fault(step, fraction);
    if (fault !== undefined) fail(step, fault);
  }
}
