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
 */

import { kernels } from '../kernels/index.ts';
import {
  type ConvShape,
  type DenseShape,
  fanIn,
  type LinearShape,
  linearInputSize,
  linearOutput,
  weightCount,
} from './shape.ts';

/** Output channels from .. to - 1. */
export interface ChannelRange {
  readonly from: number;
  readonly to: number;
}

/** Bytes of phases or weights brought into the kernel memory at once. LOCAL. */
const PIECE_BYTES = 8 << 20;

/** Bytes behind input and output that the convolution may touch. */
const SLACK = 32;

/**
 * The layer's output channels in `range` (all of them by default), W x + b mod 2^32.
 * @param input - x, `linearInputSize(shape)` elements
 * @param weights - all weights of the layer, also when `range` is a part
 * @param bias - one for each output channel of the layer
 * @returns [to - from, out height, out width], or to - from elements of a vector
 * @throws RangeError when a length does not fit the shape
 */
export function linear(
  shape: LinearShape,
  input: Int32Array,
  weights: Int32Array,
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
  weights: Int32Array,
  bias?: Int32Array,
  range: ChannelRange = { from: 0, to: shape.outputs },
): Int32Array {
  check(shape, input, weights, bias, range);
  const { arena, ring } = kernels();
  const n = shape.inputs;
  const out = new Int32Array(range.to - range.from);
  const step = Math.max(1, Math.floor(PIECE_BYTES / (4 * n)));
  arena.scope(() => {
    const x = arena.put(input);
    for (let row = range.from; row < range.to; row += step) {
      const rows = Math.min(step, range.to - row);
      arena.scope(() => {
        const w = arena.put(weights.subarray(row * n, (row + rows) * n));
        const y = arena.alloc(4 * rows);
        ring.dense(y, w, rows, x, n);
        out.set(arena.i32(y, rows), row - range.from);
      });
    }
  });
  addBias(out, 1, bias, range);
  return out;
}

/** A convolution over [channels, height, width]: see {@link linear}. */
export function conv2d(
  shape: ConvShape,
  input: Int32Array,
  weights: Int32Array,
  bias?: Int32Array,
  range: ChannelRange = { from: 0, to: shape.outChannels },
): Int32Array {
  check(shape, input, weights, bias, range);
  const [, height, width] = linearOutput(shape);
  const out = new Int32Array((range.to - range.from) * height * width);
  const plan = planPhases(shape);
  const perGroup = shape.outChannels / shape.groups;
  const firstGroup = Math.floor(range.from / perGroup);
  for (let group = firstGroup; group * perGroup < range.to; group++) {
    const from = Math.max(range.from, group * perGroup);
    const to = Math.min(range.to, (group + 1) * perGroup);
    for (let y = 0; y < height; y += plan.bandRows) {
      const rows = Math.min(plan.bandRows, height - y);
      kernels().arena.scope(() => {
        const phases = fillPhases(shape, plan, input, group, y);
        convolveBand(shape, plan, phases, weights, { from, to }, rows, (channel, row, pixels) => {
          out.set(pixels, ((channel - range.from) * height + y + row) * width);
        });
      });
    }
  }
  addBias(out, height * width, bias, range);
  return out;
}

/** How a group's input lies in the kernel memory; sizes in elements. */
interface PhasePlan {
  /** Phases in each direction: those that some kernel element reads. */
  readonly phasesY: number;
  readonly phasesX: number;
  /** Columns of a phase; also its pitch. */
  readonly pitch: number;
  /** Rows of a phase that one band of output rows needs beyond its own. */
  readonly extraRows: number;
  /** Output rows done at once. */
  readonly bandRows: number;
  /** Elements of one phase of one channel. */
  readonly plane: number;
}

function planPhases(shape: ConvShape): PhasePlan {
  const [kh, kw] = shape.kernel;
  const [sh, sw] = shape.stride;
  const [, height, width] = linearOutput(shape);
  const phasesY = Math.min(sh, kh);
  const phasesX = Math.min(sw, kw);
  const pitch = width + Math.floor((kw - 1) / sw);
  const extraRows = Math.floor((kh - 1) / sh);
  const planes = (shape.channels / shape.groups) * phasesY * phasesX;
  const fitting = Math.floor(PIECE_BYTES / (4 * pitch * planes)) - extraRows;
  const bandRows = Math.min(height, Math.max(1, fitting));
  return { phasesY, phasesX, pitch, extraRows, bandRows, plane: (bandRows + extraRows) * pitch };
}

