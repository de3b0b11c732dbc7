/**
 * Where the elements of a graph's value stand in the ONNX tensor it came from.
 *
 * ONNX reshapes, transposes, pads and slices freely; a graph knows [C, H, W] and [N] alone. A view keeps such moves as
 * numbers until an operator needs the elements in some order: every axis of the ONNX tensor consists of parts, outermost
 * first, and an element of the tensor is the element `offset` + the sum of its parts' entries of the value, or 0 where
 * one of them is OUTSIDE. Moves that cancel out, as the two transposes around a layer with channels last, leave nothing.
 */

import { OUTSIDE } from '../../protocol/ring/gather.ts';
import { ModelError } from '../errors.ts';
import { elements } from '../graph/index.ts';
import { checkPermutation } from './arithmetic.ts';

/** One index of a tensor, and what it adds to the number of an element. */
export interface Part {
  readonly count: number;
  /** The entries: start + i * step, when there is no table. */
  readonly start: number;
  readonly step: number;
  readonly table?: Int32Array;
  /** The images of a batch, all of which the network treats alike. Such a part adds nothing. */
  readonly isBatch?: true;
}

export interface View {
  /** Elements of the value. */
  readonly size: number;
  readonly axes: readonly (readonly Part[])[];
  readonly offset: number;
}

/** Indices to take along an axis: some, in their order, {@link OUTSIDE} for a zero; or a progression. */
export type Picks =
  | Int32Array
  | { readonly start: number; readonly step: number; readonly count: number };

export function progressionPart(start: number, step: number, count: number): Part {
  return { start, step, count };
}

export function entryAt({ table, start, step }: Part, i: number): number {
  return table === undefined ? start + i * step : table[i]!;
}

/** A part with these entries, as a progression where they are one. */
export function partOf(table: Int32Array): Part {
  const [start, second] = table;
  const step = table.length > 1 ? second! - start! : 0;
  const isRegular =
    start !== OUTSIDE &&
    table.every((entry, i) => entry !== OUTSIDE && entry === start! + i * step);
  if (isRegular) return progressionPart(start!, step, table.length);
  return { start: 0, step: 0, count: table.length, table };
}

export function partTable(part: Part): Int32Array {
  return (
    part.table ?? Int32Array.from({ length: part.count }, (_, i) => part.start + i * part.step)
  );
}

function countOf(parts: readonly Part[]): number {
  return parts.reduce((product, { count }) => product * count, 1);
}

/** Extents of the ONNX tensor. */
export function dimsOf({ axes }: View): number[] {
  return axes.map(countOf);
}

/** Images of the batch in a view; 1 for one. */
export function batchOf({ axes }: View): number {
  return axes.flat().find(({ isBatch }) => isBatch)?.count ?? 1;
}

/** The view in which a value's elements come in their order. */
export function inOrder(dims: readonly number[], batch?: Part): View {
  const steps = dims.map((_, axis) => elements(dims.slice(axis + 1)));
  const axes = dims.map((n, axis) => (n === 1 ? [] : [progressionPart(0, steps[axis]!, n)]));
  return { size: elements(dims), axes: batch === undefined ? axes : [[batch], ...axes], offset: 0 };
}

/** Parts without those that hold one entry, neighbours that are one progression joined; and what they add. */
export function joined(parts: readonly Part[]): { parts: Part[]; offset: number } {
  const result: Part[] = [];
  let offset = 0;
  for (const part of parts) {
    if (part.count === 1 && entryAt(part, 0) !== OUTSIDE) {
      offset += part.isBatch ? 0 : entryAt(part, 0);
      continue;
    }
    const last = result.at(-1);
    const isOne =
      last !== undefined &&
      ![last, part].some((p) => p.isBatch || p.table !== undefined) &&
      last.step === part.step * part.count;
    if (isOne) {
      result[result.length - 1] = progressionPart(
        last.start + part.start,
        part.step,
        last.count * part.count,
      );
    } else result.push(part);
  }
  return { parts: result, offset };
}

/** The parts of all axes, in order, without those of the batch; and the offset. */
export function flatParts(view: View): { parts: Part[]; offset: number } {
  const { parts, offset } = joined(view.axes.flat().filter(({ isBatch }) => !isBatch));
  return { parts, offset: view.offset + offset };
}

