/**
 * Which coefficients of a layer's input polynomials the used outputs meet, and what each of them is: free, its phase
 * becomes the mask of an input element; or corrected, the client sends how far the phase is from what it must be.
 *
 * Output m of a tile sits at m C S and meets the weights of every output m' of that tile: its own weights at the
 * coefficients of its input rectangle, those of another at the same places moved by (m - m') C S, where the packing has
 * zeros. So an input polynomial is read at the rectangles of its planes and, with several outputs a polynomial, at their
 * shifted copies. A coefficient that holds no element, because it is padding or a shifted copy, must be the mask 0. One that
 * holds an element is free in the first spatial tile that reads it; tiles after that have halo copies, corrected. Positions
 * are modulo N, with X^N = -1 taking care of itself: a zero has no sign.
 */

import { linearInputSize } from '../../ring/shape.ts';
import { DEGREE } from '../lattice/parameters.ts';
import type { Axis, Packing } from './packing.ts';
import { outputsOf, packedElements, planeOf } from './packing.ts';

/** How the masks of a layer's input come about. */
export type Masks =
  /** The layer's phases are the masks of its input: nothing else decides them. */
  | 'free'
  /** The masks are given, because another layer reads the same elements: every coefficient is corrected. */
  | 'fixed'
  /** The masks are given, and corrections carry all bits of q: the outputs reach the client without a truncation. */
  | 'exact';

/** Coefficients of one input polynomial that some used output meets, ascending. Public, plain data. */
export interface InputLayout {
  /** Free coefficients, and the elements of the input tensor that they mask, counted from `first`. */
  readonly free: Uint32Array;
  readonly freeElements: Uint32Array;
  /** Corrected coefficients, and the elements they must be the masks of, so counted; -1 where the mask is 0. */
  readonly corrected: Uint32Array;
  readonly correctedElements: Int32Array;
  /** The first element of the polynomial's first channel. */
  readonly first: number;
}

/** Local indices [from, to) of an axis that a plane of one phase is read at, for `outputs` outputs of a tile. */
export function readSpan(axis: Axis, phase: number, outputs: number): [from: number, to: number] {
  const offsets = axis.taps.filter((tap) => tap.phase === phase && tap.live).map((x) => x.offset);
  if (offsets.length === 0) return [0, 0];
  return [Math.min(...offsets) - axis.base, Math.max(...offsets) - axis.base + outputs];
}

/** Smallest and largest m - m' for the outputs m' of a group and the outputs m in their tiles. */
export function outputShifts(packing: Packing, group: number): [least: number, most: number] {
  const { conv, outputsPerTile } = packing;
  const perGroup = conv.outChannels / conv.groups;
  let [least, most] = [0, 0];
  for (let output = group * perGroup; output < (group + 1) * perGroup; output++) {
    const first = output - (output % outputsPerTile);
    const last = Math.min(first + outputsPerTile, conv.outChannels) - 1;
    least = Math.min(least, first - output);
    most = Math.max(most, last - output);
  }
  return [least, most];
}

/** Marks with 1 the coefficients of an input polynomial that some used output meets; returns how many there are. */
export function markReads(
  packing: Packing,
  inTile: number,
  spatialTile: number,
  marks: Uint8Array,
): number {
  const { rows, columns, rowStride, blockStride, planesPerTile } = packing;
  const [top, bottom] = outputsOf(rows, Math.floor(spatialTile / columns.tiles));
  const [left, right] = outputsOf(columns, spatialTile % columns.tiles);
  const n = marks.length;
  marks.fill(0);
  const planes = Math.min(planesPerTile, packing.planes - inTile * planesPerTile);
  const perGroup = packing.conv.channels / packing.conv.groups;
  let groupBefore = -1;
  let shifts: [number, number] = [0, 0];
  for (let p = 0; p < planes; p++) {
    const [channel, rowPhase, columnPhase] = planeOf(packing, inTile * planesPerTile + p);
    const group = Math.floor(channel / perGroup);
    if (group !== groupBefore) shifts = outputShifts(packing, group);
    groupBefore = group;
    const [firstRow, lastRow] = readSpan(rows, rowPhase, bottom - top);
    const [firstColumn, lastColumn] = readSpan(columns, columnPhase, right - left);
    for (let shift = shifts[0]; shift <= shifts[1]; shift++) {
      const block = (shift * planesPerTile + p) * blockStride;
      for (let y = firstRow; y < lastRow; y++) {
        const from = modulo(block + y * rowStride + firstColumn, n);
        const to = from + lastColumn - firstColumn;
        marks.fill(1, from, Math.min(to, n));
        if (to > n) marks.fill(1, 0, to - n);
      }
    }
  }
  let count = 0;
  for (let at = 0; at < n; at++) count += marks[at]!;
  return count;
}

