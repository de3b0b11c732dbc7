/**
 * Coefficient packing: a linear layer as products of polynomials modulo X^N + 1, no rotations, no batching.
 *
 * After Huang et al., "Cheetah: Lean and Fast Secure Two-Party Deep Neural Network Inference" (USENIX Security 2022),
 * section 4, with one packing for every layer and zero padding shared between neighbours.
 *
 * The layer is seen as input *planes* and output planes,
 *   out[m][i][j] = sum over planes p and taps (di, dj) of p of w[m, p, di, dj] in[p][i + di][j + dj],
 * where a convolution of stride s splits each channel into the s^2 phases of its rows and columns (those that some tap
 * reads), and a matrix is a convolution of planes of one element. C planes and M outputs share a polynomial product:
 *   input    sum_c X^(c S) sum_(y, x) in[c][y][x] X^(y R + x)
 *   weights  sum_m X^(m C S) sum_c X^(-c S) sum_(di, dj) w[m, c, di, dj] X^(-(di R + dj)),   X^(-e) = -X^(N - e)
 *   product  out[m][i][j] at coefficient m C S + i R + j; every other coefficient is unused.
 * A row stride R wider than the plane leaves zeros after each row that serve as right padding of the row and as left
 * padding of the next one; a block stride S with zeros after the last row does the same for bottom and top. Then each
 * used coefficient meets exactly its own products as long as C M S <= N (see `strides`). A plane that does not fit is
 * cut into tiles of output rows and columns with their halo; all tiles share R and S, and so the weight polynomials.
 */

import type { ConvShape, LinearShape } from '../../ring/shape.ts';
import { linearOutput, sizeOf } from '../../ring/shape.ts';

/**
 * One kernel index of an axis. One that meets padding alone, for every output, is not live and left out of weight
 * polynomials: its place there may be another's.
 */
interface Tap {
  readonly phase: number;
  readonly offset: number;
  readonly live: boolean;
}

/** How one axis (rows or columns) of a convolution is cut. Public, plain data. */
export interface Axis {
  /** Input elements of the whole axis. */
  readonly inputs: number;
  /** Output elements of the whole axis. */
  readonly outputs: number;
  readonly stride: number;
  /** For each kernel index: the phase it reads, the offset within the phase's plane, and whether it ever meets an element. */
  readonly taps: readonly Tap[];
  /** Phases that some tap reads, ascending. */
  readonly phases: readonly number[];
  /** Output elements of a tile; the last tile may have fewer. */
  readonly tile: number;
  readonly tiles: number;
  /** Plane element at local index 0 of the tile that starts at output 0; negative where padding is stored. */
  readonly base: number;
  /** Stored plane elements of a tile. */
  readonly extent: number;
  /** Largest local offset a tap reads, from a tile's output index. */
  readonly reach: number;
}

/** Tile sizes and strides of a layer. */
export interface Packing {
  /** The layer as a convolution. */
  readonly conv: ConvShape;
  readonly rows: Axis;
  readonly columns: Axis;
  /** R: coefficients from one row of a plane to the next. */
  readonly rowStride: number;
  /** S: coefficients from one plane to the next. */
  readonly blockStride: number;
  /** Input planes of the layer, and how many of them share a polynomial. */
  readonly planes: number;
  readonly planesPerTile: number;
  /** Output channels that share a polynomial. */
  readonly outputsPerTile: number;
  /** Groups of planes, groups of output channels, tiles of one plane. */
  readonly inTiles: number;
  readonly outTiles: number;
  readonly spatialTiles: number;
}

/** A dense layer is a 1x1 convolution of a 1x1 image; the weights keep their layout. */
export function asConvolution(shape: LinearShape): ConvShape {
  if (shape.kind === 'conv') return shape;
  return {
    kind: 'conv',
    channels: shape.inputs,
    height: 1,
    width: 1,
    outChannels: shape.outputs,
    kernel: [1, 1],
    stride: [1, 1],
    pads: [0, 0, 0, 0],
    groups: 1,
  };
}

