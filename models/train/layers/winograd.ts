/**
 * 3x3 convolutions of stride 1 by Winograd's algorithm (kernels/assembly/winograd.ts): tiles of four by four results, each
 * made of 36 products a channel where a gathered product takes 144.
 *
 * Tiles of some images at a time become the rows of 36 matrices, so that what lies between the transforms are gathered
 * products again, and the matrices of one layer fit into the memory that all layers use for it.
 */

import type { ConvNode } from '../../graph/index.ts';
import type { Floats, TrainingMemory } from '../kernels/index.ts';
import type { PaddedImages } from './images.ts';
import type { Value } from './layer.ts';

/** Results of a tile, each way. */
const TILE = 4;

/** Numbers of a transformed tile, and of a kernel. */
const POINTS = 36;
const CELLS = 9;

/** Tiles taken together, at least: enough that each weight that is fetched serves many. LOCAL */
const TOGETHER = 128;

/** Rows of matrices are this much longer than they have to be, bytes: rows of 2^n bytes would share few lines of a cache. LOCAL */
const ROW_APART = 64;

/** Matrices lie this much further apart, bytes, for the same reason. LOCAL */
const MATRIX_APART = 320;

/** Fewest channels on either side: transforms of tiles have to pay. LOCAL */
const CHANNELS = 16;

/** Fewest products saved by each weight in a batch: its own transform has to pay. LOCAL; it pays from about 1,200 on. */
const SAVED = 1500;

export interface WinogradShape {
  readonly channels: number;
  /** Channels, height and width of the results. */
  readonly results: number;
  readonly height: number;
  readonly width: number;
  /** Index in the parameter of the weight of a cell of the kernel (rows first) from channel j to result c. */
  weight(cell: number, j: number, c: number): number;
}

/** Whether a convolution is one that this file computes, and faster than gathered products. */
export function suitsWinograd(
  { kernel, stride, pads, groups }: Pick<ConvNode, 'kernel' | 'stride' | 'pads' | 'groups'>,
  channels: number,
  { channels: results, height, width }: Pick<Value, 'channels' | 'height' | 'width'>,
  batch: number,
): boolean {
  const tiles = Math.ceil(height / TILE) * Math.ceil(width / TILE);
  const saved = CELLS * height * width - POINTS * tiles;
  return (
    `${kernel} ${stride} ${groups}` === '3,3 1,1 1' &&
    pads.every((pad) => pad <= 2) &&
    [channels, results].every((n) => n >= CHANNELS && n % 8 === 0) &&
    batch * saved >= SAVED
  );
}

/** Floats that a convolution's kept weights take, see {@link Winograd}. */
export function keptFloats(channels: number, results: number): number {
  return POINTS * channels * results;
}

/** Zeros below and to the right of `size` padded results that tiles read beside the two of the kernel. */
export function tileOverhang(size: number): number {
  return TILE * Math.ceil(size / TILE) - size;
}

/** One convolution, input padded as {@link tileOverhang} says. */
export class Winograd {
  readonly #memory: TrainingMemory;
  readonly #batch: number;
  readonly #shape: WinogradShape;
  readonly #image: Pick<PaddedImages, 'width' | 'imageSize'>;
  /** Images taken together. */
  readonly #images: number;
  readonly #tiles: number;
  /** Parameter index of each weight, [cell][panel of 8 results][channel][result of the panel]; empty for kept weights. */
  readonly #order: Int32Array;
  /** The weights, or their gradient, in the order of `#order`; and their transforms, 36 matrices. */
  readonly #kernels: Floats;
  readonly #points: Floats;
  readonly #input: Tiles;
  readonly #output: Tiles;
  /** What the kernels of assembly/winograd.ts work in: up to 40 vectors of four floats. */
  readonly #room: Floats;
  /** Table of one run, from a row's first number: a row of a matrix is whole. */
  readonly #segment: number;

  /** @param kept weights that never change: they are transformed here, once, and stay in memory */
  constructor(
    memory: TrainingMemory,
    batch: number,
    shape: WinogradShape,
    image: Pick<PaddedImages, 'width' | 'imageSize'>,
    kept?: Float32Array,
  ) {
    const { channels, results, height, width } = shape;
    this.#memory = memory;
    this.#batch = batch;
    this.#shape = shape;
    this.#image = image;
    this.#tiles = Math.ceil(height / TILE) * Math.ceil(width / TILE);
    this.#images = Math.min(batch, Math.ceil(TOGETHER / this.#tiles));
    const order = new Int32Array(CELLS * channels * results);
    for (let i = 0; i < order.length; i++) {
      const [panel, j] = [
        Math.floor(i / 8 / channels) % (results / 8),
        Math.floor(i / 8) % channels,
      ];
      order[i] = shape.weight(Math.floor(i / channels / results), j, 8 * panel + (i % 8));
    }
    this.#kernels = memory.shared('winograd kernels', order.length);
    const size = POINTS * channels * results;
    this.#points = kept ? memory.floats(size) : memory.shared('winograd weights', size);
    const rows = this.#tiles * this.#images;
    this.#input = new Tiles(memory, 'winograd input', rows, channels);
    this.#output = new Tiles(memory, 'winograd output', rows, results);
    this.#room = memory.shared('winograd room', 160);
    this.#segment = memory.table([0]);
    if (kept !== undefined) this.#transformWeights(order, kept);
    this.#order = kept === undefined ? order : new Int32Array();
  }