/** Copies a group's padded input, from output row `y` on, into its phases. Returns the pointer. */
function fillPhases(
  shape: ConvShape,
  plan: PhasePlan,
  input: Int32Array,
  group: number,
  y: number,
): number {
  const { arena } = kernels();
  const [sh, sw] = shape.stride;
  const [top, left] = shape.pads;
  const { pitch, plane } = plan;
  const channels = shape.channels / shape.groups;
  const length = channels * plan.phasesY * plan.phasesX * plane;
  const pointer = arena.alloc(4 * length + SLACK);
  const phases = arena.i32(pointer, length).fill(0);
  let to = 0;
  for (let c = group * channels; c < (group + 1) * channels; c++) {
    for (let py = 0; py < plan.phasesY; py++) {
      for (let px = 0; px < plan.phasesX; px++, to += plane) {
        // Columns first .. end - 1 of this phase lie inside the input.
        const first = Math.max(0, Math.ceil((left - px) / sw));
        const end = Math.min(pitch, Math.ceil((shape.width + left - px) / sw));
        for (let row = 0; row < plan.bandRows + plan.extraRows; row++) {
          const inputRow = sh * (y + row) + py - top;
          if (inputRow < 0 || inputRow >= shape.height) continue;
          const from = (c * shape.height + inputRow) * shape.width + px - left;
          const at = to + row * pitch;
          if (sw === 1 && first < end) {
            phases.set(input.subarray(from + first, from + end), at + first);
          } else {
            for (let x = first; x < end; x++) phases[at + x] = input[from + sw * x]!;
          }
        }
      }
    }
  }
  return pointer;
}

/** Byte offsets of a group's kernel elements in its phases, in the order of the weights. */
function tapOffsets(shape: ConvShape, plan: PhasePlan): Uint32Array {
  const [kh, kw] = shape.kernel;
  const [sh, sw] = shape.stride;
  const offsets = new Uint32Array(fanIn(shape));
  let tap = 0;
  for (let c = 0; c < shape.channels / shape.groups; c++) {
    for (let ky = 0; ky < kh; ky++) {
      for (let kx = 0; kx < kw; kx++) {
        const phase = (c * plan.phasesY + (ky % sh)) * plan.phasesX + (kx % sw);
        const shift = Math.floor(ky / sh) * plan.pitch + Math.floor(kx / sw);
        offsets[tap++] = 4 * (phase * plan.plane + shift);
      }
    }
  }
  return offsets;
}

/** Convolves `rows` output rows of some channels of one group; hands each result row, or run of rows, to `emit`. */
function convolveBand(
  shape: ConvShape,
  plan: PhasePlan,
  phases: number,
  weights: Int32Array,
  { from, to }: ChannelRange,
  rows: number,
  emit: (channel: number, row: number, pixels: Int32Array) => void,
): void {
  const { arena, ring } = kernels();
  const [, , width] = linearOutput(shape);
  const { pitch } = plan;
  const taps = fanIn(shape);
  const offsets = arena.put(tapOffsets(shape, plan));
  // Rows that are not whole vectors are better computed as one long row, with the seams thrown away.
  const long = (rows - 1) * pitch + width;
  const byRow = rows * Math.ceil(width / 8) <= Math.ceil(long / 8);
  const [lines, length] = byRow ? [rows, width] : [1, long];
  const outPitch = byRow ? width : pitch;
  const outPlane = (4 * rows * outPitch + SLACK + 15) & ~15;
  const y = arena.alloc(4 * outPlane);
  const w = arena.alloc(16 * taps);
  for (let channel = from; channel < to; ) {
    const together = to - channel >= 4 ? 4 : 1;
    const part = weights.subarray(channel * taps, (channel + together) * taps);
    arena.i32(w, part.length).set(part);
    const bytes = [4 * outPitch, phases, 4 * pitch, lines, length, offsets, taps, w] as const;
    if (together === 4) ring.convolve4(y, outPlane, ...bytes);
    else ring.convolve1(y, ...bytes);
    for (let i = 0; i < together; i++, channel++) {
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

function addBias(
  out: Int32Array,
  pixels: number,
  bias: Int32Array | undefined,
  { from, to }: ChannelRange,
): void {
  if (bias === undefined) return;
  for (let m = from; m < to; m++) {
    const end = (m - from + 1) * pixels;
    for (let i = end - pixels; i < end; i++) out[i]! += bias[m]!;
  }
}

function check(
  shape: LinearShape,
  input: Int32Array,
  weights: Int32Array,
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
  expectElements('weights', weights, weightCount(shape));
  if (bias !== undefined) expectElements('bias', bias, outputs);
  if (
    !(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= outputs)
  ) {
    throw new RangeError(`output channels ${from} to ${to}: expected a part of 0 to ${outputs}`);
  }
}

function expectElements(what: string, data: Int32Array, length: number): void {
  if (data.length !== length) {
    throw new RangeError(`${what}: expected ${length} elements, got ${data.length}`);
  }
}
