/**
 * Linear layers on integers modulo 2^32: exact, wrap-around, the weights as they are.
 *
 * The server's online step, a share of a layer's output from a share of its input, and the oracle's. Work is split by
 * output channels: a range of them is computed on its own, so that a pool can share a layer out.
 *
 * Convolutions of any stride become stride 1: the padded input is split into phases, phase (py, px) holding the pixels
 * at (sh * y + py, sw * x + px), so that kernel element (ky, kx) reads phase (ky mod sh, kx mod sw) shifted by
 * (floor(ky / sh), floor(kx / sw)). The kernel then sees a flat list of taps: byte offsets into the phases, in the
 * weights' own order.
 *
 * Weights of 16 bits with a sign multiply the halves of the input's words, two channels at once ({@link packWeights};
 * kernels/assembly/ring.ts has the arithmetic). The channels of a pair then share their phases: those of their lower
 * halves, and behind them as many of their upper halves; a tap is a kernel element of a pair. Results are the same.
 */

import { bulkBytes } from '../bulk.ts';
import { kernels } from '../kernels/index.ts';
import {
  type ConvShape,
  type DenseShape,
  fanIn,
  type LinearShape,
  linearInputSize,
  linearOutput,
  sizeOf,
  weightCount,
} from './shape.ts';

/** Output channels from .. to - 1. */
export interface ChannelRange {
  readonly from: number;
  readonly to: number;
}

/** Bytes of phases brought into the kernel memory at once. LOCAL. */
const PIECE_BYTES = 8 << 20;

/** Bytes of a matrix brought into the kernel memory at once: they stay in the processor's cache. LOCAL. */
const MATRIX_BYTES = 256 << 10;

/** Bytes behind input and output that the convolution may touch. */
const SLACK = 32;

/**
 * Weights as {@link linear} multiplies with them fastest: pairs of 16-bit numbers where all fit and a group has channels to
 * pair, else `weights` itself. Made once for all inferences; in shared memory if large (bulk.ts). Belongs to the shape.
 *
 * Packed, a row is an output channel's: for each pair of its input channels, for each kernel element, the weight of the
 * even channel and that of the odd one, 0 where the last channel has no partner. A matrix's row is the row itself, filled
 * with zeros to a multiple of 16.
 *
 * Whether all weights of a layer fit, one bit for each layer, shows in the time that the server takes.
 * @throws RangeError when the length does not fit the shape
 */
export function packWeights(shape: LinearShape, weights: Int32Array): Int32Array | Int16Array {
  expectElements('weights', weights, weightCount(shape));
  const area = shape.kind === 'dense' ? 1 : shape.kernel[0] * shape.kernel[1];
  const channels = fanIn(shape) / area;
  if (channels < 2) return weights;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] !== (weights[i]! << 16) >> 16) return weights;
  }
  const row = packedRow(shape);
  const rows = linearOutput(shape)[0];
  const packed = new Int16Array(bulkBytes(2 * rows * row).buffer);
  for (let m = 0; m < rows; m++) {
    const own = weights.subarray(m * channels * area, (m + 1) * channels * area);
    if (area === 1) {
      packed.set(own, m * row);
      continue;
    }
    let to = m * row;
    for (let even = 0; even < own.length; even += 2 * area) {
      for (let k = even; k < even + area; k++, to += 2) {
        packed[to] = own[k]!;
        packed[to + 1] = own[k + area] ?? 0;
      }
    }
  }
  return packed;
}

/** Elements of a packed row, those of one output channel. */
export function packedRow(shape: LinearShape): number {
  if (shape.kind === 'dense') return (shape.inputs + 15) & ~15;
  return 2 * Math.ceil(shape.channels / shape.groups / 2) * shape.kernel[0] * shape.kernel[1];
}

/**
 * The layer's output channels in `range` (all of them by default), W x + b mod 2^32.
 * @param input - x, `linearInputSize(shape)` elements
 * @param weights - all weights of the layer, also when `range` is a part: as they are, or as packWeights made them
 * @param bias - one for each output channel of the layer, or for each output element of the layer
 * @returns [to - from, out height, out width], or to - from elements of a vector
 * @throws RangeError when a length does not fit the shape
 */
export function linear(
  shape: LinearShape,
  input: Int32Array,
  weights: Int32Array | Int16Array,
  bias?: Int32Array,
  range?: ChannelRange,
): Int32Array {
  return shape.kind === 'dense'
    ? dense(shape, input, weights, bias, range)
    : conv2d(shape, input, weights, bias, range);
}