/** One axis cut into tiles of `tile` outputs. */
export function cutAxis(conv: ConvShape, axis: 0 | 1, outputs: number, tile: number): Axis {
  const inputs = axis === 0 ? conv.height : conv.width;
  const stride = conv.stride[axis];
  const taps = Array.from({ length: conv.kernel[axis] }, (_, k) => {
    const distance = k - conv.pads[axis];
    const offset = Math.floor(distance / stride);
    const phase = distance - offset * stride;
    // Output i reads element i + offset of the phase's plane.
    const live = offset < Math.ceil((inputs - phase) / stride) && offset + outputs > 0;
    return { phase, offset, live: live && phase < inputs };
  });
  const phases = [...new Set(taps.map((tap) => tap.phase))].sort((a, b) => a - b);
  const first = taps[0]!.offset;
  const last = taps[taps.length - 1]!.offset;
  const tiles = Math.ceil(outputs / tile);
  // One tile starts at the data and takes its leading padding from the zeros of a neighbour. Several tiles have real
  // data there, so they store their halo, and the first of them its padding.
  const base = tiles === 1 ? 0 : first;
  const planeSize = Math.ceil((inputs - phases[0]!) / stride);
  const extent = tiles === 1 ? Math.min(planeSize, outputs + last) : tile + last - first;
  return {
    inputs,
    outputs,
    stride,
    taps,
    phases,
    tile,
    tiles,
    base,
    extent: Math.max(extent, 1),
    reach: last - base,
  };
}

/**
 * The smallest row and block strides for which no used coefficient meets a foreign product.
 *
 * An output of a tile reads local columns -lead .. tile - 1 + reach, of which 0 .. extent - 1 are stored. What lies
 * outside must be a zero of the same or the previous row: R >= extent + lead and R >= tile + reach; and outputs of one
 * row must not collide: R >= tile. The same holds for the linear positions of a block, with the shift of all outputs
 * bounding S.
 */
export function strides(rows: Axis, columns: Axis): { rowStride: number; blockStride: number } {
  const lead = (axis: Axis) => Math.max(0, axis.base - axis.taps[0]!.offset);
  const rowStride = Math.max(
    columns.extent + lead(columns),
    columns.tile + columns.reach,
    columns.tile,
  );
  const position = (row: number, column: number) => row * rowStride + column;
  const blockStride = Math.max(
    position(rows.extent - 1, columns.extent) + position(lead(rows), lead(columns)),
    position(rows.tile - 1 + rows.reach, columns.tile + columns.reach),
    position(rows.tile - 1, columns.tile),
  );
  return { rowStride, blockStride };
}

/** Input tiles [from, to) that the structure of the layer (groups) connects with an output tile. */
export function connectedTiles(packing: Packing, outTile: number): [from: number, to: number] {
  const { conv, planesPerTile, outputsPerTile } = packing;
  const outputsPerGroup = conv.outChannels / conv.groups;
  const planesPerGroup = packing.planes / conv.groups;
  const start = outTile * outputsPerTile;
  const end = Math.min(start + outputsPerTile, conv.outChannels);
  const firstPlane = Math.floor(start / outputsPerGroup) * planesPerGroup;
  const lastPlane = Math.ceil(end / outputsPerGroup) * planesPerGroup;
  return [Math.floor(firstPlane / planesPerTile), Math.ceil(lastPlane / planesPerTile)];
}

/** Channel and phases of plane `plane`: planes go by channel, then row phase, then column phase. */
export function planeOf(
  packing: Packing,
  plane: number,
): [channel: number, row: number, column: number] {
  const columnPhases = packing.columns.phases;
  const rowPhases = packing.rows.phases;
  const perChannel = rowPhases.length * columnPhases.length;
  const phase = plane % perChannel;
  return [
    Math.floor(plane / perChannel),
    rowPhases[Math.floor(phase / columnPhases.length)]!,
    columnPhases[phase % columnPhases.length]!,
  ];
}

