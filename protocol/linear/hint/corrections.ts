/**
 * The server's product of a layer's weights with the corrections, on integers modulo 2^32: what the masked input's product
 * lacks where the phase of a coefficient is not the mask that belongs there.
 *
 * Every coefficient that a used output meets should hold the mask m of an element, or 0; a corrected one holds another
 * phase r, and the client sent D = m - r. Output m of a tile meets the weights of each output m' of that tile at the
 * rectangle of its input moved by (m - m') C S (layout.ts), so it lacks, for each m' and each kernel element, the weights of
 * m' at that element times the corrections there. With one output a polynomial few coefficients are corrected, a frame of
 * padding and halo copies; with several all of the moved ones are.
 *
 * So for each kernel element the coefficients that it meets and that are corrected, of all input channels, are the columns
 * of a matrix, and what the outputs lack is its product with that element's weights.
 */

import { kernels } from '../../kernels/index.ts';
import type { ChannelRange } from '../../ring/linear.ts';
import { packedRow } from '../../ring/linear.ts';
import { linearOutput, weightCount } from '../../ring/shape.ts';
import { DEGREE } from '../lattice/parameters.ts';
import { modulo, outputShifts } from './layout.ts';
import { outputsOf } from './packing.ts';
import type { HintPlan } from './plan.ts';
import { checkLength } from './polynomial.ts';

/** Words of columns brought into the kernel memory at once. LOCAL. */
const PIECE_WORDS = 1 << 20;

/** Bytes behind a matrix of columns, or of results, that the products may touch. */
const SLACK = 32;

/**
 * Server: W times the corrections, to be added to its share of the layer's output, before the input exists.
 * @param weights - all weights of the layer, also when `range` is a part: as they are, or as packWeights of
 *   protocol/ring/linear.ts made them
 * @param corrections - one for each corrected coefficient, see decodeCorrections
 * @param range - output channels, all of them by default
 * @returns [to - from, out height, out width] modulo 2^32
 * @throws RangeError when a length does not belong to the plan, or the layer is exact
 */
export function correctedLinear(
  plan: HintPlan,
  weights: Int32Array | Int16Array,
  corrections: Int32Array,
  range?: ChannelRange,
): Int32Array {
  const { packing, shape } = plan;
  const { conv, inTiles, spatialTiles } = packing;
  const { from, to } = range ?? { from: 0, to: conv.outChannels };
  if (plan.masks === 'exact') throw new RangeError('hint corrections: the layer is exact');
  const packed = weights instanceof Int16Array;
  const expected = packed ? packedRow(shape) * conv.outChannels : weightCount(shape);
  checkLength('weights', weights.length, expected);
  const starts = correctionStarts(plan);
  checkLength('corrections', corrections.length, starts[inTiles * spatialTiles]!);
  if (!(0 <= from && from <= to && to <= conv.outChannels)) {
    throw new RangeError(`hint corrections: output channels ${from} to ${to} are not the layer's`);
  }
  const [, height, width] = linearOutput(conv);
  const out = new Int32Array((to - from) * height * width);
  const { arena } = kernels();
  arena.scope(() => {
    const pointer = arena.alloc(4 * inTiles * DEGREE);
    const coefficients = arena.i32(pointer, inTiles * DEGREE).fill(0);
    for (let spatialTile = 0; spatialTile < spatialTiles; spatialTile++) {
      const columns = correctedColumns(plan, spatialTile, packed ? 4 : 8);
      if (columns.taps.length === 0) continue;
      for (let inTile = 0; inTile < inTiles; inTile++) {
        const index = inTile * spatialTiles + spatialTile;
        const { corrected } = plan.inputs[index]!;
        const [base, start] = [inTile * DEGREE, starts[index]!];
        for (let i = 0; i < corrected.length; i++) {
          coefficients[base + corrected[i]!] = corrections[start + i]!;
        }
      }
      multiplyColumns(plan, weights, { ...columns, coefficients }, { from, to }, out);
      // The next tile has others.
      for (let inTile = 0; inTile < inTiles && spatialTiles > 1; inTile++) {
        for (const at of plan.inputs[inTile * spatialTiles + spatialTile]!.corrected) {
          coefficients[inTile * DEGREE + at] = 0;
        }
      }
    }
  });
  return out;
}

/** Where the corrections of each input polynomial begin among the layer's; the last entry is their number. */
export function correctionStarts(plan: HintPlan): Uint32Array {
  const starts = new Uint32Array(plan.inputs.length + 1);
  plan.inputs.forEach(({ corrected }, i) => {
    starts[i + 1] = starts[i]! + corrected.length;
  });
  return starts;
}