/** A matrix times a vector: see {@link linear}. */
export function dense(
  shape: DenseShape,
  input: Int32Array,
  weights: Int32Array | Int16Array,
  bias?: Int32Array,
  range: ChannelRange = { from: 0, to: shape.outputs },
): Int32Array {
  check(shape, input, weights, bias, range);
  const { arena, ring } = kernels();
  const halved = weights instanceof Int16Array;
  const n = halved ? packedRow(shape) : shape.inputs;
  const out = new Int32Array(range.to - range.from);
  const rowBytes = n * weights.BYTES_PER_ELEMENT;
  const step = Math.max(1, Math.floor(MATRIX_BYTES / rowBytes));
  arena.scope(() => {
    const x = arena.alloc(4 * n);
    arena.i32(x, n).fill(0).set(input);
    const low = halved ? arena.alloc(2 * n) : 0;
    const high = halved ? arena.alloc(2 * n) : 0;
    if (halved) ring.halve(low, high, x, x + 4, n / 2, 2);
    const w = arena.alloc(step * rowBytes);
    const y = arena.alloc(4 * step);
    for (let row = range.from; row < range.to; row += step) {
      const rows = Math.min(step, range.to - row);
      loadRows(w, weights, row, rows, rowBytes);
      if (halved) ring.denseHalves(y, w, rows, low, high, n);
      else ring.dense(y, w, rows, x, n);
      out.set(arena.i32(y, rows), row - range.from);
    }
  });
  addFrom(out, bias, range.from);
  return out;
}

/** Adds the elements of a bias from one on. */
function addFrom(out: Int32Array, bias: Int32Array | undefined, from: number): void {
  if (bias === undefined) return;
  for (let i = 0; i < out.length; i++) out[i]! += bias[from + i]!;
}

/** Copies rows of weights to the kernel memory. */
function loadRows(
  dst: number,
  { buffer, byteOffset }: Int32Array | Int16Array,
  row: number,
  rows: number,
  rowBytes: number,
): void {
  const bytes = rows * rowBytes;
  kernels()
    .arena.u8(dst, bytes)
    .set(new Uint8Array(buffer, byteOffset + row * rowBytes, bytes));
}

/** A convolution over [channels, height, width]: see {@link linear}. */
export function conv2d(
  shape: ConvShape,
  input: Int32Array,
  weights: Int32Array | Int16Array,
  bias?: Int32Array,
  range: ChannelRange = { from: 0, to: shape.outChannels },
): Int32Array {
  check(shape, input, weights, bias, range);
  const [, height, width] = linearOutput(shape);
  const plane = height * width;
  const out = new Int32Array((range.to - range.from) * plane);
  // One for each channel is added where the channel is computed.
  const byChannel = bias?.length === shape.outChannels ? bias : undefined;
  const { arena } = kernels();
  const plan = planPhases(shape, weights instanceof Int16Array);
  const perGroup = shape.outChannels / shape.groups;
  const firstGroup = Math.floor(range.from / perGroup);
  arena.scope(() => {
    const offsets = arena.put(tapOffsets(shape, plan));
    for (let group = firstGroup; group * perGroup < range.to; group++) {
      const from = Math.max(range.from, group * perGroup);
      const to = Math.min(range.to, (group + 1) * perGroup);
      for (let y = 0; y < height; y += plan.bandRows) {
        const rows = Math.min(plan.bandRows, height - y);
        const emit = (channel: number, row: number, pixels: Int32Array): void => {
          out.set(pixels, ((channel - range.from) * height + y + row) * width);
        };
        arena.scope(() => {
          const phases = fillPhases(shape, plan, input, group, y);
          const taps = { phases, offsets, weights, bias: byChannel };
          convolveBand(shape, plan, taps, { from, to, rows }, emit);
        });
      }
    }
  });
  if (byChannel === undefined) addFrom(out, bias, range.from * plane);
  return out;
}

/** How a group's input lies in the kernel memory; sizes in elements. */
interface PhasePlan {
  /** Channels that share their phases: 2 on halves, else 1. */
  readonly together: number;
  /** Such channels, or pairs of them, in a group. */
  readonly units: number;
  /** Phases in each direction: those that some kernel element reads. */
  readonly phasesY: number;
  readonly phasesX: number;
  /** Columns of a phase; also its pitch. */
  readonly pitch: number;
  /** Rows of a phase that one band of output rows needs beyond its own. */
  readonly extraRows: number;
  /** Output rows done at once. */
  readonly bandRows: number;
  /** Elements of one phase. */
  readonly plane: number;
}

