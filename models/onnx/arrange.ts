/** What a view becomes in a graph: a part of the planes with zeros around, or tables of a gather. */

import { OUTSIDE } from '../../protocol/ring/gather.ts';
import type { Triple } from '../graph/index.ts';
import {
  entryAt,
  flatParts,
  mergedPart,
  type Part,
  partTable,
  reshaped,
  type View,
} from './view.ts';

/** Tables of a gather with fewer entries than this are joined: few long tables are walked faster than many short ones. */
const SHORT = 512;

/** A slice of [C, H, W] and the zeros around it. */
interface Cut {
  readonly start: Triple;
  readonly step: Triple;
  readonly size: Triple;
  readonly before: Triple;
  readonly after: Triple;
}

/** The entries of a part without zeros at both ends, if they are a progression that grows. */
function core(
  part: Part,
): { before: number; after: number; first: number; step: number; count: number } | undefined {
  if (part.table === undefined) {
    const { start, step, count } = part;
    return step < 0 || (step === 0 && count > 1)
      ? undefined
      : { before: 0, after: 0, first: start, step, count };
  }
  const { table } = part;
  const before = table.findIndex((entry) => entry !== OUTSIDE);
  if (before < 0) return undefined;
  const end = table.findLastIndex((entry) => entry !== OUTSIDE) + 1;
  const count = end - before;
  const step = count > 1 ? table[before + 1]! - table[before]! : 0;
  const isRegular =
    (step > 0 || count === 1) &&
    table.subarray(before, end).every((entry, i) => entry === table[before]! + i * step);
  return isRegular
    ? { before, after: table.length - end, first: table[before]!, step, count }
    : undefined;
}

/** The view as a slice and zeros around it; nothing when it is more than that. */
export function cutOf(view: View, from: Triple, to: Triple): Cut | undefined {
  const { parts, offset } = flatParts(view);
  const planes = reshaped({ size: view.size, axes: [parts], offset: 0 }, to);
  if (planes === undefined) return undefined;
  const cores = planes.axes.map((axis) => core(mergedPart(axis)));
  if (cores.some((one) => one === undefined)) return undefined;
  const steps = [from[1] * from[2], from[2], 1];
  let rest = cores.reduce((sum, one) => sum + one!.first, offset + planes.offset);
  const start: number[] = [];
  const step: number[] = [];
  for (const [axis, one] of cores.entries()) {
    start.push(Math.floor(rest / steps[axis]!));
    rest -= start[axis]! * steps[axis]!;
    const { count } = one!;
    const by = count === 1 ? 1 : one!.step / steps[axis]!;
    step.push(by);
    if (!Number.isInteger(by) || start[axis]! + by * (count - 1) >= from[axis]!) return undefined;
  }
  const of = (key: 'before' | 'after' | 'count') =>
    cores.map((one) => one![key]) as unknown as Triple;
  return {
    start: start as unknown as Triple,
    step: step as unknown as Triple,
    size: of('count'),
    before: of('before'),
    after: of('after'),
  };
}

/** The tables of a gather that puts a view's elements in order. */
export function viewTables(view: View, allocate: (entries: number) => void): Int32Array[] {
  const { parts, offset } = flatParts(view);
  const short: Part[] = [];
  for (const part of parts) {
    const last = short.at(-1);
    if (last !== undefined && last.count * part.count <= SHORT) {
      short[short.length - 1] = mergedPart([last, part]);
    } else short.push(part);
  }
  allocate(short.reduce((sum, { count }) => sum + count, 1));
  const tables = short.map((part) => partTable(part).slice());
  if (tables.length === 0) return [Int32Array.of(offset)];
  // Every table starts at its least entry, so that none of them falls below zero.
  const least = short.map((part) => leastOf(part));
  const moved = least.reduce((sum, n) => sum + n, offset);
  return tables.map((table, i) =>
    table.map((entry) =>
      entry === OUTSIDE && short[i]!.table !== undefined
        ? OUTSIDE
        : entry - least[i]! + (i === 0 ? moved : 0),
    ),
  );
}

function leastOf(part: Part): number {
  if (part.table === undefined) return Math.min(part.start, entryAt(part, part.count - 1));
  let least = Infinity;
  for (const entry of part.table) if (entry !== OUTSIDE) least = Math.min(least, entry);
  return least === Infinity ? 0 : least;
}
