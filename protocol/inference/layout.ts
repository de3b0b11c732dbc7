/**
 * The layout of a program: everything both parties compute from the public program before they exchange a byte, such as
 * messages, lanes and sizes. Plain data, made once for a program.
 */

import type { ArgmaxParams } from '../gadgets/argmax.ts';
import type { Lane } from '../gadgets/index.ts';
import { lanesOf } from '../gadgets/index.ts';
import { type LinearPlan, linear, type Part } from '../linear/index.ts';
import type { Shapes } from '../program/check.ts';
import { checkProgram } from '../program/check.ts';
import { runLocal } from '../program/local.ts';
import type {
  ActivationStep,
  LinearStep,
  LocalStep,
  OutputStep,
  Program,
} from '../program/program.ts';
import { inputsOf } from '../program/program.ts';
import { ringsOf } from '../program/rings.ts';
import type { Shape } from '../ring/shape.ts';
import { sizeOf } from '../ring/shape.ts';

/** A linear step, as the backend has planned it. */
export interface LinearLayout {
  readonly step: LinearStep;
  readonly index: number;
  readonly plan: LinearPlan;
  /** Its messages of the offline phase, from the client and back. */
  readonly uploads: readonly Part[];
  readonly responses: readonly Part[];
  readonly outputSize: number;
}

/** An activation step and its lanes. */
export interface ActivationLayout {
  readonly step: ActivationStep;
  readonly index: number;
  readonly lanes: readonly Lane[];
  readonly size: number;
  /** [channels, height, width] of the layer's tensor. */
  readonly shape: Shape;
}

/** The output step; `argmax` when the client learns the label alone. */
export interface OutputLayout {
  readonly step: OutputStep;
  readonly index: number;
  readonly size: number;
  readonly argmax: ArgmaxParams | undefined;
}

export interface Layout {
  readonly program: Program;
  readonly shapes: Shapes;
  /** Bits of the ring of each value: element 0 is the input's, element i + 1 is step i's. */
  readonly rings: readonly number[];
  readonly linears: readonly LinearLayout[];
  readonly activations: readonly ActivationLayout[];
  readonly output: OutputLayout;
}

/**
 * @param shapes - what checkProgram gave for it; it is checked here when they are left out
 * @throws RangeError when the program is not valid or a layer fits no parameter set; the sentence names the step
 */
export function layoutOf(program: Program, shapes: Shapes = checkProgram(program)): Layout {
  const rings = ringsOf(program);
  const linears: LinearLayout[] = [];
  const activations: ActivationLayout[] = [];
  let output: OutputLayout | undefined;
  for (const [index, step] of program.steps.entries()) {
    const shape = shapes[index + 1] as Shape;
    const size = sizeOf(shape);
    if (step.op === 'linear') {
      const plan = planOf(step);
      const [uploads, responses] = [linear.uploads(plan), linear.responses(plan)];
      linears.push({ step, index, plan, uploads, responses, outputSize: size });
    } else if (step.op === 'activation') {
      const lanes = lanesOf(step, program.comparison, rings[index + 1] as number);
      activations.push({ step, index, lanes, size, shape });
    } else if (step.op === 'output') {
      const params = { values: size, rangeBits: step.rangeBits };
      output = { step, index, size, argmax: step.reveal === 'label' ? params : undefined };
    }
  }
  // checkProgram has seen to it that the last step is the output.
  return { program, shapes, rings, linears, activations, output: output as OutputLayout };
}

function planOf(step: LinearStep): LinearPlan {
  try {
    return linear.plan(step);
  } catch (cause) {
    throw new RangeError(`program step "${step.name}": ${(cause as Error).message}`, { cause });
  }
}

/** What a local step makes of one party's shares. */
export function localOf(
  layout: Layout,
  step: LocalStep,
  inputs: readonly Int32Array[],
): Int32Array {
  return runLocal(
    step,
    inputs,
    inputsOf(step).map((value) => layout.shapes[value] as Shape),
  );
}

/** The values of some elements of a tensor. */
export function gather(tensor: Int32Array, elements: Uint32Array): Int32Array {
  const values = new Int32Array(elements.length);
  for (let i = 0; i < values.length; i++) values[i] = tensor[elements[i]!]!;
  return values;
}

/** Puts values where {@link gather} took them. */
export function scatter(tensor: Int32Array, elements: Uint32Array, values: Int32Array): void {
  for (let i = 0; i < values.length; i++) tensor[elements[i]!] = values[i]!;
}