function planPhases(shape: ConvShape, halved: boolean): PhasePlan {
  const [kh, kw] = shape.kernel;
  const [sh, sw] = shape.stride;
  const [, height, width] = linearOutput(shape);
  const together = halved ? 2 : 1;
  const units = Math.ceil(shape.channels / shape.groups / together);
  const phasesY = Math.min(sh, kh);
  const phasesX = Math.min(sw, kw);
  const pitch = width + Math.floor((kw - 1) / sw);
  const extraRows = Math.floor((kh - 1) / sh);
  // Of a row of phases, and of the input rows that make it.
  const rowBytes = 4 * together * Math.max(units * phasesY * phasesX * pitch, sh * shape.width);
  const fitting = Math.floor(PIECE_BYTES / rowBytes) - extraRows;
  const bandRows = Math.min(height, Math.max(1, fitting));
  const plane = (bandRows + extraRows) * pitch;
  return { together, units, phasesY, phasesX, pitch, extraRows, bandRows, plane };
}

/** Takes a group's padded input, from output row `y` on, apart into its phases. Returns the pointer. */
function fillPhases(
  shape: ConvShape,
  plan: PhasePlan,
  input: Int32Array,
  group: number,
  y: number,
): number {
  const { arena, ring } = kernels();
  const [sh, sw] = shape.stride;
  const [top, left] = shape.pads;
  const { together, units, phasesY, phasesX, pitch, plane } = plan;
  const channels = shape.channels / shape.groups;
  const phases = phasesY * phasesX;
  const length = units * together * phases * plane;
  const pointer = arena.alloc(4 * length + SLACK);
  arena.i32(pointer, length).fill(0);
  // The input rows that the band reads.
  const rows = plan.bandRows + plan.extraRows;
  const firstRow = Math.max(0, sh * y - top);
  const endRow = Math.min(shape.height, sh * (y + rows) - top);
  const size = Math.max(0, endRow - firstRow) * shape.width;
  const columns = Array.from({ length: phasesX }, (_, px) => {
    // Columns first .. end - 1 of this phase lie inside the input.
    const first = Math.max(0, Math.ceil((left - px) / sw));
    const end = Math.min(pitch, Math.ceil((shape.width + left - px) / sw));
    return { first, count: end - first, from: sw * first + px - left };
  });
  arena.scope(() => {
    const a = arena.alloc(4 * size);
    // A channel without a partner is its own: the weights there are 0.
    const b = channels > 1 && together === 2 ? arena.alloc(4 * size) : a;
    const load = (to: number, channel: number): void => {
      const from = ((group * channels + channel) * shape.height + firstRow) * shape.width;
      arena.i32(to, size).set(input.subarray(from, from + size));
    };
    for (let unit = 0; unit < units; unit++) {
      load(a, together * unit);
      if (b !== a) load(b, Math.min(2 * unit + 1, channels - 1));
      for (let phase = 0; phase < phases; phase++) {
        const { first, count, from } = columns[phase % phasesX]!;
        if (count <= 0) continue;
        const to = pointer + 4 * ((unit * together * phases + phase) * plane + first);
        for (let row = 0; row < rows; row++) {
          const inputRow = sh * (y + row) + Math.floor(phase / phasesX) - top;
          if (inputRow < firstRow || inputRow >= endRow) continue;
          const at = 4 * ((inputRow - firstRow) * shape.width + from);
          const dst = to + 4 * row * pitch;
          if (together === 1) ring.gather(dst, a + at, count, sw);
          else ring.halve(dst, dst + 4 * phases * plane, a + at, b + at, count, sw);
        }
      }
    }
  });
  return pointer;
}

/** Byte offsets of a group's kernel elements in its phases, in the order of the weights. */
function tapOffsets(shape: ConvShape, plan: PhasePlan): Uint32Array {
  const [kh, kw] = shape.kernel;
  const [sh, sw] = shape.stride;
  const offsets = new Uint32Array(plan.units * kh * kw);
  let tap = 0;
  for (let unit = 0; unit < plan.units; unit++) {
    for (let ky = 0; ky < kh; ky++) {
      for (let kx = 0; kx < kw; kx++) {
        const row = unit * plan.together * plan.phasesY + (ky % sh);
        const shift = Math.floor(ky / sh) * plan.pitch + Math.floor(kx / sw);
        offsets[tap++] = 4 * ((row * plan.phasesX + (kx % sw)) * plan.plane + shift);
      }
    }
  }
  return offsets;
}