/** Whether the batch, if there is one, comes before everything else. */
export function isBatchFirst({ axes }: View): boolean {
  const at = axes.flat().filter((part) => part.count > 1);
  return at.every(({ isBatch }, i) => !isBatch || i === 0);
}

/** Whether the tensor's elements are the value's, in their order. */
export function isInOrder(view: View): boolean {
  const { parts, offset } = flatParts(view);
  if (view.size === 1) return parts.length === 0;
  const [only] = parts;
  return (
    parts.length === 1 &&
    only!.table === undefined &&
    only!.step === 1 &&
    only!.start + offset === 0 &&
    only!.count === view.size
  );
}

/** Elements of the tensor in one image. */
export function viewSize(view: View): number {
  return countOf(view.axes.flat().filter(({ isBatch }) => !isBatch));
}

export function hasOutside({ axes }: View): boolean {
  return axes.some((parts) => parts.some(({ table }) => table?.includes(OUTSIDE)));
}

/** Calls with the number of the value's element, or OUTSIDE, for every element of the tensor in one image, in order. */
export function forEachElement(view: View, visit: (from: number, i: number) => void): void {
  const { parts, offset } = flatParts(view);
  const tables = parts.map(partTable);
  const index = tables.map(() => 0);
  const count = countOf(parts);
  const inner = tables.pop() ?? Int32Array.of(0);
  index.pop();
  for (let at = 0; at < count; at += inner.length) {
    let from = offset;
    for (let axis = 0; axis < tables.length && from !== OUTSIDE; axis++) {
      const entry = tables[axis]![index[axis]!]!;
      from = entry === OUTSIDE ? OUTSIDE : from + entry;
    }
    for (let i = 0; i < inner.length; i++) {
      visit(from === OUTSIDE || inner[i] === OUTSIDE ? OUTSIDE : from + inner[i]!, at + i);
    }
    for (let axis = tables.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < tables[axis]!.length) break;
      index[axis] = 0;
    }
  }
}

/** Whether every element of the value stands in the tensor exactly once. */
export function isPermutation(view: View): boolean {
  if (viewSize(view) !== view.size) return false;
  const { parts } = flatParts(view);
  if (parts.every(({ table }) => table === undefined)) {
    const sorted = parts.toSorted((a, b) => Math.abs(a.step) - Math.abs(b.step));
    let step = 1;
    for (const part of sorted) {
      if (Math.abs(part.step) !== step) return false;
      step *= part.count;
    }
    return true;
  }
  const seen = new Uint8Array(view.size);
  forEachElement(view, (from) => {
    if (from !== OUTSIDE) seen[from] = 1;
  });
  return seen.every((n) => n === 1);
}

/** The same for equal moves of equally large values. */
export function keyOf(view: View): string {
  const { parts, offset } = flatParts(view);
  const text = parts.map(({ start, step, count, table }) =>
    table === undefined ? `${start}+${step}*${count}` : `(${table})`,
  );
  return `${view.size}:${offset}:${text}:${isBatchFirst(view)}`;
}

/** Splits a part into `outer` times the rest; nothing when its entries are no such sum. */
function split(part: Part, outer: number): [Part, Part] | undefined {
  const inner = part.count / outer;
  const { table, start, step } = part;
  if (table === undefined) {
    const back = step < 0 ? (inner - 1) * -step : 0;
    return [progressionPart(start - back, step * inner, outer), progressionPart(back, step, inner)];
  }
  let least = 0;
  for (let i = 0; i < inner; i++) if (table[i]! < table[least]!) least = i;
  const rows = Int32Array.from({ length: outer }, (_, i) => table[i * inner + least]!);
  const columns = table.slice(0, inner).map((entry) => entry - table[least]!);
  const isSum = table.every(
    (entry, i) => entry !== OUTSIDE && entry === rows[Math.floor(i / inner)]! + columns[i % inner]!,
  );
  return isSum ? [partOf(rows), partOf(columns)] : undefined;
}

/**
 * The view after a reshape to `dims` of as many elements; nothing when the elements have to be put in order first.
 * @throws ModelError `network` when it would mix the images of a batch.
 */