/** What the outputs of one spatial tile meet that is corrected, kernel element by kernel element. */
interface Columns {
  /** Kernel elements that have columns, and which: [from, to), both multiples of the step. */
  readonly taps: readonly { readonly tap: number; readonly from: number; readonly to: number }[];
  /** Of each column: the coefficient, counted from where the channel's plane begins, before it is taken modulo N. */
  readonly offsets: Int32Array;
  /** How many outputs after that of the weights the output is which it belongs to. */
  readonly shifts: Int32Array;
  /** Where it is in the plane of this output; -1 for a column that fills up. */
  readonly targets: Int32Array;
}

function correctedColumns(plan: HintPlan, spatialTile: number, step: number): Columns {
  const { packing } = plan;
  const { conv, rows, columns, rowStride, blockStride, planesPerTile } = packing;
  const [top, bottom] = outputsOf(rows, Math.floor(spatialTile / columns.tiles));
  const [left, right] = outputsOf(columns, spatialTile % columns.tiles);
  let [least, most] = [0, 0];
  for (let group = 0; group < conv.groups; group++) {
    const [from, to] = outputShifts(packing, group);
    least = Math.min(least, from);
    most = Math.max(most, to);
  }
  const [offsets, shifts, targets]: [number[], number[], number[]] = [[], [], []];
  const taps: { tap: number; from: number; to: number }[] = [];
  const corrected = new Uint8Array(DEGREE);
  let marked = -1;
  for (let tap = 0; tap < conv.kernel[0] * conv.kernel[1]; tap++) {
    const rowTap = rows.taps[Math.floor(tap / conv.kernel[1])]!;
    const columnTap = columns.taps[tap % conv.kernel[1]]!;
    if (!rowTap.live || !columnTap.live) continue;
    // Of its own outputs' coefficients, without a shift, that of the first channel tells which are corrected for all; where
    // the packing has zeros all are.
    const plane = planeOfTap(plan, tap);
    const inTile = Math.floor(plane / planesPerTile);
    if (inTile !== marked) {
      const index = inTile * packing.spatialTiles + spatialTile;
      corrected.fill(0);
      for (const at of plan.inputs[index]!.corrected) corrected[at] = 1;
      marked = inTile;
    }
    const block = (plane % planesPerTile) * blockStride;
    const from = offsets.length;
    for (let shift = least; shift <= most; shift++) {
      for (let i = top; i < bottom; i++) {
        const row = i - top + rowTap.offset - rows.base;
        const start =
          shift * planesPerTile * blockStride +
          row * rowStride +
          columnTap.offset -
          columns.base -
          left;
        for (let j = left; j < right; j++) {
          if (shift === 0 && corrected[modulo(block + start + j, DEGREE)] === 0) continue;
          offsets.push(start + j);
          shifts.push(shift);
          targets.push(i * columns.outputs + j);
        }
      }
    }
    if (offsets.length === from) continue;
    while (offsets.length % step > 0) {
      offsets.push(0);
      shifts.push(0);
      targets.push(-1);
    }
    taps.push({ tap, from, to: offsets.length });
  }
  return {
    taps,
    offsets: Int32Array.from(offsets),
    shifts: Int32Array.from(shifts),
    targets: Int32Array.from(targets),
  };
}

/** The plane of the first channel that a kernel element reads. */
function planeOfTap({ packing: { conv, rows, columns } }: HintPlan, tap: number): number {
  const row = rows.phases.indexOf(rows.taps[Math.floor(tap / conv.kernel[1])]!.phase);
  const column = columns.phases.indexOf(columns.taps[tap % conv.kernel[1]]!.phase);
  return row * columns.phases.length + column;
}

/** Columns, and the polynomials that they are read from. */
interface FilledColumns extends Columns {
  readonly coefficients: Int32Array;
}