  #transformWeights(order: Int32Array, weights: Float32Array): void {
    const { data, at } = this.#kernels;
    for (let i = 0; i < order.length; i++) data[i] = weights[order[i]!]!;
    const count = this.#shape.channels * this.#shape.results;
    const { winograd } = this.#memory;
    winograd.kernels(at, 4 * count, count, this.#points.at, 4 * count, this.#room.at);
  }

  /**
   * Adds the convolution of the padded images with the weights to y.
   * @param weights left out where they are kept
   */
  addProducts(xAt: number, weights: Float32Array | undefined, yAt: number): void {
    const { gather, winograd } = this.#memory;
    const { channels, results, height, width } = this.#shape;
    if (weights !== undefined) this.#transformWeights(this.#order, weights);
    const count = channels * results;
    this.#eachPart((first, images) => {
      this.#transformInput(xAt, first, images);
      const [v, m] = [this.#input, this.#output];
      m.clear();
      for (let k = 0; k < POINTS; k++) {
        gather.products(
          ...v.rows(k),
          this.#segment,
          1,
          channels,
          this.#points.at + 4 * k * count,
          ...m.rows(k),
          this.#tiles * images,
          results,
          ...[1, 0, 0],
        );
      }
      const y = yAt + 4 * first * results * height * width;
      const plane = [height, width, results, images] as const;
      winograd.outputTiles(m.at, m.matrix, m.row, ...plane, y, this.#room.at);
    });
  }

  /** Adds to `gradient` the gradient by the weights, from the gradient of the results. */
  addWeightGradient(xAt: number, dyAt: number, gradient: Float32Array): void {
    const { gather, winograd } = this.#memory;
    const { channels, results, height, width } = this.#shape;
    const count = channels * results;
    const points = this.#points;
    points.data.fill(0, 0, POINTS * count);
    this.#eachPart((first, images) => {
      this.#transformInput(xAt, first, images);
      const [v, m] = [this.#input, this.#output];
      const dy = dyAt + 4 * first * results * height * width;
      const plane = [height, width, results, images] as const;
      winograd.gradientTiles(dy, ...plane, m.at, m.matrix, m.row, this.#room.at);
      for (let k = 0; k < POINTS; k++) {
        gather.weightGradient(
          ...v.rows(k),
          this.#segment,
          1,
          channels,
          points.at + 4 * k * count,
          ...m.rows(k),
          this.#tiles * images,
          results,
          ...[1, 0, 0],
        );
      }
    });
    const { data, at } = this.#kernels;
    winograd.kernelGradients(points.at, 4 * count, count, at, 4 * count, this.#room.at);
    const order = this.#order;
    for (let i = 0; i < order.length; i++) gradient[order[i]!]! += data[i]!;
  }

  /** Calls with the first image and the number of images of each part of the batch. */
  #eachPart(call: (first: number, images: number) => void): void {
    for (let first = 0; first < this.#batch; first += this.#images) {
      call(first, Math.min(this.#images, this.#batch - first));
    }
  }

  #transformInput(xAt: number, first: number, images: number): void {
    const { channels, height, width } = this.#shape;
    const { width: across, imageSize } = this.#image;
    const v = this.#input;
    this.#memory.winograd.inputTiles(
      xAt + 4 * first * imageSize,
      4 * across * channels,
      4 * imageSize,
      Math.ceil(height / TILE),
      Math.ceil(width / TILE),
      channels,
      images,
      v.at,
      v.matrix,
      v.row,
      this.#room.at,
    );
  }
}

/** The transformed tiles of some images: 36 matrices, a row for each tile. */
class Tiles {
  readonly at: number;
  /** Bytes from one row to the next, and from one matrix to the next. */
  readonly row: number;
  readonly matrix: number;
  readonly #floats: Floats;
  readonly #table: number;

  constructor(memory: TrainingMemory, name: string, rows: number, channels: number) {
    this.row = 4 * channels + ROW_APART;
    this.matrix = rows * this.row + MATRIX_APART;
    this.#floats = memory.shared(name, (POINTS * this.matrix) / 4);
    this.at = this.#floats.at;
    this.#table = memory.table(Array.from({ length: rows }, (_, i) => (i * this.row) / 4));
  }

  /** Pointers of a matrix and of the table of its rows. */
  rows(k: number): readonly [number, number] {
    return [this.at + k * this.matrix, this.#table];
  }

  clear(): void {
    this.#floats.data.fill(0, 0, (POINTS * this.matrix) / 4);
  }
}