/** Output rows or columns [start, end) of tile `index` of an axis. */
export function outputsOf(axis: Axis, index: number): [start: number, end: number] {
  return [index * axis.tile, Math.min((index + 1) * axis.tile, axis.outputs)];
}

/** Input elements of one phase in a tile, as local index -> element of the axis, where the axis has it. */
function storedElements(axis: Axis, index: number, phase: number): [local: number, at: number][] {
  const stored: [number, number][] = [];
  for (let local = 0; local < axis.extent; local++) {
    const at = (index * axis.tile + axis.base + local) * axis.stride + phase;
    if (at >= 0 && at < axis.inputs) stored.push([local, at]);
  }
  return stored;
}

/** Coefficients of one input polynomial: `out` (N, zeroed here) from the tensor [channels, height, width]. */
export function packInput(
  packing: Packing,
  input: Int32Array,
  inTile: number,
  spatialTile: number,
  out: Int32Array,
): void {
  out.fill(0);
  visitRows(packing, inTile, spatialTile, (target, source, columns) => {
    for (const [x, column] of columns) out[target + x] = input[source + column]!;
  });
}

/** Which element of the tensor each coefficient of one input polynomial holds: `out` (N), -1 where it holds none. */
export function packedElements(
  packing: Packing,
  inTile: number,
  spatialTile: number,
  out: Int32Array,
): void {
  out.fill(-1);
  visitRows(packing, inTile, spatialTile, (target, source, columns) => {
    for (const [x, column] of columns) out[target + x] = source + column;
  });
}

/** Rows of elements in one input polynomial: the coefficient and the element where a row begins, its columns from there. */
function visitRows(
  packing: Packing,
  inTile: number,
  spatialTile: number,
  visit: (target: number, source: number, columns: readonly [number, number][]) => void,
): void {
  const { conv, rows, columns, rowStride, blockStride, planesPerTile } = packing;
  const rowTile = Math.floor(spatialTile / columns.tiles);
  const columnTile = spatialTile % columns.tiles;
  for (let p = 0; p < planesPerTile; p++) {
    const plane = inTile * planesPerTile + p;
    if (plane >= packing.planes) break;
    const [channel, rowPhase, columnPhase] = planeOf(packing, plane);
    const storedColumns = storedElements(columns, columnTile, columnPhase);
    for (const [y, row] of storedElements(rows, rowTile, rowPhase)) {
      const source = (channel * conv.height + row) * conv.width;
      visit(p * blockStride + y * rowStride, source, storedColumns);
    }
  }
}

/** Coefficients of one weight polynomial: `out` (N, zeroed here) from [outChannels, channels / groups, kh, kw]. */
export function weightPolynomial(
  packing: Packing,
  weights: Int32Array,
  inTile: number,
  outTile: number,
  out: Int32Array,
): void {
  const { conv, rows, columns, rowStride, blockStride, planesPerTile, outputsPerTile } = packing;
  const [kernelHeight, kernelWidth] = conv.kernel;
  const groupChannels = conv.channels / conv.groups;
  const groupOutputs = conv.outChannels / conv.groups;
  const firstOutput = outTile * outputsPerTile;
  const outputs = Math.min(outputsPerTile, conv.outChannels - firstOutput);
  const planes = Math.min(planesPerTile, packing.planes - inTile * planesPerTile);
  out.fill(0);
  for (let p = 0; p < planes; p++) {
    const [channel, rowPhase, columnPhase] = planeOf(packing, inTile * planesPerTile + p);
    const group = Math.floor(channel / groupChannels);
    const from = Math.max(0, group * groupOutputs - firstOutput);
    const to = Math.min(outputs, (group + 1) * groupOutputs - firstOutput);
    for (let ki = 0; ki < kernelHeight; ki++) {
      const rowTap = rows.taps[ki]!;
      if (rowTap.phase !== rowPhase || !rowTap.live) continue;
      for (let kj = 0; kj < kernelWidth; kj++) {
        const columnTap = columns.taps[kj]!;
        if (columnTap.phase !== columnPhase || !columnTap.live) continue;
        const offset =
          (rowTap.offset - rows.base) * rowStride +
          columnTap.offset -
          columns.base +
          p * blockStride;
        const perOutput = groupChannels * kernelHeight * kernelWidth;
        const tap = ((channel % groupChannels) * kernelHeight + ki) * kernelWidth + kj;
        for (let m = from; m < to; m++) {
          const weight = weights[(firstOutput + m) * perOutput + tap]!;
          const exponent = m * planesPerTile * blockStride - offset;
          if (exponent >= 0) out[exponent] = weight;
          else out[exponent + out.length] = -weight;
        }
      }
    }
  }
}

