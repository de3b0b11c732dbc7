/**
 * The layout of a program: everything both parties compute from the public program before they exchange a byte, such as
 * messages, lanes and sizes. Plain data, made once for a program.
 */

import type { ArgmaxParams } from '../gadgets/argmax.ts';
import type { Lane } from '../gadgets/index.ts';
import { lanesOf } from '../gadgets/index.ts';
import type { LogitParams } from '../gadgets/logits.ts';
import { type HintPlan, planHint } from '../linear/index.ts';
import type { Shapes } from '../program/check.ts';
import { checkProgram } from '../program/check.ts';
import { cutBits } from '../program/cut.ts';
import type { ActivationStep, OutputStep, Program } from '../program/program.ts';
import { ringsOf } from '../program/rings.ts';
import type { Shape } from '../ring/shape.ts';
import { sizeOf } from '../ring/shape.ts';
import { groupLayers, type LayerGroup, type LayerPart, type Source, sourcesOf } from './layers.ts';

/** Linear steps that are prepared together, planned. */
export interface LinearLayout extends LayerGroup {
  readonly plan: HintPlan;
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
  readonly logits: LogitParams;
  readonly argmax: ArgmaxParams | undefined;
}

export interface Layout {
  readonly program: Program;
  readonly shapes: Shapes;
  /** Bits of the ring of each value: element 0 is the input's, element i + 1 is step i's. */
  readonly rings: readonly number[];
  /** The values that the client masks. */
  readonly sources: readonly Source[];
  /** In the order in which they are prepared. */
  readonly linears: readonly LinearLayout[];
  readonly activations: readonly ActivationLayout[];
  readonly output: OutputLayout;
}

/**
 * @param shapes - what checkProgram gave for it; it is checked here when they are left out
 * @throws RangeError when the program is not valid or a layer fits no parameter set; the sentence names the step
 */
export function layoutOf(program: Program, shapes: Shapes = checkProgram(program)): Layout {
  const parts = layoutParts(program, shapes);
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
  }
}

/** As {@link layoutOf}, in parts: it yields where something else may have its turn. */
export function* layoutParts(program: Program, shapes: Shapes): Generator<undefined, Layout> {
  const rings = ringsOf(program);
  const groups = groupLayers(program, shapes);
  const linears: LinearLayout[] = [];
  for (const group of groups) {
    yield;
    linears.push({ ...group, plan: planOf(group, rings) });
  }
  const activations: ActivationLayout[] = [];
  let output: OutputLayout | undefined;
  for (const [index, step] of program.steps.entries()) {
    const shape = shapes[index + 1] as Shape;
    const size = sizeOf(shape);
    if (step.op === 'activation') {
      yield;
      const lanes = lanesOf(step, program.comparison, rings[index + 1] as number);
      activations.push({ step, index, lanes, size, shape });
    } else if (step.op === 'output') {
      const params = { values: size, rangeBits: step.rangeBits };
      const logits = { ...params, shift: cutBits(program) };
      output = { step, index, size, logits, argmax: step.reveal === 'label' ? params : undefined };
    }
  }
  // checkProgram has seen to it that the last step is the output.
  const sources = sourcesOf(program, shapes);
  return { program, shapes, rings, sources, linears, activations, output: output as OutputLayout };
}

function planOf({ parts, shape, masks }: LayerGroup, rings: readonly number[]): HintPlan {
  const largest = (of: (part: LayerPart) => number) => Math.max(...parts.map(of));
  try {
    return planHint({
      shape,
      weightBound: {
        norm1: largest(({ step }) => step.norm1),
        norm2: largest(({ step }) => step.norm2),
      },
      ringBits: largest(({ index }) => rings[index + 1]!),
      tolerance: largest(({ step }) => step.tolerance),
      masks,
      parts: parts.map(({ step: { norm2, tolerance }, size }) => ({ norm2, tolerance, size })),
    });
  } catch (cause) {
    const names = parts.map(({ step }) => `"${step.name}"`).join(', ');
    throw new RangeError(`program step ${names}: ${(cause as Error).message}`, { cause });
  }
}

/** The values of some elements of a tensor. */
export function pickElements(tensor: Int32Array, elements: Uint32Array): Int32Array {
  const values = new Int32Array(elements.length);
  for (let i = 0; i < values.length; i++) values[i] = tensor[elements[i]!]!;
  return values;
}

/** Puts values where {@link pickElements} took them. */
export function scatter(tensor: Int32Array, elements: Uint32Array, values: Int32Array): void {
  for (let i = 0; i < values.length; i++) tensor[elements[i]!] = values[i]!;
}