/** What a convolution reads: pointers to a group's phases and its tap offsets, and all weights. */
interface Taps {
  readonly phases: number;
  readonly offsets: number;
  readonly weights: Int32Array | Int16Array;
  readonly bias: Int32Array | undefined;
}

/** Output rows of some channels. */
interface Band extends ChannelRange {
  readonly rows: number;
}

/** Convolves `rows` output rows of some channels of one group; hands each result row, or run of rows, to `emit`. */
function convolveBand(
  shape: ConvShape,
  plan: PhasePlan,
  { phases, offsets, weights, bias }: Taps,
  { from, to, rows }: Band,
  emit: (channel: number, row: number, pixels: Int32Array) => void,
): void {
  const { arena, ring } = kernels();
  const [, , width] = linearOutput(shape);
  const { together, units, phasesY, phasesX, pitch, plane } = plan;
  const halved = together === 2;
  const taps = units * shape.kernel[0] * shape.kernel[1];
  // Rows that are not whole vectors are better computed as one long row, with the seams thrown away.
  const long = (rows - 1) * pitch + width;
  const tile = halved ? 4 : 8;
  const byRow = rows * Math.ceil(width / tile) <= Math.ceil(long / tile);
  const [lines, length] = byRow ? [rows, width] : [1, long];
  const outPitch = byRow ? width : pitch;
  const outPlane = (4 * rows * outPitch + SLACK + 15) & ~15;
  const y = arena.alloc(4 * outPlane);
  const w = arena.alloc(16 * taps);
  const b = arena.alloc(16);
  const biases = arena.i32(b, 4).fill(0);
  const high = 4 * phasesY * phasesX * plane;
  for (let channel = from; channel < to; ) {
    // On halves four are computed always: those beyond the end, with whatever weights lie there, are thrown away.
    const count = halved ? Math.min(4, to - channel) : to - channel >= 4 ? 4 : 1;
    loadRows(w, weights, channel, count, 4 * taps);
    if (bias !== undefined) biases.set(bias.subarray(channel, channel + count));
    const band = [4 * pitch, lines, length, offsets, taps, w, b] as const;
    if (halved) ring.convolveHalves4(y, outPlane, 4 * outPitch, phases, high, ...band);
    else if (count === 4) ring.convolve4(y, outPlane, 4 * outPitch, phases, ...band);
    else ring.convolve1(y, 4 * outPitch, phases, ...band);
    for (let i = 0; i < count; i++, channel++) {
      const result = arena.i32(y + i * outPlane, rows * outPitch);
      if (outPitch === width) emit(channel, 0, result);
      else {
        for (let row = 0; row < rows; row++) {
          emit(channel, row, result.subarray(row * outPitch, row * outPitch + width));
        }
      }
    }
  }
}

function check(
  shape: LinearShape,
  input: Int32Array,
  weights: Int32Array | Int16Array,
  bias: Int32Array | undefined,
  { from, to }: ChannelRange,
): void {
  const outputs = shape.kind === 'dense' ? shape.outputs : shape.outChannels;
  if (shape.kind === 'conv') {
    if (shape.channels % shape.groups !== 0 || outputs % shape.groups !== 0) {
      throw new RangeError(`convolution: ${shape.groups} groups do not divide the channels`);
    }
    const [, height, width] = linearOutput(shape);
    if (height < 1 || width < 1) throw new RangeError('convolution: kernel larger than its input');
  }
  expectElements('input', input, linearInputSize(shape));
  const packed = weights instanceof Int16Array;
  expectElements('weights', weights, packed ? packedRow(shape) * outputs : weightCount(shape));
  if (bias !== undefined && bias.length !== sizeOf(linearOutput(shape))) {
    expectElements('bias', bias, outputs);
  }
  if (
    !(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= outputs)
  ) {
    throw new RangeError(`output channels ${from} to ${to}: expected a part of 0 to ${outputs}`);
  }
}

function expectElements(what: string, data: Int32Array | Int16Array, length: number): void {
  if (data.length !== length) {
    throw new RangeError(`${what}: expected ${length} elements, got ${data.length}`);
  }
}