/** x mod n for -n <= x < 2 n. */
export function modulo(x: number, n: number): number {
  return x < 0 ? x + n : x >= n ? x - n : x;
}

/**
 * The layout of every input polynomial, at inTile * spatialTiles + spatialTile. Polynomials of alike planes share their
 * arrays: plans stay small for all who keep or copy them.
 * @param masks - 'free', or everything that is read is corrected
 */
export function layoutInputs(packing: Packing, masks: Masks): InputLayout[] {
  const { conv, inTiles, spatialTiles, planes, planesPerTile, outputsPerTile } = packing;
  const perChannel = planes / conv.channels;
  // With several outputs a polynomial, groups may differ in what is read of their planes.
  const alike = conv.groups === 1 || outputsPerTile === 1;
  const firsts = new Map<number, number>();
  // Elements that an earlier spatial tile has free.
  const owned = new Uint8Array(masks === 'free' && spatialTiles > 1 ? linearInputSize(conv) : 0);
  const scratch: Scratch = { elements: new Int32Array(DEGREE), marks: new Uint8Array(DEGREE) };
  const layouts: InputLayout[] = [];
  for (let inTile = 0; inTile < inTiles; inTile++) {
    const plane = inTile * planesPerTile;
    const first = Math.floor(plane / perChannel) * conv.height * conv.width;
    const key = (plane % perChannel) * (planes + 1) + Math.min(planesPerTile, planes - plane);
    const like = alike ? firsts.get(key) : undefined;
    if (like === undefined) firsts.set(key, inTile);
    for (let spatialTile = 0; spatialTile < spatialTiles; spatialTile++) {
      layouts.push(
        like === undefined
          ? layoutInput(packing, masks, { inTile, spatialTile, first }, owned, scratch)
          : { ...layouts[like * spatialTiles + spatialTile]!, first },
      );
    }
  }
  return layouts;
}

/** N values each. */
interface Scratch {
  readonly elements: Int32Array;
  readonly marks: Uint8Array;
}

function layoutInput(
  packing: Packing,
  masks: Masks,
  { inTile, spatialTile, first }: Readonly<Record<'inTile' | 'spatialTile' | 'first', number>>,
  owned: Uint8Array,
  { elements, marks }: Scratch,
): InputLayout {
  const count = markReads(packing, inTile, spatialTile, marks);
  packedElements(packing, inTile, spatialTile, elements);
  const choosing = masks === 'free';
  const tracking = owned.length > 0;
  const free = new Uint32Array(count);
  const freeElements = new Uint32Array(count);
  const corrected = new Uint32Array(count);
  const correctedElements = new Int32Array(count);
  let [frees, corrections] = [0, 0];
  for (let at = 0; at < DEGREE; at++) {
    if (marks[at] === 0) continue;
    const element = elements[at]!;
    if (choosing && element >= 0 && !(tracking && owned[element] === 1)) {
      if (tracking) owned[element] = 1;
      free[frees] = at;
      freeElements[frees++] = element - first;
    } else {
      corrected[corrections] = at;
      correctedElements[corrections++] = element < 0 ? -1 : element - first;
    }
  }
  return {
    free: free.slice(0, frees),
    freeElements: freeElements.slice(0, frees),
    corrected: corrected.slice(0, corrections),
    correctedElements: correctedElements.slice(0, corrections),
    first,
  };
}
