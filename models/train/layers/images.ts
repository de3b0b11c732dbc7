/** Batches of images with something around them. */

import type { Floats, TrainingMemory } from '../kernels/index.ts';
import type { Value } from './layer.ts';

/** Images, and where their numbers are. */
interface BatchOfImages extends Pick<Value, 'channels' | 'height' | 'width'> {
  readonly batch: number;
  readonly floats: Floats;
}

/** A copy of a batch of images with zeros around them, or `fill`; the images themselves where there is nothing to pad. */
export class PaddedImages {
  readonly width: number;
  readonly imageSize: number;
  readonly at: number;
  readonly #copy: () => void;

  constructor(
    memory: TrainingMemory,
    { channels, height, width, batch, floats }: BatchOfImages,
    [top, left, bottom, right]: readonly [number, number, number, number],
    fill = 0,
  ) {
    this.width = left + width + right;
    this.imageSize = (top + height + bottom) * this.width * channels;
    if (top + left + bottom + right === 0) {
      this.at = floats.at;
      this.#copy = () => {};
      return;
    }
    const copy = memory.floats(batch * this.imageSize);
    if (fill !== 0) copy.data.fill(fill);
    this.at = copy.at;
    const row = 4 * this.width * channels;
    const first = this.at + top * row + 4 * left * channels;
    const bytes = 4 * width * channels;
    this.#copy = () =>
      memory.maps.copyRows(
        first,
        row,
        4 * this.imageSize,
        floats.at,
        bytes,
        height * bytes,
        bytes,
        height,
        batch,
      );
  }

  /** Takes the images' present numbers. */
  refresh(): void {
    this.#copy();
  }
}