/** Where the used coefficients of an output polynomial lie, and which elements of the output tensor they are. */
export interface UsedCoefficients {
  readonly positions: Uint32Array;
  readonly elements: Uint32Array;
}

/** Number of used coefficients of output polynomial `index` (output tile major, spatial tile minor). */
export function usedCount(packing: Packing, index: number): number {
  const { conv, rows, columns, outputsPerTile, spatialTiles } = packing;
  const outTile = Math.floor(index / spatialTiles);
  const [top, bottom] = outputsOf(rows, Math.floor((index % spatialTiles) / columns.tiles));
  const [left, right] = outputsOf(columns, index % columns.tiles);
  const outputs = Math.min(outputsPerTile, conv.outChannels - outTile * outputsPerTile);
  return outputs * (bottom - top) * (right - left);
}

/** The used coefficients of output polynomial `index`, in the order in which both parties list them. */
export function usedCoefficients(packing: Packing, index: number): UsedCoefficients {
  const { conv, rows, columns, rowStride, blockStride, planesPerTile, spatialTiles } = packing;
  const { outputsPerTile } = packing;
  const firstOutput = Math.floor(index / spatialTiles) * outputsPerTile;
  const outputs = Math.min(outputsPerTile, conv.outChannels - firstOutput);
  const [top, bottom] = outputsOf(rows, Math.floor((index % spatialTiles) / columns.tiles));
  const [left, right] = outputsOf(columns, index % columns.tiles);
  const count = usedCount(packing, index);
  const positions = new Uint32Array(count);
  const elements = new Uint32Array(count);
  let at = 0;
  for (let m = 0; m < outputs; m++) {
    for (let i = top; i < bottom; i++) {
      const position = m * planesPerTile * blockStride + (i - top) * rowStride - left;
      const element = ((firstOutput + m) * rows.outputs + i) * columns.outputs;
      for (let j = left; j < right; j++, at++) {
        positions[at] = position + j;
        elements[at] = element + j;
      }
    }
  }
  return { positions, elements };
}

/** @throws RangeError when a shape is not a layer. */
export function checkShape(conv: ConvShape): void {
  const { channels, outChannels, groups, height, width, kernel, stride, pads } = conv;
  const positive = [channels, outChannels, groups, height, width, ...kernel, ...stride];
  if (
    !positive.every((x) => Number.isSafeInteger(x) && x > 0) ||
    !pads.every((x) => Number.isSafeInteger(x) && x >= 0)
  ) {
    throw new RangeError('linear layer: sizes must be positive integers, paddings non-negative');
  }
  if (channels % groups !== 0 || outChannels % groups !== 0) {
    throw new RangeError(
      `linear layer: ${groups} groups must divide ${channels} channels and ${outChannels} output channels`,
    );
  }
  const output = linearOutput(conv);
  if (
    !output.every((x) => x > 0) ||
    Math.max(sizeOf(output), channels * height * width) >= 2 ** 31
  ) {
    throw new RangeError(
      `linear layer: from 1 to 2^31 - 1 elements fit, got an output of ${output.join('x')}`,
    );
  }
}

/** Sizes of the pieces when `total` is cut into 1, 2, ... pieces: each size that needs fewer pieces than the next. */
export function pieceSizes(total: number): number[] {
  const sizes: number[] = [];
  for (let size = total; size >= 1; ) {
    const pieces = Math.ceil(total / size);
    size = Math.ceil(total / pieces);
    sizes.push(size);
    size--;
  }
  return sizes;
}
