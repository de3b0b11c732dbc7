/**
 * A product of gathered rows with a matrix, ready to run: the tables and packed weights that kernels/assembly/gather.ts
 * takes. Convolutions, their input gradients and dense layers are described as one of these.
 */

import type { Floats, TrainingMemory } from '../kernels/index.ts';

/** Offsets count floats from the start of an image. */
export interface GatherShape {
  /** First number of each pixel's row, and of its result, in rising order. */
  readonly xOffsets: readonly number[];
  readonly yOffsets: readonly number[];
  /** Start of each run of a row, from the row's first number. */
  readonly segments: readonly number[];
  readonly segmentLength: number;
  /** Results of a pixel. */
  readonly channels: number;
  /** Floats from one image to the next. */
  readonly xImage: number;
  readonly yImage: number;
  /** Index in the parameter of the weight from number j of segment s to result c. */
  weight(s: number, j: number, c: number): number;
}

/** Fewest pixels of a call; images with fewer are taken together. LOCAL */
const FEW_PIXELS = 16;

/** One gathered product. */
export class Gather {
  readonly #memory: TrainingMemory;
  readonly #packed: Floats;
  /** Parameter index of each packed weight, -1 for padding. */
  readonly #order: Int32Array;
  readonly #fixed: {
    readonly xTable: number;
    readonly yTable: number;
    readonly segments: number;
    readonly segmentCount: number;
    readonly segmentLength: number;
    readonly pixels: number;
    readonly channels: number;
    readonly images: number;
    readonly xImage: number;
    readonly yImage: number;
  };

  constructor(memory: TrainingMemory, batch: number, shape: GatherShape) {
    const { segments, segmentLength, channels } = shape;
    const together = shape.xOffsets.length < FEW_PIXELS ? batch : 1;
    const repeat = (offsets: readonly number[], image: number) =>
      Array.from({ length: together }, (_, i) => offsets.map((o) => o + i * image)).flat();
    this.#memory = memory;
    this.#fixed = {
      xTable: memory.table(repeat(shape.xOffsets, shape.xImage)),
      yTable: memory.table(repeat(shape.yOffsets, shape.yImage)),
      segments: memory.table(segments),
      segmentCount: segments.length,
      segmentLength,
      pixels: shape.xOffsets.length * together,
      channels,
      images: batch / together,
      xImage: 4 * shape.xImage,
      yImage: 4 * shape.yImage,
    };
    const order: number[] = [];
    for (let panel = 0; panel < channels; panel += 8) {
      for (let s = 0; s < segments.length; s++) {
        for (let j = 0; j < segmentLength; j++) {
          for (let c = panel; c < panel + 8; c++) {
            order.push(c < channels ? shape.weight(s, j, c) : -1);
          }
        }
      }
    }
    this.#order = Int32Array.from(order);
    this.#packed = memory.floats(order.length);
  }

  /** Adds the product of x's rows with the weights to y; `xAt` and `yAt` are pointers of the first image. */
  addProducts(xAt: number, weights: Float32Array, yAt: number): void {
    const packed = this.#packed.data;
    const order = this.#order;
    for (let i = 0; i < order.length; i++) packed[i] = order[i]! < 0 ? 0 : weights[order[i]!]!;
    const f = this.#fixed;
    this.#memory.gather.products(
      xAt,
      f.xTable,
      f.segments,
      f.segmentCount,
      f.segmentLength,
      this.#packed.at,
      yAt,
      f.yTable,
      f.pixels,
      f.channels,
      f.images,
      f.xImage,
      f.yImage,
    );
  }

  /** Adds to `gradient` the gradient by the weights of the product, from the gradient of its results. */
  addWeightGradient(xAt: number, dyAt: number, gradient: Float32Array): void {
    const packed = this.#packed.data.fill(0);
    const f = this.#fixed;
    this.#memory.gather.weightGradient(
      xAt,
      f.xTable,
      f.segments,
      f.segmentCount,
      f.segmentLength,
      this.#packed.at,
      dyAt,
      f.yTable,
      f.pixels,
      f.channels,
      f.images,
      f.xImage,
      f.yImage,
    );
    const order = this.#order;
    for (let i = 0; i < order.length; i++) if (order[i]! >= 0) gradient[order[i]!]! += packed[i]!;
  }
}