export function reshaped(view: View, dims: readonly number[]): View | undefined {
  const { parts, offset } = joined(view.axes.flat());
  const axes: Part[][] = [];
  for (const dim of dims) {
    const axis: Part[] = [];
    for (let need = dim; need > 1; ) {
      const part = parts.shift();
      if (part === undefined) return undefined;
      if (need % part.count === 0) {
        axis.push(part);
        need /= part.count;
      } else if (part.count % need === 0 && !part.isBatch) {
        const halves = split(part, need);
        if (halves === undefined) return undefined;
        axis.push(halves[0]);
        parts.unshift(halves[1]);
        need = 1;
      } else if (part.isBatch || parts.some(({ isBatch }) => isBatch)) {
        throw new ModelError(
          'network',
          `a reshape from [${dimsOf(view)}] to [${dims}] mixes the images of a batch: export the model with a batch of 1`,
        );
      } else return undefined;
    }
    axes.push(axis);
  }
  // What is left holds one element.
  if (axes.length > 0) axes[0]!.unshift(...parts);
  else if (parts.length > 0) return undefined;
  return { size: view.size, axes, offset: view.offset + offset };
}

/** @throws ModelError `network` when `order` is no order of the axes */
export function transposed(view: View, order: readonly number[]): View {
  checkPermutation(order, view.axes.length);
  return { ...view, axes: order.map((axis) => view.axes[axis]!) };
}

/** All parts of an axis as one. */
export function mergedPart(parts: readonly Part[]): Part {
  const { parts: few, offset } = joined(parts);
  if (few.length === 1 && few[0]!.table === undefined && !few[0]!.isBatch) {
    return { ...few[0]!, start: few[0]!.start + offset };
  }
  let table = Int32Array.of(offset);
  for (const part of few) {
    const next = new Int32Array(table.length * part.count);
    for (let i = 0; i < next.length; i++) {
      const [a, b] = [table[Math.floor(i / part.count)]!, entryAt(part, i % part.count)];
      next[i] = a === OUTSIDE || b === OUTSIDE ? OUTSIDE : a + b;
    }
    table = next;
  }
  return partOf(table);
}

/**
 * The view with other elements along one axis: some of them, again, in another order, or zeros between them.
 * @param indices within the axis, or OUTSIDE
 * @throws ModelError `network` when the axis holds the images of a batch and they do not stay as they are.
 */
export function picked(view: View, axis: number, indices: Picks): View {
  const parts = view.axes[axis]!;
  const extent = countOf(parts);
  const count = indices instanceof Int32Array ? indices.length : indices.count;
  const isAll =
    count === extent &&
    (indices instanceof Int32Array
      ? indices.every((entry, i) => entry === i)
      : indices.start === 0 && (indices.step === 1 || count === 1));
  if (isAll) return view;
  if (parts.some(({ isBatch }) => isBatch)) {
    throw new ModelError('network', 'it takes part of the batch: only whole images can be');
  }
  const from = mergedPart(parts);
  let part: Part;
  if (!(indices instanceof Int32Array) && from.table === undefined) {
    part = progressionPart(from.start + indices.start * from.step, from.step * indices.step, count);
  } else if (indices instanceof Int32Array) {
    part = partOf(indices.map((i) => (i === OUTSIDE ? OUTSIDE : entryAt(from, i))));
  } else {
    const { start, step } = indices;
    part = partOf(Int32Array.from({ length: count }, (_, i) => entryAt(from, start + i * step)));
  }
  return { ...view, axes: view.axes.map((own, i) => (i === axis ? [part] : own)) };
}

/** The view without an axis of one element. */
export function without(view: View, axis: number): View {
  const dims = dimsOf(view);
  const kept = reshaped(
    view,
    dims.filter((_, i) => i !== axis),
  );
  if (kept === undefined)
    throw new ModelError('network', `it leaves out axis ${axis} of [${dims}]`);
  return kept;
}

/** The view of a tensor broadcast to `dims`, as numpy does. */
export function expanded(view: View, dims: readonly number[]): View {
  const added = dims.length - view.axes.length;
  const start: View = {
    ...view,
    axes: [...Array.from({ length: added }, (): Part[] => []), ...view.axes],
  };
  return dims.reduce((wider, n, axis) => {
    const isOne = countOf(wider.axes[axis]!) === 1 && n > 1;
    return isOne ? picked(wider, axis, { start: 0, step: 0, count: n }) : wider;
  }, start);
}
