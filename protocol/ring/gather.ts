/**
 * Moving elements: the one public operation behind slices, padding, transposes, shuffles, crops and repeats.
 *
 * A gather writes its result as a block of some axes and has a table for each: element (i0, i1, ...) of the result is
 * element tables[0][i0] + tables[1][i1] + ... of the input, or 0 where one of the tables says OUTSIDE. What moves the axes
 * of a tensor one by one has such tables: a transpose multiplies indices by steps, a padding adds OUTSIDE at both ends,
 * a reflection counts back.
 */

import type { Shape } from './shape.ts';
import { sizeOf } from './shape.ts';

/** One table per axis of the block, outermost first. */
export type Tables = readonly Int32Array[];

/** An entry of a table for which there is no element: the result is 0. */
export const OUTSIDE = -1;

/** Elements of what a gather makes. */
export function gatheredSize(tables: Tables): number {
  return tables.reduce((size, table) => size * table.length, 1);
}

/**
 * What is wrong with some tables for an input of `size` elements; undefined when nothing is.
 */
export function gatherFault(tables: Tables, size: number): string | undefined {
  if (tables.length === 0 || tables.some(({ length }) => length === 0)) return 'has an empty table';
  let last = 0;
  for (const table of tables) {
    let most = 0;
    for (const entry of table) {
      if (entry < OUTSIDE) return `has the entry ${entry} in a table`;
      if (entry > most) most = entry;
    }
    last += most;
  }
  return last < size ? undefined : `reads element ${last} of ${size}`;
}

/**
 * Gathers numbers of any kind.
 * @param out - as long as {@link gatheredSize} says, zero
 */
export function gather<T extends Int32Array | Float32Array | Float64Array | Uint8Array>(
  tables: Tables,
  x: T,
  out: T,
): T {
  const inner = tables.at(-1)!;
  const outer = tables.slice(0, -1);
  const index = outer.map(() => 0);
  for (let at = 0; at < out.length; at += inner.length) {
    let from = 0;
    for (let axis = 0; axis < outer.length; axis++) {
      const entry = outer[axis]![index[axis]!]!;
      from = entry === OUTSIDE || from === OUTSIDE ? OUTSIDE : from + entry;
    }
    if (from !== OUTSIDE) {
      for (let i = 0; i < inner.length; i++) {
        const entry = inner[i]!;
        if (entry !== OUTSIDE) out[at + i] = x[from + entry]!;
      }
    }
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < outer[axis]!.length) break;
      index[axis] = 0;
    }
  }
  return out;
}

/** Row-major steps of a shape. */
export function stepsOf(shape: readonly number[]): number[] {
  const steps = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    steps[axis] = steps[axis + 1]! * shape[axis + 1]!;
  }
  return steps;
}

/** A table of `count` entries start, start + step, ... */
export function progression(start: number, step: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => start + i * step);
}

/** Every step-th element from start on, size of them, on each axis of `shape`. */
export function slicing(
  shape: readonly number[],
  start: readonly number[],
  step: readonly number[],
  size: readonly number[],
): Tables {
  const steps = stepsOf(shape);
  return size.map((n, axis) =>
    progression(start[axis]! * steps[axis]!, step[axis]! * steps[axis]!, n),
  );
}

/** Zeros around a tensor. */
export function padding(
  shape: readonly number[],
  before: readonly number[],
  after: readonly number[],
): Tables {
  const steps = stepsOf(shape);
  return shape.map((n, axis) => {
    const table = new Int32Array(before[axis]! + n + after[axis]!).fill(OUTSIDE);
    table.set(progression(0, steps[axis]!, n), before[axis]!);
    return table;
  });
}

/** The axes of a tensor in another order: axis i of the result is axis order[i] of the input. */
export function transposing(shape: readonly number[], order: readonly number[]): Tables {
  const steps = stepsOf(shape);
  return order.map((axis) => progression(0, steps[axis]!, shape[axis]!));
}

/** No element moves: the input under another shape. */
export function keeping(shape: readonly number[]): Tables {
  return [
    progression(
      0,
      1,
      shape.reduce((size, n) => size * n, 1),
    ),
  ];
}

/** A table as runs [start, step, count], the shortest way to write what tables usually are. */
export type TableRun = readonly [start: number, step: number, count: number];

export function runsOf(table: Int32Array): TableRun[] {
  const runs: TableRun[] = [];
  for (let at = 0; at < table.length; ) {
    const start = table[at]!;
    const step = at + 1 < table.length ? table[at + 1]! - start : 0;
    let end = at + 1;
    while (end < table.length && table[end]! - table[end - 1]! === step) end++;
    runs.push([start, step, end - at]);
    at = end;
  }
  return runs;
}

/** @throws RangeError when they hold more than `most` entries together. */
export function tableOf(runs: readonly TableRun[], most: number): Int32Array {
  const length = runs.reduce((sum, [, , count]) => sum + count, 0);
  if (!(length <= most))
    throw new RangeError(`a table of ${length} entries, at most ${most} are read`);
  const table = new Int32Array(length);
  let at = 0;
  for (const [start, step, count] of runs) {
    for (let i = 0; i < count; i++) table[at++] = start + i * step;
  }
  return table;
}

/** For every channel of a gather's result, the channels of its input that its elements come from. */
export function channelsRead(tables: Tables, from: Shape, to: Shape): number[][] {
  const plane = from[1] * from[2];
  const index = Int32Array.from({ length: sizeOf(from) }, (_, i) => i + 1);
  const moved = gather(tables, index, new Int32Array(sizeOf(to)));
  const size = to[1] * to[2];
  return Array.from({ length: to[0] }, (_, channel) => {
    const found = new Set<number>();
    for (const entry of moved.subarray(channel * size, (channel + 1) * size)) {
      if (entry > 0) found.add(Math.floor((entry - 1) / plane));
    }
    return [...found];
  });
}
