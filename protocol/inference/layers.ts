/**
 * Which linear steps are prepared together, and how the masks of their input come about: what follows from the program
 * before any of its linear layers is planned.
 *
 * Steps that read one value and fit in one convolution are one layer (linear/hint/merge.ts). The masks of a layer's input
 * are *free*, what the layer's own phases make them, when each of its elements is one of the network's input or of an
 * activation's results, none is read twice, and no layer before it has decided the mask of any. Of other layers the masks
 * are given: another layer's phases have decided them, or they are sums of such.
 */

import { type Masks, mergeShapes } from '../linear/index.ts';
import type { Shapes } from '../program/check.ts';
import { localOf } from '../program/local.ts';
import type { LinearStep, Program } from '../program/program.ts';
import { revealedLinears } from '../program/revealed.ts';
import { walk } from '../program/walk.ts';
import type { ConvShape, LinearShape } from '../ring/shape.ts';
import { linearOutput, sizeOf } from '../ring/shape.ts';

/** A step that a layer makes, and where its result lies in the layer's. */
export interface LayerPart {
  readonly step: LinearStep;
  readonly index: number;
  /** First output element in the layer's, and how many there are. */
  readonly from: number;
  readonly size: number;
}

/** Linear steps that are prepared together. */
export interface LayerGroup {
  readonly parts: readonly LayerPart[];
  readonly shape: LinearShape;
  /** The value they read. */
  readonly value: number;
  readonly masks: Masks;
  /**
   * Of a free layer: for each element of its input, which element it is among the sources, see {@link sourceStarts}.
   * Undefined where the layer reads a source as it is.
   */
  readonly elements: Int32Array | undefined;
  /**
   * Whether nobody else reads what a free layer reads, in a copy neither. Then the rounding of its masks is merged with that of
   * the truncations before it (offline.ts): for another reader it would be one error more.
   */
  readonly merged: boolean;
}

/** A value that the client masks: the input of the network or what an activation makes. */
export interface Source {
  readonly value: number;
  readonly size: number;
  /** Number of its first element among those of all sources. */
  readonly start: number;
}

export function sourcesOf({ steps }: Program, shapes: Shapes): Source[] {
  let start = 0;
  return [0, ...steps.flatMap(({ op }, i) => (op === 'activation' ? [i + 1] : []))].map((value) => {
    const size = sizeOf(shapes[value]!);
    const source = { value, size, start };
    start += size;
    return source;
  });
}

/** All layers: those with free masks first, then the others, both in the order of the program. AGREEMENT. */
export function groupLayers(program: Program, shapes: Shapes): LayerGroup[] {
  const sources = sourcesOf(program, shapes);
  const total = sources.reduce((sum, { size }) => sum + size, 0);
  const decided = new Uint8Array(total);
  const startOf = new Map(sources.map(({ value, start, size }) => [value, { start, size }]));
  const revealed = revealedLinears(program);
  // How many steps compute with each element, as it is or in copies.
  const readers = new Uint32Array(total);
  const groups: (LayerGroup & { readonly read: Int32Array | undefined })[] = [];
  const grouped = new Set<number>();

  // Elements are numbered from 1 on, so that a zero of a padding is none. Sums of elements are none of them either.
  const numbered = (value: number): Int32Array => {
    const { start, size } = startOf.get(value)!;
    const numbers = new Int32Array(size);
    for (let i = 0; i < size; i++) numbers[i] = start + i + 1;
    return numbers;
  };
  const decide = (elements: Int32Array | undefined): boolean => {
    if (elements === undefined) return false;
    for (let i = 0; i < elements.length; i++) {
      const number = elements[i]!;
      if (number === 0 || decided[number - 1] === 1) {
        for (const own of elements.subarray(0, i)) decided[own - 1] = 0;
        return false;
      }
      decided[number - 1] = 1;
    }
    return true;
  };

  const count = (elements: Int32Array | undefined): undefined => {
    if (elements === undefined) return;
    for (let i = 0; i < elements.length; i++) if (elements[i]! > 0) readers[elements[i]! - 1]!++;
  };

  walk<Int32Array | undefined>(program, {
    input: () => numbered(0),
    linear(step, x, index) {
      count(x);
      if (grouped.has(index)) return undefined;
      const exact = revealed.has(index);
      const parts = partsOf(program, index, exact ? undefined : revealed, grouped);
      const shapesOfParts = parts.map((part) => part.step.shape);
      const shape =
        parts.length === 1 ? step.shape : mergeShapes(shapesOfParts as readonly ConvShape[])!;
      const free = !exact && decide(x);
      const asItIs = startOf.has(step.input);
      groups.push({
        parts,
        shape,
        value: step.input,
        masks: exact ? 'exact' : free ? 'free' : 'fixed',
        elements: free && !asItIs ? x!.map((number) => number - 1) : undefined,
        merged: free,
        read: x,
      });
      return undefined;
    },
    local(step, inputs) {
      if (step.op === 'add' || step.op === 'sumPool' || inputs.includes(undefined)) {
        for (const elements of inputs) count(elements);
        return undefined;
      }
      return localOf(shapes, step, inputs as Int32Array[]);
    },
    activation(_step, x, index) {
      count(x);
      return numbered(index + 1);
    },
    output: (_step, x) => count(x),
  });
  const isFree = ({ masks }: LayerGroup) => masks === 'free';
  const counted = groups.map(({ read, ...group }) => {
    const alone = (number: number) => readers[number - 1] === group.parts.length;
    return { ...group, merged: group.merged && read!.every(alone) };
  });
  return [...counted.filter(isFree), ...counted.filter((group) => !isFree(group))];
}

/** The step `index` with those after it that read the same value and merge with it; none with a step that is revealed. */
function partsOf(
  { steps }: Program,
  index: number,
  revealed: ReadonlySet<number> | undefined,
  grouped: Set<number>,
): LayerPart[] {
  const first = steps[index] as LinearStep;
  const found = [{ step: first, index }];
  grouped.add(index);
  if (revealed !== undefined && first.shape.kind === 'conv') {
    for (const [i, step] of steps.entries()) {
      if (i <= index || step.op !== 'linear' || step.input !== first.input) continue;
      if (step.shape.kind !== 'conv' || revealed.has(i) || grouped.has(i)) continue;
      const shapes = [...found.map((part) => part.step.shape), step.shape] as ConvShape[];
      if (mergeShapes(shapes) === undefined) continue;
      found.push({ step, index: i });
      grouped.add(i);
    }
  }
  let from = 0;
  return found.map((part) => {
    const size = sizeOf(linearOutput(part.step.shape));
    const placed = { ...part, from, size };
    from += size;
    return placed;
  });
}