/** Adds the products of the columns with the weights of some output channels to `out`. */
function multiplyColumns(
  plan: HintPlan,
  weights: Int32Array | Int16Array,
  { taps, offsets, shifts, targets, coefficients }: FilledColumns,
  { from, to }: ChannelRange,
  out: Int32Array,
): void {
  const { packing } = plan;
  const { conv, outputsPerTile } = packing;
  const halved = weights instanceof Int16Array;
  const area = conv.kernel[0] * conv.kernel[1];
  const channels = conv.channels / conv.groups;
  const perGroup = conv.outChannels / conv.groups;
  const rowBytes = (weights.length / conv.outChannels) * weights.BYTES_PER_ELEMENT;
  // Channels, or pairs of them; their weights at one kernel element are a word.
  const units = rowBytes / 4 / area;
  const lanes = halved ? 2 * units : units;
  const step = halved ? 4 : 8;
  const most = Math.max(step, Math.floor(PIECE_WORDS / lanes / step) * step);
  const planeSize = linearOutput(conv)[1] * linearOutput(conv)[2];
  const weightBytes = new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength);
  const { arena, ring } = kernels();
  // Outputs whose weights reach those of the range: in their tiles.
  const first = from - (from % outputsPerTile);
  const end = Math.min(Math.ceil(to / outputsPerTile) * outputsPerTile, conv.outChannels);
  for (let start = 0; start < offsets.length; start += most) {
    const pitch = Math.min(most, offsets.length - start);
    const runs = taps
      .map((run) => ({
        tap: run.tap,
        from: Math.max(run.from, start) - start,
        to: Math.min(run.to, start + pitch) - start,
      }))
      .filter((run) => run.from < run.to);
    arena.scope(() => {
      const words = arena.alloc(4 * lanes * pitch + SLACK);
      const halves = halved ? arena.alloc(4 * lanes * pitch + SLACK) : words;
      const high = 4 * units * pitch;
      const unitOffsets = arena.put(Uint32Array.from({ length: units }, (_, u) => 4 * u * pitch));
      const plane = (4 * pitch + SLACK + 15) & ~15;
      const results = arena.alloc(4 * plane);
      const own = arena.alloc(4 * rowBytes);
      const w = arena.alloc(16 * units);
      const bias = arena.alloc(16);
      arena.i32(bias, 4).fill(0);
      for (let group = Math.floor(first / perGroup); group * perGroup < end; group++) {
        const input = arena.i32(words, lanes * pitch);
        const met = { taps: runs, offsets: offsets.subarray(start, start + pitch), coefficients };
        readColumns(plan, met, group * channels, input);
        for (let unit = 0; unit < units && halved; unit++) {
          const [low, pair] = [halves + 4 * unit * pitch, words + 8 * unit * pitch];
          ring.halve(low, low + high, pair, pair + 4 * pitch, pitch, 1);
        }
        const last = Math.min(end, (group + 1) * perGroup);
        for (let output = Math.max(first, group * perGroup); output < last; output += 4) {
          const count = Math.min(4, last - output);
          const at = output * rowBytes;
          arena.u8(own, count * rowBytes).set(weightBytes.subarray(at, at + count * rowBytes));
          for (const { tap, from: left, to: right } of runs) {
            ring.gather(w, own + 4 * tap, count * units, area);
            const [dst, src] = [results + 4 * left, halves + 4 * left];
            const rest = [0, 1, right - left, unitOffsets, units] as const;
            if (halved) ring.convolveHalves4(dst, plane, 0, src, high, ...rest, w, bias);
            else if (count === 4) ring.convolve4(dst, plane, 0, src, ...rest, w, bias);
            else {
              for (let i = 0; i < count; i++) {
                ring.convolve1(dst + i * plane, 0, src, ...rest, w + 4 * i * units, bias);
              }
            }
          }
          for (let i = 0; i < count; i++) {
            // Outputs of the same tile that are asked for, counted from this one.
            const tile = output + i - ((output + i) % outputsPerTile);
            const least = Math.max(tile, from) - output - i;
            const largest = Math.min(tile + outputsPerTile, to) - 1 - output - i;
            const result = arena.i32(results + i * plane, pitch);
            const base = (output + i - from) * planeSize;
            for (let column = 0; column < pitch; column++) {
              const target = targets[start + column]!;
              const shift = shifts[start + column]!;
              if (target < 0 || shift < least || shift > largest) continue;
              out[base + shift * planeSize + target]! += result[column]!;
            }
          }
        }
      }
    });
  }
}

/** The columns of some kernel elements, channel by channel from `firstChannel` on; zeros where there are no more channels. */
function readColumns(
  plan: HintPlan,
  { taps, offsets, coefficients }: Pick<FilledColumns, 'taps' | 'offsets' | 'coefficients'>,
  firstChannel: number,
  out: Int32Array,
): void {
  const { conv, rows, columns, planesPerTile, blockStride } = plan.packing;
  const phases = rows.phases.length * columns.phases.length;
  const channels = conv.channels / conv.groups;
  const pitch = offsets.length;
  for (const { tap, from, to } of taps) {
    const phase = planeOfTap(plan, tap);
    for (let channel = 0; channel < channels; channel++) {
      const plane = (firstChannel + channel) * phases + phase;
      const base = Math.floor(plane / planesPerTile) * DEGREE;
      const block = (plane % planesPerTile) * blockStride;
      for (let column = from; column < to; column++) {
        const at = block + offsets[column]!;
        const value = coefficients[base + modulo(at, DEGREE)]!;
        out[channel * pitch + column] = at < 0 || at >= DEGREE ? -value : value;
      }
    }
  }
  out.fill(0, channels * pitch);
}
