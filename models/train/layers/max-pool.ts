/** Max pooling. A window's gradient goes to its largest number, to the first of them where some are equal. */

import type { MaxPoolNode } from '../../graph/index.ts';
import { PaddedImages } from './images.ts';
import { type Builder, type Layer, valueSize } from './layer.ts';

export function maxPoolLayer({ node, memory, batch, inputs, output }: Builder<MaxPoolNode>): Layer {
  const input = inputs[0]!;
  const { channels } = input;
  const [top, left] = node.pads;
  const image = new PaddedImages(
    memory,
    { ...input, batch, floats: input.value },
    node.pads,
    Number.NEGATIVE_INFINITY,
  );
  const places = (rows: number, columns: number, down: number, across: number) =>
    memory.table(
      Array.from({ length: rows * columns }, (_, i) => {
        const [y, x] = [Math.floor(i / columns) * down, (i % columns) * across];
        return (y * image.width + x) * channels;
      }),
    );
  const table = places(output.height, output.width, ...node.stride);
  const window = places(...node.kernel, 1, 1);
  const size = node.kernel[0] * node.kernel[1];
  const pixels = output.height * output.width;
  const fixed = [pixels, channels, batch, 4 * image.imageSize] as const;
  const padded = image.imageSize > valueSize(input);
  // The gradient of the padded images: all of them, where only the input's own places are kept.
  const around = input.gradient && padded ? memory.floats(batch * image.imageSize) : undefined;
  return {
    forward() {
      image.refresh();
      memory.maps.maxPool(image.at, table, window, size, output.value.at, ...fixed);
    },
    backward() {
      if (input.gradient === undefined) return;
      around?.data.fill(0);
      memory.maps.maxPoolGradient(
        around?.at ?? input.gradient.at,
        image.at,
        table,
        window,
        size,
        output.value.at,
        output.gradient!.at,
        ...fixed,
      );
      if (around === undefined) return;
      const row = 4 * image.width * channels;
      memory.maps.addRows(
        input.gradient.at,
        4 * valueSize(input),
        around.at + top * row + 4 * left * channels,
        row,
        4 * image.imageSize,
        4 * input.width * channels,
        input.height,
        batch,
      );
    },
  };
}
