/**
 * The errors of prepared linear layers, for runs that simulate private ones (program/simulate.ts).
 *
 * The masks of a layer's input are rounded phases, and the layer multiplies its weights with what the rounding added. Where
 * that is a part of the rounding of the truncation before (see `merged` in layers.ts), it costs nothing more; else it is one
 * more error of variance 1/12. A ReLU that is off truncates nothing: half of them count.
 */

import type { ActivationKind } from '../program/kinds.ts';
import { IDENTITY, RELU, SQUARE } from '../program/kinds.ts';
import type { ActivationStep, Program } from '../program/program.ts';
import type { LinearError } from '../program/simulate.ts';
import { type Layout, type LinearLayout, layoutOf } from './layout.ts';

/** The part of the variance 1/12 that the rounding of a mask adds to the truncation that is merged with it. */
const UNMERGED: Readonly<Record<ActivationKind, number>> = {
  [IDENTITY]: 0,
  [RELU]: 1 / 2,
  [SQUARE]: 1,
};

/** The errors of all linear steps, by their index. */
export function linearErrorsOf(
  program: Program,
  layout: Layout = layoutOf(program),
): Map<number, LinearError> {
  const unmerged = unmergedOf(layout);
  return new Map(
    layout.linears.flatMap((layer) => {
      const error = errorOf(layout, layer, unmerged);
      return layer.parts.map(({ index }) => [index, error] as const);
    }),
  );
}

function errorOf(layout: Layout, layer: LinearLayout, unmerged: Float32Array): LinearError {
  const { plan, parts } = layer;
  if (plan.masks === 'exact') return { perSquare: 0, constant: plan.variance };
  const { outputsPerTile } = plan.packing;
  const norm = Math.max(...parts.map(({ step }) => step.norm2));
  const own = layer.merged ? unmergedPart(layout, layer, unmerged) : 1;
  return {
    perSquare: (outputsPerTile - 1 + own) / 12,
    constant: plan.variance - (outputsPerTile * norm * norm) / 12,
  };
}

/** {@link UNMERGED} of every element of every source; 1 of the network's input. */
function unmergedOf({ program, sources }: Layout): Float32Array {
  const all = new Float32Array(sources.reduce((sum, { size }) => sum + size, 0)).fill(1);
  for (const { value, start, size } of sources) {
    const step = program.steps[value - 1] as ActivationStep | undefined;
    if (step === undefined) continue;
    for (let i = 0; i < size; i++) all[start + i] = UNMERGED[step.kinds[i] as ActivationKind];
  }
  return all;
}

/** Mean of {@link UNMERGED} over the coefficients that an output with one in its polynomial reads. */
function unmergedPart(
  { sources }: Layout,
  { plan, value, elements }: LinearLayout,
  unmerged: Float32Array,
): number {
  const start = sources.find((source) => source.value === value)?.start ?? 0;
  let [sum, count] = [0, 0];
  for (const { first, freeElements, correctedElements } of plan.inputs) {
    for (const own of freeElements) {
      const element = first + own;
      sum += unmerged[elements?.[element] ?? start + element]!;
    }
    count += freeElements.length;
    const corrected =
      plan.packing.outputsPerTile === 1
        ? correctedElements.length
        : correctedElements.reduce((n, element) => n + (element >= 0 ? 1 : 0), 0);
    sum += corrected;
    count += corrected;
  }
  return count === 0 ? 1 : sum / count;
}
